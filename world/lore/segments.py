"""Where vectors lie in memory: the tail that grows, and the frozen segments behind it.

Both look alike to a search: rows with a vector, a serial (the number of the put that made them, in
rising order), a key and attributes; `alive` is false for what was replaced or deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from world.errors import VectorsDamaged
from world.lore import files
from world.lore.attributes import Columns, Key, Labels, Vectors
from world.lore.files import SegmentEntry
from world.lore.index import Index

Mask = NDArray[np.bool_]
KEYS_PACKED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Rows that no longer change. `keys` may run on past them."""

    vectors: Vectors
    alive: Mask
    serials: NDArray[np.int64]
    columns: Columns
    keys: list[Key]
    live: int
    index: Index | None


class Rows:
    """The rows of the tail or of a segment. `count` of them are in use; rows are written once."""

    def __init__(
        self, vectors: Vectors, serials: NDArray[np.int64], keys: list[Key], columns: Columns
    ) -> None:
        self.vectors = vectors
        self.serials = serials
        self.keys = keys
        self.columns = columns
        self.alive: Mask = np.ones(len(serials), dtype=np.bool_)
        self.count = len(serials)
        self.dead = 0
        self._alive_is_shared = False

    @property
    def live(self) -> int:
        return self.count - self.dead

    def view(self, index: Index | None = None) -> View:
        """The rows as they are now, whatever is put or deleted later."""
        self._alive_is_shared = True
        count = self.count
        return View(
            self.vectors[:count],
            self.alive[:count],
            self.serials[:count],
            self.columns.take(slice(count)),
            self.keys,
            count - self.dead,
            index,
        )

    def find(self, serial: int) -> int:
        """The row of a serial, -1 when it is not here."""
        row = int(np.searchsorted(self.serials[: self.count], serial))
        return row if row < self.count and self.serials[row] == serial else -1

    def kill(self, serial: int) -> bool:
        """Mark a row as gone; whether it was here and alive."""
        row = self.find(serial)
        if row < 0 or not self.alive[row]:
            return False
        if self._alive_is_shared:
            self.alive = self.alive.copy()
            self._alive_is_shared = False
        self.alive[row] = False
        self.dead += 1
        return True


class Tail(Rows):
    """What is new: rows in arrays that double, searched exactly."""

    def __init__(self, dims: int) -> None:
        room = 64
        super().__init__(
            np.zeros((room, dims), np.float32), np.zeros(room, np.int64), [], Columns.empty(room)
        )
        self.count = 0

    def add(
        self, serial: int, key: Key, vector: Vectors, source: int, holder: int, time: int
    ) -> None:
        """Append a row; `vector` is float32[dims] of unit length."""
        row = self.count
        if row == len(self.serials):
            self._double()
        self.vectors[row] = vector
        self.serials[row] = serial
        self.columns.source[row] = source
        self.columns.holder[row] = holder
        self.columns.time[row] = time
        self.keys.append(key)
        self.count = row + 1

    def after(self, row: int) -> Tail:
        """A tail of the living rows from `row` on."""
        rest = Tail(self.vectors.shape[1])
        kept = row + np.flatnonzero(self.alive[row : self.count])
        rest.vectors = np.concatenate([self.vectors[kept], rest.vectors])
        rest.serials = np.concatenate([self.serials[kept], rest.serials])
        taken, room = self.columns.take(kept), rest.columns
        rest.columns = Columns(
            np.concatenate([taken.source, room.source]),
            np.concatenate([taken.holder, room.holder]),
            np.concatenate([taken.time, room.time]),
        )
        rest.alive = np.ones(len(rest.serials), dtype=np.bool_)
        rest.keys = [self.keys[n] for n in kept.tolist()]
        rest.count = len(kept)
        return rest

    def _double(self) -> None:
        # new arrays, not resized ones: a search under way still reads the old
        def doubled(array: Any) -> Any:
            grown = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
            grown[: len(array)] = array
            return grown

        self.vectors = doubled(self.vectors)
        self.serials = doubled(self.serials)
        self.columns = Columns(*map(doubled, self.columns))
        self.alive = np.concatenate([self.alive, np.ones_like(self.alive)])


class Segment(Rows):
    """What is frozen: memory-mapped rows, with an index when they are many."""

    def __init__(
        self,
        entry: SegmentEntry,
        vectors: Vectors,
        serials: NDArray[np.int64],
        keys: list[Key],
        columns: Columns,
        index: Index | None,
    ) -> None:
        super().__init__(vectors, serials, keys, columns)
        self.entry = entry
        self.index = index


def table_of(
    serials: NDArray[np.int64], keys: list[Key], columns: Columns, labels: Labels
) -> dict[str, Any]:
    """A segment's rows but for the vectors, ready to be written. Only the labels in use are kept."""
    codes = np.unique(np.concatenate([columns.source, columns.holder]))
    return {
        "serials": serials,
        # in pieces, since packing one long list would hold the interpreter for its whole length
        "keys": [
            msgpack.packb(keys[n : n + KEYS_PACKED_AT_ONCE])
            for n in range(0, len(keys), KEYS_PACKED_AT_ONCE)
        ],
        "labels": [labels.texts[code] for code in codes.tolist()],
        "source": np.searchsorted(codes, columns.source).astype(np.int32),
        "holder": np.searchsorted(codes, columns.holder).astype(np.int32),
        "time": columns.time,
    }


def open_segment(
    folder: Path, entry: SegmentEntry, dims: int, labels: Labels, index: Index | None
) -> Segment:
    """A segment from its files. Raises `VectorsDamaged`."""
    path = files.check(folder, entry.vectors)
    table = files.read_table(folder, entry.table)
    keys: list[Key] = []
    for packed in table["keys"]:
        keys += msgpack.unpackb(packed)
    codes = np.array([labels.code(text) for text in table["labels"]], dtype=np.int32)
    columns = Columns(codes[table["source"]], codes[table["holder"]], table["time"])
    rows = entry.rows
    if entry.vectors.size != rows * dims * 4 or not (
        len(keys) == len(table["serials"]) == len(columns.time) == rows
    ):
        raise VectorsDamaged(f"{path} has not the {rows} rows of {dims} that the manifest tells")
    segment = Segment(
        entry, files.map_vectors(path, rows, dims), table["serials"], keys, columns, index
    )
    bits = np.unpackbits(np.frombuffer(entry.dead, np.uint8), count=rows).astype(np.bool_)
    segment.alive = ~bits
    segment.dead = int(bits.sum())
    return segment
