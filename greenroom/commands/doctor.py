"""`greenroom doctor`: what this machine can do, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from greenroom import console, settings


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, whether it is well, what was seen and what mends it."""

    what: str
    well: bool
    seen: str
    mend: str = ""


def examine(config: settings.Settings) -> list[Finding]:
    """Look at everything a server needs; starts nothing, changes nothing."""
    return [
        _python(),
        _cores(),
        _disk(config),
        *_engine(),
        _house_model(),
        _cloud(config),
        *_ports(config),
    ]


def _python() -> Finding:
    return Finding("Python", True, platform.python_version())


def _cores() -> Finding:
    cores = os.cpu_count() or 1
    return Finding(
        "cores",
        cores >= 2,
        str(cores),
        "" if cores >= 2 else "one core serves the world; a model beside it will make ticks late",
    )


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
    import llama_cpp

    offload = bool(llama_cpp.llama_supports_gpu_offload())
    found = [
        Finding("local engine", True, f"llama-cpp-python {llama_cpp.__version__}"),
        Finding(
            "GPU offload",
            True,
            "yes" if offload else "no: this llama.cpp was built for the CPU",
            ""
            if offload
            else "for CUDA: CMAKE_ARGS=-DGGML_CUDA=on pip install --force-reinstall --no-cache-dir llama-cpp-python",
        ),
    ]
    if importlib.util.find_spec("llguidance") is None:
        found.append(Finding("structured replies", False, "llguidance is not installed", mend))
    return found


def _house_model() -> Finding:
    from models import house

    path = house.path()
    if not path.is_file():
        return Finding(
            "house model", False, "not there", "reinstall Greenroom, or give --model FILE.gguf"
        )
    return Finding(
        "house model", True, f"{house.NAME} {house.VERSION}, {path.stat().st_size / 2**20:.1f} MiB"
    )


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
    config: Annotated[Path | None, typer.Option(help="a TOML settings file")] = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """What this machine can do, what is missing, and the command that mends it."""
    findings = examine(settings.load(config))
    if json:
        console.machine({"findings": [asdict(finding) for finding in findings]})
    else:
        table = Table("", "what", "seen", "mend", box=None)
        for finding in findings:
            table.add_row(
                "[green]✓" if finding.well else "[red]✗",
                *(escape(text) for text in (finding.what, finding.seen, finding.mend)),
            )
        console.people.print(table)
    if not all(finding.well for finding in findings):
        raise typer.Exit(1)
