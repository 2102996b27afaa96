"""What each request does, without sockets: the gateway between fake clients and a fake stage."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bridge_fakes import FakeStage

from engine_bridge.broadcast import Broadcast
from engine_bridge.errors import CloseCode
from engine_bridge.feed import Feed
from engine_bridge.gateway import Gateway
from engine_bridge.messages import SERVER, parse_request
from engine_bridge.sessions import Session, Sessions
from engine_bridge.settings import BridgeSettings
from models.errors import BackendRefused
from models.request import Preference


class FakePeer:
    """A client without a socket: keeps what it was sent."""

    def __init__(self, hall: Hall) -> None:
        self.session: Session | None = None
        self.sent: deque[dict[str, Any]] = deque()
        self.closed: CloseCode | None = None
        self._hall = hall
        self._ids = iter(range(1, 10_000))

    def send(self, message: dict[str, Any]) -> None:
        if self.closed is None:
            SERVER[message["t"]].body.model_validate(message["d"])
            self.sent.append(message)

    def nudge(self) -> None:
        pass

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed = code

    def welcome(self) -> None:
        pass

    def ask(self, t: str, d: dict[str, Any] | None = None, id: int | None = None) -> int:
        number = next(self._ids) if id is None else id
        message = {"t": t, "id": number, "d": d or {}}
        if t == "ack":
            del message["id"]
        self._hall.gateway.handle(self, parse_request(message))
        return number

    def reply(self, t: str, d: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask and take the one answer."""
        number = self.ask(t, d)
        self._hall.settle()
        (answer,) = [message for message in self.sent if message.get("re") == number]
        self.sent.remove(answer)
        return answer

    def code(self, t: str, d: dict[str, Any] | None = None) -> str:
        answer = self.reply(t, d)
        assert answer["t"] == "error", answer
        code: str = answer["d"]["code"]
        return code

    def take(self, t: str) -> list[dict[str, Any]]:
        """All messages of a type that came, taken out."""
        found = [message for message in self.sent if message["t"] == t]
        self.sent = deque(message for message in self.sent if message["t"] != t)
        return found


class NowStage(FakeStage):
    """A fake stage whose answers wait until the test settles them, on the test's thread."""

    def __init__(self) -> None:
        super().__init__()
        self.close()
        self.waiting: deque[Callable[[], None]] = deque()
        self._thread = self  # type: ignore[assignment]

    def submit(self, call: Callable[..., None], *args: object) -> None:
        self.waiting.append(lambda: call(*args))

    def shutdown(self, wait: bool) -> None:
        pass


class Hall:
    """Gateway, sessions, feed and broadcast over one fake stage and one fake clock."""

    def __init__(self, stage: NowStage, **settings: Any) -> None:
        self.stage = stage
        self.now = 0.0
        self.backends = ["local", "big"]
        self.settings = BridgeSettings(**settings)
        self.sessions = Sessions(self.settings)
        self.feed = Feed(stage, lambda: None)
        self.broadcast = Broadcast(self.feed, self.settings.quiet_ticks)
        self.gateway = Gateway(
            stage,
            self.sessions,
            self.feed,
            self.settings,
            clock=lambda: self.now,
            wall_ms=lambda: 1_000,
            hop=lambda function, *args: function(*args),
            admit=self.admit,
        )
        self.feed.start()
        self.settle()
        self.publish()

    def admit(self, backend: str, purpose: str) -> None:
        if backend not in self.backends or purpose != "speech":
            raise BackendRefused(f"no {backend!r}; for {purpose}: {', '.join(self.backends)}")

    def settle(self) -> None:
        """Let the stage answer all that waits."""
        while self.stage.waiting:
            self.stage.waiting.popleft()()

    def publish(self) -> None:
        batch = self.feed.collect()
        if batch is not None:
            self.broadcast.publish(batch, self.sessions)

    def step(self, **changes: Any) -> None:
        self.stage.step(**changes)
        self.publish()

    def peer(self, hello: bool = True) -> FakePeer:
        peer = FakePeer(self)
        if hello:
            assert peer.reply("hello", {"client": "c", "sdk": "s"})["t"] == "welcome"
        return peer

    def player(self, name: str = "Ann") -> FakePeer:
        peer = self.peer()
        assert peer.reply("join", {"name": name, "key": "join"})["t"] == "joined"
        self.step()
        return peer

    def reconnect(self, old: FakePeer, last_seq: int = 0) -> FakePeer:
        """A new connection that takes up the session of one that was cut."""
        assert old.session is not None
        token = old.session.token
        self.gateway.lost(old)
        peer = self.peer()
        answer = peer.reply("resume", {"token": token, "last_seq": last_seq})
        assert answer["t"] == "resumed", answer
        return peer


