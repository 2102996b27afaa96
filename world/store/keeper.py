"""Which checkpoints are kept: entered when durable, let go past the bound, the journal trimmed behind them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import lmdb

import world.store.checkpoints as checkpoints
from world.moment import Moment
from world.store.copies import link_or_copy
from world.store.layout import (
    CHECKPOINTS_NAME,
    Databases,
    key_number,
    number_key,
    sync_directory,
)
from world.store.options import StoreOptions
from world.store.reader import Reader
from world.store.records import CheckpointInfo

TRIM_SLICE = 2000
"""Records deleted in one transaction when the journal is trimmed."""


class Keeper:
    """The checkpoints of one world. Its generators run on the storage thread, a slice at a time."""

    def __init__(
        self, path: Path, env: lmdb.Environment, dbs: Databases, options: StoreOptions
    ) -> None:
        self._folder = path / CHECKPOINTS_NAME
        self._env = env
        self._dbs = dbs
        self._options = options
        self._lock = threading.Lock()
        self._pins = 0
        self._leaving: list[Path] = []

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """Let no file go meanwhile: somebody copies those that an index names."""
        with self._lock:
            self._pins += 1
        try:
            yield
        finally:
            with self._lock:
                self._pins -= 1
                leaving, self._leaving = (
                    (self._leaving, []) if not self._pins else ([], self._leaving)
                )
            for path in leaving:
                path.unlink(missing_ok=True)

    def sweep(self, reader: Reader) -> None:
        """Remove files that no entry names: not entered yet, or let go, when a process died."""
        known = {info.name for info in reader.checkpoints()}
        for file in self._folder.iterdir():
            if file.is_file() and file.name not in known:
                file.unlink()

    def write(
        self,
        frozen: checkpoints.Frozen | Moment,
        info: CheckpointInfo,
        give_way: Callable[[], None],
    ) -> Generator[None, None, None]:
        """Write the file, enter it, let go what is past the bound, trim the journal behind the oldest.

        A moment is frozen here first; `give_way` is called before each slice of what Python does. Killed in
        between, the world stands as before, but for a file that `sweep` removes.
        """
        if isinstance(frozen, Moment):
            frozen = yield from _freezing(frozen, give_way)
        path = self.free_name(info)
        digests: list[bytes] = []
        yield from checkpoints.write(path, frozen, self._options.slice_bytes, digests.append)
        try:
            replaced, evicted, oldest = self._enter(
                replace(info, name=path.name, size=frozen.size, digest=digests[0])
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        for old in replaced + evicted:
            self.remove(old)
        yield
        if evicted:
            yield from self._trim(oldest)

    def borrow(self, source: Reader) -> list[CheckpointInfo]:
        """Link the checkpoints of another folder into this one; their entries, for this world's index.

        Until they are entered, `sweep` removes them. Raises `CheckpointDamaged` for one that is missing.
        """
        entries: list[CheckpointInfo] = []
        for info in source.checkpoints():
            path = self.free_name(info)
            try:
                link_or_copy(source.path / CHECKPOINTS_NAME / info.name, path)
            except OSError as error:
                self.discard(entries)
                raise checkpoints.CheckpointDamaged(
                    f"{info.name} of {source.path} can't be had: {error.strerror}"
                ) from error
            entries.append(replace(info, name=path.name))
        sync_directory(self._folder)
        return entries

    def discard(self, entries: Iterable[CheckpointInfo]) -> None:
        """Let files go that no index names."""
        for entry in entries:
            (self._folder / entry.name).unlink(missing_ok=True)

    def remove(self, info: CheckpointInfo) -> None:
        """Delete the file of an entry that is gone, now or when it is pinned no more."""
        path = self._folder / info.name
        with self._lock:
            if self._pins:
                self._leaving.append(path)
                return
        path.unlink(missing_ok=True)

    def free_name(self, info: CheckpointInfo) -> Path:
        """Where a file for the entry can be put."""
        stem = f"{info.tick:016d}-{info.epoch}"
        path, n = self._folder / f"{stem}.ckpt", 1
        while path.exists():
            n += 1
            path = self._folder / f"{stem}-{n}.ckpt"
        return path

    def _enter(
        self, entry: CheckpointInfo
    ) -> tuple[list[CheckpointInfo], list[CheckpointInfo], int]:
        """Index the entry; what it replaced, what it pushed out, and the oldest tick kept."""
        db = self._dbs.checkpoints
        with self._env.begin(write=True) as txn:
            with txn.cursor(db) as cursor:
                kept = {key_number(key): CheckpointInfo.unpack(value) for key, value in cursor}
            replaced = [kept[entry.tick]] if entry.tick in kept else []
            kept[entry.tick] = entry
            txn.put(number_key(entry.tick), entry.pack(), db=db)
            evicted = [kept.pop(tick) for tick in sorted(kept)[: -self._options.keep_checkpoints]]
            for old in evicted:
                txn.delete(number_key(old.tick), db=db)
        return replaced, evicted, min(kept)

    def _trim(self, oldest: int) -> Generator[None, None, None]:
        while True:
            with self._env.begin(write=True) as txn, txn.cursor(self._dbs.journal) as cursor:
                for _ in range(TRIM_SLICE):
                    if not cursor.first() or key_number(cursor.key()) > oldest:
                        return
                    cursor.delete()
            yield


def _freezing(
    moment: Moment, give_way: Callable[[], None]
) -> Generator[None, None, checkpoints.Frozen]:
    give_way()
    work = checkpoints.freezing(moment.state())
    while True:
        give_way()
        try:
            next(work)
        except StopIteration as done:
            frozen: checkpoints.Frozen = done.value
            return frozen
        yield
