"""The store's face: append ticks, checkpoint, recover, keep conversations and model calls.

The tick thread hands a record over and goes on; the storage thread writes it with others, syncs,
and only then tells `on_synced`. What was told survives a kill at any instant.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import lmdb

import world.store.checkpoints as checkpoints
from world.errors import StorageError
from world.moment import Moment
from world.store.conversations import CallLog, Conversations
from world.store.copies import branch, check_room
from world.store.keeper import Keeper
from world.store.layout import (
    CHECKPOINTS_NAME,
    DATA_NAME,
    HEAD_KEY,
    LAYOUT,
    LOCK_NAME,
    NAMES,
    WORLD_KEY,
    Databases,
    check_layout,
    identify,
    initialise,
    migrate,
    number_key,
    open_databases,
    open_env,
    pack_head,
    read_layout,
    sync_directory,
)
from world.store.lock import WorldLock
from world.store.options import StoreOptions
from world.store.reader import NONE_YET, Gate, Reader
from world.store.records import (
    CheckpointInfo,
    Identity,
    TickRecord,
    WorldMeta,
    link_of,
)
from world.store.recovery import Recovery, recover
from world.store.snapshots import Snapshots
from world.store.writer import Job, Writer

LOADED = tuple(name for name in NAMES if name not in ("meta", "checkpoints", "calls"))
"""The databases that a load replaces entry for entry: all that tells of the world's time."""
LOAD_S = 120.0
"""How long the disk may take to make a loaded state durable."""


