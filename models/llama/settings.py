"""How the local engine is sized: one frozen record that host, child and engine share."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

Role = Literal["chat", "embed"]
"""What a child is for: to answer (engine.py) or to make vectors (embedding.py)."""

MAX_SEQUENCES = 256
"""llama.cpp's own limit on sequences in one context."""


def physical_cores() -> int:
    """Cores this process may run on, hyper-threads counted once; at least 1."""
    if not hasattr(os, "sched_getaffinity"):
        return max(1, os.cpu_count() or 1)
    cores: set[str] = set()
    for cpu in os.sched_getaffinity(0):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            cores.add(siblings.read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, len(cores))


def default_threads() -> int:
    """All cores but one, which the game keeps; at least 1."""
    return max(1, physical_cores() - 1)


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Sizes and bounds of one engine.

    `n_ctx` cells of KV memory are shared by all sequences; one conversation is bounded by the
    smaller of `n_ctx` and what the model was trained for. `n_seq` sequences exist, of which at most
    `n_parallel` decode at once; the others keep prefixes for reuse. `queue` requests may wait.
    A step of the engine aims at `step_ms` milliseconds, so that an urgent request never waits long.
    `memory_mib` bounds what loading may allocate beyond the size of the file itself.
    `gpu_layers` is llama.cpp's (-1: all that fit a build with a GPU). `exact` keeps the KV memory in
    32 bits and sums attention in one order: a reply then hardly depends on what shares its batch
    (logits differ by 10⁻⁶ instead of 10⁻³ of their spread), at half the speed and twice the memory.
    Requests under one LoRA adapter decode together for `hold_ms` while those under others wait.
    Prefixes that lose their cells are kept in files of `spill_mib` MiB in all (0: none).
    """

    threads: int = 0
    n_ctx: int = 8192
    n_seq: int = 64
    n_parallel: int = 32
    n_batch: int = 512
    queue: int = 256
    step_ms: float = 60.0
    memory_mib: int = 1536
    gpu_layers: int = -1
    exact: bool = False
    hold_ms: float = 100.0
    spill_mib: int = 256

    def __post_init__(self) -> None:
        bounds = {
            "threads": (0, 512),
            "n_ctx": (64, 1 << 22),
            "n_seq": (1, MAX_SEQUENCES),
            "n_parallel": (1, self.n_seq),
            "n_batch": (self.n_parallel, 8192),
            "queue": (1, 65_536),
            "step_ms": (1.0, 10_000.0),
            "memory_mib": (1, 1 << 24),
            "gpu_layers": (-1, 10_000),
            "hold_ms": (0.0, 10_000.0),
            "spill_mib": (0, 1 << 20),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; it must lie between {low} and {high}")
        if self.threads == 0:
            object.__setattr__(self, "threads", default_threads())

    def pack(self) -> dict[str, Any]:
        """Plain values for a frame."""
        return asdict(self)

    @classmethod
    def unpack(cls, data: dict[str, Any]) -> EngineSettings:
        """The inverse of `pack`. Raises ValueError on unknown names or values out of bounds."""
        unknown = data.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown settings: {', '.join(sorted(unknown))}")
        return cls(**data)
