"""One request's way back to its listener: in order, one end, and a listener's fault stays its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from models.errors import ModelError
from models.request import Listener, ModelRequest, Reply

_log = logging.getLogger("greenroom.models")


class Asked(Protocol):
    """What any request says about itself."""

    @property
    def id(self) -> int: ...

    @property
    def deadline_s(self) -> float: ...


class Hears(Protocol):
    """What any listener hears when a request ends badly."""

    def on_error(self, request_id: int, error: ModelError) -> None: ...


class Ending:
    """Tells one listener the one end of one request, from whichever thread learns it.

    The call that came first wins and returns True. Calls from several threads follow one another; a
    listener may call back into the backend. `number` is what a child process knows it by (underway.py).
    """

    def __init__(self, request: Asked, listener: Hears) -> None:
        self.asked = request
        self.number = 0
        self.begun = time.monotonic()
        self.faults = 0
        self._hears = listener
        self._lock = threading.RLock()
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the listener has heard the end."""
        return self._ended

    @property
    def age_s(self) -> float:
        """Seconds since submission."""
        return time.monotonic() - self.begun

    @property
    def seconds_left(self) -> float:
        """Seconds until the request's deadline; negative once it is late."""
        return self.asked.deadline_s - self.age_s

    def error(self, error: ModelError) -> bool:
        """Tell an error and end."""
        return self._end(lambda: self._hears.on_error(self.asked.id, error))

    def _end(self, tell: Callable[[], None]) -> bool:
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            self._call(tell)
            return True

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            # The thread that tells this listener tells all the others too.
            self.faults += 1
            _log.exception("a listener raised")


class Delivery(Ending):
    """Tells one listener about one request for text; after its end nothing more is told."""

    def __init__(self, request: ModelRequest, listener: Listener) -> None:
        super().__init__(request, listener)
        self.request = request
        self._listener = listener
        self._parts: list[str] = []
        self._first_text: float | None = None

    @property
    def streamed(self) -> str:
        """The text told so far."""
        return "".join(self._parts)

    @property
    def first_text_s(self) -> float:
        """Seconds from submission to the first text, or until now when none came."""
        return (self._first_text or time.monotonic()) - self.begun

    def text(self, text: str) -> None:
        """Tell a piece of the reply."""
        with self._lock:
            if self._ended or not text:
                return
            if self._first_text is None:
                self._first_text = time.monotonic()
            self._parts.append(text)
            self._call(lambda: self._listener.on_text(self.request.id, text))

    def done(self, reply: Reply) -> bool:
        """Tell the whole reply and end."""
        return self._end(lambda: self._listener.on_done(reply))
