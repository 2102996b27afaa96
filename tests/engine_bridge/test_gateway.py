"""What each request does, without sockets: the gateway between fake clients and a fake stage."""

from __future__ import annotations

import pytest
from bridge_hall import FakePeer, Hall, make

from models.request import Preference


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
