"""The program `greenroom`: every command, hung on one tree."""

from __future__ import annotations

from typing import Annotated

import typer

import greenroom
from greenroom.commands import (
    bench,
    bots,
    diff,
    doctor,
    generate,
    inspect,
    models,
    plugins,
    prompts,
    replay,
    saves,
    serve,
    simulate,
    talk,
)

app = typer.Typer(
    name="greenroom",
    help="An AI server for living game worlds.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(greenroom.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="print it and leave")
    ] = False,
) -> None:
    """An AI server for living game worlds."""


app.command("demo")(serve.demo)
app.command("serve")(serve.serve)
app.command("talk")(talk.talk)
app.command("simulate")(simulate.simulate)
app.command("replay")(replay.replay)
app.command("diff")(diff.diff)
app.command("prompts")(prompts.prompts)
app.command("snapshot")(saves.snapshot)
app.command("branch")(saves.branch)
app.command("load")(saves.load)
app.command("generate")(generate.generate)
app.command("bots")(bots.bots)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.command("inspect")(inspect.inspect)
app.add_typer(models.app, name="models")
app.add_typer(plugins.app, name="plugins")


def main() -> None:
    """Run the program."""
    app()
