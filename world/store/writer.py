"""The storage thread: owns every write transaction, groups writes, syncs, and says what is durable."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import lmdb

from foundation.errors import LimitError
from world.errors import StorageError
from world.store.options import StoreOptions
from world.store.reader import Gate

_log = logging.getLogger(__name__)

RETRY_S = 0.25
"""Pause before a group that found no room on the disk is tried again."""

CHECKPOINTS_WAITING = 2
"""Checkpoints that may wait; a newer one then takes the place of the last, never of the first."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO})
# LMDB reports a short write, which is what a full disk gives first, as EIO; the failed group is
# aborted whole and its pages are written anew, so that trying again is safe.


@dataclass(frozen=True, slots=True)
class Job:
    """One write. `apply` may run more than once: a group that failed is tried again whole."""

    apply: Callable[[lmdb.Transaction[bytes]], None]
    size: int
    tick: int | None = None
    committed: Callable[[], None] | None = None


@dataclass(slots=True)
class WriterStats:
    """Counters since the start; read without a lock, each is a single value."""

    groups: int = 0
    jobs: int = 0
    bytes: int = 0
    largest_group: int = 0
    commit_seconds: float = 0.0
    slowest_commit_s: float = 0.0
    retries: int = 0
    map_growths: int = 0
    callback_errors: int = 0
    checkpoints_written: int = 0
    checkpoints_skipped: int = 0
    checkpoint_errors: int = 0
    last_checkpoint_error: str = ""


@dataclass(slots=True)
class _Checkpoint:
    tick: int
    work: Generator[None, None, None] = field(repr=False)