@pytest.fixture
def hall() -> Iterator[Hall]:
    yield Hall(NowStage())


def make(**settings: Any) -> Hall:
    return Hall(NowStage(), **settings)


# ---------------------------------------------------------------- opening


def test_welcome_tells_of_server_world_and_bounds(hall: Hall) -> None:
    answer = hall.peer(hello=False).reply("hello", {"client": "c", "sdk": "s"})["d"]
    assert answer["server"] == "fake 0"
    assert answer["world"]["species"][0]["name"] == "villager"
    assert answer["limits"]["max_frame"] == 65536
    assert answer["epoch"] == 1
    assert len(answer["resume_token"]) >= 24


def test_each_session_has_a_token_of_its_own(hall: Hall) -> None:
    peers = [hall.peer() for _ in range(5)]
    assert len({peer.session.token for peer in peers if peer.session}) == 5


@pytest.mark.parametrize("token", [None, "wrong", "correct horse bätteri"])
def test_a_missing_or_wrong_token_is_told_and_closes_4009(token: str | None) -> None:
    peer = make(token="correct horse").peer(hello=False)
    hello = {"client": "c", "sdk": "s"} | ({} if token is None else {"token": token})
    assert peer.code("hello", hello) == "unauthorised"
    assert peer.closed is CloseCode.AUTH
    assert peer.session is None


def test_the_right_token_opens() -> None:
    peer = make(token="correct horse").peer(hello=False)
    hello = {"client": "c", "sdk": "s", "token": "correct horse"}
    assert peer.reply("hello", hello)["t"] == "welcome"


def test_a_full_server_says_busy_and_closes() -> None:
    hall = make(max_clients=1)
    hall.peer()
    late = hall.peer(hello=False)
    assert late.code("hello", {"client": "c", "sdk": "s"}) == "busy"
    assert late.closed is CloseCode.FULL


def test_a_waiting_session_without_a_body_makes_room() -> None:
    hall = make(max_clients=1)
    hall.gateway.lost(hall.peer())
    hall.peer()
    assert len(hall.sessions) == 1


def test_when_all_of_a_full_server_lose_their_sockets_all_come_back() -> None:
    hall = make(max_clients=2)
    players = [hall.player("Ann"), hall.player("Ben")]
    tokens = [peer.session.token for peer in players if peer.session is not None]
    for peer in players:
        hall.gateway.lost(peer)
    for token in tokens:
        back = hall.peer()
        assert back.reply("resume", {"token": token, "last_seq": 0})["t"] == "resumed"
    assert len(hall.sessions) == 2


def test_a_newcomer_does_not_take_the_place_of_a_player_who_will_come_back() -> None:
    hall = make(max_clients=1)
    away = hall.player()
    hall.gateway.lost(away)
    newcomer = hall.peer()
    assert newcomer.code("join", {"name": "Ben", "key": "k"}) == "busy"


# ---------------------------------------------------------------- body and sight


def test_joining_makes_a_body_and_tells_where_it_stands(hall: Hall) -> None:
    answer = hall.peer().reply("join", {"name": "Ann", "key": "k"})
    assert answer["d"] == {"entity": 1001, "x": 2560, "y": 5120}
    assert hall.stage.joins == ["Ann"]


def test_one_session_has_one_body(hall: Hall) -> None:
    peer = hall.player()
    assert peer.code("join", {"name": "Ann", "key": "again"}) == "busy"
    assert hall.stage.joins == ["Ann"]


def test_two_joins_at_once_make_one_body(hall: Hall) -> None:
    peer = hall.peer()
    peer.ask("join", {"name": "Ann", "key": "a"})
    peer.ask("join", {"name": "Ann", "key": "b"})
    hall.settle()
    assert hall.stage.joins == ["Ann"]
    assert [m["d"]["code"] for m in peer.take("error")] == ["busy"]


def test_after_leaving_one_can_join_again(hall: Hall) -> None:
    peer = hall.player()
    assert peer.reply("leave", {"key": "l"})["t"] == "left"
    assert hall.stage.left == [1001]
    assert peer.reply("join", {"name": "Ann", "key": "j2"})["d"]["entity"] == 1002


def test_who_died_can_join_again_and_the_dead_body_leaves(hall: Hall) -> None:
    peer = hall.player()
    hall.stage.rows[1001]["flags"] = 3
    hall.step()
    assert peer.reply("join", {"name": "Ann", "key": "j2"})["t"] == "joined"
    assert hall.stage.left == [1001]


