"""A debugger sees each kind of actor and the busiest actors: depth, rate, longest handler, errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.dispatch import Dispatcher, GreenActor
from actors.inspection import MOST_ROWS, SORTS
from actors.mailbox import MailboxSpec
from actors.supervision import ChildSpec, RestartPolicy, Supervisor, supervise
from foundation.errors import UsageError


class Miller(GreenActor):
    mailbox = MailboxSpec(limit=4)

    def on_receive(self, message: Any) -> None:
        if message == "dawdle":
            threading.Event().wait(0.003)
        if message == "boom":
            raise ValueError("the wheel broke")

    def grind(self) -> None:
        threading.Event().wait(0.004)


@pytest.fixture
def manual() -> Iterator[Dispatcher]:
    with Dispatcher(workers=0) as dispatcher:
        yield dispatcher


def test_a_row_tells_what_an_actor_did_and_what_waits_for_it(manual: Dispatcher) -> None:
    busy, idle = manual.start(Miller), manual.start(Miller)
    for message in ("dawdle", "x", "y"):
        busy.tell(message)
    manual.pump()
    busy.tell("z")
    seen = manual.inspect("handled")
    first, second = seen["actors"]
    assert (first["name"], second["name"]) == (str(busy), str(idle))
    assert (first["mailbox"], first["mailbox_max"], first["handled"]) == (1, 3, 3)
    assert first["longest_ms"] >= 3
    assert first["longest_handler"] == "str"
    assert first["rate"] > 0
    assert (second["mailbox_max"], second["handled"], second["rate"]) == (0, 0, 0)
    (kind,) = seen["kinds"]
    assert (kind["kind"], kind["alive"], kind["mailbox"], kind["handled"]) == ("Miller", 2, 1, 3)
    assert kind["slow"] == 1
    assert kind["rate"] == first["rate"]
    assert seen["alive"] == 2


def test_the_longest_handler_of_a_proxy_call_is_named_by_its_method(manual: Dispatcher) -> None:
    ref = manual.start(Miller)
    ref.proxy().grind().get()
    (row,) = manual.inspect()["actors"]
    assert row["longest_handler"] == "grind"


def test_errors_and_restarts_are_told_of_the_actor_that_had_them(manual: Dispatcher) -> None:
    boss = manual.start(Supervisor, "boss")
    at_once = RestartPolicy(backoff_s=0.0)
    for key in ("mill-1", "mill-2"):
        supervise(boss, ChildSpec(key, Miller, at_once), manual)
    manual.pump()
    ref = next(
        box.ref for box in manual._mailboxes if box.supervision and "2" in box.supervision[1]
    )
    ref.tell("boom")
    manual.pump()
    rows = {row["name"]: row for row in manual.inspect("restarts")["actors"]}
    assert next(iter(rows)) == "mill-2"
    assert (rows["mill-2"]["restarts"], rows["mill-1"]["restarts"]) == (1, 0)
    assert rows["mill-2"]["last_error"] == "ValueError: the wheel broke"
    assert rows["mill-1"]["last_error"] == ""


def test_an_error_that_went_to_its_asker_is_told_too(manual: Dispatcher) -> None:
    ref = manual.start(Miller)
    with pytest.raises(ValueError, match="wheel"):
        ref.ask("boom")
    assert manual.inspect()["actors"][0]["last_error"] == "ValueError: the wheel broke"


def test_a_rate_is_over_the_time_since_the_look_before(
    manual: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(manual._inspector, "_clock", lambda: now[0])
    manual._inspector._since = 98.0
    ref = manual.start(Miller)

    def handle(count: int) -> None:
        for _ in range(count):
            ref.tell("x")
            manual.pump()

    handle(10)
    seen = manual.inspect()
    assert (seen["over_s"], seen["actors"][0]["rate"], seen["kinds"][0]["rate"]) == (2.0, 5.0, 5.0)
    now[0] += 0.1  # too close: shares its span with the next
    handle(6)
    assert manual.inspect()["actors"][0]["rate"] == 60.0
    now[0] += 0.4
    handle(4)
    seen = manual.inspect()
    assert (seen["over_s"], seen["actors"][0]["rate"], seen["kinds"][0]["rate"]) == (
        0.5,
        20.0,
        20.0,
    )
    ref.stop()
    assert manual.inspect()["actors"] == []


@pytest.mark.parametrize("sort", SORTS)
def test_only_the_first_rows_are_told_in_an_order_that_is_settled(
    manual: Dispatcher, sort: Any
) -> None:
    for n in range(5):
        ref = manual.start(Miller)
        for _ in range(n % 3):
            ref.tell("x")
    manual.pump()
    every = manual.inspect(sort, 5)["actors"]
    names = [row["name"] for row in every]
    assert [row["name"] for row in manual.inspect(sort, 2)["actors"]] == names[:2]
    if sort == "handled":
        assert [row["handled"] for row in every] == [2, 1, 1, 0, 0]
    if sort == "name":
        assert names == sorted(names)


def test_what_can_not_be_told_is_refused_with_its_mend(manual: Dispatcher) -> None:
    with pytest.raises(UsageError, match="beauty"):
        manual.inspect("beauty")  # type: ignore[arg-type]
    for limit in (0, MOST_ROWS + 1):
        with pytest.raises(UsageError, match="rows"):
            manual.inspect("rate", limit)


def test_a_mailbox_that_refused_shows_its_bound_as_its_high_mark(manual: Dispatcher) -> None:
    ref = manual.start(Miller)
    for _ in range(4):
        ref.tell("x")
    with pytest.raises(Exception, match="holds its 4 messages"):
        ref.tell("x")
    (row,) = manual.inspect("mailbox")["actors"]
    assert (row["mailbox"], row["mailbox_max"], row["rejected"]) == (4, 4, 1)
