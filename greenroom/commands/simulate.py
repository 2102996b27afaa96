"""`greenroom simulate`: a scene lived headless, with a map, charts and a report at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from foundation.errors import UsageError
from greenroom import console, headless, settings
from greenroom.commands.serve import (
    Config,
    Context,
    Flash,
    GpuLayers,
    KvType,
    LocalOnly,
    Sequences,
    Streams,
    Threads,
)


@console.command
def simulate(
    out: Annotated[Path, typer.Option(help="the folder for the run; must hold no run yet")],
    scene: Annotated[str, typer.Option(help="a scene's name or folder")] = "valley",
    ticks: Annotated[
        int, typer.Option(min=1, max=100_000_000, help="how long; 24,000 is a day")
    ] = 24_000,
    seed: Annotated[int | None, typer.Option(min=0, help="the scene's own if not given")] = None,
    npcs: Annotated[
        int | None, typer.Option(min=0, help="fill the scene up to so many villagers")
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="any GGUF; the house model if not given")
    ] = None,
    threads: Threads = None,
    context: Context = None,
    sequences: Sequences = None,
    gpu_layers: GpuLayers = None,
    kv_type: KvType = None,
    streams: Streams = None,
    flash: Flash = None,
    no_models: Annotated[bool, typer.Option("--no-models", help="reflexes only")] = False,
    ahead: Annotated[
        int,
        typer.Option(
            min=0,
            max=24_000,
            help="while answers are missing, ask so many ticks ahead whom they don't concern; 0 for lock-step",
        ),
    ] = headless.AHEAD_TICKS,
    ahead_room: Annotated[
        int,
        typer.Option(
            min=0,
            max=64,
            help="with so many calls under way ahead risk none that may be in vain; 64 for a server that answers 64 as fast as one",
        ),
    ] = headless.AHEAD_ROOM,
    decisions: Annotated[
        int,
        typer.Option(
            min=1,
            max=4096,
            help="how many may be made at once, whatever the model; as many as there are minds let parts be lived apart",
        ),
    ] = headless.DECISIONS,
    local_only: LocalOnly = False,
    faults: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="let things go wrong by this seed (crashes, delays, lost replies, full mailboxes); "
            "minds are then scripted, and no model is asked",
        ),
    ] = None,
    config: Config = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Live a scene headless, as fast as it goes; the same seed gives the same world."""
    if faults is not None and (no_models or model is not None):
        raise UsageError(
            "--faults asks scripted minds, no model", "leave --model or --no-models out"
        )
    wanted = settings.load(
        config,
        models=settings.thinking(
            model,
            no_models=no_models,
            local_only=local_only,
            threads=threads,
            context=context,
            sequences=sequences,
            gpu_layers=gpu_layers,
            kv_type=kv_type,
            streams=streams,
            flash=flash,
        ),
    )
    request = headless.RunRequest(
        scene, ticks, seed, npcs, wanted.models, out, faults, ahead, ahead_room, decisions
    )
    with console.progress() as bar:
        task = bar.add_task(scene, total=ticks, note="")
        report = headless.simulate(
            request,
            lambda tick: bar.update(task, completed=tick) if tick % 50 == 0 else None,
        )
    if json:
        console.machine(report)
    else:
        _summarise(report)


def _summarise(report: dict[str, Any]) -> None:
    say = console.people.print
    say(
        f"[bold]{escape(report['scene'])}[/], seed {report['seed']}: {report['ticks']:,} ticks in "
        f"{report['seconds']:.1f} s ({report['ticks_per_second']:,.0f} a second)"
    )
    say(f"  state hash  {report['state_hash']}")
    if "faults" in report:
        told = report["faults"]
        injected = ", ".join(f"{count:,} {fault}" for fault, count in told["injected"].items())
        stuck = sum(told["stuck"].values())
        say(
            f"  faults      {injected or 'none'}; {told['restarts']:,} restarts, {stuck} found stuck"
        )
    for name in ("report.html", "map.png", "charts.png", "report.json"):
        say(f"  {name:<11} {escape(str(Path(report['out']) / name))}", soft_wrap=True)
    say(f"Prove it: greenroom replay {escape(report['out'])}", soft_wrap=True)
