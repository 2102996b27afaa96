"""`greenroom serve` and `greenroom demo`: a world that game engines, people and bots can enter."""

from __future__ import annotations

import json as json_module
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from greenroom import console, settings
from greenroom.app import App

Config = Annotated[Path | None, typer.Option(help="a TOML settings file")]
Data = Annotated[
    Path | None,
    typer.Option(help="the world's folder, or a RUN of simulate [default: data/<scene>]"),
]
Host = Annotated[str | None, typer.Option(help="the address to listen on")]
HttpPort = Annotated[int | None, typer.Option(help="the dashboard's port; 0 picks a free one")]
LocalOnly = Annotated[bool, typer.Option("--local-only", help="no text leaves this machine")]
Model = Annotated[Path | None, typer.Option(help="any GGUF; the house model if not given")]
NoModels = Annotated[bool, typer.Option("--no-models", help="reflexes only: not one model call")]
Npcs = Annotated[int | None, typer.Option(help="fill the scene up to so many villagers")]
Port = Annotated[int | None, typer.Option(help="the game socket's port; 0 picks a free one")]
ReadyFile = Annotated[
    Path | None, typer.Option(help="write the addresses here as JSON once clients can connect")
]
Context = Annotated[
    int | None, typer.Option(min=512, max=1_048_576, help="tokens of the engine's whole cache")
]
GpuLayers = Annotated[
    int | None, typer.Option(min=0, max=10_000, help="layers on the GPU, the output counted as one")
]
Streams = Annotated[
    bool | None, typer.Option(help="a part of the cache for each sequence, or one that all share")
]
Flash = Annotated[
    bool | None, typer.Option(help="flash attention, or plain; as `greenroom doctor` says")
]
KvType = Annotated[str | None, typer.Option(help="what the cache is kept in: f16, q8_0 or f32")]
Sequences = Annotated[int | None, typer.Option(min=1, max=256, help="requests decoded at once")]
Threads = Annotated[
    int | None,
    typer.Option(min=1, max=256, help="the engine's threads; `greenroom doctor` shows the plan"),
]


@console.command
def serve(
    scene: Annotated[str | None, typer.Option(help="a scene's name or folder")] = None,
    seed: Annotated[int | None, typer.Option(help="the world's seed")] = None,
    npcs: Npcs = None,
    host: Host = None,
    port: Port = None,
    http_port: HttpPort = None,
    data: Data = None,
    model: Model = None,
    threads: Threads = None,
    context: Context = None,
    sequences: Sequences = None,
    gpu_layers: GpuLayers = None,
    kv_type: KvType = None,
    streams: Streams = None,
    flash: Flash = None,
    no_models: NoModels = False,
    local_only: LocalOnly = False,
    config: Config = None,
    ready_file: ReadyFile = None,
) -> None:
    """Serve a world until Ctrl-C."""
    wanted = settings.load(
        config,
        server={"host": host, "port": port, "http_port": http_port},
        world={"scene": scene, "seed": seed, "npcs": npcs, "data": data},
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
    console.logs(wanted.log_level)
    _run(wanted, ready_file, hints=False)


@console.command
def demo(
    npcs: Npcs = None,
    port: Port = None,
    http_port: HttpPort = None,
    data: Data = None,
    model: Model = None,
    threads: Threads = None,
    context: Context = None,
    sequences: Sequences = None,
    gpu_layers: GpuLayers = None,
    kv_type: KvType = None,
    streams: Streams = None,
    flash: Flash = None,
    no_models: NoModels = False,
    local_only: LocalOnly = False,
    ready_file: ReadyFile = None,
) -> None:
    """Open the valley with the house model, and say where to look."""
    wanted = settings.load(
        None,
        server={"port": port, "http_port": http_port},
        world={"npcs": npcs, "data": data},
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
    console.logs(wanted.log_level)
    _run(wanted, ready_file, hints=True)


def _run(wanted: settings.Settings, ready_file: Path | None, *, hints: bool) -> None:
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    app = App(wanted, on_engine=_tell_engine)
    with app:
        _tell_addresses(app, hints)
        if ready_file is not None:
            _write_ready(app, ready_file)
        over.wait()
        console.people.print("Closing: everything lived so far is being kept …")
    console.people.print("Closed.")


def _tell_engine(text: str, well: bool) -> None:
    if well:
        console.people.print(f"  [green]✓[/] {escape(text)} is listening")
    else:
        console.people.print(f"  [yellow]![/] {escape(text)}", soft_wrap=True)
        console.people.print("    The world goes on; its people answer by reflex.")


def _tell_addresses(app: App, hints: bool) -> None:
    resumed = app.opened.resumed
    state = "new" if resumed is None else f"taken up again at tick {app.first_tick}"
    say = console.people.print
    folder = escape(str(app.folder))
    say(
        f"[bold]{app.opened.scene.name}[/], {state}: {app.population} entities, in {folder}",
        soft_wrap=True,
    )
    say(f"  dashboard  [bold]{app.bridge.http_address}[/]")
    say(f"  game       {app.bridge.address}")
    if app.minds is not None and app.minds.cloud:
        dollars = app.settings.models.cloud_usd_per_hour
        say(
            f"  cloud      {escape(app.minds.cloud)} plans the battles, for at most ${dollars:.2f} an hour; "
            "--local-only keeps all text here"
        )
    if hints:
        program = "greenroom" if shutil.which("greenroom") else os.path.relpath(sys.argv[0])
        url = "" if app.settings.server.port == 8765 else f" --url {app.bridge.address}"
        say(f'  talk       {escape(program)} talk "Marta Kell"{url}')
        say("  leave      Ctrl-C")


def _write_ready(app: App, path: Path) -> None:
    addresses: dict[str, Any] = {
        "game": app.bridge.address,
        "http": app.bridge.http_address,
        "pid": os.getpid(),
        "data": str(app.folder),
        "tick": app.first_tick,
    }
    part = path.with_name(path.name + ".part")
    part.write_text(json_module.dumps(addresses), encoding="utf-8")
    part.replace(path)