class Writer:
    """A bounded queue of jobs and the thread that commits them in groups.

    Jobs are committed in the order they were submitted. `submit` may be called from any thread;
    `on_synced` callbacks run on the storage thread after the commit that covers the tick.
    """

    def __init__(
        self,
        env: lmdb.Environment,
        options: StoreOptions,
        gate: Gate,
        synced_tick: int,
        finish: Callable[[lmdb.Transaction[bytes], int], None],
    ) -> None:
        """`finish(txn, tick)` ends each transaction that holds ticks, with the last of them."""
        self.stats = WriterStats()
        self.synced_tick = synced_tick
        self.error: StorageError | None = None
        self._stalled: StorageError | None = None
        self._env = env
        self._options = options
        self._gate = gate
        self._finish = finish
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._queued_bytes = 0
        self._in_hand = 0
        self._telling = False
        self._urgent = False
        self._stopping = False
        self._checkpoint: _Checkpoint | None = None
        self._waiting: deque[_Checkpoint] = deque()
        self._callbacks: tuple[Callable[[int], None], ...] = ()
        self._thread = threading.Thread(target=self._run, name="greenroom-storage", daemon=True)
        self._thread.start()

    @property
    def trouble(self) -> StorageError | None:
        """Why nothing is being synced just now: for good, or until there is room again."""
        return self.error or self._stalled

    @property
    def queued(self) -> int:
        """Jobs not committed yet."""
        return len(self._queue) + self._in_hand

    def on_synced(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback(tick)` called after each sync with the last tick it covers; returns the undo."""
        with self._changed:
            self._callbacks = (*self._callbacks, callback)

        def remove() -> None:
            with self._changed:
                self._callbacks = tuple(one for one in self._callbacks if one is not callback)

        return remove

    def submit(self, job: Job, timeout: float = 0.0) -> None:
        """Queue a job, waiting up to `timeout` seconds for room.

        Raises `LimitError` when there is none, `StorageError` when the store has failed or closed.
        """
        with self._changed:
            if not self._has_room(job):
                self._urgent = True
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._has_room(job) or self.error is not None or self._stopping,
                    timeout,
                )
            if self.error is not None:
                raise self.error
            if self._stopping:
                raise StorageError("the store is closed")
            if not self._has_room(job):
                raise LimitError(
                    f"storage is {self.queued} writes behind, the most it may be",
                    "try again when the disk has caught up",
                )
            self._queue.append(job)
            self._queued_bytes += job.size
            if len(self._queue) in (1, self._options.group_jobs):
                # waking the thread for each write would take the interpreter from the world's step
                self._changed.notify_all()

    def _has_room(self, job: Job) -> bool:
        if not self._queue:
            return True
        options = self._options
        return (
            len(self._queue) < options.queue_jobs
            and self._queued_bytes + job.size <= options.queue_bytes
        )

    def submit_checkpoint(self, tick: int, work: Generator[None, None, None]) -> None:
        """Have `work` done, a slice at a time, once `tick` is synced; two at the most wait."""
        with self._changed:
            if len(self._waiting) == CHECKPOINTS_WAITING:
                self._waiting.pop().work.close()
                self.stats.checkpoints_skipped += 1
            self._waiting.append(_Checkpoint(tick, work))
            self._changed.notify_all()

    def wait_for(self, done: Callable[[], bool], timeout: float) -> bool:
        """Wait, without the grouping delay, until `done()` or failure; whether `done()`."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            deadline = time.monotonic() + timeout
            while not done() and self.error is None:
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    break
                self._urgent = True
                self._changed.wait(min(left, 0.5))
            return done()

    def reset(self, tick: int) -> None:
        """Say that `tick` is the last synced: later ones were given up with their epoch."""
        with self._changed:
            self.synced_tick = tick

    def idle(self) -> bool:
        """Whether all jobs are committed and told, and no checkpoint is under way."""
        return not (
            self._queue or self._in_hand or self._telling or self._checkpoint or self._waiting
        )

    def stop(self, timeout: float) -> bool:
        """Commit what is queued, finish a checkpoint under way, end the thread; whether all was done."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive() and self.error is None

    # -- the storage thread --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                group = self._take()
                if group is None:
                    return
                if group:
                    self._commit(group)
                self._advance_checkpoint()
        except (lmdb.Error, OSError, StorageError) as error:
            self._fail(error)
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, error: BaseException) -> None:
        _log.error("storage has stopped: %s", error)
        with self._changed:
            self.error = (
                error
                if isinstance(error, StorageError)
                else StorageError(
                    f"storage has stopped: {error}",
                    "nothing after the last confirmed tick is kept; mend the disk and start again",
                )
            )
            self._drop_checkpoints()
            self._changed.notify_all()

    def _drop_checkpoints(self) -> None:
        while self._waiting:
            self._waiting.pop().work.close()
        if self._checkpoint is not None and threading.current_thread() is self._thread:
            self._checkpoint.work.close()
            self._checkpoint = None

    def _take(self) -> list[Job] | None:
        """The next group, maybe empty while a checkpoint is under way; None when all is done."""
        options = self._options
        with self._changed:
            while not self._queue and not self._checkpoint_due():
                if self._stopping:
                    self._drop_checkpoints()
                    return None
                self._urgent = False
                self._changed.wait()
            if self._queue and not self._checkpoint_due() and options.window_s > 0:
                self._changed.wait_for(
                    lambda: (
                        self._urgent or self._stopping or len(self._queue) >= options.group_jobs
                    ),
                    options.window_s,
                )
            group: list[Job] = []
            size = 0
            while self._queue and len(group) < options.group_jobs and size < options.group_bytes:
                group.append(self._queue.popleft())
                size += group[-1].size
            self._in_hand = len(group)
            return group

    def _checkpoint_due(self) -> bool:
        return self._checkpoint is not None or (
            bool(self._waiting) and self._waiting[0].tick <= self.synced_tick
        )

    def _commit(self, group: list[Job]) -> None:
        started = time.perf_counter()
        last = max((job.tick for job in group if job.tick is not None), default=None)
        self._write(group, last)
        taken = time.perf_counter() - started
        size = sum(job.size for job in group)
        stats = self.stats
        stats.groups += 1
        stats.jobs += len(group)
        stats.bytes += size
        stats.largest_group = max(stats.largest_group, len(group))
        stats.commit_seconds += taken
        stats.slowest_commit_s = max(stats.slowest_commit_s, taken)
        for job in group:
            if job.committed is not None:
                job.committed()
        with self._changed:
            self._queued_bytes -= size
            self._in_hand = 0
            if last is not None:
                self.synced_tick = last
            callbacks = self._callbacks if last is not None else ()
            self._telling = bool(callbacks)
            self._changed.notify_all()
        if last is not None and callbacks:
            for callback in callbacks:
                self._tell(callback, last)
            with self._changed:
                self._telling = False
                self._changed.notify_all()

    def _tell(self, callback: Callable[[int], None], tick: int) -> None:
        try:
            callback(tick)
        except Exception:  # a listener's mistake must not stop the storage of the world
            self.stats.callback_errors += 1
            _log.exception("a listener failed when told that tick %d is synced", tick)

    def _write(self, group: list[Job], last: int | None) -> None:
        while True:
            try:
                self._grow(full=False)
                with self._env.begin(write=True) as txn:
                    for job in group:
                        job.apply(txn)
                    if last is not None:
                        self._finish(txn, last)
                self._stalled = None
                return
            except lmdb.MapFullError:
                self._grow(full=True)
            except lmdb.Error as error:
                if not self._may_retry(error):
                    raise

    def _may_retry(self, error: lmdb.Error) -> bool:
        if isinstance(error, lmdb.PanicError | lmdb.CorruptedError):
            return False
        if not isinstance(error, lmdb.DiskError) and getattr(error, "code", 0) not in _NO_ROOM:
            return False
        self.stats.retries += 1
        if self._stalled is None:
            _log.error("storage waits for room on the disk: %s", error)
        self._stalled = StorageError(
            f"the disk takes no writes: {error}", "make room; confirmations wait until then"
        )
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, RETRY_S)
            return not self._stopping

    def _grow(self, *, full: bool) -> None:
        """Double the map when it is three quarters used, or at once when it is full."""
        info = self._env.info()
        size = info["map_size"]
        used = (info["last_pgno"] + 1) * self._env.stat()["psize"]
        if not full and (used * 4 < size * 3 or self._gate.copying_now):
            return
        wanted = min(size * 2, self._options.max_map_bytes)
        if wanted <= size:
            if full:
                raise StorageError(
                    f"the world has reached its bound of {self._options.max_map_bytes} bytes",
                    "raise max_map_bytes, or keep fewer checkpoints",
                )
            return
        with self._gate.shut():
            self._env.set_mapsize(wanted)
        self.stats.map_growths += 1

    def _advance_checkpoint(self) -> None:
        with self._changed:
            if self._checkpoint is None and self._checkpoint_due():
                self._checkpoint = self._waiting.popleft()
            current = self._checkpoint
        if current is None:
            return
        try:
            next(current.work)
        except StopIteration:
            self.stats.checkpoints_written += 1
            self._end_checkpoint()
        except (lmdb.Error, OSError, StorageError) as error:
            # the journal still reaches back to the checkpoint before: nothing is lost by missing one
            self.stats.checkpoint_errors += 1
            self.stats.last_checkpoint_error = str(error)
            _log.warning("the checkpoint of tick %d was not written: %s", current.tick, error)
            self._end_checkpoint()

    def _end_checkpoint(self) -> None:
        with self._changed:
            self._checkpoint = None
            self._changed.notify_all()
