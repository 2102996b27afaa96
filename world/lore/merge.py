"""Merging: which rows are frozen next, and how they become a segment's files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from world.errors import StorageError
from world.lore import files
from world.lore.attributes import Columns, Key, Labels, Vectors
from world.lore.files import FileEntry, SegmentEntry
from world.lore.index import Builder, Index, IndexJob
from world.lore.segments import Mask, Segment, View, table_of

SLICE_ROWS = 256
"""Rows copied at once: a slice holds the interpreter for well under 1 ms."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A segment that stays, and which of its rows are gone as of the merge's serial."""

    segment: Segment
    alive: Mask

    def entry(self) -> SegmentEntry:
        """Its place in the manifest."""
        old = self.segment.entry
        return SegmentEntry(old.rows, old.vectors, old.table, old.index, packed(~self.alive))


@dataclass(frozen=True, slots=True)
class Plan:
    """What one merge does: `views` (the tail's rows and those of `merged`) become one segment."""

    serial: int
    tail_rows: int
    views: tuple[View, ...]
    merged: tuple[Segment, ...]
    kept: tuple[Kept, ...]

    @property
    def rows(self) -> int:
        """How many rows the new segment has."""
        return sum(view.live for view in self.views)


def chosen(
    segments: Sequence[Segment],
    fresh: int,
    *,
    fanout: float,
    dead_share: float,
    lacks_index: Sequence[Segment] = (),
) -> list[Segment]:
    """The segments that `fresh` new rows are merged with.

    From the smallest up, each that is at most `fanout` times what is gathered so far: so the sizes
    of those left at least multiply, they are few (at most log of the rows to that base), and a row
    is written again about as often. Also those with too many dead rows, or without their index.
    """
    taken = [
        one
        for one in segments
        if one in lacks_index or one.count == 0 or one.dead > dead_share * one.count
    ]
    gathered = fresh + sum(one.live for one in taken)
    for one in sorted(segments, key=lambda one: one.live):
        if one not in taken and one.live <= fanout * gathered:
            taken.append(one)
            gathered += one.live
    return taken


def packed(mask: Mask) -> bytes:
    """bool[n] as bits."""
    return np.packbits(mask).tobytes()


class _Gathered:
    """The living rows of several views, by rising serial."""

    def __init__(self, views: Sequence[View]) -> None:
        self._views = views
        rows = [np.flatnonzero(view.alive) for view in views]
        part = np.concatenate([np.full(len(one), n) for n, one in enumerate(rows)])
        row = np.concatenate(rows)
        serials = np.concatenate(
            [view.serials[one] for view, one in zip(views, rows, strict=True)]
        ).astype(np.int64)
        order = np.argsort(serials)
        self.serials: NDArray[np.int64] = serials[order]
        self._part: NDArray[np.int64] = part[order]
        self._row: NDArray[np.int64] = row[order]
        self.columns = Columns(
            *(
                np.concatenate(
                    [getattr(v.columns, name)[r] for v, r in zip(views, rows, strict=True)]
                )[order]
                for name in Columns._fields
            )
        )
        self.keys: list[Key] = [
            views[p].keys[r] for p, r in zip(self._part.tolist(), self._row.tolist(), strict=True)
        ]

    def slices(self) -> Iterator[Vectors]:
        """The vectors, a few rows at a time."""
        dims = self._views[0].vectors.shape[1]
        for first in range(0, len(self.serials), SLICE_ROWS):
            part = self._part[first : first + SLICE_ROWS]
            row = self._row[first : first + SLICE_ROWS]
            piece = np.empty((len(part), dims), dtype=np.float32)
            for n in np.unique(part):
                here = part == n
                piece[here] = self._views[n].vectors[row[here]]
            yield piece


@dataclass(frozen=True, slots=True)
class Frozen:
    """A new segment, and why it has no index where it should have one."""

    segment: Segment
    index_error: str


def freeze(
    folder: Path,
    plan: Plan,
    labels: Labels,
    *,
    builder: Builder | None,
    trees: int,
    links: int,
) -> Frozen | None:
    """Write the plan's rows as a segment; None when none of them lives. `builder` None: no index.

    Raises OSError and `StorageError` when the rows can't be written, and leaves nothing behind. An
    index that can't be built is no error: the segment is searched exactly until it is merged again.
    """
    rows = _Gathered(plan.views)
    count = len(rows.serials)
    if count == 0:
        return None
    # a name of its own for each try: a child of a dead process may still be writing
    name = f"seg-{plan.serial:016d}-{os.urandom(4).hex()}"
    dims = plan.views[0].vectors.shape[1]
    try:
        vectors = files.write_vectors(folder / f"{name}.vec", rows.slices())
        table = files.write_table(
            folder / f"{name}.rows", table_of(rows.serials, rows.keys, rows.columns, labels)
        )
        index: Index | None = None
        built: tuple[FileEntry, ...] = ()
        error = ""
        if builder is not None:
            job = IndexJob(
                folder / vectors.name,
                count,
                dims,
                trees,
                links,
                folder / f"{name}.ann",
                folder / f"{name}.nbr",
            )
            try:
                index, built = _indexed(builder, job)
            except (StorageError, OSError) as problem:
                error = str(problem)
                _remove(job.tree_file)
                _remove(job.link_file)
        entry = SegmentEntry(count, vectors, table, built, packed(np.zeros(count, np.bool_)))
        mapped = files.map_vectors(folder / vectors.name, count, dims)
    except BaseException:
        for suffix in ("vec", "rows", "ann", "nbr"):
            _remove(folder / f"{name}.{suffix}")
        raise
    segment = Segment(entry, mapped, rows.serials, rows.keys, rows.columns, index)
    return Frozen(segment, error)


def _indexed(builder: Builder, job: IndexJob) -> tuple[Index, tuple[FileEntry, ...]]:
    builder.build(job)
    entries = files.entry_of(job.tree_file), files.entry_of(job.link_file)
    return Index(job.tree_file, job.link_file, rows=job.rows, dims=job.dims), entries


def discard(folder: Path, entry: SegmentEntry) -> None:
    """Delete a segment's files as far as can be; what stays is swept when the store is opened again."""
    for file in entry.files():
        _remove(folder / file.name)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
