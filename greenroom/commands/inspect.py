"""`greenroom inspect`: a data folder, the actors of a running world, or one entity in it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from rich.markup import escape
from rich.table import Table

from actors.inspection import MOST_ROWS, Sort
from engine_bridge.client import AsyncClient
from foundation.errors import UsageError
from greenroom import console
from greenroom.commands import pages
from greenroom.worlds import world_folder
from world.store.inspect import describe


@console.command
def inspect(
    what: Annotated[str, typer.Argument(help="`actors`, `entity`, or a data folder")],
    entity: Annotated[int | None, typer.Argument(help="the entity's id")] = None,
    url: Annotated[str, typer.Option(help="the game socket")] = "ws://127.0.0.1:8765",
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    sort: Annotated[
        Sort, typer.Option(help="actors: the first are those with the most of this, or by name")
    ] = "rate",
    limit: Annotated[
        int, typer.Option(min=1, max=MOST_ROWS, help="actors: so many rows at the most")
    ] = 20,
    over: Annotated[
        float,
        typer.Option(
            min=0, max=60, help="actors: rates over so many seconds; 0: since somebody last looked"
        ),
    ] = 1.0,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Look into a running world or a folder."""
    if what == "actors":
        page = f"{http}/api/actors?{urlencode({'sort': sort, 'limit': limit})}"
        if over:
            pages.call(page, token)
            time.sleep(over)
        _show_actors(pages.call(page, token), sort, json)
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
        table.add_row(f"[bold]{escape(key)}", escape(str(value)))
    console.people.print(table)


def _show_actors(answer: Any, sort: str, json: bool) -> None:
    if json:
        console.machine(answer)
        return
    kinds, rows = answer["kinds"], answer["actors"]
    console.people.print(f"{answer['alive']:,} actors; rates over {answer['over_s']:g} s")
    console.people.print(_table(kinds))
    console.people.print(f"\nthe first {len(rows)} by {sort}")
    console.people.print(_table(rows))


def _table(rows: list[dict[str, Any]]) -> Table:
    """A column for each value that differs from nothing in some row."""
    columns = [key for key in (rows[0] if rows else {}) if any(row[key] for row in rows)]
    table = Table(box=None)
    for column in columns:
        number = all(isinstance(row[column], int | float) for row in rows)
        table.add_column(column.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(escape(_text(row[column])) for column in columns))
    return table


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
