"""`greenroom models use`: which model a running server asks, changed while it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.markup import escape
from rich.table import Table

from foundation.errors import UsageError
from greenroom import console
from greenroom.commands import pages
from greenroom.commands.serve import Context, Flash, GpuLayers, KvType, Sequences, Streams, Threads

app = typer.Typer(
    help="Which model a running server asks, changed while it runs.", no_args_is_help=True
)

_LOADING_S = 660.0
_CHANGE_S = 60.0

Json = Annotated[bool, typer.Option("--json", help="one JSON object")]
Label = Annotated[str, typer.Argument(help="a rung's label")]


@app.command("list")
@console.command
def list_rungs(
    http: pages.Http = pages.DEFAULT, token: console.Token = None, json: Json = False
) -> None:
    """Show the rungs of a running server, in which order they are asked, and which answers now."""
    _show(pages.call(f"{http}/api/models", token), json)


@app.command("order")
@console.command
def order(
    labels: Annotated[list[str], typer.Argument(help="the rungs' labels, the first first")],
    purpose: Annotated[
        str | None, typer.Option("--for", help="speech, decide or plan; all others if not given")
    ] = None,
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    json: Json = False,
) -> None:
    """Let a running server try these rungs, in this order, for one purpose or for all others."""
    body = {"order": labels, "purpose": purpose or ""}
    _show(_change(f"{http}/api/models/order", token, "PUT", body), json)


@app.command("reset")
@console.command
def reset(
    purpose: Annotated[str, typer.Argument(help="speech, decide or plan")],
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    json: Json = False,
) -> None:
    """Take a purpose's own order away: it follows that of all others again."""
    _show(_change(f"{http}/api/models/order/{quote(purpose, safe='')}", token, "DELETE"), json)


@app.command("off")
@console.command
def off(
    label: Label, http: pages.Http = pages.DEFAULT, token: console.Token = None, json: Json = False
) -> None:
    """Ask a rung no more; it keeps its place and its memory."""
    _show(_change(_rung(http, label), token, "PUT", {"on": False}), json)


@app.command("on")
@console.command
def on(
    label: Label, http: pages.Http = pages.DEFAULT, token: console.Token = None, json: Json = False
) -> None:
    """Ask a rung again that was switched off."""
    _show(_change(_rung(http, label), token, "PUT", {"on": True}), json)


@app.command("add")
@console.command
def add(
    file: Annotated[Path, typer.Argument(help="a GGUF on the server's machine")],
    label: Annotated[
        str | None, typer.Option("--as", help="its label; made from the file's name if not given")
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="ask it before all others")] = False,
    threads: Threads = None,
    context: Context = None,
    sequences: Sequences = None,
    gpu_layers: GpuLayers = None,
    kv_type: KvType = None,
    streams: Streams = None,
    flash: Flash = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=256, max=1_048_576, help="tokens of a conversation with it [default: 16384]"
        ),
    ] = None,
    http: pages.Http = pages.DEFAULT,
    token: console.Token = None,
    json: Json = False,
) -> None:
    """Load a GGUF into a running server as one more rung, the last unless told otherwise.

    Its sizes are planned from what the machine has left, as `greenroom doctor` shows.
    """
    sizes = {
        "threads": threads,
        "context": context,
        "sequences": sequences,
        "gpu_layers": gpu_layers,
        "kv_type": kv_type,
        "streams": streams,
        "flash": flash,
        "window": window,
    }
    body = {
        "label": label or label_of(file),
        "file": str(file.absolute()),
        "first": first,
        **{name: value for name, value in sizes.items() if value is not None},
    }
    with console.people.status(f"loading {escape(file.name)}"):
        answer = _change(f"{http}/api/models/rungs", token, "POST", body, _LOADING_S)
    _show(answer, json)


@app.command("remove")
@console.command
def remove(
    label: Label, http: pages.Http = pages.DEFAULT, token: console.Token = None, json: Json = False
) -> None:
    """Remove a rung that holds a GGUF and free its memory, once it has ended what it has begun."""
    _show(_change(_rung(http, label), token, "DELETE"), json)


def label_of(file: Path) -> str:
    """A label made from a file's name: "My Model-Q4.gguf" → "my-model-q4". Raises UsageError."""
    letters = [c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in file.stem.lower()]
    label = "".join(letters).lstrip("-_0123456789")[:32].rstrip("-_")
    if not label:
        raise UsageError(f"no label can be made from {file.name!r}", "give one with --as")
    return label


def _rung(http: str, label: str) -> str:
    return f"{http}/api/models/rungs/{quote(label, safe='')}"


def _change(
    url: str,
    token: str | None,
    method: str,
    body: dict[str, Any] | None = None,
    timeout_s: float = _CHANGE_S,
) -> Any:
    return pages.call(url, token, method=method, body=body, timeout_s=timeout_s)


def _show(ladder: Any, json: bool) -> None:
    if json:
        console.machine(ladder)
        return
    table = Table("rung", "model", "state", "window", "under way", "asked for", box=None)
    for rung in ladder["rungs"]:
        state = rung["state"] if rung["on"] else f"off ({rung['state']})"
        table.add_row(
            *(escape(text) for text in (rung["label"], rung["model"], state)),
            str(rung["window"]),
            str(rung["under_way"]),
            ", ".join(rung["only"]) or "everything",
        )
        if rung["error"]:
            table.add_row("", f"[dim]{escape(rung['error'])}")
    say = console.people.print
    say(table)
    routes = {**ladder["routes"], "everything else" if ladder["routes"] else "": ladder["order"]}
    for purpose, labels in routes.items():
        answering = ladder["answering"].get(purpose if purpose in ladder["routes"] else "", "")
        now = f"{answering} answers now" if answering else "nobody can answer: reflexes do"
        asked = " > ".join(labels) or "nobody"
        say(f"  {f'{purpose}: ' if purpose else ''}{escape(asked)} ({escape(now)})")
    if ladder["loading"]:
        say(f"  {escape(ladder['loading'])} is being loaded")
    if ladder["leaving"]:
        say(f"  {ladder['leaving']} removed, still ending what was begun")
