"""Gives back to the system what the C library has kept of freed memory, while an engine has nothing to do.

Requests of all sizes leave holes in glibc's heap, which it keeps: after ten thousand of them a child held
85 MiB of them beside 53 in use, and a little more with each ten thousand.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

EVERY_S: Final = 5.0
"""The least time between two trims, each of which takes some milliseconds."""


def libc_trim() -> Callable[[], object] | None:
    """glibc's `malloc_trim`; None with another C library."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    # ctypes lets go of the GIL meanwhile.
    return lambda: trim(0)


class Heap:
    """Trims the heap of its process at a rest after work, `EVERY_S` apart."""

    def __init__(self, trim: Callable[[], object] | None = None) -> None:
        self._trim = trim if trim is not None else libc_trim()
        self._worked = False
        self._next = 0.0

    def worked(self) -> None:
        """Something was done since the last rest."""
        self._worked = True

    def rest(self, now: float) -> None:
        """There is nothing to do at `now` (seconds of a monotonic clock)."""
        if self._trim is not None and self._worked and now >= self._next:
            self._worked = False
            self._next = now + EVERY_S
            self._trim()
