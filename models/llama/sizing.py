"""An engine's sizes that follow from a context, a number of layers and what was asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from models.llama.estimate import CELLS
from models.llama.facts import ModelFacts
from models.llama.machine import Machine
from models.llama.settings import EngineSettings, KvType

PLENTY, WORKING, LEAST = 32_768, 8_192, 512
_BATCH = 512
_GPU_THREADS = 4
_KEPT = {True: 128, False: 64}
_AT_ONCE = {True: 32, False: 16}
"""Sequences kept and decoded at once, with all layers on a GPU and without."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is given and kept exactly; None is left to the plan.

    `context` in tokens, `sequences` decoded at once, `gpu_layers` as llama.cpp counts them (the
    output is one).
    """

    threads: int | None = None
    context: int | None = None
    sequences: int | None = None
    gpu_layers: int | None = None
    kv_type: KvType | None = None

    @property
    def named(self) -> frozenset[str]:
        """The names of those given."""
        return frozenset(name for name, value in asdict(self).items() if value is not None)


def kinds(model: ModelFacts, wishes: Wishes) -> list[KvType]:
    """What the KV memory may be kept in, the best first."""
    if wishes.kv_type:
        return [wishes.kv_type]
    return ["f16", "q8_0"] if model.quantisable else ["f16"]


def sized(
    model: ModelFacts, machine: Machine, wishes: Wishes, n_ctx: int, kv_type: KvType, layers: int
) -> EngineSettings:
    """All sizes of an engine with so long a context and so many layers on the GPU."""
    whole = bool(machine.gpus) and layers > model.layers
    parallel = wishes.sequences or max(1, min(_AT_ONCE[whole], n_ctx // 256))
    kept = 0 if model.recurrent else min(_KEPT[whole], n_ctx // 128)
    threads = machine.cores.threads
    return EngineSettings(
        threads=wishes.threads or (min(threads, _GPU_THREADS) if whole else threads),
        n_ctx=n_ctx,
        n_seq=max(parallel, kept),
        n_parallel=parallel,
        n_batch=batch(n_ctx, parallel),
        gpu_layers=layers,
        kv_type=kv_type,
    )


def batch(n_ctx: int, parallel: int) -> int:
    """Tokens of one batch: no more than half the context, no fewer than decode at once."""
    return max(parallel, min(_BATCH, n_ctx // 2))


def plenty(model: ModelFacts) -> int:
    """Tokens beyond which cells stay empty: every kept sequence as long as the model can read."""
    return max(least(model), min(PLENTY, _KEPT[False] * (_up(model.context_length) or PLENTY)))


def least(model: ModelFacts) -> int:
    """The shortest context worth having, tokens."""
    return min(LEAST, _up(model.context_length) or LEAST)


def _up(tokens: int) -> int:
    return -(-tokens // CELLS) * CELLS
