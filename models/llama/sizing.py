"""An engine's sizes that follow from a context, a number of layers and what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

from models.llama.estimate import CELLS, kv_bytes_a_token, ram_room, vram_rooms
from models.llama.facts import ModelFacts
from models.llama.layouts import Layouts
from models.llama.machine import Machine
from models.llama.settings import MAX_CELLS, MAX_SEQUENCES, EngineSettings, KvType

PLENTY, WORKING, LEAST = 32_768, 8_192, 512
_BATCH = 512
_GPU_THREADS = 4
_KEPT = {True: 128, False: 64}
_AT_ONCE = {True: 32, False: 16}
"""Sequences kept and decoded at once, with all layers on a GPU and without."""
_BESIDE = (32, 16, 8)
"""With streams: those kept beyond the ones that are decoded, the moving one among them."""
CONVERSATIONS = (16_384, 8_192, 4_096)
"""Tokens of a stream, the first that `STREAMS_SHARE` of the memory holds for every sequence."""
STREAMS_SHARE = 4
"""Streams take no more than a quarter of the memory that can be had where they are, RAM or the GPUs'."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is given and kept exactly; None is left to the plan.

    `context` in tokens, `sequences` decoded at once, `gpu_layers` as llama.cpp counts them (the
    output is one), `streams` and `flash` as EngineSettings has them. `window`, the tokens of the longest
    conversation, is no size of the engine and only guides the plan; so do both layouts' times, `measured` with
    this model on this machine.
    """

    threads: int | None = None
    context: int | None = None
    sequences: int | None = None
    gpu_layers: int | None = None
    kv_type: KvType | None = None
    streams: bool | None = None
    flash: bool | None = None
    window: int | None = None
    measured: Layouts | None = None

    @property
    def named(self) -> frozenset[str]:
        """The names of those given."""
        given = (name for name, value in asdict(self).items() if value is not None)
        return frozenset(given) - {"window", "measured"}


def kinds(model: ModelFacts, wishes: Wishes) -> list[KvType]:
    """What the KV memory may be kept in, the best first."""
    if wishes.kv_type:
        return [wishes.kv_type]
    return ["f16", "q8_0"] if model.quantisable and wishes.flash is not False else ["f16"]


def sized(
    model: ModelFacts, machine: Machine, wishes: Wishes, n_ctx: int, kv_type: KvType, layers: int
) -> EngineSettings:
    """All sizes of an engine with so long a context and so many layers on the GPU."""
    whole = bool(machine.gpus) and layers > model.layers
    parallel = wishes.sequences or max(1, min(_AT_ONCE[whole], n_ctx // 256))
    kept = 0 if model.recurrent else min(_KEPT[whole], n_ctx // 128)
    return EngineSettings(
        threads=_threads(machine, wishes, whole),
        n_ctx=n_ctx,
        n_seq=max(parallel, kept),
        n_parallel=parallel,
        n_batch=batch(n_ctx, parallel),
        gpu_layers=layers,
        kv_type=kv_type,
        flash=flash(wishes, kv_type, layers, streams=False),
    )


def streamed(
    model: ModelFacts, machine: Machine, wishes: Wishes, kv_type: KvType, layers: int
) -> Iterator[EngineSettings]:
    """The sizes of engines with a stream for every sequence, the longest conversations first.

    Unless they are asked for, those that take too much of the memory they are in are left out.
    """
    whole = bool(machine.gpus) and layers > model.layers
    parallel = wishes.sequences or _AT_ONCE[whole]
    if parallel >= MAX_SEQUENCES:
        return
    counts = [min(MAX_SEQUENCES, parallel + beside) for beside in _BESIDE]
    room = (vram_rooms(machine) if whole else ram_room(machine)) // STREAMS_SHARE
    for each in conversations(model, wishes, counts[0]):
        for n_seq in counts:
            cells = n_seq * each
            taken = cells * kv_bytes_a_token(model, kv_type)
            if wishes.streams or (taken <= room and cells <= MAX_CELLS):
                yield EngineSettings(
                    threads=_threads(machine, wishes, whole),
                    n_ctx=wishes.context or min(cells, MAX_CELLS),
                    n_seq=n_seq,
                    n_parallel=parallel,
                    n_batch=batch(cells, parallel),
                    gpu_layers=layers,
                    kv_type=kv_type,
                    flash=flash(wishes, kv_type, layers, streams=True),
                    streams=True,
                )


def flash(wishes: Wishes, kv_type: KvType, layers: int, *, streams: bool) -> bool:
    """Whether attention is flash attention: where q8_0 needs it or it was asked for, else in all but streams on a CPU.

    llama.cpp's flash attention on a CPU takes the rows of a short line or of a decode step one by one, while plain
    attention multiplies matrices: on a Xeon with AMX lines of 48 tokens are read four to seven times and a
    step of 32 two to four times as fast without. Plain attention does not skip what is masked, which is
    little in a stream and nearly all in unified memory; that keeps flash attention.
    """
    if kv_type == "q8_0":
        return True
    return wishes.flash if wishes.flash is not None else layers > 0 or not streams


def wants_streams(model: ModelFacts, machine: Machine, wishes: Wishes) -> bool:
    """Whether each sequence should have a stream of its own, if memory holds them.

    What was asked for decides, then what was measured; the rule, which stands without figures and where
    they hardly differ, is streams on a machine without a GPU. A context that is given is for all.
    """
    if model.recurrent:
        return False
    if wishes.streams is not None:
        return wishes.streams
    if wishes.context is not None:
        return False
    faster = wishes.measured.faster if wishes.measured is not None else None
    return not machine.gpus if faster is None else faster == "streams"


def conversations(model: ModelFacts, wishes: Wishes, n_seq: int) -> list[int]:
    """Tokens that a stream may have, the most first: a given context's part, a given window, or `CONVERSATIONS`."""
    trained = _up(model.context_length) or CONVERSATIONS[0]
    if wishes.context is not None:
        return [_up(-(-wishes.context // n_seq))]
    if wishes.window is not None:
        return [min(_up(wishes.window), trained)]
    most = [each for each in CONVERSATIONS if each <= trained]
    return most or [trained]


def batch(n_ctx: int, parallel: int) -> int:
    """Tokens of one batch: no more than half the context, no fewer than decode at once."""
    return max(parallel, min(_BATCH, n_ctx // 2))


def plenty(model: ModelFacts) -> int:
    """Tokens beyond which cells stay empty: every kept sequence as long as the model can read."""
    return max(least(model), min(PLENTY, _KEPT[False] * (_up(model.context_length) or PLENTY)))


def least(model: ModelFacts) -> int:
    """The shortest context worth having, tokens."""
    return min(LEAST, _up(model.context_length) or LEAST)


def _threads(machine: Machine, wishes: Wishes, whole: bool) -> int:
    threads = machine.cores.threads
    return wishes.threads or (min(threads, _GPU_THREADS) if whole else threads)


def _up(tokens: int) -> int:
    return -(-tokens // CELLS) * CELLS
