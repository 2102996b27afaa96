"""Says of each figure of a plan why it is so, and what would change it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.llama.estimate import (
    GIB,
    estimate,
    kv_bytes_a_token,
    offloaded,
    ram_room,
    vram_room,
    vram_rooms,
)
from models.llama.facts import ModelFacts
from models.llama.layouts import Layouts
from models.llama.machine import Machine
from models.llama.settings import EngineSettings

_FOUR_BITS = 4.85
"""Bits per parameter of a Q4_K_M file (llama.cpp's tools/quantize/README.md)."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One figure of a plan: what it is, why, and what would change it."""

    figure: str
    value: str
    why: str
    change: str


def size(count: float) -> str:
    """Bytes for people."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / (1 << 20):.0f} MiB"


def smaller_file(model: ModelFacts) -> str:
    """ "a Q4_K_M file (about 4.1 GiB)", or "a smaller model" where the file is that small already."""
    if model.bits <= _FOUR_BITS * 1.1:
        return "a smaller model"
    return f"a Q4_K_M file (about {size(model.file_bytes * _FOUR_BITS / model.bits)})"


@dataclass(frozen=True, slots=True)
class Case:
    """What the sentences are about. `asked` names the figures that were given, `working` and
    `plenty` are the plan's two context marks, in tokens, `measured` both layouts' times."""

    model: ModelFacts
    machine: Machine
    settings: EngineSettings
    asked: frozenset[str]
    working: int
    plenty: int
    measured: Layouts | None = None


def explain(case: Case) -> tuple[Reason, ...]:
    """A reason for every figure, in the order a person asks for them."""
    return (
        _layers(case), _context(case), _sequences(case), _streams(case), _kv_type(case),
        _flash(case), _threads(case),
    )  # fmt: skip


def _layers(case: Case) -> Reason:
    model, machine, settings = case.model, case.machine, case.settings
    taken = offloaded(model, settings) if machine.gpus else 0
    every = model.layers + 1
    value = f"{taken} of {every}"
    if not machine.gpus:
        why = f"no GPU: {machine.no_gpu}" if machine.no_gpu else "no GPU"
        return Reason("gpu_layers", value, why, "a GPU that this llama.cpp was built for")
    room = size(vram_rooms(machine))
    held = estimate(model, settings, machine.gpus).vram.total
    plain = "flash" in case.asked and not settings.flash
    dense = model.quantisable and "kv_type" not in case.asked and not plain
    kv_type = "q8_0" if dense else settings.kv_type
    wholly = replace(settings, gpu_layers=every, kv_type=kv_type, flash=settings.flash or dense)
    whole = estimate(model, wholly, machine.gpus).vram.total
    kept = f"{size(sum(gpu.free - vram_room(gpu) for gpu in machine.gpus))} of it is kept free"
    free = size(sum(gpu.free for gpu in machine.gpus))
    if "gpu_layers" in case.asked:
        return Reason(
            "gpu_layers",
            value,
            f"asked for; they take {size(held)} of {room}",
            "leave --gpu-layers out",
        )
    if taken == every:
        why = f"all layers and the output fit {free} of free VRAM ({kept})"
        return Reason("gpu_layers", value, why, "--gpu-layers")
    full = min(machine.gpus, key=vram_room)
    if (
        taken == 0
        and len(machine.gpus) > 1
        and vram_room(full) * 2 < vram_rooms(machine) / len(machine.gpus)
    ):
        why = f"each GPU must hold its share, and {full.name} has {size(full.free)} free"
        return Reason("gpu_layers", value, why, f"free or hide {full.name} (CUDA_VISIBLE_DEVICES)")
    lacking = max(whole - vram_rooms(machine), 1 << 20)
    why = f"{max(0, taken - 1)} of {model.layers} layers fit {free} of free VRAM ({kept})"
    shrunk = model.bits > _FOUR_BITS and _four_bits(case, whole) <= vram_rooms(machine)
    file = f"{smaller_file(model)} or " if shrunk else ""
    return Reason("gpu_layers", value, why, f"{file}{size(lacking)} more would fit all")


def _four_bits(case: Case, whole: int) -> float:
    """What all layers would take of VRAM from a file of four bits a parameter."""
    weights = sum(case.model.layer_bytes) + case.model.output_bytes
    return whole - weights * (1 - _FOUR_BITS / case.model.bits)


def _context(case: Case) -> Reason:
    model, settings, n_ctx = case.model, case.settings, case.settings.n_ctx
    value = f"{n_ctx:,} tokens"
    each = kv_bytes_a_token(model, settings.kv_type)
    cost = f"{size(each * n_ctx)}, {each:,} bytes a token"
    more = f"--context; twice as much takes {size(each * n_ctx)} more"
    whole = bool(case.machine.gpus) and offloaded(model, settings) == model.layers + 1
    if "context" in case.asked:
        return Reason("context", value, f"asked for ({cost})", "leave --context out")
    if settings.streams:
        why = f"{n_ctx // settings.n_seq:,} tokens for each of {settings.n_seq} sequences ({cost})"
        return Reason("context", value, why, "models.window, or --context to share so many")
    if n_ctx >= case.plenty:
        return Reason("context", value, f"more would stay empty ({cost})", "--context")
    if n_ctx < case.working:
        why = f"all that memory holds beside the weights ({cost})"
        return Reason("context", value, why, f"{more}; so would {smaller_file(model)}")
    if whole and n_ctx > case.working:
        why = f"what all layers leave of the GPU's memory ({cost})"
        return Reason("context", value, why, more)
    if whole:
        return Reason("context", value, f"as long as all layers leave it ({cost})", more)
    why = f"enough for 16 speakers of {case.working // 16} tokens ({cost})"
    return Reason("context", value, why, "--context; it grows by itself with all layers on a GPU")


def _sequences(case: Case) -> Reason:
    settings = case.settings
    value = f"{settings.n_parallel} at once, {settings.n_seq} kept"
    if "sequences" in case.asked:
        return Reason("sequences", value, "asked for", "leave --sequences out")
    if case.model.recurrent:
        return Reason("sequences", value, "a recurrent model can't share prefixes", "--sequences")
    if settings.streams:
        why = "so many speak, and as many more who spoke are remembered"
        return Reason("sequences", value, why, "--sequences")
    why = f"so many share {settings.n_ctx:,} tokens with room to speak"
    return Reason("sequences", value, why, "--sequences, or a longer context")


def _streams(case: Case) -> Reason:
    settings = case.settings
    value = "one for each sequence" if settings.streams else "one for all sequences"
    measured, figures = case.measured, ""
    if measured is not None:
        figures = f"measured on this machine: {measured.words}"
    faster = measured.faster if measured is not None else None
    if "streams" in case.asked:
        why = f"asked for; {figures}" if figures else "asked for"
        return Reason("streams", value, why, "leave --streams and --no-streams out")
    if case.model.recurrent:
        return Reason("streams", value, "a recurrent model keeps no cells", "--streams")
    if "context" in case.asked:
        return Reason("streams", value, "the context that was given is for all", "--streams")
    change = "--no-streams; it takes less memory" if settings.streams else "--streams"
    if faster == ("streams" if settings.streams else "unified"):
        return Reason("streams", value, figures, change)
    if faster == "streams":
        return Reason("streams", value, f"{_no_room(case)}; {figures}", change)
    if settings.streams:
        why = "a CPU decodes faster where nobody is masked against the tokens of others"
    elif case.machine.gpus:
        why = "a prefix is shared without taking its memory twice, of which a GPU has little"
    else:
        why = _no_room(case)
    if figures:
        return Reason("streams", value, f"{why}; {figures}, which hardly differs", change)
    return Reason("streams", value, why, f"{change}; or time both: greenroom doctor --measure")


def _no_room(case: Case) -> str:
    machine = case.machine
    if machine.gpus and (
        "gpu_layers" not in case.asked or case.settings.gpu_layers > case.model.layers
    ):
        room = size(vram_rooms(machine))
        return f"streams would take more than a quarter of {room} of VRAM, or than all layers leave of it"
    return f"streams would take more than a quarter of {size(ram_room(machine))}"


def _kv_type(case: Case) -> Reason:
    model, settings = case.model, case.settings
    value = settings.kv_type
    if "kv_type" in case.asked:
        return Reason("kv_type", value, "asked for", "leave --kv-type out")
    if value == "q8_0":
        saved = kv_bytes_a_token(model, "f16") - kv_bytes_a_token(model, "q8_0")
        more = size(saved * settings.n_ctx)
        why = f"f16 takes {more} more, which layers and context need"
        return Reason("kv_type", value, why, f"--kv-type, or {more} more")
    if model.quantisable:
        return Reason("kv_type", value, "it fits, and nothing is lost", "--kv-type")
    return Reason("kv_type", value, "this model's heads can't be kept in q8_0", "--kv-type f32")


def _flash(case: Case) -> Reason:
    model, settings = case.model, case.settings
    value = "flash attention" if settings.flash else "plain attention"
    if settings.flash and not model.flash:
        value += ", if llama.cpp can"
    if "flash" in case.asked and settings.kv_type != "q8_0":
        return Reason("flash", value, "asked for", "leave --flash and --no-flash out")
    if settings.kv_type == "q8_0":
        return Reason("flash", value, "q8_0 is read by no other", "--kv-type f16 --no-flash")
    if not settings.flash:
        why = "in streams a CPU reads lines and decodes steps faster by matrices"
        return Reason("flash", value, why, "--flash; it takes less memory")
    if settings.streams:
        return Reason("flash", value, "a GPU is faster with it", "--no-flash")
    why = "it skips what is masked, which in shared cells is nearly all"
    return Reason("flash", value, why, "--no-flash; it takes more memory")


def _threads(case: Case) -> Reason:
    cores, value = case.machine.cores, str(case.settings.threads)
    if "threads" in case.asked:
        return Reason("threads", value, "asked for", "leave --threads out")
    if case.settings.threads < cores.threads:
        return Reason("threads", value, "the GPU computes; more would only wait", "--threads")
    if cores.quota is not None and cores.quota < cores.performance:
        why = f"the container grants {cores.quota:g} CPUs, and the game keeps one"
        return Reason("threads", value, why, "--threads, or a larger CPU quota")
    which = f"{cores.performance} performance cores"
    if cores.performance < cores.physical:
        which += f" of {cores.physical} cores"
    if cores.performance == 1:
        return Reason("threads", value, "there is one core", "--threads")
    return Reason("threads", value, f"{which}, and the game keeps one", "--threads")
