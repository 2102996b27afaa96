"""What a world's folder holds, read: records checked link by link, checkpoints, turns, calls."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb
from pydantic import ValidationError

import world.store.checkpoints as checkpoints
from world.errors import StorageError
from world.store.layout import (
    CHECKPOINTS_NAME,
    DATA_NAME,
    HEAD_KEY,
    IDENTITY_KEY,
    LAYOUT,
    WORLD_KEY,
    Databases,
    check_layout,
    key_number,
    number_key,
    open_databases,
    open_env,
    pair_prefix,
    read_layout,
    unpack_head,
)
from world.store.records import (
    GENESIS,
    CheckpointInfo,
    Identity,
    JournalDamage,
    TickRecord,
    WorldMeta,
    link_of,
    split,
    unpack_value,
)

NONE_YET = -1
"""The tick before the first, as a last tick."""

CHUNK = 256
"""Records read in one transaction: a long one would keep the writer from re-using pages."""


class Gate:
    """Lets many read, or one grow the map: growing ends every open transaction."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._reading = 0
        self._copying = 0
        self._shut = False

    @property
    def copying_now(self) -> bool:
        """Whether somebody reads for long, so that growing would wait."""
        return self._copying > 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._reading += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading -= 1
                self._changed.notify_all()

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Read for long: growing that can wait waits until it is over."""
        with self._changed:
            self._copying += 1
        try:
            with self.reading():
                yield
        finally:
            with self._changed:
                self._copying -= 1

    @contextmanager
    def shut(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._shut)
            self._shut = True
            self._changed.wait_for(lambda: self._reading == 0)
        try:
            yield
        finally:
            with self._changed:
                self._shut = False
                self._changed.notify_all()


class Reader:
    """Reads one world's folder. `Reader.open` needs no lock, so a running world can be looked at."""

    def __init__(self, path: Path, env: lmdb.Environment, dbs: Databases, gate: Gate) -> None:
        self.path = path
        self._env = env
        self._dbs = dbs
        self._gate = gate

    @classmethod
    def open(cls, path: str | Path) -> Reader:
        """Open for reading only.

        Raises `StorageError` when there is no world, or this process holds it open already (use
        `Store.reader` then), `NewerLayout` when it was written by a newer Greenroom.
        """
        path = Path(path)
        if not (path / DATA_NAME).is_file():
            raise StorageError(f"{path} holds no world", "name the folder given as --data or --out")
        env = open_env(path, map_bytes=1 << 20, readonly=True)
        try:
            layout = read_layout(env)
            if layout is None:
                raise StorageError(f"{path} holds no world")
            check_layout(path, layout)
            if layout < LAYOUT:
                raise StorageError(
                    f"{path} has the older storage layout {layout}",
                    "serve it once: it is brought forward, after a backup",
                )
            return cls(path, env, open_databases(env, create=False), Gate())
        except BaseException:
            env.close()
            raise

    def close(self) -> None:
        """Close what `Reader.open` opened. A reader got from a `Store` is closed by the store."""
        self._env.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[lmdb.Transaction[bytes]]:
        """A short read transaction. Raises `StorageError` for what LMDB reports."""
        try:
            self._follow_map()
            with self._gate.reading(), self._env.begin() as txn:
                yield txn
        except lmdb.Error as error:
            raise StorageError(f"{self.path} can't be read: {error}") from error

    def _follow_map(self) -> None:
        """Take over the map's size when the writing process has grown it."""
        try:
            with self._gate.reading(), self._env.begin():
                return
        except lmdb.MapResizedError:
            with self._gate.shut():
                self._env.set_mapsize(0)

    def meta(self) -> WorldMeta:
        """What the world was made from. Raises `StorageError`."""
        with self.transaction() as txn:
            data = txn.get(WORLD_KEY, b"", db=self._dbs.meta)
        try:
            return WorldMeta.model_validate_json(data)
        except (ValidationError, json.JSONDecodeError) as error:
            raise StorageError(
                f"{self.path}: the world's description is damaged: {error}"
            ) from error

    def identity(self) -> Identity | None:
        """Which world this is; None in a folder that no Greenroom has opened since there are identities."""
        with self.transaction() as txn:
            data = txn.get(IDENTITY_KEY, db=self._dbs.meta)
        return None if data is None else Identity.model_validate_json(data)

    def end(self) -> tuple[int, bytes]:
        """The last tick and its link, from the newest checkpoint where there is no record; -1 at first."""
        head = self.head()
        if head is not None:
            return head
        kept = self.checkpoints()
        return (kept[-1].tick, kept[-1].link) if kept else (NONE_YET, GENESIS)

    def head(self) -> tuple[int, bytes] | None:
        """The last journalled tick and its link; None before the first."""
        with self.transaction() as txn:
            data = txn.get(HEAD_KEY, db=self._dbs.meta)
        return None if data is None else unpack_head(data)

    def first_tick(self) -> int | None:
        """The oldest tick still in the journal."""
        with self.transaction() as txn, txn.cursor(self._dbs.journal) as cursor:
            return key_number(cursor.key()) if cursor.first() else None

    def begins_at_first(self) -> bool:
        """Whether the journal still begins with the world's first record."""
        with self.transaction() as txn, txn.cursor(self._dbs.journal) as cursor:
            link, payload = split(cursor.value() if cursor.first() else b"")
        return link == link_of(GENESIS, payload)

    def link_at(self, tick: int) -> bytes | None:
        """The journal's link after `tick`; None when neither record nor checkpoint tells it."""
        with self.transaction() as txn:
            value = txn.get(number_key(tick), db=self._dbs.journal)
            if value is not None:
                return split(value)[0]
            entry = txn.get(number_key(tick), db=self._dbs.checkpoints)
        return None if entry is None else CheckpointInfo.unpack(entry).link

    def hash_at(self, tick: int) -> int | None:
        """The state's hash as journalled at `tick`; None when there is no such record."""
        with self.transaction() as txn:
            value = txn.get(number_key(tick), db=self._dbs.journal)
        return None if value is None else TickRecord.unpack(split(value)[1]).hash

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """All kept checkpoints, oldest first."""
        with self.transaction() as txn, txn.cursor(self._dbs.checkpoints) as cursor:
            return tuple(CheckpointInfo.unpack(value) for _, value in cursor)

    def load(self, info: CheckpointInfo) -> dict[str, Any]:
        """A checkpoint's state, every byte checked. Raises `CheckpointDamaged`."""
        return checkpoints.read(
            self.path / CHECKPOINTS_NAME / info.name, size=info.size, digest=info.digest
        )

    def records(
        self, after: CheckpointInfo | None, until: int | None = None
    ) -> Iterator[TickRecord]:
        """Records following a checkpoint (or, with None, the world's first tick), in order.

        Up to and with tick `until`, or the tick that is last when this is called. Raises
        `JournalDamage` at the first tick that is missing or not as written.
        """
        head = self.head()
        return self._records(after, until, head)

    def _records(
        self, after: CheckpointInfo | None, until: int | None, head: tuple[int, bytes] | None
    ) -> Iterator[TickRecord]:
        if head is None:
            return
        last, head_link = head
        stop = last if until is None else min(until, last)
        if after is not None:
            expected, link = after.tick + 1, after.link
        else:
            first = self.first_tick()
            if first is None:
                raise JournalDamage(last, "the journal is empty, but should reach this tick")
            expected, link = first, GENESIS
        while expected <= stop:
            chunk = self._chunk(expected, min(CHUNK, stop - expected + 1))
            if not chunk:
                raise JournalDamage(expected, "missing from the journal")
            for tick, value in chunk:
                if tick != expected:
                    raise JournalDamage(expected, self._missing(expected))
                record, link = self._checked(tick, value, link)
                yield record
                expected += 1
        if stop == last and link != head_link and (after is None or after.tick < last):
            raise JournalDamage(last, "the journal doesn't end in the record that was written last")

    def _chunk(self, start: int, count: int) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        with self.transaction() as txn, txn.cursor(self._dbs.journal) as cursor:
            if cursor.set_range(number_key(start)):
                for key, value in cursor:
                    found.append((key_number(key), value))
                    if len(found) == count:
                        break
        return found

    def _missing(self, tick: int) -> str:
        first = self.first_tick()
        if first is not None and first > tick:
            return f"missing from the journal, which begins at tick {first}"
        return "missing from the journal"

    def _checked(self, tick: int, value: bytes, link: bytes) -> tuple[TickRecord, bytes]:
        told, payload = split(value)
        if link_of(link, payload) != told:
            raise JournalDamage(
                tick, "the record was altered: it doesn't follow from the one before"
            )
        try:
            record = TickRecord.unpack(payload)
        except StorageError as error:
            raise JournalDamage(tick, error.message) from error
        if record.tick != tick:
            raise JournalDamage(tick, f"the record is that of tick {record.tick}")
        return record, told

    def turns(self, npc_id: int, player: str, limit: int) -> list[tuple[int, dict[str, Any]]]:
        """The last `limit` turns of an NPC with a player and their numbers, oldest first."""
        prefix = pair_prefix(npc_id, player)
        found: list[bytes] = []
        numbers: list[int] = []
        with self.transaction() as txn, txn.cursor(self._dbs.conversations) as cursor:
            at = cursor.last() if not cursor.set_range(prefix + b"\xff" * 8) else cursor.prev()
            while at and len(found) < limit and cursor.key().startswith(prefix):
                numbers.append(key_number(cursor.key()))
                found.append(cursor.value())
                at = cursor.prev()
        turns = [unpack_value("a turn", data) for data in reversed(found)]
        return list(zip(reversed(numbers), turns, strict=True))

    def calls(self, after: int = 0, limit: int = 100) -> list[tuple[int, dict[str, Any]]]:
        """Up to `limit` logged model calls numbered above `after`, with their numbers, oldest first."""
        found: list[tuple[int, bytes]] = []
        with self.transaction() as txn, txn.cursor(self._dbs.calls) as cursor:
            at = cursor.set_range(number_key(after + 1))
            while at and len(found) < limit:
                found.append((key_number(cursor.key()), cursor.value()))
                at = cursor.next()
        return [(number, unpack_value("a model call", data)) for number, data in found]

    def last_number(self, name: str) -> int:
        """The highest running number of `turn_order` or `calls`; 0 when empty."""
        db = getattr(self._dbs, name)
        with self.transaction() as txn, txn.cursor(db) as cursor:
            return key_number(cursor.key()) if cursor.last() else 0

    def counts(self) -> dict[str, int]:
        """Entries per database."""
        with self.transaction() as txn:
            return {
                name: txn.stat(getattr(self._dbs, name))["entries"]
                for name in Databases.__dataclass_fields__
            }

    def pairs(self) -> int:
        """How many pairs of NPC and player have talked."""
        count = 0
        with self.transaction() as txn, txn.cursor(self._dbs.conversations) as cursor:
            at = cursor.first()
            while at:
                count += 1
                at = cursor.set_range(cursor.key()[:-8] + b"\xff" * 8)
        return count

    def entries(self, name: str) -> Iterator[tuple[bytes, bytes]]:
        """All of a named database, in order, read in one transaction for as long as it is consumed."""
        with self.transaction() as txn, txn.cursor(getattr(self._dbs, name)) as cursor:
            yield from cursor

    def copy_database(self, file: Path) -> None:
        """Write a consistent, compact copy of the database to `file`, synced. Raises `StorageError`.

        It holds what was committed when the copy began; writing goes on meanwhile. On any thread.
        """
        try:
            self._follow_map()
            with self._gate.copying(), file.open("wb") as target:
                self._env.copyfd(target.fileno(), compact=True)
                os.fsync(target.fileno())
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"{self.path} can't be copied: {error}") from error

    def info(self) -> dict[str, int]:
        """Bytes of LMDB's map and of the part that is used."""
        with self._gate.reading():
            info, stat = self._env.info(), self._env.stat()
        return {
            "map_bytes": info["map_size"],
            "used_bytes": (info["last_pgno"] + 1) * stat["psize"],
        }
