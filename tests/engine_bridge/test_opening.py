"""Opening a connection: tokens, room for all, and taking an old session up again."""

from __future__ import annotations

import pytest
from bridge_hall import Hall, make

from engine_bridge.errors import CloseCode


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
