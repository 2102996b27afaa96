"""How the local engine is sized: one frozen record that host, child and engine share."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from models.llama.cores import default_threads

Role = Literal["chat", "embed"]
"""What a child is for: to answer (engine.py) or to make vectors (embedding.py)."""

MAX_SEQUENCES = 256
"""llama.cpp's own limit on sequences in one context."""


MAX_CELLS = 1 << 22
"""Tokens of the largest KV memory that is asked for."""

MAX_CARRIED = 64 << 20
"""Bytes of the largest state that is carried between streams, since as many are kept to carry with."""

KvType = Literal["f32", "f16", "q8_0"]
"""What a value of the KV memory is kept in, by ggml's names."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Sizes and bounds of one engine.

    `n_ctx` cells of KV memory are shared by all sequences; with `streams` each has its part of them
    for itself, which is faster on a CPU and takes more memory (see streams.py). One conversation is
    bounded by what a sequence can have and by what the model was trained for. `n_seq` sequences exist
    (with `streams` one serves to move the others), of which at most `n_parallel` decode at once; the
    others keep prefixes for reuse. `queue` requests may wait.
    A step of the engine aims at `step_ms` milliseconds, so that an urgent request never waits long; on
    a CPU, where a player's line ends a step, at `calm_ms` while nobody is spoken to: larger batches
    read up to twice as fast.
    `memory_mib` bounds what loading may allocate beyond the size of the file itself.
    `gpu_layers` is llama.cpp's: so many of the last layers are on the GPU, the output counted as one
    (-1: all). `kv_type` is what the KV memory is kept in: `q8_0` takes 17/32 of `f16` and needs flash
    attention, `flash`, which not using is faster on a CPU in streams (sizing.py says why). `exact` keeps it in 32 bits, whatever `kv_type` says short of `q8_0`, and sums attention
    in one order: a reply then hardly depends on what shares its batch (logits differ by 10⁻⁶ instead
    of 10⁻³ of their spread), at half the speed and twice the memory.
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
    calm_ms: float = 800.0
    memory_mib: int = 1536
    gpu_layers: int = -1
    kv_type: KvType = "f16"
    flash: bool = True
    exact: bool = False
    hold_ms: float = 100.0
    spill_mib: int = 256
    streams: bool = False

    def __post_init__(self) -> None:
        bounds = {
            "threads": (0, 512),
            "n_ctx": (64, MAX_CELLS),
            "n_seq": (1 + self.streams, MAX_SEQUENCES),
            "n_parallel": (1, self.n_seq - self.streams),
            "n_batch": (self.n_parallel, 8192),
            "queue": (1, 65_536),
            "step_ms": (1.0, 10_000.0),
            "calm_ms": (1.0, 60_000.0),
            "memory_mib": (1, 1 << 24),
            "gpu_layers": (-1, 10_000),
            "hold_ms": (0.0, 10_000.0),
            "spill_mib": (0, 1 << 20),
        }
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; it must lie between {low} and {high}")
        if self.kv_type not in get_args(KvType):
            raise ValueError(f"kv_type is {self.kv_type!r}; it must be f32, f16 or q8_0")
        if self.exact and self.kv_type == "q8_0":
            raise ValueError("kv_type is q8_0; exact needs f32")
        if self.exact:
            object.__setattr__(self, "kv_type", "f32")
            object.__setattr__(self, "flash", False)
        if not self.flash and self.kv_type == "q8_0":
            raise ValueError("kv_type is q8_0, which needs flash attention")
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
