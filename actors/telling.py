"""Calls those who listen, and lets none of them disturb the others."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pykka

from actors.admission import Telling
from actors.errors import MailboxFull

__all__ = ["Told", "told"]

logger = logging.getLogger(__name__)


class Told:
    """Calls listeners; one that raises is counted and changes nothing for the others."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def all(self, tellings: Iterable[Telling]) -> None:
        """Tell each listener its outcome."""
        for on_outcome, outcome in tellings:
            self.one(on_outcome, outcome)

    def one(self, listener: Callable[[Any], None] | None, value: Any) -> None:
        """Tell one listener, if there is one."""
        if listener is None:
            return
        try:
            listener(value)
        except Exception:
            self._counts["listener_failures"] += 1
            logger.warning("a listener failed", exc_info=True)


def told(ref: pykka.ActorRef[Any], message: object) -> bool:
    """Tell an actor; False when it is dead or its mailbox full."""
    with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
        ref.tell(message)
        return True
    return False
