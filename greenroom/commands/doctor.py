"""`greenroom doctor`: what this machine can do, what is missing, and how the model would be run on it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from foundation.errors import GreenroomError
from greenroom import adapters, console, layouts, minds, settings
from greenroom.commands import kv_layouts
from greenroom.commands.serve import (
    Config,
    Context,
    Flash,
    GpuLayers,
    KvType,
    Model,
    Sequences,
    Streams,
    Threads,
)
from greenroom.findings import Finding
from models.errors import ModelError, ModelFileError
from models.llama import layout_file
from models.llama.fit import Plan
from models.llama.gguf_file import check_kind, inspect
from models.llama.layout_file import Notebook
from models.llama.machine import Machine, measure
from models.llama.reasons import size
from plugins.manager import PluginManager, load_builtin_and_installed

_WITH_CUDA = "for CUDA: CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-cache-dir llama-cpp-python"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found, the machine that was measured, and the engine's plan where there is one."""

    findings: list[Finding]
    machine: Machine
    plan: Plan | None


def examine(
    config: settings.Settings,
    machine: Machine,
    plugins: PluginManager | None = None,
    notebook: Notebook | None = None,
) -> Examination:
    """Look at everything a server needs; starts nothing, changes nothing.

    `plugins` are those installed if not given, `notebook` what the user's file remembers of KV layouts.
    """
    notebook = layout_file.read(layouts.path()) if notebook is None else notebook
    model, plan = _model(config, machine, notebook)
    findings = [
        _python(),
        _cores(machine),
        _memory(machine),
        *_gpus(machine),
        _disk(config),
        *_engine(),
        model,
        *kv_layouts.findings(plan, notebook),
        *_adapters(config, plugins),
        *_embedder(config),
        _cloud(config),
        *_ports(config),
    ]
    return Examination(findings, machine, plan)


def _python() -> Finding:
    return Finding("Python", True, platform.python_version())


def _cores(machine: Machine) -> Finding:
    cores = machine.cores
    seen = f"{cores.physical}, {cores.performance} of them fast"
    if cores.quota is not None:
        seen += f"; the container grants {cores.quota:g} CPUs"
    mend = "one core serves the world; a model beside it will make ticks late"
    well = cores.physical >= 2
    return Finding("cores", well, seen, "" if well else mend)


def _memory(machine: Machine) -> Finding:
    seen = f"{size(machine.ram_available)} of {size(machine.ram_total)} can be had"
    return Finding("RAM", True, seen)


def _gpus(machine: Machine) -> list[Finding]:
    if not machine.gpus:
        return [Finding("GPU", True, f"none: {machine.no_gpu}", _WITH_CUDA)]
    return [
        Finding(
            gpu.name,
            True,
            f"{gpu.description or 'a GPU'}, {size(gpu.free)} of {size(gpu.total)} free"
            + (", shared with the machine" if gpu.shared else ""),
        )
        for gpu in machine.gpus
    ]


def _disk(config: settings.Settings) -> Finding:
    folder = config.world.data or Path("data")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free / 2**30
    return Finding(
        "disk",
        free > 1,
        f"{free:.1f} GiB free for {folder}",
        "" if free > 1 else "free some, or name another --data",
    )


def _engine() -> list[Finding]:
    mend = "pip install 'greenroom[local]'"
    if importlib.util.find_spec("llama_cpp") is None:
        return [Finding("local engine", False, "llama-cpp-python is not installed", mend)]
    try:
        version = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        version = "of an unknown version"
    found = [Finding("local engine", True, f"llama-cpp-python {version}")]
    if importlib.util.find_spec("llguidance") is None:
        found.append(Finding("structured replies", False, "llguidance is not installed", mend))
    return found


def _model(
    config: settings.Settings, machine: Machine, notebook: Notebook
) -> tuple[Finding, Plan | None]:
    """The configured model and its plan; a file that is missing or too large is told with its mend."""
    if not config.models.enabled:
        return Finding("model", True, "none, by the settings; reflexes answer"), None
    try:
        plan = minds.plan(config.models, machine, notebook)
    except ModelError as error:
        return Finding("model", False, error.message, error.hint), None
    model = plan.model
    seen = f"{model.name} ({model.architecture}, {model.quantisation}), {size(model.file_bytes)}"
    return Finding("model", True, seen), plan


def _adapters(config: settings.Settings, plugins: PluginManager | None) -> list[Finding]:
    """The plugins' adapters; one that would be refused is told with its mend. None without a model."""
    if not config.models.enabled:
        return []
    model = minds.model_file(config.models)
    try:
        known = adapters.model_name(inspect(model))
        manager = plugins or load_builtin_and_installed()
        # Plugins that do not fit together are switched off by this, as when a server starts.
        manager.ruleset()
        judged = adapters.judge(manager.contributions, known, model)
    except ModelFileError:
        # What is wrong with the model is a finding of its own.
        return []
    return [
        Finding(
            f"adapter of {each.species}",
            each.fate != "refused",
            f"{each.fate} (plugin {each.plugin}): {each.why}",
            each.mend and f"{each.mend}; until then its members speak by the bare model",
        )
        for each in judged
    ]


