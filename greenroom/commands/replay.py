"""`greenroom replay`: the same hashes again, or the first tick that differs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from foundation.errors import UsageError
from greenroom import console, worlds
from plugins.manager import load_builtin_and_installed
from world.replay import replay as step_again
from world.store.reader import Reader


@console.command
def replay(
    run: Annotated[Path, typer.Argument(help="a RUN of simulate, or a served world's data folder")],
    until: Annotated[int | None, typer.Option(min=0, help="stop after this tick")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Step a world's journal again, without actors or models, and compare every tick's hash."""
    plugins = load_builtin_and_installed()
    ruleset = plugins.ruleset()
    console.switched_off(plugins.errors)
    if until is not None:
        with Reader.open(worlds.world_folder(run)) as reader:
            last = reader.end()[0]
        if until > last:
            raise UsageError(
                f"tick {until} was not lived yet", f"the last in the journal is {last}"
            )
    with console.progress() as bar:
        task = bar.add_task("replaying", total=None, note="")
        result = step_again(
            worlds.world_folder(run),
            ruleset,
            until=until,
            start=worlds.starter(ruleset),
            on_progress=lambda tick, last: bar.update(task, completed=tick, total=last),
        )
    same = result.first_difference is None
    if json:
        console.machine({**asdict(result), "final_hash": f"{result.final_hash:016x}", "same": same})
    else:
        for warning in result.warnings:
            console.people.print(f"[yellow]{escape(warning)}[/]")
        span = f"ticks {result.first_tick} to {result.last_tick}"
        if same:
            console.people.print(
                f"[green]✓[/] {result.ticks} ticks stepped again ({span}), every hash equal; "
                f"the last is {result.final_hash:016x}"
            )
        else:
            console.people.print(
                f"[red]✗[/] tick {result.first_difference} differs: {escape(str(result.reason))}",
                soft_wrap=True,
            )
    if not same:
        raise typer.Exit(1)
