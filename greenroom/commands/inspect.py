"""`greenroom inspect`: a data folder, the actors of a running world, or one entity in it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from engine_bridge.client import AsyncClient
from foundation.errors import UsageError
from greenroom import console
from greenroom.commands import pages
from greenroom.commands.replay import world_folder
from world.store.inspect import describe


@console.command
def inspect(
    what: Annotated[str, typer.Argument(help="`actors`, `entity`, or a data folder")],
    entity: Annotated[int | None, typer.Argument(help="the entity's id")] = None,
    url: Annotated[str, typer.Option(help="the game socket")] = "ws://127.0.0.1:8765",
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Look into a running world or a folder."""
    if what == "actors":
        _show_actors(pages.call(f"{http}/api/actors", token), json)
    elif what == "entity":
        if entity is None:
            raise UsageError("which entity?", "greenroom inspect entity ID")
        _show_values(asyncio.run(_entity(url, token, entity)), json)
    else:
        _show_values(describe(world_folder(Path(what))), json)


async def _entity(url: str, token: str | None, entity: int) -> dict[str, Any]:
    async with AsyncClient(url, game="greenroom inspect", token=token) as client:
        return (await client.inspect(entity)).model_dump()


def _show_values(values: dict[str, Any], json: bool) -> None:
    if json:
        console.machine(values)
        return
    table = Table(box=None, show_header=False)
    for key, value in values.items():
        table.add_row(f"[bold]{key}", str(value))
    console.people.print(table)


def _show_actors(answer: Any, json: bool) -> None:
    if json:
        console.machine(answer)
        return
    rows = answer["actors"]
    columns = list(rows[0]) if rows else ["name"]
    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*(str(row.get(column, "")) for column in columns))
    console.people.print(table)
