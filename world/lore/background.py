"""One job run again and again on a thread of its own: asked for, retried with backoff, waited for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

_log = logging.getLogger("greenroom.world")

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 300.0


class Background:
    """Runs `work` each time it was asked for; asking while it runs has it run once more.

    After a failure it waits 1 s, twice as long each time up to 5 minutes, before it tries again.
    """

    def __init__(self, work: Callable[[], None], name: str) -> None:
        self._work = work
        self._name = name
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._asked = self._answered = 0
        self._hurried = False
        self._closed = False
        self.runs = 0
        self.failures = 0
        self.error = ""

    def ask(self) -> None:
        """Have it run; returns at once."""
        with self._wake:
            self._ask()

    def run(self, timeout_s: float) -> bool:
        """Have it run now and wait for the end; whether it went well in that time."""
        with self._wake:
            runs, failures = self.runs, self.failures
            self._hurried = True
            ticket = self._ask()
            self._wake.wait_for(
                lambda: self._answered >= ticket or self.failures > failures or self._closed,
                timeout_s,
            )
            return self._answered >= ticket and self.runs > runs

    def close(self, interrupt: Callable[[], None]) -> None:
        """Begin nothing more, `interrupt` what is under way, and wait for its end."""
        with self._wake:
            self._closed = True
            self._wake.notify_all()
            thread = self._thread
        interrupt()
        if thread is not None:
            thread.join()

    @property
    def busy(self) -> bool:
        """Whether something is under way or asked for."""
        return self._asked > self._answered

    def _ask(self) -> int:
        if not self._closed:
            self._asked += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._wake.notify_all()
        return self._asked

    def _run(self) -> None:
        pause = 0.0
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closed or self._asked > self._answered)
                self._wake.wait_for(lambda: self._closed or self._hurried, pause)
                if self._closed:
                    return
                ticket, self._hurried = self._asked, False
            error = self._try()
            with self._wake:
                if error is None:
                    self.runs += 1
                    self._answered, pause, self.error = ticket, 0.0, ""
                else:
                    self.failures += 1
                    self.error = str(error)
                    pause = min(max(FIRST_PAUSE_S, 2 * pause), LONGEST_PAUSE_S)
                self._wake.notify_all()

    def _try(self) -> Exception | None:
        try:
            self._work()
        except Exception as error:
            if not self._closed:
                _log.exception("%s failed", self._name)
            return error
        return None
