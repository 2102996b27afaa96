"""What this machine has for a model: cores, memory, and GPUs with what is free on them.

The GPUs are asked of ggml itself, in a short-lived process (probe.py): a broken driver may take that
along, never the game. Linux is what this is written for; macOS and Windows get plain fallbacks that
nobody has tested.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.llama import cgroups, cores, spawn
from models.llama.cores import Cores

_PROBE_S = 30.0
_MIB = 1 << 20
_BACKEND = re.compile(r"^(?:lib)?ggml-([a-z0-9]+)[^.]*\.(?:so|dylib|dll)(?:\.|$)")
_NO_GPU_IN = {"base", "cpu", "blas"}


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device llama.cpp can put layers on; sizes in bytes. `shared`: its memory is the machine's RAM."""

    name: str
    description: str
    total: int
    free: int
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is, measured once; sizes in bytes. `no_gpu` says why `gpus` is empty, `cpu` is the CPU's name."""

    cores: Cores
    ram_total: int
    ram_available: int
    gpus: tuple[Gpu, ...] = ()
    no_gpu: str = ""
    cpu: str = ""

    def pack(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {**asdict(self), "threads": self.cores.threads}


Probe = Callable[[], tuple[tuple[Gpu, ...], str]]
"""Tells the GPUs, and why there are none."""


def measure(root: Path = Path("/"), probe: Probe | None = None) -> Machine:
    """Measure this machine; takes up to `_PROBE_S` seconds where llama.cpp was built for a GPU."""
    total, available = memory(root)
    gpus, why = (probe or probe_gpus)()
    return Machine(
        cores.count(root),
        total,
        available,
        # A device that tells no memory of its own uses the machine's, as llama.cpp takes it too.
        tuple(
            gpu if gpu.total else Gpu(gpu.name, gpu.description, total, available, shared=True)
            for gpu in gpus
        ),
        why,
        cores.name(root),
    )


def memory(root: Path = Path("/")) -> tuple[int, int]:
    """RAM in all and RAM that can be had without swapping, bytes, as far as a container allows."""
    if sys.platform == "win32":
        return _windows_memory()
    told = {}
    try:
        for line in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            told[name] = int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return total, total // 2
    total = told.get("MemTotal", 0)
    available = told.get("MemAvailable", told.get("MemFree", 0))
    limits = cgroups.memory(root)
    if limits is None:
        return total, available
    return min(total, limits[0]), min(available, limits[1])


def probe_gpus(timeout_s: float = _PROBE_S) -> tuple[tuple[Gpu, ...], str]:
    """The GPUs llama.cpp would use, asked in a process of its own; and why there are none."""
    if _built_for_cpu():
        return (), "this llama.cpp was built for the CPU"
    try:
        probe = subprocess.run(
            spawn.command("models.llama.probe"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            env=spawn.environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return (), f"asking for it took more than {timeout_s:g} s; check the driver"
    except OSError as error:
        return (), f"no process can be started to ask for it: {error}"
    if probe.returncode != 0:
        words = probe.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        last = f" ({words[0][:200]})" if words else ""
        return (
            (),
            f"asking for it failed, {spawn.in_words(probe.returncode)}{last}; check the driver",
        )
    try:
        told = json.loads(probe.stdout.splitlines()[-1])
        return tuple(Gpu(**gpu) for gpu in told["gpus"]), str(told["why"])
    except (ValueError, LookupError, TypeError) as error:
        return (), f"the answer makes no sense: {error}"


def _built_for_cpu() -> bool:
    """Whether llama-cpp-python's own folder holds no backend but the CPU's: then nobody need ask."""
    package = importlib.util.find_spec("llama_cpp")
    if package is None or package.origin is None:
        return False
    folder = Path(package.origin).parent / "lib"
    backends = {
        match[1]
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _BACKEND.match(path.name))
    }
    return {"base", "cpu"} <= backends <= _NO_GPU_IN


def _windows_memory() -> tuple[int, int]:
    """GlobalMemoryStatusEx's ullTotalPhys and ullAvailPhys."""
    words = (ctypes.c_uint64 * 8)()
    ctypes.cast(words, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(words)
    kernel: Any = getattr(ctypes, "windll").kernel32  # noqa: B009  # there on Windows alone
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(words)):
        return 4096 * _MIB, 2048 * _MIB
    return int(words[1]), int(words[2])
