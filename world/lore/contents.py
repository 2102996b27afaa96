"""What a vector store holds, in memory: no lock, no file of its own, every change one method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from world.errors import VectorsDamaged
from world.lore import files, index, merge
from world.lore.attributes import Key, Labels, Meta, Vectors
from world.lore.files import Manifest, SegmentEntry
from world.lore.index import Index
from world.lore.segments import Segment, Tail, View, open_segment

_PUT, _DELETE = 0, 1


class Contents:
    """Rows by key. `serial` is that of the last record applied, `frozen` of the last one frozen."""

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self.tail = Tail(dims)
        self.segments: tuple[Segment, ...] = ()
        self.labels = Labels()
        self.serial = self.frozen = 0
        self._serials: dict[Key, int] = {}
        self._killed: list[int] | None = None

    def __len__(self) -> int:
        return len(self._serials)

    def __contains__(self, key: object) -> bool:
        return key in self._serials

    @property
    def merging(self) -> bool:
        return self._killed is not None

    def load(self, folder: Path, manifest: Manifest) -> int:
        """Take in what the manifest names; how many indexes were damaged. Raises `VectorsDamaged`."""
        lost = 0
        segments = []
        for entry in manifest.segments:
            found = None
            if entry.index and index.available():
                if all(files.intact(folder, file) for file in entry.index):
                    found = self._index(folder, entry)
                else:
                    lost += 1
            segments.append(open_segment(folder, entry, self.dims, self.labels, found))
        self.segments = tuple(segments)
        for one in segments:
            for row in np.flatnonzero(one.alive).tolist():
                self._serials[one.keys[row]] = int(one.serials[row])
        self.serial = self.frozen = manifest.serial
        return lost

    def _index(self, folder: Path, entry: SegmentEntry) -> Index:
        trees, links = (folder / file.name for file in entry.index)
        return Index(trees, links, rows=entry.rows, dims=self.dims)

    def replay(self, serial: int, record: bytes) -> None:
        """Apply a record of the log, unless it is frozen already. Raises `VectorsDamaged`."""
        if serial <= self.serial:
            return
        if serial != self.serial + 1:
            raise VectorsDamaged(f"the log of vectors lacks the record {self.serial + 1}")
        match _unpacked(record):
            case [int(op), key, str(source), str(holder), int(time), bytes(data)] if (
                op == _PUT and len(data) == 4 * self.dims
            ):
                self.put(key, np.frombuffer(data, "<f4"), Meta(source, holder, time))
            case [int(op), key] if op == _DELETE:
                self.delete(key)
            case _:
                raise VectorsDamaged(f"the record {serial} of the log of vectors makes no sense")

    def put(self, key: Key, vector: Vectors, meta: Meta) -> None:
        """Store or replace. Raises `LimitError` when there are too many different texts."""
        source, holder = self.labels.code(meta.source), self.labels.code(meta.holder)
        old = self._serials.get(key)
        if old is not None:
            self._kill(old)
        self.serial += 1
        self._serials[key] = self.serial
        self.tail.add(self.serial, key, vector, source, holder, meta.time)

    def delete(self, key: Key) -> None:
        """Forget a key, if it is there."""
        self.serial += 1
        if (gone := self._serials.pop(key, None)) is not None:
            self._kill(gone)

    def get(self, key: Key) -> tuple[Vectors, Meta] | None:
        """A copy of a key's vector, and its attributes."""
        serial = self._serials.get(key)
        if serial is None:
            return None
        for part in (self.tail, *self.segments):
            if (row := part.find(serial)) >= 0:
                source, holder, time = (int(column[row]) for column in part.columns)
                texts = self.labels.texts
                return np.array(part.vectors[row]), Meta(texts[source], texts[holder], time)
        raise VectorsDamaged(f"no row holds {key!r}")

    def views(self) -> list[View]:
        """Every row as it is now."""
        return [self.tail.view(), *(one.view(one.index) for one in self.segments)]

    def begin_merge(
        self, *, fanout: float, dead_share: float, lacks_index: Sequence[Segment]
    ) -> merge.Plan:
        """Choose what is merged, and from now on note which rows go."""
        taken = merge.chosen(
            self.segments,
            self.tail.live,
            fanout=fanout,
            dead_share=dead_share,
            lacks_index=lacks_index,
        )
        self._killed = []
        return merge.Plan(
            serial=self.serial,
            tail_rows=self.tail.count,
            views=(self.tail.view(), *(one.view() for one in taken)),
            merged=tuple(taken),
            kept=tuple(
                merge.Kept(one, one.view().alive) for one in self.segments if one not in taken
            ),
        )

    def end_merge(self, plan: merge.Plan, made: Segment | None) -> None:
        """Swap the new segment in; rows that went meanwhile are gone in it too."""
        fresh = () if made is None else (made,)
        for serial in self._killed or ():
            for one in fresh:
                one.kill(serial)
        self.segments = (*(one.segment for one in plan.kept), *fresh)
        self.tail = self.tail.after(plan.tail_rows)
        self.frozen = plan.serial
        self._killed = None

    def give_up_merge(self) -> None:
        """Leave all as it is."""
        self._killed = None

    def _kill(self, serial: int) -> None:
        for part in (self.tail, *self.segments):
            if part.kill(serial):
                break
        if self._killed is not None:
            self._killed.append(serial)


def put_record(key: Key, vector: Vectors, meta: Meta) -> bytes:
    """The log's record of a put."""
    data = vector.astype("<f4", copy=False).tobytes()
    packed: bytes = msgpack.packb([_PUT, key, meta.source, meta.holder, meta.time, data])
    return packed


def delete_record(key: Key) -> bytes:
    """The log's record of a delete."""
    packed: bytes = msgpack.packb([_DELETE, key])
    return packed


def _unpacked(record: bytes) -> Any:
    try:
        return msgpack.unpackb(record, raw=False)
    except (ValueError, msgpack.UnpackException):
        return None
