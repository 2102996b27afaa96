"""Cold branches of the prefix tree, kept in files: read back faster than their tokens are read again."""

from __future__ import annotations

import tempfile
from array import array
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO

import numpy as np
from numpy.typing import NDArray

from models.llama.tokens import common


@dataclass(frozen=True, slots=True, eq=False)
class Spilled:
    """The state of one sequence on disk."""

    adapter: str
    tokens: array[int]
    size: int
    file: IO[bytes]


class Spill:
    """States of evicted prefixes, `most_bytes` of them at most; the least recently used go first.

    The files have no names, so that nothing is left of them when the process is killed.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[int, Spilled] = OrderedDict()
        self._numbers = 0
        self.bytes = 0
        self.saved = 0
        self.restored = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def open(self) -> bool:
        """Whether anything may be kept at all."""
        return self._most > 0

    def keep(self, adapter: str, tokens: array[int], state: bytes) -> None:
        """Write a state down, unless it alone is over the bound or the disk refuses it."""
        if len(state) > self._most or self.longest(_row(tokens), adapter)[1] == len(tokens):
            return
        while self.bytes + len(state) > self._most:
            self._drop(next(iter(self._kept)))
        try:
            file = tempfile.TemporaryFile(prefix="greenroom-kv-")  # noqa: SIM115
            file.write(state)
            file.flush()
        except OSError:
            return
        self._numbers += 1
        self._kept[self._numbers] = Spilled(adapter, tokens[:], len(state), file)
        self.bytes += len(state)
        self.saved += 1

    def longest(self, tokens: NDArray[np.int32], adapter: str) -> tuple[int, int]:
        """(number, length) of the state that shares most with the beginning of `tokens`; (0, 0)."""
        best, length = 0, 0
        for number, each in self._kept.items():
            if each.adapter == adapter and len(each.tokens) > length:
                shared = common(each.tokens, tokens)
                if shared > length:
                    best, length = number, shared
        return best, length

    def tokens(self, number: int) -> array[int]:
        """All tokens of a state."""
        return self._kept[number].tokens

    def load(self, number: int) -> bytes:
        """Read a state back; b"" when the disk can't give it, and then it is forgotten."""
        each = self._kept[number]
        self._kept.move_to_end(number)
        try:
            each.file.seek(0)
            state = each.file.read()
        except OSError:
            state = b""
        if len(state) != each.size:
            self._drop(number)
            return b""
        self.restored += 1
        return state

    def close(self) -> None:
        """Forget everything."""
        for number in list(self._kept):
            self._drop(number)

    def _drop(self, number: int) -> None:
        gone = self._kept.pop(number)
        self.bytes -= gone.size
        gone.file.close()


def _row(tokens: array[int]) -> NDArray[np.int32]:
    return np.frombuffer(tokens, dtype=np.int32)
