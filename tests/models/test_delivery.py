"""Delivery: one end, nothing after it, whoever calls from wherever."""

from __future__ import annotations

import threading

from asking import Recorder, request

from models.delivery import Delivery
from models.errors import ModelError, ModelUnavailable
from models.request import Reply


def race() -> tuple[Recorder, list[bool]]:
    """Six threads each tell a piece, an end, and one more piece, at the same time."""
    recorder = Recorder()
    delivery = Delivery(request(), recorder)
    won: list[bool] = []
    start = threading.Barrier(6)

    def run(number: int) -> None:
        start.wait()
        delivery.text("piece")
        if number % 2:
            won.append(delivery.error(ModelUnavailable(str(number))))
        else:
            won.append(delivery.done(Reply(delivery.request.id, "", "test")))
        delivery.text("too late")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return recorder, won


def test_of_many_ends_at_once_exactly_one_is_heard_and_nothing_after() -> None:
    for _ in range(50):
        recorder, won = race()
        assert won.count(True) == 1
        assert len(recorder.replies) + len(recorder.errors) == 1
        assert recorder.after_end == []
        assert "too late" not in recorder.pieces


def test_a_listener_that_raises_is_counted_and_still_hears_the_end() -> None:
    class Clumsy(Recorder):
        def on_text(self, request_id: int, text: str) -> None:
            raise RuntimeError("clumsy")

    recorder = Clumsy()
    delivery = Delivery(request(), recorder)
    delivery.text("a")
    delivery.text("b")
    delivery.error(ModelError("end"))
    assert (delivery.faults, delivery.streamed) == (2, "ab")
    assert recorder.error.message == "end"


def test_a_listener_may_end_it_from_within() -> None:
    class Abrupt(Recorder):
        def on_text(self, request_id: int, text: str) -> None:
            super().on_text(request_id, text)
            delivery.error(ModelError("enough"))

    recorder = Abrupt()
    delivery = Delivery(request(), recorder)
    delivery.text("one")
    delivery.text("two")
    assert (recorder.pieces, recorder.error.message) == (["one"], "enough")
