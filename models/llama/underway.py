"""The requests a child has been given and not answered yet: each ends once, whoever ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from models.delivery import Ending
from models.errors import (
    DeadlineExceeded,
    ModelDoesNotFit,
    ModelError,
    ModelFileError,
    ModelUnavailable,
    RequestRefused,
)

Pending = TypeVar("Pending", bound=Ending)

_DEADLINE_GRACE_S = 1.0
_ERRORS: dict[str, type[ModelError]] = {
    kind.code: kind
    for kind in (
        ModelError, ModelFileError, ModelDoesNotFit, ModelUnavailable, RequestRefused,
        DeadlineExceeded,
    )
}  # fmt: skip


def error_of(code: str, message: str, hint: str) -> ModelError:
    """The error that a child told of by its code; a plain ModelError for a code unknown here."""
    return _ERRORS.get(code, ModelError)(message, hint)


class UnderWay(Generic[Pending]):
    """Requests by number. `listener_faults` counts what their listeners raised.

    Numbers are never given twice, so that what a child still says about a request that was withdrawn is
    not taken for an answer to the same request asked anew.
    """

    def __init__(self) -> None:
        self.listener_faults = 0
        self._lock = threading.Lock()
        self._all: dict[int, Pending] = {}
        self._ids: set[int] = set()
        self._last = 0

    def __len__(self) -> int:
        return len(self._all)

    def add(self, pending: Pending, limit: int) -> ModelError | None:
        """Keep a request and number it; the reason when there are `limit` already, or one with its id."""
        with self._lock:
            if pending.asked.id in self._ids:
                return RequestRefused(f"request {pending.asked.id} is under way already")
            if len(self._all) >= limit:
                return RequestRefused(f"{limit} requests are under way already", "ask less often")
            self._last += 1
            pending.number = self._last
            self._all[pending.number] = pending
            self._ids.add(pending.asked.id)
            return None

    def find(self, number: int) -> Pending | None:
        """The request, unless it has ended."""
        with self._lock:
            return self._all.get(number)

    def end_well(self, pending: Pending, tell: Callable[[], object]) -> None:
        """Forget it, then tell its answer."""
        self._forget(pending)
        tell()
        self.listener_faults += pending.faults

    def end_with_error(self, pending: Pending, error: ModelError) -> None:
        """Forget it, then tell the error."""
        self.end_well(pending, lambda: pending.error(error))

    def end_by_event(self, pending: Pending, event: Sequence[Any]) -> None:
        """Tell the error of a child's event, `["error", number, code, message, hint]`."""
        code, message, hint = event[2:5]
        self.end_with_error(pending, error_of(code, message, hint))

    def end_late(self) -> None:
        """End those whose deadline has passed for so long that the child must have missed it."""
        for pending in self._list():
            if pending.seconds_left < -_DEADLINE_GRACE_S:
                self.end_with_error(
                    pending, DeadlineExceeded(f"no answer within {pending.asked.deadline_s:g} s")
                )

    def end_all(self, error: ModelError) -> None:
        """End every request with one error."""
        for pending in self._list():
            self.end_with_error(pending, error)

    def _list(self) -> list[Pending]:
        with self._lock:
            return list(self._all.values())

    def _forget(self, pending: Pending) -> None:
        with self._lock:
            if self._all.get(pending.number) is pending:
                del self._all[pending.number]
                self._ids.discard(pending.asked.id)
