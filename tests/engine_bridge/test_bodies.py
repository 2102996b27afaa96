"""A session has one body at the most, and none stays in the world without its session."""

from __future__ import annotations

from typing import Any

import pytest
from bridge_hall import Hall, make


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
