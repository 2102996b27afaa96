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
from typing import Any

from benchmarks._machine import machine
from foundation.errors import UsageError

__all__ = ["run"]


def run(
    *,
    scale: float = 1.0,
    only: Sequence[str] = ("house",),
    chart: Path | None = None,
    threads: int = 0,
    gpu_layers: int = -1,
    measured: Sequence[Path] = (),
) -> dict[str, Any]:
    """Measure the models of `only` (house, 250m, 1b; the last takes hours on two cores); the report's values.

    `scale` 1 asks 128 requests a phase of the house model and 64 of the others; `threads` 0 means
    all physical cores. With `chart` the curve is drawn there, a panel for each model. With `measured`,
    reports that were kept of earlier runs, nothing is measured: they are joined (see `reports.join`).

    Returns {bench, machine, scale, models, plans, opponents, missing, notes, curve, results}; see
    `results.row` for a row. Raises UsageError for a model that is not known or a file that is no
    report, and Absent when the models can't be made.
    """
    from benchmarks.llm import reports

    if measured:
        report = reports.join([reports.read(path) for path in measured])
    else:
        report = _measure(scale, only, threads, gpu_layers)
    if chart is not None:
        # matplotlib takes seconds to import and isn't needed without a picture.
        from benchmarks.llm.chart import draw

        draw(report["curve"], chart, footer=reports.footer(report))
    return report


def _measure(scale: float, only: Sequence[str], threads: int, gpu_layers: int) -> dict[str, Any]:
    from benchmarks.llm import find
    from benchmarks.llm.measure import Bench
    from benchmarks.llm.plan import Plan, Report
    from models.llama.cores import physical_cores

    if unknown := [name for name in only if name not in find.MODELS]:
        raise UsageError(f"there is no model {unknown[0]!r}", f"one of: {', '.join(find.MODELS)}")
    if not scale > 0:
        raise UsageError(f"scale is {scale:g}", "give a number above 0")
    threads = threads or physical_cores()
    report = Report()
    sizes: dict[str, int] = {}
    plans: dict[str, dict[str, Any]] = {}
    for name in [name for name in find.MODELS if name in only]:
        path = find.model(name)
        sizes[name] = path.stat().st_size
        plan = Plan(name, scale, threads)
        plans[name] = plan.told()
        asyncio.run(Bench(plan, path, gpu_layers, report).run())
    return {
        "bench": "llm",
        "machine": {**machine(), "threads": threads},
        "scale": scale,
        "models": sizes,
        "plans": plans,
        "opponents": report.opponents,
        "missing": report.missing,
        "notes": report.notes,
        "curve": report.curve,
        "results": report.results,
    }
