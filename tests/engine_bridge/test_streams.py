"""Speech and content reach who asked piece by piece, in order, and end once."""

from __future__ import annotations

from bridge_hall import Hall, talk


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


def test_content_reports_progress_and_ends_with_the_response(hall: Hall) -> None:
    peer = hall.peer()
    number = peer.ask("content", {"seed": 7, "size": 32})
    request, listener = hall.stage.contents[0]
    assert request["size"] == 32
    listener.on_progress("terrain", "done", 1, 3)
    listener.on_rejected("internal", "the pipeline broke")
    assert [m["d"]["node"] for m in peer.take("progress")] == ["terrain"]
    assert [m["re"] for m in peer.take("error")] == [number]
