"""Copies of an array in memory that is used again: for new memory the system takes longer than for the copying."""

from __future__ import annotations

import weakref
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

KEPT: Final = 2
"""Buffers that are kept: the last copy is still looked at when the next is made."""


class Buffers:
    """Copies of arrays of at most one shape.

    A copy refuses writing, for good. Its memory is used for another one when the last view of it is gone, so whoever
    needs a copy for longer just keeps it: where all buffers are being read, a new one takes the place of the
    oldest here, and that one stays its readers'.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.shape = shape
        self._dtype = dtype
        self._buffers: list[Buffer] = []

    def copy(self, source: NDArray[Any]) -> NDArray[Any]:
        """The array's values; no side of it may be longer than the buffers'."""
        buffer = self.take()
        np.copyto(buffer.memory[corner(source.shape)], source)
        return buffer.lend(source.shape)

    def take(self) -> Buffer:
        """One that nobody looks at; it has to be lent before the next is taken."""
        while len(self._buffers) < KEPT:
            # All at the first time: who makes one copy makes more, and later ones then take no time for it.
            self._buffers.append(Buffer(self.shape, self._dtype))
        buffer = next((one for one in self._buffers if one.free), None)
        if buffer is None:
            buffer = Buffer(self.shape, self._dtype)
            del self._buffers[0]
            self._buffers.append(buffer)
        return buffer


class Buffer:
    """Memory, and whoever still looks at what it was lent for."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.memory = np.empty(shape, dtype)
        # The system gives a page when it is first written.
        self.memory.fill(0)
        self._reader: weakref.ref[Any] | None = None

    @property
    def free(self) -> bool:
        """Whether the last view of it is gone."""
        return self._reader is None or self._reader() is None

    def lend(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Its corner of that shape, to be read by whoever gets it, for as long as they hold on to it."""
        # All views of this array, and views of those, hold on to it; numpy looks no farther for what they are of,
        # since the memory behind it is no array to it.
        reader: NDArray[Any] = np.asarray(self.memory.data.toreadonly())
        self._reader = weakref.ref(reader)
        return reader[corner(shape)]


def corner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The index of the first so many of each side."""
    return tuple(slice(side) for side in shape)
