"""Sizes an engine for a machine: from what a model needs and what is there to a plan with reasons.

The rules, in order of preference; the first size that fits is taken:

0. with no `context` given, a KV stream for every sequence (see streams.py), as long as sizing.py says, where a
   quarter of the memory holds them: if that was measured to be faster with this model on this
   machine (layouts.py), or nothing clear was measured and there is no GPU;
1. all layers on the GPU, KV memory in f16, with the longest context from `PLENTY` down to `WORKING`;
2. the same with `WORKING` tokens in q8_0 (half the memory; needs flash attention);
3. as many layers as the GPU holds beside its share of `WORKING` tokens, in q8_0, the others in RAM;
   with none on the GPU, f16 where RAM allows;
4. a shorter context, down to `LEAST` tokens, with as many layers as then fit.

Where even that is too much the machine can't run the model. What estimate.py says must fit the
memory measured, less a reserve of 1 GiB or an eighth in each place (llama.cpp's own `--fit` leaves
1 GiB of a GPU, common/common.h). With more memory the context is never shorter; and fewer layers
are on the GPU only below `WORKING`, where a longer context pushed them out.

Sources: KV memory is layers · kv_heads · (key_length + value_length) values a token
(llama-kv-cache.cpp); q8_0 needs flash attention and heads of whole blocks of 32 (llama-context.cpp,
llama_init_from_model); layers are offloaded from the end, the output first (llama-model.cpp,
load_tensors). `WORKING` is what 16 speakers of 512 tokens take.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from models.errors import ModelDoesNotFit
from models.llama.estimate import (
    CELLS,
    Estimate,
    estimate,
    fits_ram,
    fits_vram,
    offloaded,
    ram_room,
    vram_rooms,
)
from models.llama.facts import ModelFacts
from models.llama.machine import Machine
from models.llama.reasons import Case, Reason, explain, size, smaller_file
from models.llama.settings import MAX_SEQUENCES, EngineSettings, KvType
from models.llama.sizing import (
    WORKING,
    Wishes,
    batch,
    kinds,
    least,
    plenty,
    sized,
    streamed,
    wants_streams,
)

_RANGES = {
    "threads": (1, 512),
    "context": (CELLS, 1 << 22),
    "sequences": (1, MAX_SEQUENCES),
    "gpu_layers": (0, 10_000),
}
# What only costs memory comes last: when a wish can't be met, the first that helps is named.
_COSTLY = ("streams", "context", "gpu_layers", "kv_type", "flash", "sequences")


@dataclass(frozen=True, slots=True)
class Plan:
    """An engine's sizes, the memory they take, and why they are what they are."""

    settings: EngineSettings
    estimate: Estimate
    reasons: tuple[Reason, ...]
    model: ModelFacts
    machine: Machine
    wishes: Wishes

    def pack(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "settings": self.settings.pack(),
            "memory": self.estimate.pack(),
            "reasons": [asdict(reason) for reason in self.reasons],
        }


def fit(model: ModelFacts, machine: Machine, wishes: Wishes | None = None) -> Plan:
    """The best plan for a model on a machine.

    Raises ModelDoesNotFit when a wish can't be kept, which it names, or when not even one sequence
    with the least context fits.
    """
    wishes = wishes or Wishes()
    _check(model, machine, wishes)
    plan = _search(model, machine, wishes)
    if plan is None:
        raise _refusal(model, machine, wishes)
    return plan


def smaller(plan: Plan) -> Plan | None:
    """The next smaller plan, for an engine that died of memory; None when nothing is left to give.

    Lets sequences share their cells, then halves the context down to `LEAST`, then keeps it in q8_0, then keeps a quarter of the sequences,
    then takes a quarter of the layers off the GPU as far as RAM holds them. Wishes are kept.
    """
    for figure, settings in _smaller(plan):
        taken = estimate(plan.model, settings, plan.machine.gpus)
        if figure == "gpu_layers" and not fits_ram(taken, plan.machine):
            continue
        told = {
            r.figure: r for r in explain(_case(plan.model, plan.machine, plan.wishes, settings))
        }
        before = {reason.figure: reason for reason in plan.reasons}[figure]
        why = f"the engine ran out of memory with {before.value}"
        shrunk = replace(told[figure], why=why)
        # What an earlier death made smaller keeps its reason.
        kept = {
            r.figure: r if told[r.figure].value == r.value else told[r.figure] for r in plan.reasons
        }
        reasons = tuple({**kept, figure: shrunk}.values())
        return replace(plan, settings=settings, estimate=taken, reasons=reasons)
    return None


def shrinking(plan: Plan) -> Callable[[EngineSettings], EngineSettings]:
    """What a host asks for the next smaller sizes, beginning with the plan's own (see `smaller`).

    It raises ModelDoesNotFit when nothing is left to give, and names the wishes that are kept.
    """

    def shrink(now: EngineSettings) -> EngineSettings:
        after = smaller(replace(plan, settings=now))
        if after is None:
            raise _smallest(plan, now)
        return after.settings

    return shrink


