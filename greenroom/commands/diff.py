"""`greenroom diff`: where two runs part, and why."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from foundation.errors import UsageError
from greenroom import console, worlds
from plugins.manager import load_builtin_and_installed
from world.differences import Comparison, Difference, compare

_WHAT = {
    "start": "the states they set out from differ",
    "inputs": "another input",
    "events": "another event",
    "hash": "another state",
    "damage": "a damaged journal",
}


@console.command
def diff(
    first: Annotated[
        Path, typer.Argument(help="a RUN of simulate, or a served world's data folder or branch")
    ],
    second: Annotated[Path, typer.Argument(help="the run to compare it with")],
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Name the first tick in which two runs differ, who differs there, and why; exit 1 if one does."""
    if worlds.world_folder(first).resolve() == worlds.world_folder(second).resolve():
        raise UsageError("both are the same folder", "name two")
    plugins = load_builtin_and_installed()
    ruleset = plugins.ruleset()
    console.switched_off(plugins.errors)
    with console.progress() as bar:
        task = bar.add_task("comparing", total=None, note="")
        found = compare(
            worlds.world_folder(first),
            worlds.world_folder(second),
            ruleset,
            worlds.starter(ruleset),
            lambda tick, last: bar.update(task, completed=tick, total=last),
        )
    if json:
        console.machine({**_plain(found), "same": found.difference is None})
    else:
        _show(found)
    if found.difference is not None:
        raise typer.Exit(1)


def _plain(found: Comparison) -> dict[str, Any]:
    runs = [
        {
            **asdict(run),
            "meta": run.meta.model_dump(),
            "identity": run.identity.model_dump() if run.identity is not None else None,
        }
        for run in found.runs
    ]
    return {**asdict(found), "runs": runs}


def _show(found: Comparison) -> None:
    say = console.people.print
    for label, run in zip("AB", found.runs, strict=True):
        scene, seed = escape(run.meta.scene), run.meta.seed
        span = f"ticks {run.first_tick} to {run.last_tick}"
        say(
            f"[bold]{label}[/] {escape(run.path)}: scene {scene}, seed {seed}, {span}",
            soft_wrap=True,
        )
    if found.related:
        say(escape(found.related), soft_wrap=True)
    if found.difference is None:
        say(
            f"[green]✓[/] the same from tick {found.first_tick} to {found.last_tick}, where one ends"
        )
        return
    _show_difference(found.difference, found)


def _show_difference(told: Difference, found: Comparison) -> None:
    say = console.people.print
    who = f", entity {told.entity}" if told.entity else ""
    say(f"[red]✗[/] tick {told.tick}{who}: {_WHAT[told.what]} ({told.cause})")
    say(f"  {escape(told.why)}", soft_wrap=True)
    if found.state_tick is None:
        say(f"  the states stay equal to tick {found.last_tick}: it changed nothing in the world")
    elif found.state_tick != told.tick:
        say(f"  the states are still equal then, and part at tick {found.state_tick}")
    if not told.cells:
        return
    table = Table("entity", "", "column", "A", "B", box=None, padding=(0, 1))
    for cell in told.cells:
        entity = str(cell.entity) if cell.entity else "world"
        a, b = (escape(str(value)) for value in cell.values)
        table.add_row(entity, escape(cell.name), escape(cell.column), a, b)
    say(table)
    if told.cells_total > len(told.cells):
        say(f"  and {told.cells_total - len(told.cells)} more values")
