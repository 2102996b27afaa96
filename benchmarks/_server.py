"""A model server in simulated time: slots, continuous batching, chunked prefill, a stated step time."""

from __future__ import annotations

import heapq
import json
import math
import time
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from foundation.errors import UsageError

SLOTS, CHUNK = 64, 512
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_ROUNDS = 7
_LONG = 448


@dataclass(frozen=True, slots=True)
class Curve:
    """Seconds of a step that decodes so many tokens, and what each cell of context adds to a row."""

    name: str
    measured: bool
    tokens: tuple[int, ...]
    seconds: tuple[float, ...]
    cell_s: float

    def step_s(self, tokens: int, cells: int) -> float:
        """A step of `tokens` tokens whose rows look back on `cells` cells in all."""
        return float(np.interp(tokens, self.tokens, self.seconds)) + cells * self.cell_s

    def told(self) -> dict[str, Any]:
        """Plain values for a report, which `read` takes."""
        return {
            "name": self.name,
            "measured": self.measured,
            "tokens": list(self.tokens),
            "seconds": [round(s, 6) for s in self.seconds],
            "cell_s": self.cell_s,
        }

    @classmethod
    def read(cls, path: Path) -> Curve:
        """A curve that `told` gave. Raises UsageError."""
        try:
            kept = json.loads(path.read_text())
            return cls(
                str(kept["name"]),
                bool(kept["measured"]),
                tuple(int(n) for n in kept["tokens"]),
                tuple(float(s) for s in kept["seconds"]),
                float(kept["cell_s"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} holds no step times: {error}", "give what a report has under curves"
            ) from error


STATED = Curve(
    "250m, stated: two cores of a Xeon with AMX",
    True,
    (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    (0.0118, 0.0174, 0.0179, 0.0236, 0.0280, 0.0452, 0.0828, 0.1425, 0.2584, 0.5350),
    2.65e-5,
)
"""The least of what `measure` gave in three runs alone on the machine, for the 250M model in Q8_0 by two threads; for where its file is missing."""

FLAT = Curve("flat (stated, not measured)", False, (1, 64, 512), (0.008, 0.008, 0.016), 0.0)
"""For comparison only: a step takes as long with 64 rows as with one, as where memory is the limit."""


def measure(path: Path, threads: int = 2) -> Curve:
    """Time steps of the GGUF at `path` on this machine: the shortest of seven, 64 rows at most.

    More tokens than rows are prefill. What a cell adds comes from 8 rows behind 448 tokens each.
    """
    from models.llama.context import Context
    from models.llama.library import LogTail, Model
    from models.llama.settings import EngineSettings

    settings = EngineSettings(
        threads=threads, n_ctx=8192, n_seq=SLOTS, n_parallel=SLOTS, n_batch=CHUNK, gpu_layers=0
    )
    model = Model(path, settings, LogTail())
    context = Context(model, settings)

    def took(parts: Sequence[tuple[int, int, Sequence[int], bool]]) -> float:
        began = time.perf_counter()
        context.decode(parts)
        return time.perf_counter() - began

    def rows(count: int, tokens: int, at: int) -> list[tuple[int, int, list[int], bool]]:
        each, more = divmod(tokens, count)
        return [(s, at, [300 + s] * (each + (s < more)), True) for s in range(count)]

    try:
        took(rows(1, 1, 0))
        found = [math.inf] * len(BATCHES)
        # Round by round, so that a busy moment of the machine doesn't fall on one size alone.
        for _ in range(_ROUNDS):
            for n, batch in enumerate(BATCHES):
                context.clear()
                found[n] = min(found[n], took(rows(min(batch, SLOTS), batch, 0)))
        context.clear()
        for s in range(8):
            took([(s, 0, [300 + s] * _LONG, False)])
        times = [took(rows(8, 8, _LONG + n)) for n in range(_ROUNDS)]
        # Others only ever add time, so a step is as short as the shortest that does as much or more.
        rising = np.minimum.accumulate(found[::-1])[::-1].tolist()
        extra = min(times) - rising[BATCHES.index(8)]
        return Curve(
            "250m, measured here", True, BATCHES, tuple(rising), max(0.0, extra) / (8 * _LONG)
        )
    finally:
        context.close()
        model.close()


@dataclass(slots=True)
class _Job:
    key: tuple[int, ...]
    call: int
    prompt: int
    reply: int
    read: int = 0
    written: int = 0


class Server(Protocol):
    """Takes calls, and tells which are answered next, and when."""

    def submit(
        self, call: int, prompt: int, kept: int, reply: int, key: tuple[int, ...]
    ) -> None: ...

    def next(self) -> list[int]: ...

    @property
    def now(self) -> float: ...

    @property
    def rows(self) -> float: ...


class Batching:
    """The stated server: the lowest key is taken into a slot first, and read first; what a call says is `kept` isn't read anew."""

    def __init__(self, curve: Curve, slots: int = SLOTS, chunk: int = CHUNK) -> None:
        self._curve, self._slots, self._chunk = curve, slots, chunk
        self._queue: list[_Job] = []
        self._active: list[_Job] = []
        self._time = self._row_time = 0.0

    @property
    def now(self) -> float:
        """Seconds that have passed."""
        return self._time

    @property
    def rows(self) -> float:
        """Slots in use, over the time in which any were."""
        return self._row_time / self._time if self._time else 0.0

    def submit(self, call: int, prompt: int, kept: int, reply: int, key: tuple[int, ...]) -> None:
        """Queue a call of so many tokens."""
        insort(self._queue, _Job(key, call, prompt, reply, kept), key=_rank)

    def cancel(self, call: int) -> None:
        """Let go of a call that is queued or in a slot."""
        self._queue = [job for job in self._queue if job.call != call]
        self._active = [job for job in self._active if job.call != call]

    def next(self) -> list[int]:
        """Step until something is answered; [] when there is nothing to do."""
        done: list[int] = []
        while not done and (self._active or self._queue):
            done = self._step()
        return done

    def _step(self) -> list[int]:
        while self._queue and len(self._active) < self._slots:
            insort(self._active, self._queue.pop(0), key=_rank)
        tokens = sum(job.read == job.prompt for job in self._active)
        cells = 0
        writing = []
        room = self._chunk - tokens
        for job in self._active:
            if job.read < job.prompt:
                part = min(room, job.prompt - job.read)
                room -= part
                tokens += part
                cells += part * job.read
                job.read += part
                if not part or job.read < job.prompt:
                    continue
            else:
                cells += job.read + job.written
            writing.append(job)
        took = self._curve.step_s(tokens, cells)
        self._time += took
        self._row_time += took * len(self._active)
        for job in writing:
            job.written += 1
        done = [job.call for job in writing if job.written >= job.reply]
        self._active = [job for job in self._active if job.written < job.reply]
        return done


def _rank(job: _Job) -> tuple[tuple[int, ...], int]:
    return job.key, job.call


class Unlimited:
    """Each call as if it were alone: what no number of slots can go below."""

    def __init__(self, curve: Curve) -> None:
        self._curve = curve
        self._time = 0.0
        self._due: list[tuple[float, int]] = []

    @property
    def now(self) -> float:
        """Seconds that have passed."""
        return self._time

    @property
    def rows(self) -> float:
        """Not counted."""
        return 0.0

    def submit(self, call: int, prompt: int, kept: int, reply: int, key: tuple[int, ...]) -> None:
        """Begin it now."""
        alone = Batching(self._curve, slots=1)
        alone.submit(call, prompt, kept, reply, ())
        alone.next()
        heapq.heappush(self._due, (self._time + alone.now, call))

    def next(self) -> list[int]:
        """Go on to the next answer."""
        if not self._due:
            return []
        self._time, call = heapq.heappop(self._due)
        return [call]
