"""The first opponent: the plain `llama_cpp.Llama` loop, in a process of its own.

It decodes one request after another, with its own reuse of the longest prefix of the request before,
on as it is by default. `Llama.generate` is called, the core of what users call: detokenising and stop
strings are left out, in its favour.

What waits for it waits in a queue of its caller's, so here it is driven as well as a caller can: first
come first served, but a player's line goes before every NPC's request. That is its fair best, since no
library stands in the way of it; behind 128 NPCs in the order of asking a line would wait for all of
them. A line still waits for the request that is being decoded, and its persona is read again when that
request was another's.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.llm.child import Child
from benchmarks.llm.sides import Answer, SideError, Sizes
from benchmarks.llm.workload import REPLY_TOKENS, Prompt

CELLS = 1024


@dataclass(slots=True)
class _Call:
    """One message to the loop's process, and who waits for its answer."""

    message: dict[str, Any]
    answer: asyncio.Future[dict[str, Any]]


@dataclass(slots=True)
class PlainLoop:
    """One `Llama`, one request at a time, a player's line first of those that wait."""

    path: Path
    sizes: Sizes
    name: str = "llama_cpp.Llama"
    settings: dict[str, Any] = field(default_factory=dict)
    _child: Child | None = None
    _waiting: list[tuple[bool, int, _Call]] = field(default_factory=list)
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: int = 0
    _worker: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._child = Child([sys.executable, "-P", "-m", "benchmarks.llm.loop_child"], self.name)
        await self._child.start()
        self._worker = asyncio.create_task(self._work(self._child))
        given = {
            "cells": CELLS,
            "batch": self.sizes.batch,
            "threads": self.sizes.threads,
            "gpu_layers": self.sizes.gpu_layers,
        }
        ready = await self._call({"start": str(self.path), **given})
        self.settings = {**given, "version": ready["version"], "build": ready["build"]}

    async def ask(self, prompt: Prompt, *, urgent: bool = False, stream: bool = False) -> Answer:
        begun = time.perf_counter()
        call = {"ids": prompt.tokens, "count": REPLY_TOKENS}
        found = await self._call(call, urgent=urgent)
        tokens = tuple(found["tokens"])
        total = time.perf_counter() - begun
        first = found["begun"] - begun + found["first_s"]
        return Answer("", first, total, len(tokens), tokens)

    async def logits(
        self, ids: Sequence[int], of: Sequence[int]
    ) -> tuple[list[float], float, float]:
        """(the logit of each token of `of` after `ids`, the spread of all, flash attention's shift).

        The spread is the standard deviation of all logits there. The shift is the farthest that any
        of them moves when this same loop is told to use flash attention.
        """
        found = await self._call({"logits": list(ids), "of": list(of)})
        return found["values"], found["spread"], found["shift"]

    async def read(self) -> int | None:
        return None

    async def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        for _, _, call in self._waiting:
            call.answer.cancel()
        if self._child is not None:
            await self._child.close()

    async def _call(self, message: dict[str, Any], *, urgent: bool = False) -> dict[str, Any]:
        call = _Call(message, asyncio.get_running_loop().create_future())
        self._asked += 1
        heapq.heappush(self._waiting, (not urgent, self._asked, call))
        self._came.set()
        return await call.answer

    async def _work(self, child: Child) -> None:
        """The loop itself. What nobody waits for any more is passed over, or answered to nobody."""
        while True:
            while not self._waiting:
                self._came.clear()
                await self._came.wait()
            call = heapq.heappop(self._waiting)[2]
            if call.answer.done():
                continue
            begun = time.perf_counter()
            try:
                await child.say(call.message)
                found = await child.hear()
            except (SideError, ValueError) as error:
                if not call.answer.done():
                    call.answer.set_exception(error)
                continue
            if not call.answer.done():
                call.answer.set_result({**found, "begun": begun})
