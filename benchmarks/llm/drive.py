"""Drives one side through one pattern of arrivals and notes when what came back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from pydantic import BaseModel

from benchmarks.llm.sides import Answer, Ours, Side
from benchmarks.llm.workload import Prompt

_FIRST_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Run:
    """One side's answers in the order of asking, and the seconds from the first asking to the last end."""

    answers: Sequence[Answer]
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.answers) / self.seconds

    def first_ms(self, percent: float) -> float:
        """A percentile of the times to the first token, in milliseconds."""
        return percentile_ms([answer.first_s for answer in self.answers], percent)

    def whole_ms(self, percent: float) -> float:
        """A percentile of the times to the end of the answer, in milliseconds."""
        return percentile_ms([answer.total_s for answer in self.answers], percent)


@dataclass(slots=True)
class Speech:
    """A player's lines: seconds to the first token of each, and how many NPCs were busy meanwhile."""

    busy: int
    first_s: list[float] = field(default_factory=list)
    wanted: int = 0

    def first_ms(self, percent: float) -> float:
        """A percentile, in milliseconds."""
        return percentile_ms(self.first_s, percent)


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """A percentile of seconds in milliseconds, interpolated between neighbours; 0 for none."""
    return float(np.percentile(np.array(seconds), percent) * 1000.0) if len(seconds) else 0.0


async def bursts(side: Side, asked: Sequence[Prompt], at_once: int) -> Run:
    """Ask `at_once` prompts together, the next as many when all of those are answered."""
    begun = time.perf_counter()
    answers: list[Answer] = []
    for at in range(0, len(asked), at_once):
        burst = asked[at : at + at_once]
        answers += await asyncio.gather(*(side.ask(prompt) for prompt in burst))
    return Run(answers, time.perf_counter() - begun)


async def arrivals(side: Side, asked: Sequence[Prompt], times: Sequence[float]) -> Run:
    """Ask each prompt at its time, in seconds from now, however many are under way; streamed."""
    begun = time.perf_counter()

    async def one(prompt: Prompt, at: float) -> Answer:
        await asyncio.sleep(max(0.0, begun + at - time.perf_counter()))
        return await side.ask(prompt, stream=True)

    answers = await asyncio.gather(*map(one, asked, times))
    return Run(answers, time.perf_counter() - begun)


async def speech(
    side: Side,
    crowd: Sequence[Prompt],
    lines: Sequence[Prompt],
    *,
    busy: int,
    pause_s: float,
    limit_s: float,
) -> Speech:
    """A player speaks one line after another while `busy` NPCs ask again whenever they were answered.

    The player's first line is not measured: it warms the persona, before the crowd comes. Lines that would begin
    later than `limit_s` are left out, so that a slow side answers fewer of them; at least one is spoken.
    """
    warm, *spoken = lines
    found = Speech(busy, wanted=len(spoken))
    await side.ask(warm, urgent=True, stream=True)
    turns = 0

    async def npc(first: int) -> None:
        nonlocal turns
        at = first
        while True:
            await side.ask(crowd[at % len(crowd)], stream=True)
            turns += 1
            at += busy

    tasks = [asyncio.create_task(npc(first)) for first in range(busy)]
    try:
        begun = time.perf_counter()
        while turns < busy and time.perf_counter() - begun < min(limit_s, _FIRST_LIMIT_S):
            await _check(tasks)
            await asyncio.sleep(0.02)
        begun = time.perf_counter()
        for line in spoken:
            if found.first_s and time.perf_counter() - begun > limit_s:
                break
            await asyncio.sleep(pause_s)
            await _check(tasks)
            answer = await side.ask(line, urgent=True, stream=True)
            found.first_s.append(answer.first_s)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


async def _check(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            await task


async def structured(
    side: Ours, asked: Sequence[Prompt], at_once: int, schema: type[BaseModel], most: int
) -> Run:
    """As `bursts`, for replies that must satisfy `schema` and may take `most` tokens."""
    begun = time.perf_counter()
    answers: list[Answer] = []
    for at in range(0, len(asked), at_once):
        burst = asked[at : at + at_once]
        answers += await asyncio.gather(
            *(side.ask_structured(prompt, schema, most) for prompt in burst)
        )
    return Run(answers, time.perf_counter() - begun)
