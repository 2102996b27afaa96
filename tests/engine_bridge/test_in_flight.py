"""Under its key a request happens once, everyone who asked is told, and silence has an end."""

from __future__ import annotations

from typing import Any

import pytest
from bridge_hall import Hall, make, talk


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


def test_keys_and_running_work_stay_bounded_over_many_requests() -> None:
    hall = make(keys=8, in_flight=8)
    peer = hall.player()
    for n in range(100):
        peer.reply("move", {"x": n, "y": 1, "key": f"m{n}"})
    assert peer.session is not None
    assert len(peer.session.keys) == 8
    assert not peer.session.running


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