def _embedder(config: settings.Settings) -> list[Finding]:
    """What turns texts into vectors; a file that can't is told with its mend. None without a model."""
    if not config.models.enabled:
        return []
    try:
        file = minds.embedding_file(config.models)
        if file is None:
            seen, mend = "words are hashed", "to find by meaning: greenroom models add minilm"
            return [Finding("embeddings", True, seen, mend)]
        header = inspect(file)
        check_kind(header, speaks=False)
    except GreenroomError as error:
        return [Finding("embeddings", False, error.message, error.hint)]
    seen = f"{adapters.model_name(header)} ({header.architecture}), {size(header.size)}"
    return [Finding("embeddings", True, seen)]


def _cloud(config: settings.Settings) -> Finding:
    if not config.models.enabled or config.models.local_only:
        return Finding("cloud", True, "off by the settings; the coordinator plans locally")
    if not os.environ.get("ANTHROPIC_API_KEY"):
        return Finding("cloud", True, "off: no ANTHROPIC_API_KEY; the coordinator plans locally")
    if importlib.util.find_spec("anthropic") is None:
        return Finding(
            "cloud",
            False,
            "ANTHROPIC_API_KEY is set, but the SDK is not installed",
            "pip install 'greenroom[cloud]', or use --local-only",
        )
    model, dollars = config.models.cloud_model, config.models.cloud_usd_per_hour
    return Finding("cloud", True, f"{model} plans the battles, for at most ${dollars:.2f} an hour")


def _ports(config: settings.Settings) -> list[Finding]:
    found = []
    for name, port in (("game port", config.server.port), ("HTTP port", config.server.http_port)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((config.server.host, port))
            except OSError as error:
                flag = "--port" if name == "game port" else "--http-port"
                found.append(
                    Finding(
                        name,
                        False,
                        f"{port}: {error.strerror}",
                        f"stop what holds it, or give {flag}",
                    )
                )
            else:
                found.append(Finding(name, True, f"{port} is free"))
    return found


@console.command
def doctor(
    model: Model = None,
    threads: Threads = None,
    context: Context = None,
    sequences: Sequences = None,
    gpu_layers: GpuLayers = None,
    kv_type: KvType = None,
    streams: Streams = None,
    flash: Flash = None,
    config: Config = None,
    time_layouts: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="time both layouts of the model's cache here, some 20 s, and remember the faster",
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """What this machine can do, what is missing, how the model would be run, and what would change it."""
    sizes = {
        "threads": threads,
        "context": context,
        "sequences": sequences,
        "gpu_layers": gpu_layers,
        "kv_type": kv_type,
        "streams": streams,
        "flash": flash,
    }
    wanted, machine = settings.load(config, models={"file": model, **sizes}), measure()
    notebook, troubles = kv_layouts.measure(wanted, machine) if time_layouts else (None, [])
    found = examine(wanted, machine, notebook=notebook)
    found.findings.extend(troubles)
    if json:
        console.machine(
            {
                "findings": [asdict(finding) for finding in found.findings],
                "machine": found.machine.pack(),
                "plan": found.plan.pack() if found.plan is not None else None,
                "layouts": kv_layouts.packed(found.plan),
            }
        )
    else:
        _tell_findings(found.findings)
        if found.plan is not None:
            _tell_plan(found.plan)
    if not all(finding.well for finding in found.findings):
        raise typer.Exit(1)


def _tell_findings(findings: list[Finding]) -> None:
    table = Table("", "what", "seen", "mend", box=None)
    for finding in findings:
        table.add_row(
            "[green]✓" if finding.well else "[red]✗",
            *(escape(text) for text in (finding.what, finding.seen, finding.mend)),
        )
    console.people.print(table)


def _tell_plan(plan: Plan) -> None:
    say = console.people.print
    say(f"\n[bold]The plan for {escape(plan.model.name)}[/], which flags and settings override")
    table = Table("", "plan", "why", "what would change it", box=None)
    for reason in plan.reasons:
        table.add_row(
            *(escape(text) for text in (reason.figure, reason.value, reason.why, reason.change))
        )
    say(table)
    for place, taken, room in (
        ("RAM", plan.estimate.ram, plan.machine.ram_available),
        ("VRAM", plan.estimate.vram, sum(gpu.free for gpu in plan.machine.gpus)),
    ):
        if taken.total:
            parts = ", ".join(
                f"{name} {size(held)}" for name, held in asdict(taken).items() if held
            )
            say(f"  {place}: {size(taken.total)} of {size(room)} ({parts})")