def test_a_body_that_despawned_is_forgotten(hall: Hall) -> None:
    peer = hall.player()
    del hall.stage.rows[1001]
    hall.step(events=[hall.stage.event("despawned", 1001)])
    assert peer.code("move", {"x": 1, "y": 1, "key": "m"}) == "not_joined"


@pytest.mark.parametrize(
    ("t", "d"),
    [
        ("watch", {"radius": 5}),
        ("say", {"to": 100, "text": "hi", "key": "k"}),
        ("move", {"x": 1, "y": 1, "key": "k"}),
        ("act", {"action": "wait", "key": "k"}),
        ("leave", {"key": "k"}),
    ],
)
def test_what_needs_a_body_says_so(hall: Hall, t: str, d: dict[str, Any]) -> None:
    assert hall.peer().code(t, d) == "not_joined"


def test_a_radius_beyond_the_limit_is_cut_to_it(hall: Hall) -> None:
    assert hall.player().reply("watch", {"radius": 1000})["d"] == {"radius": 96, "all": False}


def test_spectating_can_be_forbidden() -> None:
    assert make(spectators=False).peer().code("watch", {"all": True}) == "unauthorised"


# ---------------------------------------------------------------- actions


def test_an_action_is_proposed_by_the_sessions_own_body(hall: Hall) -> None:
    peer = hall.player()
    answer = peer.reply("move", {"x": 5, "y": 6, "key": "m"})
    assert answer["t"] == "committed"
    (proposal,) = hall.stage.proposals
    assert (proposal.kind, proposal.entity, dict(proposal.body)) == ("move", 1001, {"x": 5, "y": 6})


def test_proposals_of_one_session_are_counted_up(hall: Hall) -> None:
    peer = hall.player()
    for n in range(3):
        peer.reply("act", {"action": "wait", "key": f"k{n}"})
    assert [proposal.n for proposal in hall.stage.proposals] == [1, 2, 3]
    assert len({proposal.proposer for proposal in hall.stage.proposals}) == 1


@pytest.mark.parametrize("action", ["spawn", "despawn", "tiles", "order", "global", "note", "fly"])
def test_only_the_vocabulary_can_be_proposed(hall: Hall, action: str) -> None:
    peer = hall.player()
    assert peer.code("act", {"action": action, "body": {}, "key": "k"}) == "unknown_action"
    assert hall.stage.proposals == []


def test_a_refusal_of_the_rules_reaches_the_client_with_its_code(hall: Hall) -> None:
    peer = hall.player()
    hall.stage.refuse = ("out_of_range", "the wolf is 12 tiles away")
    answer = peer.reply("attack", {"target": 100, "key": "a"})["d"]
    assert (answer["code"], answer["message"]) == ("out_of_range", "the wolf is 12 tiles away")
    assert answer["retryable"] is False


def test_lagging_storage_asks_to_retry_and_the_same_key_may_be_used(hall: Hall) -> None:
    peer = hall.player()
    hall.stage.refuse = ("retry", "storage lags")
    answer = peer.reply("move", {"x": 1, "y": 1, "key": "m"})["d"]
    assert answer["retryable"]
    assert answer["retry_after_ms"] > 0
    hall.stage.refuse = None
    assert peer.reply("move", {"x": 1, "y": 1, "key": "m"})["t"] == "committed"


# ---------------------------------------------------------------- idempotency


def test_a_repeated_key_answers_the_same_and_happens_once(hall: Hall) -> None:
    peer = hall.player()
    first = peer.reply("move", {"x": 1, "y": 1, "key": "m"})
    again = peer.reply("move", {"x": 1, "y": 1, "key": "m"})
    assert again["d"] == first["d"]
    assert again["re"] != first["re"]
    assert len(hall.stage.proposals) == 1


def test_a_repeated_key_also_repeats_a_refusal(hall: Hall) -> None:
    peer = hall.player()
    hall.stage.refuse = ("dead", "the wolf is dead")
    assert peer.code("attack", {"target": 100, "key": "a"}) == "dead"
    hall.stage.refuse = None
    assert peer.code("attack", {"target": 100, "key": "a"}) == "dead"
    assert len(hall.stage.proposals) == 1


def test_a_key_repeated_before_the_answer_gets_the_one_answer_too(hall: Hall) -> None:
    peer = hall.player()
    one = peer.ask("move", {"x": 1, "y": 1, "key": "m"})
    two = peer.ask("move", {"x": 1, "y": 1, "key": "m"})
    hall.settle()
    assert [m["re"] for m in peer.take("committed")] == [one, two]
    assert len(hall.stage.proposals) == 1


