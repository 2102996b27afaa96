"""`greenroom diff`: the first tick in which two runs part, and why."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from foundation.errors import UsageError
from greenroom import console, worlds
from greenroom.commands.replay import world_folder
from plugins.manager import load_builtin_and_installed
from world.diff import Difference
from world.diff import diff as compare
from world.store.reader import Reader


@console.command
def diff(
    a: Annotated[Path, typer.Argument(help="a RUN of simulate, or a world's data folder")],
    b: Annotated[Path, typer.Argument(help="another: a second run, a branch, a snapshot's folder")],
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Find the first tick in which two runs differ: in what they were given or in what came of it."""
    one, other = world_folder(a), world_folder(b)
    if one.resolve() == other.resolve():
        raise UsageError("both are the same folder", "name two")
    plugins = load_builtin_and_installed()
    ruleset = plugins.ruleset()
    console.switched_off(plugins.errors)
    with contextlib.ExitStack() as stack:
        left, right = (stack.enter_context(Reader.open(folder)) for folder in (one, other))
        bar = stack.enter_context(console.progress())
        task = bar.add_task("comparing", total=None, note="")
        found = compare(
            left,
            right,
            ruleset,
            start=worlds.starter(ruleset),
            on_progress=lambda tick, last: bar.update(task, completed=tick, total=last),
        )
    if json:
        console.machine({**asdict(found), "same": found.tick is None})
    else:
        _tell(found, a, b)
    if found.tick is not None:
        raise typer.Exit(1)


def _tell(found: Difference, a: Path, b: Path) -> None:
    def say(text: str) -> None:
        console.people.print(text, soft_wrap=True)

    span = f"ticks {found.first_tick} to {found.last_tick}"
    if found.tick is None:
        say(f"[green]✓[/] {span}: the same inputs, events and hashes")
        if found.last_a != found.last_b:
            longer, last = (a, found.last_a) if found.last_a > found.last_b else (b, found.last_b)
            say(f"  {escape(str(longer))} goes on to tick {last}")
        return
    say(f"[red]✗[/] they part at tick {found.tick}, in their {found.what} ({span} are in both)")
    say(f"  why: {escape(found.why)}")
    for made in found.made:
        say(f"  {escape(made.what)}: a {escape(made.a[:40])}, b {escape(made.b[:40])}")
    for name, only in (("a", found.only_a), ("b", found.only_b)):
        for text in only:
            say(f"  only in {name}: {escape(text)}")
    if found.cells:
        table = Table("entity", "name", "column", "a", "b", box=None)
        for cell in found.cells:
            whose = str(cell.entity) if cell.entity else "-"
            table.add_row(
                *(escape(text) for text in (whose, cell.name, cell.column, cell.a, cell.b))
            )
        say(
            f"  after tick {found.cells_tick} {found.cells_entities} entities differ, in "
            f"{escape(', '.join(found.cells_columns[:12]))}; the first are:"
        )
        console.people.print(table)
    for note in found.notes:
        say(f"  [yellow]{escape(note)}[/]")
