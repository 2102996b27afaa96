"""A step has the right of way: others that run Python beside it wait outside while one is under way."""

from __future__ import annotations

import threading
from typing import Final

__all__ = ["RightOfWay"]

LONGEST_S: Final = 0.05
"""Others wait no longer than a tick's time, however long a step takes."""


class RightOfWay:
    """Claimed when a step is due, taken by the director for the step (`with`); `give_way` is for any other thread.

    One interpreter lock serves all threads. Whoever holds it while a step asks for it again, as the step does after each
    call into numpy, costs the step up to a switch interval, or all of a compiled loop; a step of 10 ms became
    one of 100. So the bridge does its work in slices, and looks before each whether a step is under way.
    """

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()

    def claim(self) -> None:
        """A step is due: whoever gives way waits from now on, so that it begins soon."""
        self._free.clear()

    def release(self) -> None:
        """The step is over, or won't be lived."""
        self._free.set()

    def __enter__(self) -> None:
        self.claim()

    def __exit__(self, *_exc: object) -> None:
        self.release()

    def give_way(self) -> None:
        """Wait until no step is due or under way, LONGEST_S at the most."""
        if not self._free.is_set():
            self._free.wait(LONGEST_S)
