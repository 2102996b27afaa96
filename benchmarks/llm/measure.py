"""Takes one model through every phase: each side in turn, alone on the machine, cold at the phase's start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import llama_cpp
from pydantic import Field, StringConstraints

from benchmarks.llm import drive, rows, workload
from benchmarks.llm.drive import Run
from benchmarks.llm.greedy import Comparison, compare
from benchmarks.llm.loop import PlainLoop
from benchmarks.llm.plan import NPCS, OPPONENTS, Outcome, Plan, Report
from benchmarks.llm.results import lacking
from benchmarks.llm.servers import ExampleServer, LlamaServer
from benchmarks.llm.sides import Absent, Ours, Side, SideError, Sizes
from benchmarks.llm.vocabulary import Tokens
from benchmarks.llm.workload import REPLY_TOKENS, Prompt
from foundation.strict import StrictModel
from models import grammar

_log = logging.getLogger("greenroom.bench")

SHARED_PERSONAS = 8
AT_ONCE = 32
PHASE_S = 3600.0
_SEED = 20
_SEQUENCE = 768
"""Cells of the longest conversation, rounded up to llama.cpp's 256: persona, line and reply."""
_BESIDE = 16
"""Sequences beyond those that speak or have a persona, for what a side wants to keep."""
_LOAD = 0.7

T = TypeVar("T")


class Deed(StrictModel):
    """The structured reply that is asked for: an action as an NPC's mind gives it."""

    action: Literal["wait", "go", "say", "give", "attack", "flee"]
    target: Literal["none", "wolf", "guard", "innkeeper", "player"]
    urgency: Annotated[int, Field(ge=0, le=9)]
    aloud: bool
    reason: Annotated[str, StringConstraints(max_length=24, pattern="^[a-z ]*$")]


