"""Replays a trace over a simulated model server: in lock-step, out of order by the rule, and by the truth.

Only the model's time is counted: the world's own steps are taken as free, in all three alike.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from actors.trace import Trace
from benchmarks._server import Server
from world.influence import Influence

Schedule = Literal["lock-step", "out of order", "oracle"]


@dataclass(frozen=True, slots=True)
class Replayed:
    """Seconds of model time, and the mean of slots in use over them."""

    seconds: float
    slots: float


class Replay:
    """One replay. `on_step(members, at)` sees who is about to be stepped, and everyone's next block.

    The server is given the calls of the least advanced first. An oracle knows who in fact read whom, and has no
    barriers. Beings that are not there are stepped by nobody: they count as passed.
    """

    def __init__(
        self,
        trace: Trace,
        schedule: Schedule,
        server: Server,
        influence: Influence | None = None,
        on_step: Callable[[list[int], np.ndarray], None] | None = None,
    ) -> None:
        self._trace, self._schedule, self._server = trace, schedule, server
        self._influence, self._on_step = influence, on_step
        n = trace.beings.size
        self._at = np.zeros(n, dtype=np.int64)
        self._held = np.zeros(n, dtype=bool)
        self._open: list[dict[int, int]] = [{} for _ in range(n)]
        self._watch: list[list[int]] = [[] for _ in range(n)]
        # By each barrier's block: how many have come so far, and who waits there.
        self._barriers: dict[int, list[int]] = {b: [] for b in trace.barriers.tolist()}
        self._come = dict.fromkeys(self._barriers, 0)
        self._asks: dict[tuple[int, int], list[int]] = {}
        self._answered: np.ndarray = np.zeros(len(trace.calls), dtype=bool)
        for call, (being, asked, *_rest) in enumerate(trace.calls.tolist()):
            block = max(0, asked - 1) // trace.every
            self._asks.setdefault((being, block), []).append(call)
        self._needs: dict[tuple[int, int], list[int]] = {}
        if schedule == "oracle":
            for block, reader, read in trace.links.tolist():
                self._needs.setdefault((reader, block), []).append(read)

    def run(self) -> Replayed:
        """Replay the whole trace. Raises RuntimeError if it can't be ended: the schedule is wrong."""
        lives = self._in_step if self._schedule == "lock-step" else self._apart
        lives(list(range(self._at.size)))
        while answered := self._server.next():
            woken: list[int] = []
            for call in answered:
                being = int(self._trace.calls[call, 0])
                self._answered[call] = True
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
        if self._open[being]:
            block = int(self._at[being])
            self._held[being] = any(due <= block for due in self._open[being].values())
        else:
            self._held[being] = False
        return not self._held[being]

    def _step(self, members: list[int]) -> None:
        if self._on_step is not None:
            self._on_step(members, self._at)
        calls = self._trace.calls
        block = int(self._at[members[0]])
        for being in members:
            for call in self._asks.get((being, block), ()):
                due = (int(calls[call, 2]) - 1) // self._trace.every
                # An answer that is due in the block in which it is asked holds up the next one.
                self._open[being][call] = max(due, block + 1)
                prompt, reply = int(calls[call, 4]), int(calls[call, 5])
                self._server.submit(call, prompt, reply, (block, being))
        self._at[members] = block + 1
        for being in members:
            if self._open[being]:
                self._update(being)
        if block + 1 in self._come:
            self._come[block + 1] += len(members)

    def _in_step(self, _woken: list[int]) -> None:
        everyone = list(range(self._at.size))
        while everyone and not self._held.any() and self._at[0] < self._trace.blocks:
            self._step(everyone)

    def _apart(self, woken: list[int]) -> None:
        blocks, at = self._trace.blocks, self._at
        queued = set(woken)
        ready = [(int(at[being]), being) for being in queued]
        heapq.heapify(ready)

        def wake(beings: list[int]) -> None:
            for being in beings:
                if being not in queued:
                    queued.add(being)
                    heapq.heappush(ready, (int(at[being]), being))
            beings.clear()

        while ready:
            _, being = heapq.heappop(ready)
            queued.discard(being)
            if at[being] >= blocks:
                continue
            block = int(at[being])
            if block in self._barriers and self._schedule != "oracle":
                if self._come[block] < at.size and block > 0:
                    self._barriers[block].append(being)
                    continue
            members, blocker = self._unit(being, block)
            if blocker >= 0:
                self._watch[blocker].append(being)
                continue
            self._step(members)
            for member in members:
                wake([member])
                if self._watch[member]:
                    wake(self._watch[member])
            if self._come.get(block + 1, 0) == at.size:
                wake(self._barriers[block + 1])

    def _unit(self, being: int, block: int) -> tuple[list[int], int]:
        if self._held[being]:
            return [being], being
        if self._schedule == "oracle":
            for read in self._needs.get((being, block), ()):
                if self._at[read] < block:
                    return [being], read
            return [being], -1
        assert self._influence is not None
        if not self._trace.there[block, being]:
            return [being], -1
        return self._influence.unit(being, self._at, self._held)
