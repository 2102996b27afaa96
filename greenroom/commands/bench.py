"""`greenroom bench`: every benchmark beside its peer, in the same run."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import logging
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from foundation.errors import UsageError
from greenroom import console


def available() -> list[str]:
    """The names that can be run: modules of `benchmarks` that have a `run`."""
    package = importlib.import_module("benchmarks")
    return sorted(
        info.name
        for info in pkgutil.iter_modules(package.__path__)
        if not info.name.startswith("_")
    )


def _module(name: str) -> ModuleType:
    if name not in (names := available()):
        raise UsageError(f"there is no benchmark {name!r}", f"one of: {', '.join(names)}")
    return importlib.import_module(f"benchmarks.{name}")


def holds(result: dict[str, Any]) -> bool | None:
    """Whether a result keeps its bound; None when it states none. The bound is on the ratio where there is a peer."""
    figure = result["ratio"] if result.get("peer") else result["value"]
    if "at_least" in result:
        return bool(figure >= result["at_least"])
    if "at_most" in result:
        return bool(figure <= result["at_most"])
    return None


def _arguments(module: ModuleType, given: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that this benchmark's `run` takes."""
    taken = inspect.signature(module.run).parameters
    return {key: value for key, value in given.items() if key in taken}


@console.command
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="which; all when none is named")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object a benchmark")] = False,
    scale: Annotated[
        float | None, typer.Option(help="how much is measured; 1 is for an idle machine")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="llm: this model (house, which is the default; 250m, to which the bound of the engine's "
            "overhead applies; 1b); repeatable"
        ),
    ] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(
            help="llm: this phase alone (shared, distinct, poisson, structured, speech); repeatable"
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="llm: this opponent alone (loop, server, example, or none); repeatable"),
    ] = None,
    lines: Annotated[
        int | None,
        typer.Option(help="llm: a player's lines at each step of the curve; 120, 48 and 16"),
    ] = None,
    step_seconds: Annotated[
        float | None,
        typer.Option(
            help="llm: the longest that a side has for one step of the curve; 300 × scale"
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="llm: threads of every side; all physical cores")
    ] = None,
    gpu_layers: Annotated[
        int | None, typer.Option(help="llm: layers on a GPU, on every side; -1 for all")
    ] = None,
    chart: Annotated[
        Path | None,
        typer.Option(
            help="llm: draw the curve of waiting times to this file, a panel for each model"
        ),
    ] = None,
    measured: Annotated[
        list[Path] | None,
        typer.Option(
            help="llm: measure nothing, tell and draw what --json gave into this file before; "
            "repeatable, for models measured in separate runs"
        ),
    ] = None,
) -> None:
    """Run benchmarks, each beside its peer in the same run.

    How long llm takes at scale 1, on two cores: the house model about half
    an hour, most of it the curve; 250m about three hours; 1b most of a day.
    --phase, --against, --lines, --step-seconds and a smaller scale cut that
    down. The other benchmarks take minutes.
    """
    given = {
        "scale": scale,
        "only": only,
        "phase": phase,
        "against": against,
        "lines": lines,
        "step_seconds": step_seconds,
        "threads": threads,
        "gpu_layers": gpu_layers,
        "chart": chart,
        "measured": measured,
    }
    given = {key: value for key, value in given.items() if value not in (None, [])}
    modules = {name: _module(name) for name in names or available()}
    taken = {key for module in modules.values() for key in _arguments(module, given)}
    if unheeded := sorted(given.keys() - taken):
        raise UsageError(
            f"--{unheeded[0].replace('_', '-')} means nothing to {', '.join(modules)}",
            "leave it out, or name llm",
        )
    for name, module in modules.items():
        with console.people.status(f"bench {name}"), _told():
            report: dict[str, Any] = module.run(**_arguments(module, given))
        if json:
            console.machine(report)
            continue
        table = Table(
            "metric", "value", "unit", "peer", "peer value", "ratio", "bound", "", title=name
        )
        for result in report["results"]:
            bound = next(
                (
                    f"{word} {result[key]:g}"
                    for key, word in (("at_least", "≥"), ("at_most", "≤"))
                    if key in result
                ),
                "",
            )
            verdict = {True: "[green]ok", False: "[red]short", None: ""}[holds(result)]
            ratio = f"{result['ratio']:.2f}×" if result.get("peer") else ""
            peer_value = f"{result['peer_value']:,.4g}" if result.get("peer") else ""
            table.add_row(
                result["metric"],
                f"{result['value']:,.4g}",
                result["unit"],
                result.get("peer") or "",
                peer_value,
                ratio,
                bound,
                verdict,
            )
        console.people.print(table)
        _tell_the_rest(report)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Let a long benchmark say on stderr what it is at."""
    log = logging.getLogger("greenroom.bench")
    handler = RichHandler(console=console.people, show_level=False, show_path=False)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


def _tell_the_rest(report: dict[str, Any]) -> None:
    """What was measured under which settings, what could not be measured, and what to bear in mind."""
    for opponent, settings in report.get("opponents", {}).items():
        told = ", ".join(f"{key} {value}" for key, value in settings.items())
        console.people.print(f"[dim]{escape(opponent)}: {escape(told)}")
    for missing in report.get("missing", ()):
        hint = f" ({missing['hint']})" if "hint" in missing else ""
        console.people.print(
            f"[yellow]not measured: {escape(missing['what'])}: {escape(missing['reason'] + hint)}"
        )
    for note in report.get("notes", ()):
        console.people.print(f"[yellow]{escape(note)}")
    for result in report["results"]:
        if "note" in result:
            console.people.print(f"[dim]{escape(result['metric'])}: {escape(result['note'])}")