@pytest.mark.parametrize(
    ("t", "d"),
    [("move", {"x": 2, "y": 1, "key": "m"}), ("attack", {"target": 100, "key": "m"})],
)
def test_a_key_used_for_something_else_is_refused(hall: Hall, t: str, d: dict[str, Any]) -> None:
    peer = hall.player()
    peer.reply("move", {"x": 1, "y": 1, "key": "m"})
    assert peer.code(t, d) == "bad_message"
    assert len(hall.stage.proposals) == 1


def test_a_key_is_the_sessions_own(hall: Hall) -> None:
    for name in ("Ann", "Ben"):
        hall.player(name).reply("move", {"x": 1, "y": 1, "key": "m"})
    assert len(hall.stage.proposals) == 2


def test_a_key_is_known_after_a_resume(hall: Hall) -> None:
    peer = hall.player()
    first = peer.reply("move", {"x": 1, "y": 1, "key": "m"})
    again = hall.reconnect(peer).reply("move", {"x": 1, "y": 1, "key": "m"})
    assert again["d"] == first["d"]
    assert len(hall.stage.proposals) == 1


# ---------------------------------------------------------------- speech


def talk(hall: Hall) -> tuple[FakePeer, int, Any]:
    peer = hall.player()
    number = peer.ask("say", {"to": 100, "text": "Good day", "key": "s"})
    return peer, number, hall.stage.lines[0].listener


def test_an_answer_streams_in_order_and_ends_with_the_whole(hall: Hall) -> None:
    peer, number, listener = talk(hall)
    hall.now = 0.2
    listener.on_text("Well ")
    listener.on_text("met.")
    hall.now = 0.5
    listener.on_done("Well met!", "house 1", None)
    pieces = peer.take("speech")
    assert [(m["re"], m["d"]["n"], m["d"]["text"]) for m in pieces] == [
        (number, 0, "Well "),
        (number, 1, "met."),
    ]
    (done,) = peer.take("done")
    assert done["re"] == number
    assert done["d"]["text"] == "Well met!"
    assert done["d"]["source"] == "house 1"
    assert (done["d"]["first_token_ms"], done["d"]["total_ms"]) == (200, 500)


def test_nothing_follows_the_end_of_an_answer(hall: Hall) -> None:
    peer, _, listener = talk(hall)
    listener.on_done("Well met.", "reflex", None)
    peer.sent.clear()
    listener.on_text("And another thing")
    listener.on_done("again", "reflex", None)
    listener.on_rejected("dead", "no")
    assert not peer.sent


def test_an_answer_that_was_not_streamed_comes_as_one_piece(hall: Hall) -> None:
    peer, number, listener = talk(hall)
    listener.on_done("Well met.", "reflex", None)
    assert [(m["t"], m["re"], m["d"]["text"]) for m in peer.sent] == [
        ("speech", number, "Well met."),
        ("done", number, "Well met."),
    ]


def test_a_line_nobody_can_hear_is_an_error(hall: Hall) -> None:
    peer = hall.player()
    assert peer.code("say", {"to": 7, "text": "hi", "key": "s"}) == "no_such_entity"


def test_a_line_may_name_its_backend_and_what_the_cache_may_do(hall: Hall) -> None:
    peer = hall.player()
    say = {"to": 100, "text": "hi"}
    peer.ask("say", {**say, "key": "a", "backend": "big", "cache": "refresh"})
    peer.ask("say", {**say, "key": "b", "cache": "off"})
    peer.ask("say", {**say, "key": "c"})
    assert [line.preference for line in hall.stage.lines] == [
        Preference("big", "refresh"), Preference("", "off"), Preference("", "use")
    ]  # fmt: skip


def test_a_backend_that_may_not_be_named_is_refused_before_anything_is_said(hall: Hall) -> None:
    peer = hall.player()
    say = {"to": 100, "text": "hi", "key": "s", "backend": "cloud"}
    refused = peer.reply("say", say)
    assert (refused["t"], refused["d"]["code"]) == ("error", "backend_refused")
    assert "local, big" in refused["d"]["message"] and refused["d"]["hint"]
    assert hall.stage.lines == []
    hall.backends.append("cloud")
    peer.ask("say", say)
    assert len(hall.stage.lines) == 1, "a refusal frees the key"


def test_cancel_ends_the_line_once_and_withdraws_it_from_the_stage(hall: Hall) -> None:
    peer, number, listener = talk(hall)
    assert peer.reply("cancel", {"id": number})["t"] == "cancelled"
    (end,) = peer.take("error")
    assert (end["re"], end["d"]["code"]) == (number, "cancelled")
    assert hall.stage.lines[0].cancelled
    listener.on_done("too late", "reflex", None)
    assert peer.take("done") == []


