"""A bounded pool of Pykka threads for work that blocks or computes for long."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pykka

from actors.errors import DispatcherClosed, PoolFull

__all__ = ["BlockingPool", "Failed", "Finished"]


@dataclass(frozen=True, slots=True)
class Finished:
    """Told to the asker: the work named `tag` returned `value`."""

    tag: Any
    value: Any


@dataclass(frozen=True, slots=True)
class Failed:
    """Told to the asker: the work named `tag` raised `error`."""

    tag: Any
    error: Exception


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Any]
    ref: pykka.ActorRef[Any]
    tag: Any

    def run(self, bring: Bring) -> None:
        outcome: Finished | Failed
        try:
            outcome = Finished(self.tag, self.work())
        except Exception as error:
            outcome = Failed(self.tag, error)
        bring(self.ref, outcome)


Bring = Callable[[pykka.ActorRef[Any], Finished | Failed], None]
"""Tells an actor an outcome; raises nothing."""


class _Worker(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self, pool: BlockingPool) -> None:
        super().__init__()
        self._pool = pool

    def on_receive(self, message: Any) -> None:
        while self._pool.run_next(self.actor_ref):
            pass

    def on_stop(self) -> None:
        self._pool.left(self.actor_ref)

    def on_failure(self, *_what: Any) -> None:
        self._pool.left(self.actor_ref)


_LOOK = object()
"""Tells a worker to look for jobs."""


class BlockingPool:
    """At most `size` threads, at most `limit` jobs waiting for one; `bring` tells what came of them.

    With `size` 0 nothing runs by itself: `run_one` does a waiting job on the caller. Workers are
    Pykka actors like any, so that whoever stops all of them stops these, too: others take their place.
    """

    def __init__(self, size: int, limit: int, bring: Bring) -> None:
        self._size = size
        self._limit = limit
        self._bring = bring
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._idle: set[pykka.ActorRef[Any]] = set()
        self._called: set[pykka.ActorRef[Any]] = set()
        self._workers: set[pykka.ActorRef[Any]] = set()
        self._closed = False

    def submit(self, work: Callable[[], Any], ref: pykka.ActorRef[Any], tag: Any) -> None:
        """Run `work` on the pool; `ref` is told `Finished` or `Failed` with `tag`.

        Raises:
            PoolFull: as much is waiting as may.
            DispatcherClosed: the pool has been closed.
        """
        with self._lock:
            if self._closed:
                raise DispatcherClosed("the blocking pool is closed")
            # A job that a worker has been called for doesn't wait for one.
            free = len(self._called) + (1 if self._idle or len(self._workers) < self._size else 0)
            if len(self._waiting) >= self._limit + free:
                raise PoolFull(f"{self._limit} jobs wait for the blocking pool", "try again later")
            self._waiting.append(_Job(work, ref, tag))
            self._call()

    def run_next(self, worker: pykka.ActorRef[Any]) -> bool:
        """Do the next waiting job on a worker's thread; False, and the worker idle, when none waits."""
        with self._lock:
            self._called.discard(worker)
            if not self._waiting:
                if worker in self._workers:
                    self._idle.add(worker)
                return False
            job = self._waiting.popleft()
        job.run(self._bring)
        return True

    def left(self, worker: pykka.ActorRef[Any]) -> None:
        """A worker has been stopped: what waits is another's."""
        with self._lock:
            for workers in (self._workers, self._idle, self._called):
                workers.discard(worker)
            if self._waiting and not self._closed:
                self._call()

    def run_one(self) -> bool:
        """Do one waiting job on the caller; False when none waits."""
        with self._lock:
            if not self._waiting:
                return False
            job = self._waiting.popleft()
        job.run(self._bring)
        return True

    def close(self) -> None:
        """Drop what waits and let the threads end after what they are doing."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            workers, self._workers = self._workers, set()
        for worker in workers:
            worker.stop(block=False)

    def _call(self) -> None:
        """Have one more worker look at what waits, if one is free; the caller holds the lock."""
        if self._idle:
            worker = self._idle.pop()
        elif len(self._workers) < self._size:
            worker = _Worker.start(self)
            self._workers.add(worker)
        else:
            return
        self._called.add(worker)
        # One that is dead will say that it has left, and others are called then.
        with contextlib.suppress(pykka.ActorDeadError):
            worker.tell(_LOOK)
