"""`greenroom snapshot`, `branch` and `load`: a world kept, copied and taken up again where it was kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import typer
from pydantic import BaseModel, ValidationError
from rich.markup import escape
from rich.table import Table

from engine_bridge.saves import MakeBranch, TakeSnapshot
from foundation.errors import UsageError
from greenroom import console, saves, settings
from greenroom.commands import pages
from greenroom.worlds import world_folder
from plugins.manager import load_builtin_and_installed

_PATIENCE_S = 660.0
Model = TypeVar("Model", bound=BaseModel)

Data = Annotated[
    Path | None,
    typer.Option(
        "--data", help="a world's folder that nobody serves; else the running server's world"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="one JSON object")]


@console.command
def snapshot(
    name: Annotated[
        str | None, typer.Argument(help="the snapshot's name; made from the time if not given")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="of one with that name")] = False,
    show: Annotated[bool, typer.Option("--list", help="show what there is, take nothing")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="delete the one with that name")] = False,
    data: Data = None,
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    json: Json = False,
) -> None:
    """Keep a world as it is now, under a name; a running one goes on meanwhile."""
    if remove and name is None:
        raise UsageError("which snapshot?", "greenroom snapshot NAME --remove")
    if sum((show, remove, replace)) > 1:
        raise UsageError("--list, --remove and --replace go one at a time")
    url = f"{http}/api/snapshots"
    if show or remove:
        if data is None:
            told = (
                _call(f"{url}/{quote(name or '', safe='')}", token, "DELETE")
                if remove
                else _call(url, token)
            )
        else:
            told = _of(data, lambda kept: kept.remove(name or "") if remove else kept.list())
        _show_list(told, json)
        return
    wanted = _asked(TakeSnapshot, name=name, replace=replace)
    with console.people.status("taking a snapshot"):
        if data is None:
            told = _call(url, token, "POST", wanted.model_dump(exclude_none=True))
        else:
            told = _of(data, lambda kept: kept.take(wanted))
    if json:
        console.machine(told)
        return
    name = escape(told["name"])
    console.people.print(
        f"[green]✓[/] {name} holds tick {told['tick']} ({told['bytes'] / 2**20:.1f} MiB). "
        f"Back to it: greenroom load {name}"
    )


@console.command
def branch(
    folder: Annotated[Path, typer.Argument(help="a folder that is not there yet")],
    of: Annotated[
        str | None,
        typer.Option("--snapshot", help="of this snapshot; of the world as it is if not given"),
    ] = None,
    data: Data = None,
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    json: Json = False,
) -> None:
    """Copy a world into a folder of its own, to be served, replayed and compared by itself."""
    wanted = _asked(MakeBranch, folder=str(folder.absolute()), snapshot=of)
    with console.people.status("making a branch"):
        if data is None:
            body = wanted.model_dump(exclude_none=True)
            told = _call(f"{http}/api/branches", token, "POST", body)
        else:
            told = _of(data, lambda kept: kept.branch(wanted))
    if json:
        console.machine(told)
        return
    console.people.print(
        f"[green]✓[/] {escape(told['folder'])} parted at tick {told['tick']}. "
        f"Serve it: greenroom serve --data {escape(told['folder'])}",
        soft_wrap=True,
    )


@console.command
def load(
    name: Annotated[str, typer.Argument(help="a snapshot's name")],
    data: Data = None,
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    json: Json = False,
) -> None:
    """Go on from a snapshot. What came after it is given up: keep that first if it matters."""
    with console.people.status("loading"):
        if data is None:
            told = _call(f"{http}/api/snapshots/{quote(name, safe='')}/load", token, "POST")
        else:
            told = _of(data, lambda kept: kept.load(name))
    if json:
        console.machine(told)
        return
    console.people.print(
        f"[green]✓[/] from tick {told['left']} back to tick {told['tick']} "
        f"({escape(told['name'])}), epoch {told['epoch']}"
    )


def _call(url: str, token: str | None, method: str = "GET", body: Any = None) -> Any:
    return pages.call(url, token, method=method, body=body, timeout_s=_PATIENCE_S)


def _of(data: Path, act: Callable[[saves.Saves], BaseModel]) -> Any:
    """What is done to a folder that nobody serves, as plain values."""
    with _folder(data) as kept:
        return act(kept).model_dump()


@contextlib.contextmanager
def _folder(data: Path) -> Iterator[saves.Saves]:
    plugins = load_builtin_and_installed()
    console.switched_off(plugins.errors)
    most = settings.load().world.snapshots
    with saves.of_folder(world_folder(data), plugins.ruleset(), most) as kept:
        yield kept


def _asked(model: type[Model], **given: Any) -> Model:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise UsageError(
            f"{given.get('name') or given.get('snapshot')!r} can't be a snapshot's name",
            "up to 48 lower-case letters, digits, - and _, a letter or digit first",
        ) from error


def _show_list(told: Any, json: bool) -> None:
    if json:
        console.machine(told)
        return
    table = Table("snapshot", "tick", "epoch", "taken", "MiB", box=None)
    for row in told["snapshots"]:
        taken = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["made"]))
        table.add_row(
            escape(row["name"]),
            str(row["tick"]),
            str(row["epoch"]),
            taken,
            f"{row['bytes'] / 2**20:.1f}",
        )
    console.people.print(table)
    console.people.print(f"{len(told['snapshots'])} of at most {told['most']}")