class Bench:
    """All phases of one model."""

    def __init__(self, plan: Plan, path: Path, gpu_layers: int, report: Report) -> None:
        self._plan = plan
        self._path = path
        self._gpu_layers = gpu_layers
        self._report = report
        self._tokens = Tokens(path)
        self._absent = {name for key, name in OPPONENTS.items() if key not in plan.against}
        for name in sorted(self._absent):
            report.miss(f"{name}, {plan.name}", "it was not asked for", "name it with --against")
        self._warm = self._prompts(1, 1, 1, seed=_SEED + 90)[0]

    async def run(self) -> None:
        """The plan's phases, their rows into the report."""
        chosen = self._plan.phases
        if "shared" in chosen:
            shared = await self._shared()
            if "poisson" in chosen:
                await self._poisson(shared, distinct=False)
        if "distinct" in chosen:
            distinct = await self._distinct()
            if "poisson" in chosen:
                await self._poisson(distinct, distinct=True)
        if "structured" in chosen:
            await self._structured()
        if "speech" in chosen:
            await self._speech()

    async def _shared(self) -> Mapping[str, Outcome]:
        plan = self._plan
        found: Mapping[str, Outcome] = {}
        for offset, at_once in enumerate((1, 8, AT_ONCE)):
            count = plan.count if at_once > 1 else max(2, plan.count // 4)
            asked = self._prompts(plan.npcs, SHARED_PERSONAS, count, seed=_SEED + offset)
            found = await self._bursts(f"shared, {at_once} at once", asked, at_once)
            rows.shared(self._report, plan, at_once, found, self._floor(asked))
        return found

    def _prompts(self, npcs: int, personas: int, count: int, *, seed: int) -> list[Prompt]:
        return workload.prompts(
            self._tokens.prompt, npcs=npcs, personas=min(personas, npcs), count=count, seed=seed
        )

    def _floor(self, asked: Sequence[Prompt]) -> int:
        """The least that must be read for these once the warming prompt was."""
        return workload.floor([self._warm, *asked]) - workload.floor([self._warm])

    def _sizes(self, personas: int) -> Sizes:
        kept = max(AT_ONCE, personas) + _BESIDE
        return Sizes(
            self._plan.threads,
            kept,
            _SEQUENCE,
            AT_ONCE,
            gpu_layers=self._gpu_layers,
            # As plans have it: llama-server too is the faster without on a CPU.
            flash=self._gpu_layers != 0 and bool(llama_cpp.llama_supports_gpu_offload()),
        )

    def _servers(self, sizes: Sizes, slots: int = AT_ONCE) -> list[Side]:
        return [LlamaServer(self._path, sizes, slots), ExampleServer(self._path, sizes)]

    async def _on(
        self, phase: str, side: Side, act: Callable[[], Awaitable[T]]
    ) -> tuple[T, int | None, dict[str, float]] | None:
        """Start a side, warm it with a prompt of another world, act, and end it.

        Returns what `act` did, prompt tokens decoded meanwhile, and our engine's totals. Ours must
        work; an opponent that is absent or breaks is noted, and None is returned.
        """
        if side.name in self._absent:
            return None
        _log.info("%s: %s: %s", self._plan.name, phase, side.name)
        try:
            await side.start()
            await side.ask(self._warm)
            read, before = await side.read(), await _figures(side)
            done = await asyncio.wait_for(act(), PHASE_S)
            after, total = await _figures(side), await side.read()
        except (Absent, SideError, TimeoutError) as error:
            if isinstance(side, Ours):
                raise
            if isinstance(error, Absent):
                self._absent.add(side.name)
                self._report.miss(side.name, error.message, error.hint)
            else:
                reason = (
                    f"not done in {PHASE_S:g} s" if isinstance(error, TimeoutError) else str(error)
                )
                self._report.miss(f"{side.name}, {self._plan.name}, {phase}", reason)
            return None
        finally:
            await side.close()
        self._remember(side)
        figures = {key: after[key] - before.get(key, 0) for key in after}
        return done, None if total is None or read is None else total - read, figures

    def _remember(self, side: Side) -> None:
        if side.name in self._report.opponents:
            return
        self._report.opponents[side.name] = dict(side.settings)
        slower = lacking(self._tokens.build(), str(side.settings.get("build", "")))
        if slower:
            self._report.note(
                f"{side.name} was compiled without {', '.join(slower)}, which ours uses: its figures "
                "are below what it can do here; name one compiled for this machine in "
                "LLAMA_SERVER_BIN"
            )

    async def _bursts(
        self, phase: str, asked: Sequence[Prompt], at_once: int
    ) -> dict[str, Outcome]:
        sizes = self._sizes(SHARED_PERSONAS)
        found: dict[str, Outcome] = {}
        for side in (Ours(self._path, sizes), *self._servers(sizes)):
            done = await self._on(phase, side, partial(drive.bursts, side, asked, at_once))
            if done is not None:
                self._check(phase, side, done[0])
                found[side.name] = Outcome(*done)
        return found

    def _check(self, phase: str, side: Side, run: Run) -> None:
        short = sum(1 for answer in run.answers if answer.written < REPLY_TOKENS)
        if short:
            self._report.note(
                f"{self._plan.name}, {phase}: {short} of {len(run.answers)} replies of {side.name} "
                f"ended before {REPLY_TOKENS} tokens"
            )

    async def _poisson(self, before: Mapping[str, Outcome], *, distinct: bool) -> None:
        """Requests that come by chance, `_LOAD` as many as the slowest of those that batch did in bursts.

        Distinct personas were read before, as in their bursts, and the loop is asked there too, by the
        same arrivals as all, which may be more than it can serve.
        """
        plan = self._plan
        rate = _LOAD * min(each.run.rate for name, each in before.items() if name != rows.LOOP)
        first: Sequence[Prompt] = ()
        peers: tuple[str, ...] = (rows.LOOP, rows.SERVER, rows.EXAMPLE)
        if distinct:
            sides = self._distinct_sides()
            every = self._prompts(plan.npcs, plan.npcs, plan.npcs + plan.count, seed=_SEED + 10)
            first, asked = every[: plan.npcs], every[plan.npcs :]
        else:
            sizes, peers = self._sizes(SHARED_PERSONAS), (rows.SERVER, rows.EXAMPLE)
            sides = [Ours(self._path, sizes), *self._servers(sizes)]
            asked = self._prompts(plan.npcs, SHARED_PERSONAS, plan.count, seed=_SEED + 5)
        times = workload.poisson(len(asked), rate, _SEED)
        found: dict[str, Outcome] = {}

        async def act(side: Side) -> Run:
            await self._read_first(side, first)
            return await drive.arrivals(side, asked, times)

        personas = "distinct" if distinct else "shared"
        for side in sides:
            done = await self._on(f"{personas}, Poisson arrivals", side, partial(act, side))
            if done is not None:
                found[side.name] = Outcome(*done)
        rows.poisson(self._report, plan, personas, rate, found, peers)

    def _distinct_sides(self) -> list[Side]:
        sizes = self._sizes(self._plan.npcs)
        slots = max(AT_ONCE, self._plan.npcs)
        ours, loop = Ours(self._path, sizes), PlainLoop(self._path, sizes)
        return [ours, loop, *self._servers(sizes, slots)]

    async def _read_first(self, side: Side, first: Sequence[Prompt]) -> None:
        """Let a side read every NPC's persona once before the clock starts.

        The loop is not asked: it keeps one prompt's KV, so this would change nothing but the bench's
        own length.
        """
        if not isinstance(side, PlainLoop):
            await drive.bursts(side, first, AT_ONCE)

    async def _distinct(self) -> Mapping[str, Outcome]:
        """Every NPC has a persona of its own, read once before the clock starts."""
        plan, phase = self._plan, f"distinct, {AT_ONCE} at once"
        every = self._prompts(plan.npcs, plan.npcs, plan.npcs + plan.count, seed=_SEED + 6)
        first, asked = every[: plan.npcs], every[plan.npcs :]
        found: dict[str, Outcome] = {}
        same: Comparison | None = None

        async def act(side: Side) -> Run:
            nonlocal same
            await self._read_first(side, first)
            run = await drive.bursts(side, asked, AT_ONCE)
            if isinstance(side, PlainLoop):
                ours = found["greenroom"].run.answers
                same = await compare(self._tokens, side, asked, ours, run.answers)
            return run

        for side in self._distinct_sides():
            done = await self._on(phase, side, partial(act, side))
            if done is not None:
                self._check(phase, side, done[0])
                found[side.name] = Outcome(*done)
        rows.distinct(self._report, plan, found, self._floor(every), same)
        return found

    async def _structured(self) -> None:
        side = Ours(self._path, self._sizes(SHARED_PERSONAS))
        asked = self._prompts(self._plan.npcs, SHARED_PERSONAS, self._plan.count, seed=_SEED + 7)
        most = grammar.longest_tokens(Deed)
        done = await self._on(
            "structured", side, partial(drive.structured, side, asked, AT_ONCE, Deed, most)
        )
        assert done is not None
        rows.structured(self._report, self._plan, Outcome(*done))

    async def _speech(self) -> None:
        plan = self._plan
        steps = (0, *plan.busy)
        lines = self._prompts(1, 1, len(steps) * (plan.lines + 1), seed=_SEED + 8)
        crowd = self._prompts(NPCS, SHARED_PERSONAS, 3 * sum(steps), seed=_SEED + 9)
        sizes = self._sizes(SHARED_PERSONAS)
        found: dict[str, list[drive.Speech]] = {}

        async def act(side: Side) -> None:
            at = spoken = 0
            for busy in steps:
                found.setdefault(side.name, []).append(
                    await drive.speech(
                        side,
                        crowd[at : at + 3 * busy],
                        lines[spoken : spoken + plan.lines + 1],
                        busy=busy,
                        pause_s=0.05,
                        limit_s=plan.speech_s,
                    )
                )
                at, spoken = at + 3 * busy, spoken + plan.lines + 1

        sides: list[Side] = [Ours(self._path, sizes), PlainLoop(self._path, sizes)]
        for side in (*sides, *self._servers(sizes)):
            await self._on("a player speaks", side, partial(act, side))
        rows.speech(self._report, plan, found)


async def _figures(side: Side) -> dict[str, float]:
    if not isinstance(side, Ours):
        return {}
    found = await side.figures()
    return {key: value for key, value in found.items() if isinstance(value, int | float)}
