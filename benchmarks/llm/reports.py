"""Reports as a whole: read from files, joined when models were measured one by one, told under a chart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foundation.errors import UsageError

Report = Mapping[str, Any]


def read(path: Path) -> Report:
    """A report that `--json` wrote. Raises UsageError when the file holds none, OSError when it can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}", "give what `--json` printed") from error
    if not isinstance(found, dict) or found.get("bench") != "llm" or "curve" not in found:
        raise UsageError(f"{path} is no report of bench llm", "give what `--json` printed")
    return found


def join(reports: Sequence[Report]) -> dict[str, Any]:
    """One report of several; where two measured the same, the later one's figures stand.

    A side's line of the curve is taken whole from one report, never from two. Raises UsageError for
    none, and for reports of different machines or threads, whose figures can't stand side by side.
    """
    if not reports:
        raise UsageError("there is no report to join", "name at least one")
    machines = {json.dumps(report["machine"], sort_keys=True) for report in reports}
    if len(machines) > 1:
        raise UsageError(
            "the reports are of different machines or numbers of threads", "draw each by itself"
        )
    curve: dict[str, list[dict[str, Any]]] = {}
    results: dict[tuple[str, str, str], dict[str, Any]] = {}
    for report in reports:
        for model, points in report["curve"].items():
            sides = {point["side"] for point in points}
            kept = [point for point in curve.get(model, ()) if point["side"] not in sides]
            curve[model] = [*kept, *points]
        for row in report["results"]:
            results[row["metric"], row.get("peer", ""), row.get("unmeasured", "")] = row
    # What one report could not compare, another may have.
    rows = [
        row
        for (metric, _, unmeasured), row in results.items()
        if not unmeasured or (metric, unmeasured, "") not in results
    ]
    last = reports[-1]
    return {
        "bench": "llm",
        "machine": last["machine"],
        "scale": last["scale"],
        **{key: _merged(reports, key) for key in ("models", "plans", "opponents")},
        **{key: _listed(reports, key) for key in ("missing", "notes")},
        "curve": curve,
        "results": rows,
    }


def _merged(reports: Sequence[Report], key: str) -> dict[str, Any]:
    return {name: value for report in reports for name, value in report.get(key, {}).items()}


def _listed(reports: Sequence[Report], key: str) -> list[Any]:
    every = [one for report in reports for one in report.get(key, ())]
    return [one for at, one in enumerate(every) if one not in every[:at]]


def footer(report: Report) -> str:
    """What must be known to read the curve: what was asked, of how many lines each point is, and where."""
    where = report["machine"]
    threads = where["threads"]
    used = "1 thread" if threads == 1 else f"{threads} threads"
    return (
        "512-token persona, warm · 8 personas over all NPCs, who ask again when answered · greedy, 32 tokens · "
        f"lines a point: {counts(report['curve'])} · "
        f"{used} on {where['system']} {where['processor']} · greenroom bench llm"
    )


def counts(curve: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """How many lines each point is of: "house greenroom 120, llama-server 120/120/120/66"."""
    told = []
    for model, rows in curve.items():
        by: dict[str, list[int]] = {}
        for row in sorted(rows, key=lambda row: int(row["busy"])):
            by.setdefault(row["side"], []).append(row["n"])
        sides = [
            f"{side} {'/'.join(map(str, found if len(set(found)) > 1 else found[:1]))}"
            for side, found in by.items()
        ]
        told.append(f"{model} {', '.join(sides)}")
    return "; ".join(told)