def _smallest(plan: Plan, now: EngineSettings) -> ModelDoesNotFit:
    kept = [name for name in _COSTLY if name in plan.wishes.named]
    asked = ", ".join(f"{name} {getattr(plan.wishes, name)}" for name in kept)
    message = (
        f"no smaller size of {plan.model.name} is left than {now.n_ctx:,} tokens of context in "
        f"{now.kv_type} and {now.n_seq} sequences{f', with {asked} as asked for' if kept else ''}"
    )
    # What was given may be what is too much.
    leave = f"leave out {' and '.join(kept)}, " if kept else ""
    return ModelDoesNotFit(
        message,
        f"{leave}give {smaller_file(plan.model)}, or free memory; --no-models runs without any",
        tuple(kept),
    )


def _smaller(plan: Plan) -> Iterator[tuple[str, EngineSettings]]:
    now, wishes = plan.settings, plan.wishes
    if now.streams:
        # Half a stream may be less than a conversation: what is shared goes further.
        if wishes.streams is None:
            shared = sized(
                plan.model, plan.machine, wishes, min(now.n_ctx, _working(plan.model, wishes)),
                now.kv_type, now.gpu_layers,
            )  # fmt: skip
            yield "streams", replace(shared, n_seq=min(shared.n_seq, now.n_seq))
        return
    if wishes.context is None and now.n_ctx > least(plan.model):
        halved = max(least(plan.model), now.n_ctx // 2 // CELLS * CELLS)
        yield "context", replace(now, n_ctx=halved, n_batch=batch(halved, now.n_parallel))
    if wishes.kv_type is None and now.kv_type != "q8_0" and "q8_0" in kinds(plan.model, wishes):
        yield "kv_type", replace(now, kv_type="q8_0", flash=True)
    fewest = wishes.sequences or 1
    if now.n_seq > fewest:
        n_seq = max(fewest, now.n_seq // 4)
        parallel = min(now.n_parallel, n_seq)
        tokens = batch(now.n_ctx, parallel)
        yield "sequences", replace(now, n_parallel=parallel, n_seq=n_seq, n_batch=tokens)
    layers = offloaded(plan.model, now)
    if wishes.gpu_layers is None and layers and plan.machine.gpus:
        fewer = max(0, layers - -(-(plan.model.layers + 1) // 4))
        yield "gpu_layers", replace(now, gpu_layers=fewer)


def _check(model: ModelFacts, machine: Machine, wishes: Wishes) -> None:
    for name, (low, high) in _RANGES.items():
        value = getattr(wishes, name)
        if value is not None and not low <= value <= high:
            raise ModelDoesNotFit(
                f"{name} is {value}", f"give a value from {low} to {high}", (name,)
            )
    if wishes.gpu_layers and not machine.gpus:
        raise ModelDoesNotFit(
            f"gpu_layers is {wishes.gpu_layers}, but there is no GPU: {machine.no_gpu}",
            "leave gpu_layers out",
            ("gpu_layers",),
        )
    if wishes.streams and (wishes.sequences or 0) >= MAX_SEQUENCES:
        raise ModelDoesNotFit(
            f"streams need a sequence more than the {wishes.sequences} sequences decoded at once",
            f"give at most {MAX_SEQUENCES - 1} sequences, or leave streams out",
            ("sequences", "streams"),
        )
    if wishes.streams and model.recurrent:
        raise ModelDoesNotFit(
            f"{model.name} is a recurrent model, which keeps no cells for streams",
            "leave streams out",
            ("streams",),
        )
    if wishes.kv_type == "q8_0" and wishes.flash is False:
        raise ModelDoesNotFit(
            "kv_type is q8_0, which only flash attention reads, and flash is False",
            "leave flash out, or give f16 or f32",
            ("flash", "kv_type"),
        )
    if wishes.kv_type == "q8_0" and not model.quantisable and not model.recurrent:
        raise ModelDoesNotFit(
            f"kv_type is q8_0, which {model.name}'s heads of {model.head_lengths[0]} values can't be",
            "give f16 or f32, or leave kv_type out",
            ("kv_type",),
        )


def _search(model: ModelFacts, machine: Machine, wishes: Wishes) -> Plan | None:
    settings = next(_candidates(model, machine, wishes), None)
    if settings is None:
        return None
    taken = estimate(model, settings, machine.gpus)
    reasons = explain(_case(model, machine, wishes, settings))
    return Plan(settings, taken, reasons, model, machine, wishes)


def _fits(model: ModelFacts, machine: Machine, settings: EngineSettings) -> bool:
    taken = estimate(model, settings, machine.gpus)
    return fits_ram(taken, machine) and fits_vram(model, taken, machine.gpus)


def _case(model: ModelFacts, machine: Machine, wishes: Wishes, settings: EngineSettings) -> Case:
    most = plenty(model)
    return Case(model, machine, settings, wishes.named, min(WORKING, most), most, wishes.measured)


def _candidates(model: ModelFacts, machine: Machine, wishes: Wishes) -> Iterator[EngineSettings]:
    """Sizes that fit, the best first."""
    working = _working(model, wishes)
    kv_types = kinds(model, wishes)
    given, every = wishes.gpu_layers, model.layers + 1

    def fitting(n_ctx: int, kv_type: KvType, layers: int) -> Iterator[EngineSettings]:
        settings = sized(model, machine, wishes, n_ctx, kv_type, layers)
        if _fits(model, machine, settings):
            yield settings

    def at_most(n_ctx: int) -> Iterator[EngineSettings]:
        if given is None:
            layers = _most_layers(model, machine, wishes, n_ctx, kv_types[-1])
            if layers:
                yield from fitting(n_ctx, kv_types[-1], layers)
        # Without layers on it a GPU that shares the machine's memory takes less of that.
        for kv_type in kv_types if n_ctx == working else kv_types[-1:]:
            yield from fitting(n_ctx, kv_type, given or 0)

    if wants_streams(model, machine, wishes):
        whole_or_given = every if machine.gpus and given is None else given or 0
        # Faster streams are not worth a GPU's layers; who asks for streams gets them without those.
        for layers in dict.fromkeys(
            (whole_or_given, given or 0 if wishes.streams else whole_or_given)
        ):
            for settings in streamed(model, machine, wishes, kv_types[0], layers):
                if _fits(model, machine, settings):
                    yield settings
        if wishes.streams:
            return
    if machine.gpus and (given is None or given >= every):
        whole = every if given is None else given
        longest = working if wishes.context else plenty(model)
        # What fits a context fits every shorter one.
        marks = range(working, longest + 1, CELLS)
        count = bisect_left(marks, True, key=lambda n: not any(fitting(n, kv_types[0], whole)))
        if count:
            yield from fitting(marks[count - 1], kv_types[0], whole)
        yield from fitting(working, kv_types[-1], whole)
    yield from at_most(working)
    if wishes.context is None:
        marks = range(least(model), working, CELLS)
        count = bisect_left(marks, True, key=lambda n: not any(at_most(n)))
        if count:
            yield from at_most(marks[count - 1])


def _working(model: ModelFacts, wishes: Wishes) -> int:
    return wishes.context or min(WORKING, plenty(model))


def _most_layers(
    model: ModelFacts, machine: Machine, wishes: Wishes, n_ctx: int, kv_type: KvType
) -> int:
    """How many layers the GPUs hold beside their share of the context, the output counted as one."""

    def too_many(layers: int) -> bool:
        settings = sized(model, machine, wishes, n_ctx, kv_type, layers)
        return not fits_vram(model, estimate(model, settings, machine.gpus), machine.gpus)

    if not machine.gpus:
        return 0
    every = model.layers + 1
    if not too_many(every):
        return every
    return bisect_left(range(1, every), True, key=too_many)


def _refusal(model: ModelFacts, machine: Machine, wishes: Wishes) -> ModelDoesNotFit:
    n_ctx, kv_type = wishes.context or least(model), kinds(model, wishes)[-1]
    layers = wishes.gpu_layers
    if layers is None:
        layers = _most_layers(model, machine, wishes, n_ctx, kv_type)
    last = sized(model, machine, wishes, n_ctx, kv_type, layers)
    if wishes.streams:
        *_, last = streamed(model, machine, wishes, kv_type, layers)
    taken = estimate(model, last, machine.gpus)
    if fits_ram(taken, machine):
        place, need, room = "VRAM", taken.vram.total, vram_rooms(machine)
    else:
        shared = taken.vram.total if any(gpu.shared for gpu in machine.gpus) else 0
        place, need, room = "RAM", taken.ram.total + shared, ram_room(machine)
    memory = f"needs {size(need)} of {place}, and {size(room)} can be had"
    given = [name for name in _COSTLY if name in wishes.named]
    for name in given:
        plan = _search(model, machine, replace(wishes, **{name: None}))
        if plan is not None:
            would = {reason.figure: reason.value for reason in plan.reasons}[name]
            return ModelDoesNotFit(
                f"{model.name} with {name} {getattr(wishes, name)} {memory}",
                f"leave {name} out, which gives {would}, or free {size(need - room)}",
                (name,),
            )
    if given and _search(model, machine, Wishes(threads=wishes.threads)) is not None:
        asked = ", ".join(f"{name} {getattr(wishes, name)}" for name in given)
        return ModelDoesNotFit(
            f"{model.name} with {asked} {memory}", f"leave out {', '.join(given)}", tuple(given)
        )
    return ModelDoesNotFit(
        f"{model.name} ({model.quantisation}, {size(model.file_bytes)}) does not fit this machine: "
        f"with {last.n_ctx} tokens of context it {memory}",
        f"give {smaller_file(model)}, or free {size(need - room)}; --no-models runs without any",
    )
