"""Replays a trace over a simulated model server: in lock-step, out of order by the rule, and by the truth.

Only the model's time is counted: the world's own steps are taken as free, in all three alike.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actors.trace import Trace
from benchmarks._server import Server
from world.influence import Influence

Schedule = Literal["lock-step", "out of order", "oracle"]
First = Literal["asked first", "least advanced"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """Seconds of model time, and the mean of slots in use over them."""

    seconds: float
    slots: float


class Replay:
    """One replay. `on_step(members, at)` sees who is about to be stepped, and everyone's next block."""

    def __init__(
        self,
        trace: Trace,
        schedule: Schedule,
        server: Server,
        influence: Influence | None = None,
        first: First = "least advanced",
        on_step: Callable[[list[int], np.ndarray], None] | None = None,
    ) -> None:
        self._trace, self._schedule, self._server = trace, schedule, server
        self._influence, self._first, self._on_step = influence, first, on_step
        n = trace.beings.size
        self._at = np.zeros(n, dtype=np.int64)
        self._held = np.zeros(n, dtype=bool)
        self._open: list[dict[int, int]] = [{} for _ in range(n)]
        self._watch: list[list[int]] = [[] for _ in range(n)]
        self._barriers = frozenset(trace.barriers.tolist())
        self._asks: dict[tuple[int, int], list[int]] = {}
        for call, (being, asked, *_rest) in enumerate(trace.calls.tolist()):
            block = max(0, asked - 1) // trace.every
            self._asks.setdefault((being, block), []).append(call)
        self._needs: dict[tuple[int, int], list[int]] = {}
        if schedule == "oracle":
            for block, reader, read in trace.links.tolist():
                self._needs.setdefault((reader, block), []).append(read)
        self._submitted = 0

    def run(self) -> Replayed:
        """Replay the whole trace. Raises RuntimeError if it can't be ended: the schedule is wrong."""
        lives = self._in_step if self._schedule == "lock-step" else self._apart
        lives(list(range(self._at.size)))
        while answered := self._server.next():
            woken: list[int] = []
            for call in answered:
                being = int(self._trace.calls[call, 0])
                del self._open[being][call]
                if self._update(being):
                    woken += [being, *self._watch[being]]
                    self._watch[being].clear()
            lives(woken)
        if (self._at < self._trace.blocks).any():
            raise RuntimeError(f"{self._schedule}: nobody can be stepped, and nothing is asked")
        return Replayed(self._server.now, self._server.rows)

    def _update(self, being: int) -> bool:
        """Note whether an answer is missing that is due in its block; returns whether it is free."""
        block = int(self._at[being])
        self._held[being] = any(due <= block for due in self._open[being].values())
        return not self._held[being]

    def _step(self, members: list[int]) -> None:
        if self._on_step is not None:
            self._on_step(members, self._at)
        calls = self._trace.calls
        for being in members:
            block = int(self._at[being])
            for call in self._asks.get((being, block), ()):
                due = (int(calls[call, 2]) - 1) // self._trace.every
                # An answer that is due in the block in which it is asked holds up the next one.
                self._open[being][call] = max(due, block + 1)
                self._submitted += 1
                key = (block,) if self._first == "least advanced" else (self._submitted,)
                self._server.submit(call, int(calls[call, 3]), int(calls[call, 4]), key)
            self._at[being] = block + 1
        for being in members:
            self._update(being)

    def _in_step(self, _woken: list[int]) -> None:
        everyone = list(range(self._at.size))
        while everyone and not self._held.any() and self._at[0] < self._trace.blocks:
            self._step(everyone)

    def _apart(self, woken: list[int]) -> None:
        ready = deque(dict.fromkeys(woken))
        while ready:
            being = ready.popleft()
            if self._at[being] >= self._trace.blocks:
                continue
            members, blocker = self._unit(being)
            if blocker >= 0:
                self._watch[blocker] += members
                for member in members:
                    if member != being and member in ready and len(ready) < 64:
                        ready.remove(member)
                continue
            self._step(members)
            for member in members:
                ready.append(member)
                ready.extend(self._watch[member])
                self._watch[member].clear()

    def _unit(self, being: int) -> tuple[list[int], int]:
        block = int(self._at[being])
        if self._held[being]:
            return [being], being
        if self._schedule == "oracle":
            late = [b for b in self._needs.get((being, block), ()) if self._at[b] < block]
            return [being], late[0] if late else -1
        if block in self._barriers:
            last = int(np.argmin(self._at))
            if self._at[last] < block:
                return [being], last
        assert self._influence is not None
        if not self._trace.there[block, being]:
            return [being], -1
        return self._influence.unit(being, self._at, self._held)