def test_cancelling_what_is_over_or_never_was_is_harmless(hall: Hall) -> None:
    peer, number, listener = talk(hall)
    listener.on_done("Well met.", "reflex", None)
    for target in (number, 9999):
        assert peer.reply("cancel", {"id": target})["t"] == "cancelled"


def test_an_action_cannot_be_cancelled(hall: Hall) -> None:
    peer = hall.player()
    number = peer.ask("move", {"x": 1, "y": 1, "key": "m"})
    assert peer.code("cancel", {"id": number}) == "bad_message"


def test_who_asks_again_after_a_cut_hears_the_answer_from_its_beginning(hall: Hall) -> None:
    peer, _, listener = talk(hall)
    listener.on_text("Well ")
    listener.on_text("met, ")
    new = hall.reconnect(peer)
    number = new.ask("say", {"to": 100, "text": "Good day", "key": "s"})
    listener.on_text("stranger.")
    listener.on_done("Well met, stranger.", "house 1", None)
    assert [(m["d"]["n"], m["d"]["text"]) for m in new.take("speech")] == [
        (0, "Well met, "),
        (1, "stranger."),
    ]
    assert [m["re"] for m in new.take("done")] == [number]
    assert len(hall.stage.lines) == 1


def test_too_much_under_way_is_busy() -> None:
    hall = make(in_flight=2)
    peer = hall.player()
    for n in range(2):
        peer.ask("say", {"to": 100, "text": "hi", "key": f"s{n}"})
    assert peer.code("say", {"to": 100, "text": "hi", "key": "s2"}) == "busy"
    hall.stage.lines[0].listener.on_done("yes", "reflex", None)
    peer.ask("say", {"to": 100, "text": "hi", "key": "s2"})
    assert len(hall.stage.lines) == 3


def test_a_request_number_still_under_way_is_not_taken_twice(hall: Hall) -> None:
    peer, number, _ = talk(hall)
    peer.ask("say", {"to": 100, "text": "other", "key": "s2"}, id=number)
    assert [m["d"]["code"] for m in peer.take("error")] == ["bad_message"]
    assert len(hall.stage.lines) == 1


# ---------------------------------------------------------------- long work, looks, acks


def test_content_reports_progress_and_ends_with_the_response(hall: Hall) -> None:
    peer = hall.peer()
    number = peer.ask("content", {"seed": 7, "size": 32})
    request, listener = hall.stage.contents[0]
    assert request["size"] == 32
    listener.on_progress("terrain", "done", 1, 3)
    listener.on_rejected("internal", "the pipeline broke")
    assert [m["d"]["node"] for m in peer.take("progress")] == ["terrain"]
    assert [m["re"] for m in peer.take("error")] == [number]


def test_inspect_shows_the_panel_or_says_that_nobody_is_there(hall: Hall) -> None:
    peer = hall.peer()
    assert peer.reply("inspect", {"entity": 100})["d"]["name"] == "Villager 0"
    assert peer.code("inspect", {"entity": 5}) == "unknown_entity"


def test_without_spectators_only_those_in_sight_can_be_inspected() -> None:
    hall = make(spectators=False)
    peer = hall.player()
    assert peer.code("inspect", {"entity": 100}) == "unknown_entity"
    peer.reply("watch", {"radius": 96})
    assert peer.reply("inspect", {"entity": 100})["t"] == "entity"


def test_ping_tells_tick_and_time(hall: Hall) -> None:
    hall.step()
    assert hall.peer().reply("ping")["d"] == {"tick": 1, "time_ms": 1000}


def test_an_acknowledgement_frees_the_ring_and_a_false_one_is_refused(hall: Hall) -> None:
    peer = hall.peer()
    peer.reply("watch", {"all": True})
    hall.step(events=[hall.stage.event("ate", 100), hall.stage.event("ate", 101)])
    assert peer.session is not None
    assert len(peer.session.ring) == 2
    peer.ask("ack", {"seq": 1})
    assert len(peer.session.ring) == 1
    peer.ask("ack", {"seq": 9})
    assert [m["d"]["code"] for m in peer.take("error")] == ["bad_message"]