class Store:
    """One world's folder, held by this process. Made by `Store.open`; a context manager."""

    def __init__(
        self,
        path: Path,
        env: lmdb.Environment,
        lock: WorldLock,
        options: StoreOptions,
        migrated: Path | None,
    ) -> None:
        self.path = path
        self.options = options
        self.migrated_from: Path | None = migrated
        """The backup made before this opening brought an older layout forward."""
        self._env = env
        self._lock = lock
        self._dbs: Databases = open_databases(env, create=True)
        gate = Gate()
        self.reader = Reader(path, env, self._dbs, gate)
        self._meta = self.reader.meta()
        self._order = threading.Lock()
        self._closed = False
        self._tick, self._link = self.reader.end()
        self._written_link = self._link
        self._hash: int | None = None
        self._keeper = Keeper(path, env, self._dbs, options)
        self._keeper.sweep(self.reader)
        self._writer = Writer(env, options, gate, self._tick, self._put_head)
        self._conversations = Conversations(self._dbs, self.reader, self._writer, options)
        self._calls = CallLog(self._dbs, self.reader, self._writer, options)
        self.snapshots = Snapshots(self.reader, options, self._keeper.pinned)

    # -- opening and closing -------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: WorldMeta | None = None,
        options: StoreOptions | None = None,
    ) -> Store:
        """Open the world in the folder `path`, or make it from `create` when there is none.

        An older layout is brought forward after a backup. Raises `WorldBusy` when another holds it,
        `NewerLayout` when a newer Greenroom wrote it, `StorageError` when there is no world and
        `create` is None, when `create` tells of another scene or seed, or the files can't be used.
        """
        path = Path(path)
        options = options or StoreOptions()
        if not (path / DATA_NAME).exists() and create is None:
            raise StorageError(f"{path} holds no world", "name the folder given as --data or --out")
        try:
            (path / CHECKPOINTS_NAME).mkdir(parents=True, exist_ok=True)
            lock = WorldLock(path / LOCK_NAME)
        except OSError as error:
            raise StorageError(f"{path} can't be used: {error}") from error
        try:
            _check_not_bereft(path)
            env = open_env(path, map_bytes=options.map_bytes)
        except BaseException:
            lock.release()
            raise
        try:
            migrated = _prepare(path, env, create)
            store = cls(path, env, lock, options, migrated)
        except (lmdb.Error, OSError) as error:
            env.close()
            lock.release()
            raise StorageError(f"{path} can't be used: {error}") from error
        except BaseException:
            env.close()
            lock.release()
            raise
        if create is not None:
            try:
                store._check_same_world(create)
            except StorageError:
                store.close()
                raise
        return store

    def _check_same_world(self, wanted: WorldMeta) -> None:
        for name in ("scene", "seed"):
            here, there = getattr(wanted, name), getattr(self._meta, name)
            if here != there:
                raise StorageError(
                    f"{self.path} holds a world of {name} {there!r}, not {here!r}",
                    "give the new world another --data folder",
                )

    def close(self, timeout: float = 60.0) -> None:
        """Write and sync what was handed over, then let the folder go. Calling it again does nothing.

        Raises `StorageError` when not everything could be made durable within `timeout` seconds; the
        folder is let go all the same, unless the storage thread still hangs in a write.
        """
        if self._closed:
            return
        self._closed = True
        done = self._writer.stop(timeout)
        trouble = self._writer.trouble
        if not done and self._writer.error is None:
            raise StorageError(
                f"storage did not finish within {timeout:g} s; tick {self.synced_tick} is the last kept"
            ) from trouble
        self._env.close()
        self._lock.release()
        if not done:
            raise StorageError(
                f"not all could be stored; tick {self.synced_tick} is the last kept"
            ) from trouble

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- what it is ----------------------------------------------------------------------------

    @property
    def meta(self) -> WorldMeta:
        """What the world was made from, and its epoch."""
        return self._meta

    @property
    def epoch(self) -> int:
        """The epoch that records must carry."""
        return self._meta.epoch

    @property
    def last_tick(self) -> int:
        """The last tick handed over; -1 before the first."""
        return self._tick

    @property
    def synced_tick(self) -> int:
        """The last tick that is durable; -1 before the first."""
        return self._writer.synced_tick

    @property
    def error(self) -> StorageError | None:
        """Why nothing is being synced just now; None when all is well."""
        return self._writer.trouble

    @property
    def overloaded(self) -> bool:
        """Whether world-changing requests should be answered with `retry`."""
        return self.lag() > self.options.max_lag or self._writer.trouble is not None

    def lag(self, tick: int | None = None) -> int:
        """How many ticks the disk is behind `tick` (default: the last handed over)."""
        return max(0, (self._tick if tick is None else tick) - self._writer.synced_tick)

    def stats(self) -> dict[str, int | float | str]:
        """Counters and sizes for metrics."""
        return {
            "last_tick": self._tick,
            "synced_tick": self.synced_tick,
            "lag": self.lag(),
            "queued": self._writer.queued,
            "dropped_calls": self._calls.dropped,
            **asdict(self._writer.stats),
            **self.reader.info(),
        }

    # -- ticks ---------------------------------------------------------------------------------

    def append(self, record: TickRecord, *, timeout: float = 0.0) -> None:
        """Hand a tick's record over, and return before it is written.

        Ticks follow one another without a gap; the first ever may be any. When the queue is full it
        waits up to `timeout` seconds, then raises `LimitError`, and the same record may be given
        again. Raises `StorageError` for a record out of order, of another epoch or too large, and
        when the store has failed.
        """
        payload = record.pack()
        if len(payload) > self.options.record_bytes:
            raise StorageError(
                f"the record of tick {record.tick} takes {len(payload)} bytes,"
                f" more than the {self.options.record_bytes} allowed"
            )
        with self._order:
            if record.epoch != self._meta.epoch:
                raise StorageError(
                    f"tick {record.tick} is of epoch {record.epoch}, the world of {self._meta.epoch}"
                )
            if self._tick != NONE_YET and record.tick != self._tick + 1:
                raise StorageError(f"tick {record.tick} doesn't follow tick {self._tick}")
            link = link_of(self._link, payload)
            key, value, journal = number_key(record.tick), link + payload, self._dbs.journal

            def apply(txn: lmdb.Transaction[bytes]) -> None:
                if not txn.put(key, value, db=journal, append=True):
                    raise StorageError(f"tick {record.tick} is stored already, or a later one")
                self._written_link = link

            self._writer.submit(Job(apply, len(value), record.tick), timeout)
            self._tick, self._link, self._hash = record.tick, link, record.hash

    def _put_head(self, txn: lmdb.Transaction[bytes], tick: int) -> None:
        txn.put(HEAD_KEY, pack_head(tick, self._written_link), db=self._dbs.meta)

    def on_synced(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback(tick)` called, on the storage thread, when all up to `tick` is durable.

        One call may cover several ticks. It must be short and must not append. Returns the undo.
        """
        return self._writer.on_synced(callback)

    def wait_synced(self, tick: int, timeout: float = 30.0) -> bool:
        """Wait until `tick` is durable; false when it isn't after `timeout` seconds, or can't be."""
        return self._writer.wait_for(lambda: self._writer.synced_tick >= tick, timeout)

    def flush(self, timeout: float = 60.0) -> None:
        """Wait until all that was handed over, checkpoints too, is durable and told to listeners.

        Raises `StorageError` when it isn't after `timeout` seconds, or can't be.
        """
        if not self._writer.wait_for(self._writer.idle, timeout):
            raise StorageError(
                f"storage did not catch up within {timeout:g} s; tick {self.synced_tick} is the last kept"
            ) from self._writer.trouble

    # -- checkpoints ---------------------------------------------------------------------------

    def checkpoint(
        self,
        state: Mapping[str, Any] | Moment,
        *,
        state_hash: int | None = None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        """Have the state as it is now written in the background.

        Its tick must be the last tick handed over (any tick in a world without one). A mapping is copied before this
        returns, see `checkpoints.freeze` for what else it may hold; of a moment, all is made in the background,
        and `give_way`, called before each slice of it, may wait while the world is being stepped. When it is durable
        the oldest checkpoint past the bound is let go, and the journal behind the oldest kept. If two are still
        waiting to be written, this one takes the place of the second. Raises `StorageError`.
        """
        tick = state.tick if isinstance(state, Moment) else state.get("tick")
        if not isinstance(tick, int) or tick < 0:
            raise StorageError("a checkpoint's state needs its tick, under the key 'tick'")
        with self._order:
            if self._tick not in (NONE_YET, tick):
                raise StorageError(
                    f"the state is that of tick {tick}, but tick {self._tick} was stored last"
                )
            if self._writer.error is not None:
                raise self._writer.error
            frozen = state if isinstance(state, Moment) else checkpoints.freeze(state)
            fresh = self._tick == NONE_YET
            info = CheckpointInfo(
                tick=tick,
                epoch=self._meta.epoch,
                hash=self._hash if state_hash is None else state_hash,
                link=self._link,
                name="",
                size=0,
                digest=b"",
                ruleset_digest=self._meta.ruleset_digest,
            )
            if fresh:
                self._tick = tick
                self._writer.reset(tick)
            self._writer.submit_checkpoint(tick, self._keeper.write(frozen, info, give_way))

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """All kept checkpoints, oldest first."""
        return self.reader.checkpoints()

    def load_checkpoint(self, tick: int) -> dict[str, Any]:
        """The state at a kept checkpoint. Raises `StorageError`, `CheckpointDamaged`."""
        for info in self.reader.checkpoints():
            if info.tick == tick:
                return self.reader.load(info)
        kept = ", ".join(str(info.tick) for info in self.reader.checkpoints())
        raise StorageError(f"there is no checkpoint of tick {tick}", f"kept are: {kept or 'none'}")

    def recover(self, *, until: int | None = None) -> Recovery:
        """The newest checkpoint that is whole (not after tick `until`) and the records after it.

        A damaged checkpoint is passed over with a warning. Raises `StorageError` when none is whole
        and the journal doesn't reach back to the world's first tick.
        """
        last = self._tick if until is None else min(until, self._tick)
        return recover(self.reader, last, until)

    # -- epochs and meta -----------------------------------------------------------------------

    def new_epoch(self, *, after_tick: int | None = None) -> int:
        """Begin a new epoch, durably, and return it; done when an older state is loaded.

        With `after_tick`, what came after it is given up: records, checkpoints, and turns whose
        `tick` is later. The next record is that of `after_tick` + 1. Raises `StorageError` when the
        journal doesn't hold `after_tick`.
        """
        with self._order:
            self.flush()
            meta = self._meta.model_copy(update={"epoch": self._meta.epoch + 1})
            tick = self._tick if after_tick is None else after_tick
            if tick > self._tick:
                raise StorageError(f"tick {tick} is still to come; the last is {self._tick}")
            link = self._link if tick == self._tick else self.reader.link_at(tick)
            if link is None:
                raise StorageError(f"tick {tick} is no longer in the journal")
            gone = [info for info in self.reader.checkpoints() if info.tick > tick]
            cut, end = tick != self._tick, link

            def apply(txn: lmdb.Transaction[bytes]) -> None:
                self._put_meta(txn, meta)
                if cut:
                    _delete_after(txn, self._dbs.journal, tick)
                    _delete_after(txn, self._dbs.checkpoints, tick)
                    self._conversations.forget_after(txn, tick)
                    txn.put(HEAD_KEY, pack_head(tick, end), db=self._dbs.meta)

            self._do(apply)
            for info in gone:
                self._keeper.remove(info)
            self._meta, self._link = meta, link
            if cut:
                self._tick, self._hash = tick, None
                self._written_link = link
                self._writer.reset(tick)
        return meta.epoch

    def branch(self, target: Path) -> Identity:
        """Copy the world, as it is durable now, into the folder `target` as a world of its own.

        Raises `UsageError` when there is something at `target`, `NoRoom`, `StorageError`.
        """
        with self._keeper.pinned():
            return branch(self.reader, target)

    def check_loadable(self, source: Reader) -> None:
        """Raises `StorageError` for a world of another scene or seed, `NoRoom` without room for it."""
        here, there = self._meta, source.meta()
        if (there.scene, there.seed) != (here.scene, here.seed):
            raise StorageError(
                f"{source.path} holds a world of scene {there.scene!r} and seed {there.seed}, "
                f"not of {here.scene!r} and {here.seed}",
                "serve it from a folder of its own",
            )
        check_room(source, self.path)

    def load(self, source: Reader) -> int:
        """Put the world of `source` in the place of this one, in a new epoch, and return that.

        Journal, checkpoints and conversations become those of `source`; the log of model calls stays,
        since it tells of this machine. It is one transaction: killed at any instant, the folder holds
        the one world or the other, whole. Whoever appends ticks stops before and goes on with the
        state of `source`; the next record is that of the tick after its last. Raises `NoRoom`,
        and `StorageError` when `source` is of another scene or seed or something can't be read or written.
        """
        with self._order:
            self.check_loadable(source)
            there = source.meta()
            self.flush()
            tick, link = source.end()
            epoch = max(self._meta.epoch, there.epoch) + 1
            meta = self._meta.model_copy(
                update={"epoch": epoch, "npcs": there.npcs, "scene_digest": there.scene_digest}
            )
            before = self.reader.checkpoints()
            entries = self._keeper.borrow(source)
            given_up = threading.Event()

            def apply(txn: lmdb.Transaction[bytes]) -> None:
                if given_up.is_set():
                    return
                for name in LOADED:
                    _replace(txn, getattr(self._dbs, name), source.entries(name))
                named = ((number_key(info.tick), info.pack()) for info in entries)
                _replace(txn, self._dbs.checkpoints, named)
                self._put_meta(txn, meta)
                txn.put(HEAD_KEY, pack_head(tick, link), db=self._dbs.meta)

            try:
                self._do(apply, LOAD_S)
            finally:
                given_up.set()
            for info in before:
                self._keeper.remove(info)
            self._meta, self._tick, self._link, self._hash = meta, tick, link, None
            self._written_link = link
            self._writer.reset(tick)
        return meta.epoch

    def update_meta(
        self,
        *,
        ruleset_digest: str | None = None,
        engine_version: str | None = None,
        mod_versions: Mapping[str, str] | None = None,
    ) -> WorldMeta:
        """Note, durably, with what the world goes on. Checkpoints taken later carry the digest."""
        new = {
            "ruleset_digest": ruleset_digest,
            "engine_version": engine_version,
            "mod_versions": None if mod_versions is None else dict(mod_versions),
        }
        with self._order:
            changed = {key: value for key, value in new.items() if value is not None}
            meta = WorldMeta.model_validate(self._meta.model_dump() | changed)
            self._do(lambda txn: self._put_meta(txn, meta))
            self._meta = meta
        return meta

    def _put_meta(self, txn: lmdb.Transaction[bytes], meta: WorldMeta) -> None:
        txn.put(WORLD_KEY, meta.model_dump_json().encode("utf-8"), db=self._dbs.meta)

    def _do(self, apply: Callable[[lmdb.Transaction[bytes]], None], timeout: float = 60.0) -> None:
        """Have the storage thread do it, and wait until it is durable."""
        done = threading.Event()
        self._writer.submit(Job(apply, 0, committed=done.set), timeout=30.0)
        if not self._writer.wait_for(done.is_set, timeout):
            raise StorageError("the change could not be stored") from self._writer.trouble

    # -- conversations and calls ---------------------------------------------------------------

    def put_turn(self, npc_id: int, player: str, turn: Mapping[str, Any]) -> int:
        """Keep one turn of a conversation and return its number; the pair's oldest go at the bound.

        `turn` is msgpack-able; its `tick`, if it has one, ties it to the world's time (see
        `new_epoch`). Raises `StorageError` when it is too large, `LimitError` when the queue is full.
        """
        return self._conversations.put(npc_id, player, turn)

    def turns(self, npc_id: int, player: str, limit: int = 8) -> list[dict[str, Any]]:
        """The last `limit` turns of an NPC with a player, oldest first, those not yet synced included."""
        return self._conversations.last(npc_id, player, limit)

    def put_call(self, call: Mapping[str, Any]) -> bool:
        """Log a model call; the oldest go at the bound. False when storage is behind and dropped it.

        Raises `StorageError` when it is too large or not msgpack-able.
        """
        return self._calls.put(call)

    def calls(self, after: int = 0, limit: int = 100) -> list[tuple[int, dict[str, Any]]]:
        """Up to `limit` synced model calls numbered above `after`, with their numbers, oldest first."""
        return self._calls.after(after, limit)


def _check_not_bereft(path: Path) -> None:
    """Raises `StorageError` where a new world's first sweep would take what is left of an old one."""
    data = path / DATA_NAME
    there = data.exists() and data.stat().st_size
    if not there and any((path / CHECKPOINTS_NAME).glob("*.ckpt")):
        raise StorageError(
            f"{path} holds checkpoints of a world whose {DATA_NAME} is gone",
            f"take {DATA_NAME} from a backup or a snapshot, or name another folder",
        )


def _prepare(path: Path, env: lmdb.Environment, create: WorldMeta | None) -> Path | None:
    """Bring the environment to the current layout; the backup's folder if it was an older one."""
    env.reader_check()  # frees the slots of readers that were killed
    layout = read_layout(env)
    if layout == LAYOUT:
        identify(env)
    if layout is None:
        if create is None:
            raise StorageError(f"{path} holds no world")
        initialise(env, create)
        sync_directory(path)
        sync_directory(path.parent)
        return None
    check_layout(path, layout)
    if layout == LAYOUT:
        return None
    backup = migrate(path, env, layout)
    identify(env)
    return backup


def _replace(
    txn: lmdb.Transaction[bytes], db: lmdb._Database, entries: Iterable[tuple[bytes, bytes]]
) -> None:
    txn.drop(db, delete=False)
    with txn.cursor(db) as cursor:
        cursor.putmulti(entries, append=True)


def _delete_after(txn: lmdb.Transaction[bytes], db: lmdb._Database, tick: int) -> None:
    with txn.cursor(db) as cursor:
        while cursor.set_range(number_key(tick + 1)):
            cursor.delete()
