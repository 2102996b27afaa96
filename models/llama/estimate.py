"""How much memory an engine of a given size takes, where, and for what.

Per token and layer the KV memory holds kv_heads · (key_length + value_length) values (llama.cpp's
llama-kv-cache.cpp; sliding windows are kept whole, as its default `swa_full` does), of 4, 2 or 34/32
bytes. The compute buffer is the one llama.cpp reserves for a full batch: its largest pieces are the
logits of every token of the batch or the feed-forward part, the attention mask, and without flash
attention every head's scores. The figures lie above what llama.cpp 0.3.36 reserves for models of
4 million to 8 billion parameters, by a third or by a few MiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from models.llama.facts import ModelFacts
from models.llama.machine import Gpu, Machine
from models.llama.settings import MAX_CARRIED, EngineSettings, KvType

GIB = 1 << 30
_MIB = 1 << 20
KV_BYTES: dict[KvType, float] = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}
CELLS = 256
"""llama.cpp rounds a context up to so many tokens."""
_PROCESS = 192 * _MIB
_PER_TOKEN_KNOWN = 1024
"""What the engine's process itself takes: Python, numpy, llama.cpp; and for each vocabulary entry."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes in one place, by what they are for."""

    weights: int = 0
    kv: int = 0
    compute: int = 0
    logits: int = 0
    process: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv + self.compute + self.logits + self.process


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an engine takes of RAM, and of all GPUs' memory together.

    `layer` is the largest layer on a GPU, its KV memory included.
    """

    ram: Memory
    vram: Memory
    layer: int = 0

    def pack(self) -> dict[str, dict[str, int]]:
        """Plain values, with the totals, for JSON."""
        return {
            "ram": {**asdict(self.ram), "total": self.ram.total},
            "vram": {**asdict(self.vram), "total": self.vram.total},
        }


def offloaded(model: ModelFacts, settings: EngineSettings) -> int:
    """How many of a model's layers llama.cpp puts on a GPU, the output counted as one."""
    every = model.layers + 1
    return every if settings.gpu_layers < 0 else min(settings.gpu_layers, every)


def estimate(model: ModelFacts, settings: EngineSettings, gpus: Sequence[Gpu]) -> Estimate:
    """The memory an engine takes; never less than llama.cpp reserves, as far as measured.

    llama.cpp fills GPUs from the end: the output first, then the last layers.
    """
    layers = offloaded(model, settings) if gpus else 0
    first = model.layers + 1 - layers
    kv = [_kv(model, values, settings) for values in model.kv_values]
    compute = _compute(model, settings)
    beside, on_output = model.input_bytes, model.output_bytes
    width, mask = model.widths[0], _mask(model, settings)
    every = layers == model.layers + 1
    ram = Memory(
        weights=beside + sum(model.layer_bytes[:first]) + (0 if layers else on_output),
        kv=sum(kv[:first]),
        compute=mask + 8 * width * settings.n_batch if every else compute,
        logits=4 * settings.n_seq * model.vocabulary,
        process=_PROCESS + _PER_TOKEN_KNOWN * model.vocabulary + _carried(model, settings),
    )
    if not layers:
        return Estimate(ram, Memory())
    # For long batches llama.cpp also copies the weights that stayed in RAM, a tensor at a time.
    visiting = 0 if every else model.largest_tensor
    vram = Memory(
        weights=sum(model.layer_bytes[first:]) + on_output,
        kv=sum(kv[first:]),
        compute=len(gpus) * (compute + visiting),
    )
    layer = max([0, *(model.layer_bytes[n] + kv[n] for n in range(first, model.layers))])
    return Estimate(ram, vram, layer)


def ram_room(machine: Machine) -> int:
    """RAM an engine may take: what is available but for 1 GiB, or an eighth of a small machine's."""
    return max(0, machine.ram_available - min(GIB, machine.ram_total // 8))


def vram_room(gpu: Gpu) -> int:
    """Memory of a GPU an engine may take: 1 GiB or an eighth stays free, as llama.cpp's own --fit leaves it."""
    return max(0, gpu.free - min(GIB, gpu.total // 8))


def vram_rooms(machine: Machine) -> int:
    """The same for all GPUs together."""
    return sum(vram_room(gpu) for gpu in machine.gpus)


def fits_vram(model: ModelFacts, taken: Estimate, gpus: Sequence[Gpu]) -> bool:
    """Whether the GPUs hold it.

    llama.cpp splits layers over GPUs by their free memory; each is taken to get its share, one layer
    more than that, and the output. So one that is full keeps the others from being used.
    """
    if taken.vram.total == 0:
        return True
    if len(gpus) == 1:
        return taken.vram.total <= vram_room(gpus[0])
    free = sum(gpu.free for gpu in gpus)
    each = taken.vram.compute // len(gpus)
    layers = taken.vram.weights + taken.vram.kv - model.output_bytes
    return free > 0 and all(
        layers * gpu.free + free * (taken.layer + model.output_bytes + each)
        <= free * vram_room(gpu)
        for gpu in gpus
    )


def fits_ram(taken: Estimate, machine: Machine) -> bool:
    """Whether RAM holds it, with what a GPU without memory of its own takes."""
    shared = taken.vram.total if any(gpu.shared for gpu in machine.gpus) else 0
    return taken.ram.total + shared <= ram_room(machine)


def kv_bytes_a_token(model: ModelFacts, kv_type: KvType) -> int:
    """Bytes of KV memory that one more token takes."""
    return round(sum(model.kv_values) * KV_BYTES[kv_type])


def _reach(settings: EngineSettings) -> int:
    """Cells that a token is masked against."""
    each = -(-settings.n_ctx // settings.n_seq) if settings.streams else settings.n_ctx
    return -(-each // CELLS) * CELLS


def _cells(settings: EngineSettings) -> int:
    return _reach(settings) * (settings.n_seq if settings.streams else 1)


def _kv(model: ModelFacts, values: int, settings: EngineSettings) -> int:
    per_token = values * KV_BYTES[settings.kv_type]
    return round(_cells(settings) * per_token) + settings.n_seq * model.state_bytes


def _carried(model: ModelFacts, settings: EngineSettings) -> int:
    """What states are carried between streams with, which stays allocated."""
    if not settings.streams:
        return 0
    return min(MAX_CARRIED, _reach(settings) * kv_bytes_a_token(model, settings.kv_type))


def _flashless(model: ModelFacts, settings: EngineSettings) -> bool:
    return not settings.flash or not (model.flash or settings.kv_type == "q8_0")


def _mask(model: ModelFacts, settings: EngineSettings) -> int:
    return (4 if _flashless(model, settings) else 2) * _reach(settings) * settings.n_batch


def _compute(model: ModelFacts, settings: EngineSettings) -> int:
    width, forward, query = model.widths
    batch = settings.n_batch
    flashless = _flashless(model, settings)
    scores = 4 * model.heads * _reach(settings) * batch if flashless else 0
    # Flash attention reads keys and values of 32 bits through a copy of 16.
    is_copied = settings.kv_type == "f32" and not flashless
    copies = 2 * _cells(settings) * max(model.kv_values, default=0) if is_copied else 0
    inside = 3 * max(forward, query) + 6 * width
    outside = model.vocabulary + 6 * width
    layer = scores + copies + 4 * batch * inside
    return _mask(model, settings) + max(layer, 4 * batch * outside)
