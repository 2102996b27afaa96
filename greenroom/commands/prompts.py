"""`greenroom prompts`: two versions of the prompts, compared on one lived world."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from greenroom import comparing, console, minds
from greenroom.settings import ModelSettings
from greenroom.worlds import world_folder
from models.errors import ModelUnavailable
from plugins.manager import load_builtin_and_installed

_SHOWN = 10
"""Differences shown to people; --json has all."""


@console.command
def prompts(
    run: Annotated[Path, typer.Argument(help="a RUN of simulate, or a served world's data folder")],
    templates: Annotated[
        Path, typer.Argument(help="version B: a folder of templates, decide_turn.j2 and so on")
    ],
    against: Annotated[
        Path | None, typer.Option(help="version A: another folder; else what is served now")
    ] = None,
    moments: Annotated[
        int,
        typer.Option(min=1, max=comparing.MAX_MOMENTS, help="at which a mind is asked, twice each"),
    ] = 100,
    model: Annotated[Path | None, typer.Option(help="a GGUF; the house model if not named")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Compare two versions of the prompts: the same minds at the same moments of a run, asked with each.

    The run's journal is stepped again, every hash compared; at moments spread evenly over it one mind is
    asked for its next act, greedily, so that only the prompt makes a difference. What a folder has no
    template for is as served: the shipped one, or an installed plugin's.
    """
    plugins = load_builtin_and_installed()
    ruleset = plugins.ruleset()
    console.switched_off(plugins.errors)
    served = plugins.prompts
    b = served | comparing.templates(templates)
    a = served if against is None else served | comparing.templates(against)
    with console.progress() as bar:
        task = bar.add_task("replaying", total=None, note="")
        asked = comparing.moments(
            world_folder(run),
            ruleset,
            moments,
            lambda tick, last: bar.update(task, completed=tick, total=last),
        )
    gathered = minds.gather(ModelSettings(file=model, local_only=True), plugins)
    if gathered is None:
        raise ModelUnavailable("models are switched off", "switch them on to compare prompts")
    try:
        with console.people.status("loading the model"):
            name = gathered.wait_ready(120.0)
        with console.progress() as bar:
            task = bar.add_task("asking", total=len(asked), note="")
            compared = comparing.compare(
                asked, a, b, gathered.backend, lambda done: bar.update(task, completed=done)
            )
    finally:
        gathered.close()
    found = {"model": name, **comparing.summary(compared)}
    if json:
        console.machine(found)
        return
    named = ("as served" if against is None else str(against), str(templates))
    console.people.print(_table(found, named))
    share = found["same_share"]
    console.people.print(
        f"the same choice at {found['same']} of {found['moments']} moments ({share:.0%}); "
        f"the prompts differ at {found['prompts_differ']}"
    )
    differing = [row for row in found["answers"] if not row["same"]]
    # From all over the run, not the first few.
    for row in differing[:: -(-len(differing) // _SHOWN) or 1]:
        console.people.print(f"tick {row['tick']}, [bold]{escape(row['who'])}[/]", soft_wrap=True)
        for version in "ab":
            text = escape(_said(row[version]))
            console.people.print(f"  {version.upper()} {text}", soft_wrap=True)


def _table(found: dict[str, Any], named: tuple[str, str]) -> Table:
    told = Table(title=f"asked: {escape(str(found['model']))}", title_justify="left")
    told.add_column("")
    for version, name in zip("AB", named, strict=True):
        told.add_column(f"{version}: {escape(name)}", justify="right")
    a, b = found["a"], found["b"]
    for key, label in (
        ("moments", "moments asked"),
        ("valid", "valid at the first attempt"),
        ("mean_prompt_tokens", "prompt tokens, mean"),
        ("mean_s", "seconds to answer, mean"),
    ):
        told.add_row(label, str(a[key]), str(b[key]))
    told.add_section()
    for act in sorted(a["acts"].keys() | b["acts"].keys()):
        told.add_row(escape(act), str(a["acts"].get(act, 0)), str(b["acts"].get(act, 0)))
    return told


def _said(answer: dict[str, Any]) -> str:
    if not answer["valid"]:
        return f"no valid choice: {answer['fault']}"
    target = "" if answer["target"] == "none" else f" {answer['target']}"
    return f"{answer['act']}{target}: {answer['reason']}"
