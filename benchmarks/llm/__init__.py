"""Many minds on one model: our engine beside three opponents, in one run.

The opponents are the plain `llama_cpp.Llama` loop, llama-cpp-python's batched example server and
llama.cpp's `llama-server`. What is equal for all: the GGUF, its threads, KV cells (the loop, which
keeps one sequence, has 1,024), batch and GPU layers; the prompts, as the same token ids, made once
by the model's own chat template (ours makes them again from the messages, and the bench stops if
their number differs); the order and times of asking; greedy choice, and exactly 32 new tokens.

Nobody is told to ignore the end of a text, since that costs each side something else (a logit bias
here, a processor in Python there, no such option on ours). Instead all load a copy of the model in
which the output rows of its end and control tokens are zero, so that greedy replies never end by
themselves; replies that did are counted in the notes. Random-weight models are made so.

Each side runs alone, in a process of its own, started anew for each phase and warmed with one
request that shares nothing with the rest. Servers are asked for whole replies where throughput is
measured, which costs them least, and for streams where the first token is; ours streams always.

Rows whose bounds are the project's promises carry `at_least` or `at_most`. An opponent that can't
be had is under `missing`, with the reason and the mend.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._machine import machine
from foundation.errors import UsageError
from models.llama.cores import physical_cores

if TYPE_CHECKING:
    from benchmarks.llm.plan import Plan

__all__ = ["run"]


def run(
    *,
    scale: float = 1.0,
    only: Sequence[str] = ("house",),
    chart: Path | None = None,
    threads: int = 0,
    gpu_layers: int = -1,
    phase: Sequence[str] = (),
    against: Sequence[str] = (),
    lines: int = 0,
    step_seconds: float = 0.0,
    measured: Sequence[Path] = (),
) -> dict[str, Any]:
    """Measure the models of `only` (house, 250m, 1b); the report's values.

    `scale` 1 asks 128 requests a phase of the house model and 64 of the others; `threads` 0 means
    all physical cores. `phase` and `against` name some of `plan.PHASES` and `plan.OPPONENTS`, none
    meaning all; against "none" ours is alone. The curve has `lines` lines at each step, as far as `step_seconds` reach; 0 leaves both to
    the plan. With `chart` the curve is drawn there, a panel for each model. With `measured`,
    reports that were kept of earlier runs, nothing is measured: they are joined (see `reports.join`).

    Returns {bench, machine, scale, models, plans, opponents, missing, notes, curve, results}; see
    `results.row` for a row. Raises UsageError for what is not known or a file that is no report, and
    Absent when the models can't be made.
    """
    from benchmarks.llm import find, reports
    from benchmarks.llm.plan import OPPONENTS, PHASES, Plan

    _known("model", only, find.MODELS)
    _known("phase", phase, PHASES)
    _known("opponent", against, (*OPPONENTS, "none"))
    if phase and "poisson" in phase and not {"shared", "distinct"} & {*phase}:
        raise UsageError(
            "the load of Poisson arrivals is a part of what was measured before",
            "add --phase shared or --phase distinct",
        )
    if chart is not None and phase and "speech" not in phase and not measured:
        raise UsageError("the chart is of the phase that was left out", "add --phase speech")
    if not scale > 0 or min(lines, step_seconds, threads) < 0:
        raise UsageError("a count is too small", "a scale is above 0, the others are 0 or above")
    if measured:
        report = reports.join([reports.read(path) for path in measured])
    else:
        phases = tuple(each for each in PHASES if not phase or each in phase)
        opponents = tuple(each for each in OPPONENTS if not against or each in against)
        threads = threads or physical_cores()
        plans = [
            Plan(name, scale, threads, lines, step_seconds, phases, opponents)
            for name in find.MODELS
            if name in (only or ("house",))
        ]
        report = _measure(plans, gpu_layers)
    if chart is not None:
        # matplotlib takes seconds to import and isn't needed without a picture.
        from benchmarks.llm.chart import draw

        draw(report["curve"], chart, footer=reports.footer(report))
    return report


def _measure(plans: Sequence[Plan], gpu_layers: int) -> dict[str, Any]:
    from benchmarks.llm import find
    from benchmarks.llm.measure import Bench
    from benchmarks.llm.plan import Report

    report = Report()
    sizes: dict[str, int] = {}
    for plan in plans:
        path = find.model(plan.name)
        sizes[plan.name] = path.stat().st_size
        asyncio.run(Bench(plan, path, gpu_layers, report).run())
    return {
        "bench": "llm",
        "machine": {**machine(), "threads": plans[0].threads},
        "scale": plans[0].scale,
        "models": sizes,
        "plans": {plan.name: plan.told() for plan in plans},
        "opponents": report.opponents,
        "missing": report.missing,
        "notes": report.notes,
        "curve": report.curve,
        "results": report.results,
    }


def _known(kind: str, named: Sequence[str], every: Sequence[str]) -> None:
    for name in named:
        if name not in every:
            raise UsageError(f"there is no {kind} {name!r}", f"one of: {', '.join(every)}")
