"""A bounded pool of Pykka threads for work that blocks or computes for long."""

from __future__ import annotations

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

    def run(self) -> None:
        outcome: Finished | Failed
        try:
            outcome = Finished(self.tag, self.work())
        except Exception as error:
            outcome = Failed(self.tag, error)
        try:
            self.ref.tell(outcome)
        except pykka.ActorDeadError:
            return  # whoever asked has left; nobody else wants the result


class _Worker(pykka.ThreadingActor):
    use_daemon_thread = True

    def __init__(self, pool: BlockingPool) -> None:
        super().__init__()
        self._pool = pool

    def on_receive(self, message: Any) -> None:
        job: _Job | None = message
        while job is not None:
            job.run()
            job = self._pool.next_job(self.actor_ref)


class BlockingPool:
    """At most `size` threads, at most `limit` jobs waiting for one.

    With `size` 0 nothing runs by itself: `run_one` does a waiting job on the caller.
    """

    def __init__(self, size: int, limit: int) -> None:
        self._size = size
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[_Job] = deque()
        self._idle: list[pykka.ActorRef[Any]] = []
        self._workers: list[pykka.ActorRef[Any]] = []
        self._closed = False

    def submit(self, work: Callable[[], Any], ref: pykka.ActorRef[Any], tag: Any) -> None:
        """Run `work` on the pool; `ref` is told `Finished` or `Failed` with `tag`.

        Raises:
            PoolFull: as much is waiting as may.
            DispatcherClosed: the pool has been closed.
        """
        job = _Job(work, ref, tag)
        with self._lock:
            if self._closed:
                raise DispatcherClosed("the blocking pool is closed")
            if self._idle:
                worker = self._idle.pop()
            elif len(self._workers) < self._size:
                worker = _Worker.start(self)
                self._workers.append(worker)
            elif len(self._waiting) >= self._limit:
                raise PoolFull(f"{self._limit} jobs wait for the blocking pool", "try again later")
            else:
                self._waiting.append(job)
                return
        worker.tell(job)

    def next_job(self, worker: pykka.ActorRef[Any]) -> _Job | None:
        """The next waiting job for a worker that has finished one; None marks it idle."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(worker)
            return None

    def run_one(self) -> bool:
        """Do one waiting job on the caller; False when none waits."""
        with self._lock:
            if not self._waiting:
                return False
            job = self._waiting.popleft()
        job.run()
        return True

    def close(self) -> None:
        """Drop what waits and let the threads end after what they are doing."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            workers, self._workers = self._workers, []
        for worker in workers:
            worker.stop(block=False)
