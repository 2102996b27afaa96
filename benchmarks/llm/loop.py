"""The first opponent: the plain `llama_cpp.Llama` loop, in a process of its own.

It decodes one request after another, in the order of asking, with its own reuse of the longest
prefix of the request before, on as it is by default. `Llama.generate` is called, the core of what
users call: detokenising and stop strings are left out, in its favour.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.llm.child import Child
from benchmarks.llm.sides import Answer, Sizes
from benchmarks.llm.workload import REPLY_TOKENS, Prompt

CELLS = 1024


@dataclass(slots=True)
class PlainLoop:
    """One `Llama`, one request at a time."""

    path: Path
    sizes: Sizes
    name: str = "llama_cpp.Llama"
    settings: dict[str, Any] = field(default_factory=dict)
    _child: Child | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def start(self) -> None:
        self._child = Child([sys.executable, "-P", "-m", "benchmarks.llm.loop_child"], self.name)
        await self._child.start()
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
        async with self._turn:
            waited = time.perf_counter() - begun
            found = await self._call({"ids": prompt.tokens, "count": REPLY_TOKENS})
        tokens = tuple(found["tokens"])
        total = time.perf_counter() - begun
        return Answer("", waited + found["first_s"], total, len(tokens), tokens)

    async def logits(
        self, ids: Sequence[int], of: Sequence[int]
    ) -> tuple[list[float], float, float]:
        """(the logit of each token of `of` after `ids`, the spread of all, flash attention's shift).

        The spread is the standard deviation of all logits there. The shift is the farthest that any
        of them moves when this same loop is told to use flash attention.
        """
        async with self._turn:
            found = await self._call({"logits": list(ids), "of": list(of)})
        return found["values"], found["spread"], found["shift"]

    async def read(self) -> int | None:
        return None

    async def close(self) -> None:
        if self._child is not None:
            await self._child.close()

    async def _call(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._child is not None
        await self._child.say(message)
        return await self._child.hear()
