"""The state's hash: a sum of scrambled parts modulo 2**64, so that it can follow changes.

Rows add up in any order, as a multiset; each row is hashed in two halves, since walking changes
only the hot columns. A changed cell, name or row costs its old and its new part, no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.entities import HOT, INDEX, NAMES, Columns
from world.kernels import mixing
from world.maths import MASK, Words, mix, mix_array

_HOT_INDEX: Final = np.array([INDEX[n] for n in HOT], dtype=np.intp)
_COLD_INDEX: Final = np.array([i for n, i in INDEX.items() if n not in HOT], dtype=np.intp)
_ID: Final = INDEX["id"]
_SALTS: Final[Words] = np.array([mix(0xC01D + i * 0x9E37) for i in range(len(NAMES))], np.uint64)
_HALF_SALT: Final = {"hot": np.uint64(mix(0xA)), "cold": np.uint64(mix(0xB))}


def _half(columns: Columns, rows: NDArray[np.intp], index: NDArray[np.intp], half: str) -> Words:
    out = np.empty(rows.size, dtype=np.uint64)
    mixing.rows(
        columns.data.view(np.uint64),
        rows.astype(np.int64),
        index,
        _SALTS,
        _ID,
        _HALF_SALT[half],
        out,
    )
    return out


def hot_hashes(columns: Columns, rows: NDArray[np.intp]) -> Words:
    """uint64 per row over id and the hot columns."""
    return _half(columns, rows, _HOT_INDEX, "hot")


def cold_hashes(columns: Columns, rows: NDArray[np.intp]) -> Words:
    """uint64 per row over id and the other columns."""
    return _half(columns, rows, _COLD_INDEX, "cold")


def total(words: Words) -> int:
    """The sum modulo 2**64 as a Python int."""
    return int(words.sum(dtype=np.uint64))


class RowHashes:
    """Follows a `Columns`: mark rows as they change, `fold()` when the sum is asked for.

    `folded_hot` and `folded_cold` flag the rows that changed up to the last fold, for whoever clears them: the frames.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._sum = 0
        self._hot: Words = np.zeros(0, np.uint64)
        self._cold: Words = np.zeros(0, np.uint64)
        self.folded_hot: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.folded_cold: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.hot_dirty: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.cold_dirty: NDArray[np.bool_] = np.zeros(0, np.bool_)
        self.grown()
        rows = columns.live_rows()
        self.hot_dirty[rows] = True
        self.cold_dirty[rows] = True

    def grown(self) -> None:
        """Follow the columns to their new capacity."""
        more = self._columns.capacity - len(self._hot)
        if more > 0:
            self._hot = np.pad(self._hot, (0, more))
            self._cold = np.pad(self._cold, (0, more))
            self.folded_hot = np.pad(self.folded_hot, (0, more))
            self.folded_cold = np.pad(self.folded_cold, (0, more))
            self.hot_dirty = np.pad(self.hot_dirty, (0, more))
            self.cold_dirty = np.pad(self.cold_dirty, (0, more))

    def removed(self, row: int) -> None:
        """Take a freed row's parts out at once."""
        self._sum = (self._sum - int(self._hot[row]) - int(self._cold[row])) & MASK
        self._hot[row] = self._cold[row] = 0
        self.hot_dirty[row] = self.cold_dirty[row] = False

    def fold(self) -> int:
        """The sum over all rows, brought up to date."""
        for dirty, kept, folded, make in (
            (self.hot_dirty, self._hot, self.folded_hot, hot_hashes),
            (self.cold_dirty, self._cold, self.folded_cold, cold_hashes),
        ):
            rows = dirty.nonzero()[0]
            if rows.size:
                new = make(self._columns, rows)
                self._sum = (self._sum + total(new) - total(kept[rows])) & MASK
                kept[rows] = new
                dirty[rows] = False
                folded[rows] = True
        return self._sum

    def of(self, rows: NDArray[np.intp]) -> int:
        """The part of the sum that is of these rows, as of the last fold."""
        return (total(self._hot[rows]) + total(self._cold[rows])) & MASK

    def full(self) -> int:
        """The same sum from nothing but the columns."""
        rows = self._columns.live_rows()
        return (
            total(hot_hashes(self._columns, rows)) + total(cold_hashes(self._columns, rows))
        ) & MASK


def cells_hash(indices: NDArray[np.int64], values: NDArray[np.uint8], salt: int) -> int:
    """Of some map cells: flat indices and their bytes."""
    words = indices.astype(np.uint64) * np.uint64(256) + values.astype(np.uint64)
    return total(mix_array(words ^ np.uint64(mix(salt))))


def map_hash(tiles: NDArray[np.uint8], salt: int) -> int:
    """`cells_hash` of every cell of a map."""
    return cells_hash(np.arange(tiles.size, dtype=np.int64), tiles.reshape(-1), salt)


def text_hash(key: int, text: str, salt: int) -> int:
    """Of one text that belongs to an entity or a key."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return mix(mix(key ^ mix(salt)) ^ int.from_bytes(digest, "little"))


def texts_hash(texts: Mapping[int, str], salt: int) -> int:
    """The sum of `text_hash` over a mapping."""
    return sum(text_hash(k, v, salt) for k, v in texts.items()) & MASK


def number_hash(key: str, value: int, salt: int) -> int:
    """Of one named number."""
    return mix(text_hash(0, key, salt) ^ (value & MASK))


def tuple_hash(values: Sequence[int], salt: int) -> int:
    """Of one tuple of numbers, as a member of a multiset."""
    word = mix(salt)
    for value in values:
        word = mix(word ^ (value & MASK)) + 1
    return mix(word)
