"""Vectors found by likeness as soon as they are stored: frozen segments, an exact tail, a log.

What is put goes to the log (see `journal.py`) and to the tail, an array searched exactly. When the
tail passes a bound, a thread writes it and the smaller segments as a new segment, has it indexed
in a child process (Annoy's trees, and links between near rows), and swaps it in; the manifest, replaced whole, then says from where on the log is
needed. So a death at any instant leaves the old state or the new, and all that `sync` has confirmed.

The log is in files of its own unless a `Journal` is handed in, such as one over the world's database.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from foundation.errors import LimitError
from world.errors import StorageError, VectorError
from world.lore import files, index
from world.lore import merge as merging
from world.lore.attributes import Key, Meta, Vectors, Where, checked_key, checked_meta, unit
from world.lore.background import Background
from world.lore.contents import Contents, delete_record, put_record
from world.lore.files import Manifest
from world.lore.index import Builder, ChildBuilder
from world.lore.journal import FileJournal, Journal
from world.lore.nearest import allowed, nearest
from world.lore.segments import Segment
from world.store.lock import WorldLock

__all__ = ["Hit", "Journal", "Key", "Meta", "VectorOptions", "VectorStore", "Where"]

MAX_K = 1000
MAX_DIMS = 8192
_RECORDS_A_ROW = 4
"""The log may hold this many records a row of a full tail before it is merged for its length."""


class Hit(NamedTuple):
    """A vector that was found; `score` is its cosine with the query, -1 to 1."""

    key: Key
    score: float


@dataclass(frozen=True, slots=True)
class VectorOptions:
    """Bounds and tuning.

    `tail_rows`: a merge begins. `tail_limit`: a put is refused with a retryable `LimitError`.
    `vectors`: as many at the most. `exact_rows`: a segment of no more has no index. `trees` and
    `links` (neighbours noted for each row) make an index; a search looks at about `effort` rows by
    the trees, and at the links of the best `beam`: more of any finds more and costs more. `fanout`
    and `dead_share`: see `merge.chosen`.
    """

    tail_rows: int = 4096
    tail_limit: int = 65_536
    vectors: int = 1_000_000
    exact_rows: int = 8192
    trees: int = 16
    links: int = 24
    effort: int = 3600
    beam: int = 48
    fanout: float = 2.0
    dead_share: float = 0.3


class VectorStore:
    """Vectors by key. Any thread may call any method; none waits for a merge but `merge` itself."""

    def __init__(
        self,
        folder: str | Path,
        dims: int,
        *,
        options: VectorOptions | None = None,
        journal: Journal | None = None,
        builder: Builder | None = None,
    ) -> None:
        """Open the folder, or make it, for vectors of `dims` numbers.

        Raises `VectorError` when it holds other dimensions, `VectorsDamaged` when what it holds is
        not as it was written, `WorldBusy` when another process has it, `StorageError` otherwise. A
        damaged index is made again; a torn end of the log, never confirmed, is cut off.
        """
        if not 1 <= dims <= MAX_DIMS:
            raise VectorError(f"vectors of {dims} dimensions", f"use 1 to {MAX_DIMS}")
        self.folder = Path(folder)
        self.dims = dims
        self._options = options or VectorOptions()
        self._builder: Builder = builder or ChildBuilder()
        self._can_index = index.available()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._contents = Contents(dims)
        self._index_error = ""
        self._closed = False
        self.folder.mkdir(parents=True, exist_ok=True)
        self._held = WorldLock(self.folder / files.LOCK)
        try:
            self._load()
            self._journal: Journal = journal or FileJournal(self.folder)
            for serial, record in self._journal.records(self._contents.frozen):
                self._contents.replay(serial, record)
        except BaseException:
            self._held.release()
            raise
        self._background = Background(self._merge, "vectors-merge")
        if self._due() or self._lacks_index():
            self._background.ask()

    def put(self, key: Key, vector: object, meta: Meta | None = None) -> None:
        """Store or replace a vector, float32[dims] of any length but 0; found by the next search.

        Durable once a `sync` begun afterwards has returned. Raises `VectorError` for what can't be
        stored, `LimitError` at a bound, `StorageError` when the log can't be written; the store is
        then as before.
        """
        self._put(key, self._one(vector), meta or Meta())

    def put_many(
        self, keys: Sequence[Key], vectors: object, metas: Sequence[Meta] | None = None
    ) -> None:
        """Put each of `vectors`, float32[n, dims]. Where one is refused those before it are stored."""
        rows = unit(vectors, self.dims)
        given = metas if metas is not None else [Meta()] * len(keys)
        if rows.ndim != 2 or not len(rows) == len(keys) == len(given):
            raise VectorError(
                f"{len(keys)} keys, {len(given)} metas and vectors of shape {list(rows.shape)}",
                "give one of each",
            )
        for key, row, meta in zip(keys, rows, given, strict=True):
            self._put(key, row, meta)

    def delete(self, key: Key) -> bool:
        """Forget a vector; whether there was one. No later search finds it."""
        key = checked_key(key)
        with self._lock:
            self._check_open()
            if key not in self._contents:
                return False
            self._journal.append(self._contents.serial + 1, delete_record(key))
            self._contents.delete(key)
            self._counts["deletes"] += 1
            due = self._due()
        if due and not self._background.busy:
            self._background.ask()
        return True

    def search(self, vector: object, k: int = 5, where: Where | None = None) -> list[Hit]:
        """The k stored vectors of highest cosine that pass the filter, best first.

        Exact in the tail and in small segments, approximate in indexed ones, exact there too where
        the filter lets few through. Fewer than k only when no more pass. Raises `VectorError`.
        """
        return self._search(self._one(vector)[None], k, where)[0]

    def search_many(
        self, vectors: object, k: int = 5, where: Where | None = None
    ) -> list[list[Hit]]:
        """`search` for each of float32[q, dims], over one and the same state of the store."""
        return self._search(unit(vectors, self.dims).reshape(-1, self.dims), k, where)

    def get(self, key: Key) -> tuple[Vectors, Meta] | None:
        """A copy of the unit vector stored under a key, float32[dims], and its attributes."""
        with self._lock:
            self._check_open()
            return self._contents.get(checked_key(key))

    def __len__(self) -> int:
        return len(self._contents)

    def __contains__(self, key: object) -> bool:
        return key in self._contents

    def sync(self) -> None:
        """Make durable what was put and deleted before. Raises `StorageError`."""
        self._check_open()
        self._journal.sync()

    def merge(self, timeout_s: float) -> bool:
        """Freeze what is in the tail now; whether that was done in time. It goes on if it was not."""
        self._check_open()
        return self._background.run(timeout_s)

    def status(self) -> dict[str, object]:
        """Plain values for metrics; `index_error` and `merge_error` are empty when all is well."""
        with self._lock:
            contents = self._contents
            return {
                "vectors": len(contents),
                "limit": self._options.vectors,
                "dims": self.dims,
                "tail": contents.tail.live,
                "tail_rows": contents.tail.count,
                "tail_limit": self._options.tail_limit,
                "segments": [
                    {"rows": one.count, "live": one.live, "indexed": one.index is not None}
                    for one in contents.segments
                ],
                "bytes": sum(file.size for one in contents.segments for file in one.entry.files()),
                "labels": len(contents.labels),
                "changes": contents.serial,
                "index": "annoy" if self._can_index else "none: annoy is not installed",
                "index_error": self._index_error,
                "merging": contents.merging,
                "merges": self._background.runs,
                "merge_failures": self._background.failures,
                "merge_error": self._background.error,
                **{name: self._counts[name] for name in _COUNTED},
                "journal": self._journal.status(),
            }

    def close(self) -> None:
        """Sync and let go. A merge under way is given up; its rows are in the log."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._background.close(self._builder.stop)
        try:
            self._journal.close()
        finally:
            self._held.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StorageError(f"the vectors in {self.folder} were closed")

    def _one(self, vector: object) -> Vectors:
        made = unit(vector, self.dims)
        if made.ndim != 1:
            raise VectorError(
                f"{len(made)} vectors where one is asked for", "use put_many or search_many"
            )
        return made

    def _put(self, key: Key, vector: Vectors, meta: Meta) -> None:
        key, meta = checked_key(key), checked_meta(meta)
        record = put_record(key, vector, meta)
        with self._lock:
            self._check_open()
            self._check_room(key)
            for text in (meta.source, meta.holder):
                self._contents.labels.code(text)
            self._journal.append(self._contents.serial + 1, record)
            self._contents.put(key, vector, meta)
            self._counts["puts"] += 1
            due = self._due()
        if due and not self._background.busy:
            self._background.ask()

    def _check_room(self, key: Key) -> None:
        waiting, held = self._contents.tail.count, len(self._contents)
        if waiting >= self._options.tail_limit:
            self._counts["refused"] += 1
            raise LimitError(
                f"{waiting:,} vectors wait to be merged",
                "try again when the merge has ended; status() tells why if it does not",
            )
        if held >= self._options.vectors and key not in self._contents:
            self._counts["refused"] += 1
            raise LimitError(
                f"the store holds {held:,} vectors, as many as it may",
                "delete what is no longer needed, or raise the bound",
            )

    def _due(self) -> bool:
        log = self._contents.serial - self._contents.frozen
        most = self._options.tail_rows
        return self._contents.tail.count >= most or log >= _RECORDS_A_ROW * most

    def _lacks_index(self) -> list[Segment]:
        return [
            one
            for one in self._contents.segments
            if self._can_index and one.index is None and one.count > self._options.exact_rows
        ]

    def _search(self, queries: Vectors, k: int, where: Where | None) -> list[list[Hit]]:
        if not 1 <= k <= MAX_K:
            raise VectorError(f"{k} neighbours asked for", f"ask for 1 to {MAX_K}")
        with self._lock:
            self._check_open()
            views = self._contents.views()
        parts = [(view, allowed(view, where, self._contents.labels)) for view in views]
        answers = []
        exact = widened = 0
        effort, beam = self._options.effort, self._options.beam
        for query in queries:
            hits: list[Hit] = []
            for view, may in parts:
                rows, scores, tally = nearest(view, may, query, k, effort, beam)
                hits += map(Hit, (view.keys[row] for row in rows.tolist()), scores.tolist())
                exact += tally.exact
                widened += tally.widened
            hits.sort(key=lambda hit: -hit.score)
            answers.append(hits[:k])
        with self._lock:
            self._counts["searches"] += len(queries)
            self._counts["exact_scans"] += exact
            self._counts["widened"] += widened
        return answers

    def _load(self) -> None:
        manifest = files.read_manifest(self.folder)
        files.sweep(self.folder, manifest)
        if manifest is None:
            files.write_manifest(self.folder, Manifest(self.dims, 0, ()))
            return
        if manifest.dims != self.dims:
            raise VectorError(
                f"{self.folder} holds vectors of {manifest.dims} dimensions, not {self.dims}",
                "use the embedder it was made with, or another folder, and embed the texts again",
            )
        self._counts["indexes_lost"] += self._contents.load(self.folder, manifest)

    def _merge(self) -> None:
        with self._lock:
            plan = self._contents.begin_merge(
                fanout=self._options.fanout,
                dead_share=self._options.dead_share,
                lacks_index=self._lacks_index(),
            )
        try:
            indexed = self._can_index and plan.rows > self._options.exact_rows
            made = merging.freeze(
                self.folder,
                plan,
                self._contents.labels,
                builder=self._builder if indexed else None,
                trees=self._options.trees,
                links=self._options.links,
            )
            segment = made.segment if made is not None else None
            self._publish(plan, segment)
            with self._lock:
                self._contents.end_merge(plan, segment)
                self._index_error = made.index_error if made is not None else ""
        except BaseException:
            with self._lock:
                self._contents.give_up_merge()
            raise
        self._journal.trim(plan.serial)
        for one in plan.merged:
            merging.discard(self.folder, one.entry)

    def _publish(self, plan: merging.Plan, made: Segment | None) -> None:
        """Write the manifest; where that fails the new segment's files go, unless it names them."""
        entries = [one.entry() for one in plan.kept]
        if made is not None:
            entries.append(made.entry)
        try:
            if self._closed:
                raise StorageError("closed before the merge had ended")
            files.write_manifest(self.folder, Manifest(self.dims, plan.serial, tuple(entries)))
        except StorageError:
            named = files.read_manifest(self.folder)
            if made is not None and (named is None or made.entry not in named.segments):
                merging.discard(self.folder, made.entry)
            raise


_COUNTED = ("puts", "deletes", "searches", "exact_scans", "widened", "refused", "indexes_lost")
