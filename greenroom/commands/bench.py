"""`greenroom bench`: every benchmark beside its peer, in the same run."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType
from typing import Annotated, Any

import typer
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


@console.command
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="which; all when none is named")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object a benchmark")] = False,
) -> None:
    """Run benchmarks, each beside its peer in the same run."""
    for name in names or available():
        with console.people.status(f"bench {name}"):
            report: dict[str, Any] = _module(name).run()
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
