"""Which cores a model should think on: physical ones, and of those only the fast.

llama.cpp's threads meet at a barrier after every operation, so one slow core holds all back: an
efficiency core costs more than it gives, and a second hyper-thread of a core gives nothing.
"""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from models.llama.cgroups import cpu_quota, text_of

_SLOW = 0.75
"""A core under this share of the fastest one's capacity or clock counts as an efficiency core."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Cores this process may run on: hyper-threads counted once; `performance` of them are fast.

    `quota` is the CPU time a container grants, in CPUs; None without one.
    """

    physical: int
    performance: int
    quota: float | None = None

    @property
    def threads(self) -> int:
        """Threads for a model: the fast cores, as far as the quota goes, but one for the game."""
        granted = self.performance if self.quota is None else math.floor(self.quota)
        return max(1, min(self.performance, granted) - 1)


def count(root: Path = Path("/"), allowed: Iterable[int] | None = None) -> Cores:
    """The cores of this machine that this process may use; each figure at least 1.

    On Linux read from sysfs: `cpu_core` names the performance cores of an Intel hybrid, else
    `cpu_capacity` (Arm), else the highest clock tells them apart. macOS tells by sysctl; elsewhere
    every CPU counts as a fast core. Those two are untested.
    """
    if sys.platform == "darwin":
        physical = _sysctl("hw.physicalcpu") or os.cpu_count() or 1
        return Cores(physical, _sysctl("hw.perflevel0.physicalcpu") or physical)
    if allowed is None:
        if not hasattr(os, "sched_getaffinity"):
            cpus = max(1, os.cpu_count() or 1)
            return Cores(cpus, cpus)
        allowed = os.sched_getaffinity(0)
    folder = root / "sys/devices/system/cpu"
    cores: dict[str, list[int]] = {}
    for cpu in sorted(allowed):
        siblings = text_of(folder / f"cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings or str(cpu), []).append(cpu)
    fast = _fast(root, sorted(allowed))
    performance = sum(1 for cpus in cores.values() if fast.intersection(cpus))
    return Cores(max(1, len(cores)), max(1, performance), cpu_quota(root))


def name(root: Path = Path("/")) -> str:
    """What the CPU calls itself, at most 120 characters; the kind of machine where it has no name."""
    try:
        with (root / "proc/cpuinfo").open(encoding="ascii", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip().lower() in ("model name", "hardware", "cpu model"):
                    return " ".join(value.split())[:120]
    except OSError:
        pass
    return (platform.processor() or platform.machine())[:120]


def physical_cores() -> int:
    """Cores this process may run on, hyper-threads counted once; at least 1."""
    return count().physical


def default_threads() -> int:
    """All performance cores but one, which the game keeps; at least 1."""
    return count().threads


def _fast(root: Path, cpus: list[int]) -> set[int]:
    """The CPUs of performance cores; all of them where nothing tells them apart."""
    named = _cpu_list(text_of(root / "sys/devices/cpu_core/cpus"))
    if named.intersection(cpus):
        return named.intersection(cpus)
    folder = root / "sys/devices/system/cpu"
    for source in ("cpu_capacity", "cpufreq/cpuinfo_max_freq"):
        texts = [text_of(folder / f"cpu{cpu}" / source) for cpu in cpus]
        if texts and all(text.isdigit() for text in texts):
            figures = [int(text) for text in texts]
            least = _SLOW * max(figures)
            return {cpu for cpu, figure in zip(cpus, figures, strict=True) if figure >= least}
    return set(cpus)


def _cpu_list(text: str) -> set[int]:
    """The kernel's list format: "0-3,8" is 0, 1, 2, 3 and 8."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), int(last or first) + 1))
    return found


def _sysctl(name: str) -> int:
    try:
        told = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, timeout=5, check=True
        )
        return int(told.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0
