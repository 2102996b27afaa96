"""What a Linux control group leaves this process of CPU time and memory (versions 1 and 2).

Sources: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max, memory.max, memory.high) and
https://docs.kernel.org/admin-guide/cgroup-v1/memory.html. A limit on any group above counts too, so
every folder from the process's own group up to the mount is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_UNLIMITED = 1 << 60
"""Version 1 writes a number near 2⁶³ where there is no limit."""


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs' worth of time this process may use; None without a quota."""
    found: list[float] = []
    for folder in _folders(root, "cpu"):
        words = text_of(folder / "cpu.max").split() or [
            text_of(folder / "cpu.cfs_quota_us"),
            text_of(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
            found.append(int(words[0]) / int(words[1]))
    return min(found, default=None)


def memory(root: Path = Path("/")) -> tuple[int, int] | None:
    """The tightest limit and the least that is left under any, bytes; None without a limit.

    What the group's page cache has not touched lately counts as left: the kernel gives it up first.
    """
    found: list[tuple[int, int]] = []
    for folder in _folders(root, "memory"):
        limits = [
            int(word)
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
            if (word := text_of(folder / name)).isdigit() and int(word) < _UNLIMITED
        ]
        if not limits:
            continue
        used = text_of(folder / "memory.current") or text_of(folder / "memory.usage_in_bytes")
        taken = max(0, int(used or 0) - _idle_cache(folder))
        found.append((min(limits), max(0, min(limits) - taken)))
    if not found:
        return None
    return min(limit for limit, _ in found), min(left for _, left in found)


def _idle_cache(folder: Path) -> int:
    stat = dict(
        line.split(" ", 1) for line in text_of(folder / "memory.stat").splitlines() if " " in line
    )
    # Version 1 counts the groups below only in its totals.
    return int(stat.get("total_inactive_file") or stat.get("inactive_file") or 0)


def _folders(root: Path, controller: str) -> Iterator[Path]:
    """The process's own group in each hierarchy that may hold the controller, and all above it."""
    mount = root / "sys/fs/cgroup"
    for line in text_of(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            bases = [mount, mount / "unified"]
        elif controller in names.split(","):
            bases = [mount / controller, mount / names]
        else:
            continue
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for base in dict.fromkeys(bases):
            for depth in range(len(parts), -1, -1):
                folder = base.joinpath(*parts[:depth])
                if folder.is_dir():
                    yield folder


def text_of(path: Path) -> str:
    """A small kernel file's text, stripped; '' when it can't be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
