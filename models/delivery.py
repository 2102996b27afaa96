"""One request's way back to its listener: in order, one end, and a listener's fault stays its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from models.errors import ModelError
from models.request import Listener, ModelRequest, Reply

_log = logging.getLogger("greenroom.models")


class Delivery:
    """Tells one listener about one request, from whichever thread learns something.

    After `done` or `error` nothing more is told; the call that came first wins and returns True.
    Calls from several threads follow one another; a listener may call back into the backend.
    """

    def __init__(self, request: ModelRequest, listener: Listener) -> None:
        self.request = request
        self.begun = time.monotonic()
        self.faults = 0
        self._listener = listener
        self._lock = threading.RLock()
        self._ended = False
        self._parts: list[str] = []
        self._first_text: float | None = None

    @property
    def ended(self) -> bool:
        """Whether the listener has heard the end."""
        return self._ended

    @property
    def streamed(self) -> str:
        """The text told so far."""
        return "".join(self._parts)

    @property
    def age_s(self) -> float:
        """Seconds since submission."""
        return time.monotonic() - self.begun

    @property
    def seconds_left(self) -> float:
        """Seconds until the request's deadline; negative once it is late."""
        return self.request.deadline_s - self.age_s

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
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            self._call(lambda: self._listener.on_done(reply))
            return True

    def error(self, error: ModelError) -> bool:
        """Tell an error and end."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            self._call(lambda: self._listener.on_error(self.request.id, error))
            return True

    def _call(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            # The thread that tells this listener tells all the others too.
            self.faults += 1
            _log.exception("a listener raised")