def test_a_stage_that_fails_is_an_internal_error_and_hides_its_words(
    hall: Hall, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("secret path /home/x")

    monkeypatch.setattr(hall.stage, "propose", broken)
    answer = hall.player().reply("move", {"x": 1, "y": 1, "key": "m"})["d"]
    assert answer["code"] == "internal"
    assert "secret" not in str(answer)
    assert "secret path" in caplog.text


# ---------------------------------------------------------------- sessions


def test_resume_takes_up_body_events_and_sight(hall: Hall) -> None:
    peer = hall.player()
    peer.reply("watch", {"radius": 96})
    hall.step(events=[hall.stage.event("ate", 100, n=1)])
    peer.take("event")
    session = peer.session
    assert session is not None
    hall.gateway.lost(peer)
    hall.step(events=[hall.stage.event("ate", 100, n=2)])
    hall.step(events=[hall.stage.event("ate", 100, n=3)])
    new = hall.peer()
    answer = new.reply("resume", {"token": session.token, "last_seq": 1})
    assert answer["d"] == {
        "session": session.id, "epoch": 1, "replayed": 2, "lost": False, "entity": 1001
    }  # fmt: skip
    assert [(m["seq"], m["d"]["data"]["n"]) for m in new.take("event")] == [(2, 2), (3, 3)]
    assert len(hall.sessions) == 1
    message = hall.broadcast.state(session)
    assert message is not None
    assert message["t"] == "snapshot"


def test_events_that_fell_out_of_the_ring_are_owned_up_to() -> None:
    hall = make(ring=2)
    peer = hall.player()
    peer.reply("watch", {"radius": 96})
    session = peer.session
    assert session is not None
    hall.gateway.lost(peer)
    for n in range(5):
        hall.step(events=[hall.stage.event("ate", 100, n=n)])
    new = hall.peer()
    answer = new.reply("resume", {"token": session.token, "last_seq": 0})["d"]
    assert (answer["replayed"], answer["lost"]) == (2, True)
    assert [m["d"]["data"]["n"] for m in new.take("event")] == [3, 4]


def test_resuming_on_another_socket_closes_the_first_4008(hall: Hall) -> None:
    peer = hall.player()
    session = peer.session
    assert session is not None
    new = hall.peer()
    assert new.reply("resume", {"token": session.token, "last_seq": 0})["t"] == "resumed"
    assert peer.closed is CloseCode.REPLACED
    hall.gateway.lost(peer)
    assert session.peer is new
    assert new.reply("move", {"x": 1, "y": 1, "key": "m"})["t"] == "committed"


@pytest.mark.parametrize("case", ["unknown token", "the own token", "a message never sent"])
def test_a_resume_that_cannot_be_is_refused_and_the_new_session_lives(
    hall: Hall, case: str
) -> None:
    old = hall.player()
    assert old.session is not None
    token, last_seq = old.session.token, 0
    hall.gateway.lost(old)
    peer = hall.peer()
    assert peer.session is not None
    if case == "unknown token":
        token = "nonsense"
    elif case == "the own token":
        token = peer.session.token
    else:
        last_seq = 99
    assert peer.code("resume", {"token": token, "last_seq": last_seq}) == "resume_failed"
    assert peer.reply("join", {"name": "Ann", "key": "j"})["t"] == "joined"


def test_a_session_is_over_after_its_window_and_the_body_leaves() -> None:
    hall = make(resume_s=60.0)
    peer = hall.player()
    session = peer.session
    assert session is not None
    hall.gateway.lost(peer)
    hall.now = 59.0
    hall.gateway.expire()
    hall.settle()
    assert hall.stage.left == []
    hall.now = 61.0
    hall.gateway.expire()
    hall.settle()
    assert hall.stage.left == [1001]
    late = hall.peer()
    assert late.code("resume", {"token": session.token, "last_seq": 0}) == "resume_failed"


def test_a_body_that_arrives_after_its_session_is_over_leaves_again() -> None:
    hall = make(resume_s=1.0)
    peer = hall.peer()
    peer.ask("join", {"name": "Ann", "key": "j"})
    hall.gateway.lost(peer)
    hall.now = 2.0
    hall.gateway.expire()
    hall.settle()
    assert hall.stage.left == [1001]


def test_going_down_takes_every_body_out(hall: Hall) -> None:
    for name in ("Ann", "Ben"):
        hall.player(name)
    hall.gateway.end_all()
    hall.settle()
    assert sorted(hall.stage.left) == [1001, 1002]
    assert len(hall.sessions) == 0


def test_keys_and_running_work_stay_bounded_over_many_requests() -> None:
    hall = make(keys=8, in_flight=8)
    peer = hall.player()
    for n in range(100):
        peer.reply("move", {"x": n, "y": 1, "key": f"m{n}"})
    assert peer.session is not None
    assert len(peer.session.keys) == 8
    assert not peer.session.running


def test_a_body_that_may_not_leave_now_is_taken_out_later() -> None:
    hall = make(resume_s=1.0)
    peer = hall.player()
    hall.gateway.lost(peer)
    hall.stage.refuse_leave = ("retry", "too much is waiting")
    hall.now = 2.0
    hall.gateway.expire()
    hall.settle()
    assert hall.stage.left == []
    hall.stage.refuse_leave = None
    hall.gateway.expire()
    hall.settle()
    assert hall.stage.left == [1001]
    hall.gateway.expire()
    hall.settle()
    assert hall.stage.left == [1001]


def test_a_request_without_an_answer_ends_and_its_key_still_finds_what_came_of_it() -> None:
    hall = make(answer_s=60.0, in_flight=1)
    peer = hall.player()
    hall.stage.hold_proposals = True
    lost = peer.ask("move", {"x": 1, "y": 1, "key": "m"})
    hall.now = 59.0
    hall.gateway.expire()
    assert peer.take("error") == []
    hall.now = 60.0
    hall.gateway.expire()
    (error,) = peer.take("error")
    assert (error["re"], error["d"]["code"]) == (lost, "no_answer")
    assert error["d"]["retryable"]
    again = peer.ask("move", {"x": 1, "y": 1, "key": "m"})
    hall.stage.release()
    hall.settle()
    assert [m["re"] for m in peer.take("committed")] == [again]
    assert len(hall.stage.proposals) == 1


def test_a_line_that_was_given_up_is_not_said_twice_under_its_key() -> None:
    hall = make(answer_s=60.0)
    peer, _, _ = talk(hall)
    hall.now = 61.0
    hall.gateway.expire()
    assert [m["d"]["code"] for m in peer.take("error")] == ["no_answer"]
    assert peer.code("say", {"to": 100, "text": "Good day", "key": "s"}) == "no_answer"
    assert len(hall.stage.lines) == 1


def test_a_key_finds_its_answer_when_the_body_has_gone(hall: Hall) -> None:
    peer = hall.player()
    assert peer.reply("move", {"x": 1, "y": 1, "key": "m"})["t"] == "committed"
    assert peer.reply("leave", {"key": "l"})["t"] == "left"
    assert peer.reply("move", {"x": 1, "y": 1, "key": "m"})["t"] == "committed"
    assert peer.code("move", {"x": 2, "y": 2, "key": "n"}) == "not_joined"
    assert peer.reply("join", {"name": "Ann", "key": "again"})["t"] == "joined"
    assert peer.reply("move", {"x": 2, "y": 2, "key": "n"})["t"] == "committed"


def test_an_unfinished_key_is_not_pushed_out_by_finished_ones() -> None:
    hall = make(keys=4, in_flight=4)
    peer, _, listener = talk(hall)
    for n in range(8):
        peer.reply("move", {"x": n, "y": 1, "key": f"m{n}"})
    again = peer.ask("say", {"to": 100, "text": "Good day", "key": "s"})
    listener.on_done("Well met.", "house 1", None)
    assert again in [m["re"] for m in peer.take("done")]
    assert len(hall.stage.lines) == 1


def test_of_two_joins_one_body_stays() -> None:
    hall = make(answer_s=60.0)
    peer = hall.peer()
    peer.ask("join", {"name": "Ann", "key": "one"})
    hall.now = 61.0
    hall.gateway.expire()
    peer.ask("join", {"name": "Ann", "key": "two"})
    hall.settle()
    assert peer.session is not None
    assert hall.stage.left == [1001]
    assert peer.session.entity == 1002


def test_a_session_that_is_asked_over_http_is_not_swept() -> None:
    hall = make(resume_s=1.0)
    visit = FakePeer(hall)
    session = hall.sessions.open(visit)
    visit.session = session
    hall.sessions.detach(session, visit, 0.0)
    visit.ask("join", {"name": "Ann", "key": "j"})
    hall.now = 2.0
    hall.gateway.expire()
    hall.settle()
    assert [m["d"]["entity"] for m in visit.take("joined")] == [1001]


def test_a_voice_that_falls_silent_is_given_up_but_not_while_it_speaks(hall: Hall) -> None:
    peer, number, listener = talk(hall)
    for hall.now in (50.0, 100.0):
        listener.on_text("and ")
        hall.gateway.expire()
    assert peer.take("error") == []
    hall.now = 161.0
    hall.gateway.expire()
    assert [(m["re"], m["d"]["code"]) for m in peer.take("error")] == [(number, "no_answer")]
    assert hall.stage.lines[0].cancelled


# ---------------------------------------------------------------- who hears what


def heard(peer: FakePeer) -> list[str]:
    return [message["d"]["kind"] for message in peer.take("event")]


def test_events_reach_those_who_see_them_and_their_own_bodies(hall: Hall) -> None:
    near, spectator, blind = hall.player("Ann"), hall.peer(), hall.player("Ben")
    near.reply("watch", {"radius": 3})
    spectator.reply("watch", {"all": True})
    for peer in (near, spectator, blind):
        peer.sent.clear()
    event = hall.stage.event
    hall.step(events=[event("ate", 101), event("fled", 111), event("attacked", 111, 1002)])
    assert heard(near) == ["ate", "attacked"]
    assert heard(spectator) == ["ate", "fled", "attacked"]
    assert heard(blind) == ["attacked"]


def test_whoever_hears_a_voice_is_told_even_out_of_sight(hall: Hall) -> None:
    peer = hall.player()
    hall.step(events=[hall.stage.event("said", 111, text="psst", heard_by=[1001])])
    assert heard(peer) == ["said"]


def test_what_concerns_all_is_told_to_all_who_watch(hall: Hall) -> None:
    watching, blind = hall.player("Ann"), hall.player("Ben")
    watching.reply("watch", {"radius": 1})
    hall.step(
        events=[
            hall.stage.event("time_of_day", 0, name="dusk"),
            hall.stage.event("dam_broken", 111),
        ]
    )
    assert heard(watching) == ["time_of_day", "dam_broken"]
    assert heard(blind) == []


def test_a_change_of_the_map_is_told_once_and_as_tiles(hall: Hall) -> None:
    peer = hall.peer()
    peer.reply("watch", {"all": True})
    rect = (2, 3, 2, 1, b"\x01\x02")
    hall.step(tiles=[rect], events=[hall.stage.event("tiles", 0, x=2, y=3, w=2, h=1)])
    (message,) = peer.take("tiles")
    assert message["seq"] == 1
    assert message["d"] == {"x": 2, "y": 3, "w": 2, "h": 1, "data": b"\x01\x02"}
    assert heard(peer) == []


def test_an_event_that_cannot_be_sent_is_logged_and_harms_nobody(
    hall: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    peer = hall.peer()
    peer.reply("watch", {"all": True})
    bad = hall.stage.event("odd", 100, thing=object())
    hall.step(events=[bad, hall.stage.event("ate", 100)])
    assert heard(peer) == ["ate"]
    assert "odd" in caplog.text


def test_two_spectators_share_one_delta(hall: Hall) -> None:
    peers = [hall.peer(), hall.peer()]
    for peer in peers:
        peer.reply("watch", {"all": True})
    sessions = [peer.session for peer in peers if peer.session]
    assert all(hall.broadcast.state(session) for session in sessions)
    hall.step()
    first, second = (hall.broadcast.state(session) for session in sessions)
    assert first is not None
    assert second is not None
    assert first["t"] == "delta"
    assert first["d"] is second["d"]


def test_a_slow_client_skips_states_and_its_next_delta_still_fits(hall: Hall) -> None:
    from engine_bridge.mirror import Mirror

    peer = hall.player()
    peer.reply("watch", {"radius": 96})
    session = peer.session
    assert session is not None
    mirror = Mirror(64, 48)
    first = hall.broadcast.state(session)
    assert first is not None
    mirror.snapshot(first["d"])
    for _ in range(7):
        hall.step()
    later = hall.broadcast.state(session)
    assert later is not None
    mirror.delta(later["d"])
    assert mirror.entities[100].x == hall.stage.rows[100]["x"]
    assert mirror.tick == hall.stage.tick


def test_an_unchanged_world_is_told_only_now_and_then() -> None:
    hall = make(quiet_ticks=5)
    hall.stage.rows.clear()
    hall.step()
    peer = hall.peer()
    peer.reply("watch", {"all": True})
    session = peer.session
    assert session is not None
    assert hall.broadcast.state(session)
    told = []
    for _ in range(11):
        hall.step()
        message = hall.broadcast.state(session)
        if message is not None:
            told.append(message["d"])
    assert told == [{"tick": 6}, {"tick": 11}]


def test_a_loaded_world_means_a_fresh_snapshot_and_the_loss_of_a_body_it_lacks(
    hall: Hall,
) -> None:
    peer = hall.player()
    peer.reply("watch", {"radius": 96})
    session = peer.session
    assert session is not None
    assert hall.broadcast.state(session)
    hall.stage.epoch = 2
    del hall.stage.rows[1001]
    hall.step()
    hall.settle()
    hall.publish()
    message = hall.broadcast.state(session)
    assert message is not None
    assert (message["t"], message["d"]["epoch"]) == ("snapshot", 2)
    assert peer.code("move", {"x": 1, "y": 1, "key": "m"}) == "not_joined"
