"""`greenroom plugins`: what is loaded, and what was switched off and why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from greenroom import console
from plugins.manager import load_builtin_and_installed

app = typer.Typer(help="The plugins that make the rules.", no_args_is_help=True)


@app.command("list")
@console.command
def list_plugins(
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """List the plugins in use, what each gives, and those that were switched off."""
    manager = load_builtin_and_installed()
    manager.ruleset()
    rows = [
        {
            "name": given.name,
            "version": given.version,
            "species": [species.name for species in given.species],
            "actions": [action.name for action in given.actions],
            "action_bodies": {
                action.name: {"does": action.summary, "body": action.model.model_json_schema()}
                for action in given.actions
            },
            "considerations": [consideration.name for consideration in given.considerations],
            "prompts": sorted(given.prompts),
        }
        for given in manager.contributions
    ]
    off = [
        {"name": error.plugin, "why": error.message, "hint": error.hint} for error in manager.errors
    ]
    if json:
        console.machine({"plugins": rows, "off": off})
        return
    table = Table("plugin", "version", "species", "actions", "considerations", box=None)
    for row in rows:
        table.add_row(
            str(row["name"]),
            str(row["version"]),
            *(", ".join(row[key]) for key in ("species", "actions", "considerations")),
        )
    console.people.print(table)
    console.switched_off(manager.errors)
