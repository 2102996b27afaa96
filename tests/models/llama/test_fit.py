"""Plans keep within the memory they are given, grow with it, keep what was asked, and shrink to an end."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from models import house
from models.errors import ModelDoesNotFit, ModelFileError
from models.llama import facts
from models.llama.cores import Cores
from models.llama.estimate import estimate, offloaded, ram_room, vram_room
from models.llama.facts import ModelFacts
from models.llama.fit import Plan, fit, smaller
from models.llama.layouts import Layouts, Timing
from models.llama.machine import Gpu, Machine
from models.llama.reasons import Reason
from models.llama.settings import EngineSettings
from models.llama.sizing import LEAST, WORKING, Wishes

GIB, MIB = 1 << 30, 1 << 20


def model(
    layers: int = 32,
    width: int = 4096,
    heads: int = 32,
    kv_heads: int = 8,
    vocabulary: int = 128_256,
    bits: float = 4.85,
    state: int = 0,
    head: int | None = None,
) -> ModelFacts:
    """A transformer's proportions: feed-forward 3.5 times the width."""
    length = head or width // heads
    forward = width * 7 // 2
    values = width * width * 2 + 2 * width * kv_heads * length + 3 * width * forward
    layer, edge = int(values * bits / 8), int(vocabulary * width * bits / 8)
    return ModelFacts(
        name="made-up",
        architecture="llama",
        quantisation="Q4_K_M",
        file_bytes=layers * layer + 2 * edge,
        parameters=layers * values + 2 * vocabulary * width,
        vocabulary=vocabulary,
        context_length=8192,
        heads=heads,
        head_lengths=(length, length),
        widths=(width, forward, heads * length),
        layer_bytes=(layer,) * layers,
        kv_values=(2 * kv_heads * length,) * layers,
        state_bytes=state,
        input_bytes=edge,
        output_bytes=edge,
        largest_tensor=max(edge, int(width * forward * bits / 8)),
    )


def machine(
    ram: float = 20, vram: tuple[float, ...] = (), *, shared: bool = False, cores: int = 8
) -> Machine:
    gpus = tuple(Gpu(f"GPU{n}", "", int(g * GIB), int(g * GIB), shared) for n, g in enumerate(vram))
    return Machine(
        Cores(cores, cores), int(ram * GIB), int(ram * GIB), gpus, "" if gpus else "none"
    )


def measured(unified_ms: float, streams_ms: float) -> Layouts:
    """Layouts in which a token and a step take so long."""
    times = (Timing(read_ms=each, step_ms=8 * each) for each in (unified_ms, streams_ms))
    unified, streams = times
    return Layouts(
        unified=unified, streams=streams, rows=8, tokens=256, steps=16, repeats=5, kept=6016,
        seconds=9.0, bounded=False,
    )  # fmt: skip


models = st.builds(
    model,
    layers=st.integers(1, 80),
    width=st.sampled_from([256, 1024, 4096, 8192]),
    heads=st.sampled_from([4, 8, 32]),
    kv_heads=st.sampled_from([0, 1, 4, 32]),
    vocabulary=st.sampled_from([256, 32_000, 152_064]),
    bits=st.sampled_from([2.5, 4.85, 8.5, 16.0]),
    state=st.sampled_from([0, 100_000]),
    head=st.sampled_from([None, 64, 80, 128]),
)
gibs = st.floats(0, 96, allow_nan=False)
machines = st.builds(
    machine,
    gibs,
    st.lists(gibs, max_size=3).map(tuple),
    shared=st.booleans(),
    cores=st.integers(1, 32),
)
wishes = st.builds(
    Wishes,
    threads=st.none() | st.integers(1, 64),
    context=st.none() | st.integers(256, 300_000),
    sequences=st.none() | st.integers(1, 256),
    gpu_layers=st.none() | st.integers(0, 100),
    kv_type=st.none() | st.sampled_from(["f16", "q8_0", "f32"]),
    streams=st.none() | st.booleans(),
    flash=st.none() | st.booleans(),
    window=st.none() | st.integers(256, 40_000),
    measured=st.none()
    | st.builds(measured, st.sampled_from([1.0, 3.0]), st.sampled_from([1.0, 3.0])),
)


def tried(what: ModelFacts, where: Machine, asked: Wishes | None = None) -> Plan | None:
    try:
        return fit(what, where, asked)
    except ModelDoesNotFit as error:
        assert error.hint
        return None


def within(plan: Plan) -> None:
    taken, where = plan.estimate, plan.machine
    shared = any(gpu.shared for gpu in where.gpus)
    assert taken.ram.total + (taken.vram.total if shared else 0) <= ram_room(where)
    assert taken.vram.total <= sum(vram_room(gpu) for gpu in where.gpus)
    # Laid over several GPUs as llama.cpp does it, no single one is passed either.
    free = sum(gpu.free for gpu in where.gpus)
    if not taken.vram.total or not free:
        return
    model, settings = plan.model, plan.settings
    count, edge = offloaded(model, settings), 0.0
    first, loads = model.layers + 1 - count, [0] * len(where.gpus)
    edges = [edge := edge + gpu.free / free for gpu in where.gpus]
    each = taken.vram.compute // len(where.gpus)
    kv = round(taken.vram.kv / max(1, count - 1))
    for n in range(count):
        place = next((k for k, e in enumerate(edges) if e > n / count), len(edges) - 1)
        last = first + n == model.layers
        loads[place] += model.output_bytes if last else model.layer_bytes[first + n] + kv
    for gpu, load in zip(where.gpus, loads, strict=True):
        assert load == 0 or load + each <= gpu.free


@hypothesis(max_examples=60, deadline=None)
@given(models, machines, wishes)
def test_a_plan_never_passes_the_memory_it_was_given(
    what: ModelFacts, where: Machine, asked: Wishes
) -> None:
    plan = tried(what, where, asked)
    if plan is not None:
        within(plan)


def richer(where: Machine, ram: float, vram: list[float]) -> Machine:
    more = [int(g * GIB) for g in (*vram, *[0.0] * len(where.gpus))]
    gpus = tuple(
        replace(gpu, free=gpu.free + m, total=gpu.total + m)
        for gpu, m in zip(where.gpus, more, strict=False)
    )
    extra = int(ram * GIB)
    return replace(
        where,
        ram_total=where.ram_total + extra,
        ram_available=where.ram_available + extra,
        gpus=gpus,
    )


@hypothesis(max_examples=60, deadline=None)
@given(models, machines, st.floats(0, 16), st.lists(st.floats(0, 16), max_size=3))
def test_more_memory_never_gives_a_shorter_context_nor_fewer_layers(
    what: ModelFacts, where: Machine, ram: float, vram: list[float]
) -> None:
    before, after = tried(what, where), tried(what, richer(where, ram, vram))
    if before is None:
        return
    assert after is not None
    assert after.settings.n_ctx >= before.settings.n_ctx
    # Below the working context a longer one may push layers out; never at the same length.
    if before.settings.n_ctx >= WORKING or after.settings.n_ctx == before.settings.n_ctx:
        assert offloaded(what, after.settings) >= offloaded(what, before.settings)


@hypothesis(max_examples=60, deadline=None)
@given(models, machines, wishes)
def test_what_is_asked_for_is_kept_exactly_or_refused_by_name(
    what: ModelFacts, where: Machine, asked: Wishes
) -> None:
    try:
        plan = fit(what, where, asked)
    except ModelDoesNotFit as error:
        if error.named:
            assert set(error.named) <= asked.named
            assert all(name in error.message for name in error.named)
        else:
            assert tried(what, where, Wishes(threads=asked.threads)) is None
        return
    kept = plan.settings
    for given_, planned in (
        (asked.threads, kept.threads),
        (asked.context, kept.n_ctx),
        (asked.sequences, kept.n_parallel),
        (asked.gpu_layers, kept.gpu_layers),
        (asked.kv_type, kept.kv_type),
        (asked.streams, kept.streams),
        (asked.flash, kept.flash),
    ):
        assert given_ is None or given_ == planned


@hypothesis(max_examples=60, deadline=None)
@given(models, machines, wishes)
def test_smaller_comes_to_an_end_and_only_ever_shrinks(
    what: ModelFacts, where: Machine, asked: Wishes
) -> None:
    plan = tried(what, where, asked)
    steps = 0
    while plan is not None:
        then = smaller(plan)
        if then is None:
            break
        sizes = [
            (
                p.settings.n_ctx,
                p.settings.kv_type != "q8_0",
                p.settings.n_seq,
                p.settings.gpu_layers,
            )
            for p in (plan, then)
        ]
        assert sizes[1] != sizes[0]
        assert all(new <= old for old, new in zip(*sizes, strict=True))
        assert then.settings.n_ctx in (plan.settings.n_ctx, asked.context) or asked.context is None
        assert asked.kv_type in (None, then.settings.kv_type)
        assert asked.gpu_layers in (None, then.settings.gpu_layers)
        assert asked.sequences in (None, then.settings.n_parallel)
        assert "ran out of memory" in "".join(reason.why for reason in then.reasons)
        plan, steps = then, steps + 1
        assert steps <= 32
    if plan is not None and asked == Wishes():
        assert plan.settings.n_seq == 1 and plan.settings.n_ctx <= LEAST


def test_an_8b_model_of_four_bits_goes_wholly_onto_8_gib() -> None:
    plan = fit(model(), machine(16, (8,)))
    assert plan.settings.gpu_layers == 33 and plan.settings.kv_type == "f16"
    assert WORKING < plan.settings.n_ctx < 32_768


def test_the_context_gives_way_first_then_the_kv_type_then_the_layers() -> None:
    plans = [fit(model(), machine(32, (tenths / 10,))).settings for tenths in range(240, 2, -4)]
    contexts = [plan.n_ctx for plan in plans]
    assert contexts == sorted(contexts, reverse=True)
    assert all(plan.n_ctx == WORKING for plan in plans if plan.gpu_layers < 33)
    stages = [(plan.gpu_layers == 33, plan.kv_type) for plan in plans]
    assert list(dict.fromkeys(stages)) == [
        (True, "f16"),
        (True, "q8_0"),
        (False, "q8_0"),
        (False, "f16"),
    ]


def test_the_reasons_say_how_many_layers_fit_and_what_would_fit_all() -> None:
    where = machine(32, (8.2,))
    plan = fit(model(bits=8.5), where)
    reasons = {reason.figure: reason for reason in plan.reasons}
    layers = reasons["gpu_layers"]
    assert re.fullmatch(
        r"\d+ of 32 layers fit 8.2 GiB of free VRAM \(1.0 GiB of it is kept free\)", layers.why
    )
    found = re.fullmatch(
        r"a Q4_K_M file \(about \S+ GiB\) or (\S+) GiB more would fit all", layers.change
    )
    assert found is not None
    whole = fit(model(bits=8.5), machine(32, (8.2 + float(found[1]) + 0.1,)))
    assert whole.settings.gpu_layers == 33
    assert set(reasons) == {
        "gpu_layers", "context", "sequences", "streams", "kv_type", "flash", "threads"
    }  # fmt: skip
    assert all(reason.why and reason.change for reason in plan.reasons)


def test_a_second_gpu_shares_the_layers_and_a_full_one_is_named() -> None:
    assert fit(model(), machine(32, (4, 4))).settings.gpu_layers == 33
    plan = fit(model(), machine(32, (24, 0.2)))
    assert plan.settings.gpu_layers == 0
    layers = plan.reasons[0]
    assert "GPU1 has 0.2 GiB free" in layers.why and "hide GPU1" in layers.change


def test_a_model_without_room_is_refused_with_its_mend() -> None:
    with pytest.raises(ModelDoesNotFit, match=r"needs .* GiB of RAM.* a Q4_K_M file") as caught:
        fit(model(bits=16.0), machine(8))
    assert caught.value.code == "model_fit" and caught.value.named == ()


@pytest.mark.parametrize(
    ("asked", "name", "hint"),
    [
        (Wishes(context=4_000_000), "context 4000000", "leave context out, which gives 8,192"),
        (Wishes(context=100), "context is 100", "256"),
        (Wishes(gpu_layers=10), "no GPU: none", "leave gpu_layers out"),
        (Wishes(sequences=300), "sequences is 300", "256"),
        (Wishes(kv_type="q8_0"), "kv_type is q8_0", "f16 or f32"),
        (Wishes(context=131_072, kv_type="f32"), "context 131072", "leave context out"),
    ],
)
def test_a_wish_that_cannot_be_kept_is_named(asked: Wishes, name: str, hint: str) -> None:
    with pytest.raises(ModelDoesNotFit) as caught:
        fit(model(head=80) if asked.kv_type == "q8_0" else model(), machine(20), asked)
    assert name in caught.value.message and hint in caught.value.hint


def test_a_recurrent_model_pays_for_sequences_and_not_for_context() -> None:
    settings = fit(model(kv_heads=0, state=1 << 20), machine(32)).settings
    assert settings.n_seq == settings.n_parallel and settings.kv_type == "f16"
    assert settings.n_ctx == WORKING


def test_the_house_model_s_header_gives_its_facts() -> None:
    found = facts.read(house.path())
    assert (found.layers, found.heads, found.head_lengths) == (5, 4, (64, 64))
    assert found.kv_values == (256,) * 5 and found.vocabulary == 4096
    assert found.quantisation == "Q8_0" and 8 < found.bits < 9
    whole = found.input_bytes + found.output_bytes + sum(found.layer_bytes)
    assert house.path().stat().st_size * 0.95 < whole < house.path().stat().st_size * 1.3
    assert found.quantisable and found.flash and not found.recurrent


def test_a_split_file_is_read_whole_and_a_missing_part_named(
    gguf_factory: Callable[..., Path], tmp_path: Path
) -> None:
    from random_gguf import write_split

    whole = facts.read(gguf_factory())
    for name, bare_first in (("plain", False), ("bare", True)):
        files = write_split(gguf_factory(), tmp_path / f"{name}.gguf", bare_first=bare_first)
        found = facts.read(files[0])
        assert found.file_bytes == sum(file.stat().st_size for file in files)
        assert (found.parameters, found.layers, found.kv_values) == (
            whole.parameters,
            whole.layers,
            whole.kv_values,
        )
        assert sum(found.layer_bytes) == sum(whole.layer_bytes)
        with pytest.raises(ModelFileError, match="is part 2 of a model") as caught:
            facts.read(files[1])
        assert "first part" in caught.value.hint
        last = files[-1].read_bytes()
        files[-1].write_bytes(gguf_factory().read_bytes())
        with pytest.raises(ModelFileError, match="is no later part"):
            facts.read(files[0])
        files[-1].write_bytes(last[:-4000])
        with pytest.raises(ModelFileError, match=rf"{files[-1].name}: is cut off"):
            facts.read(files[0])
        files[-1].unlink()
        with pytest.raises(ModelFileError, match=files[-1].name):
            facts.read(files[0])


@pytest.mark.engine
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"width": 256, "layers": 6, "heads": 4, "hidden": 1024},
        {"width": 64, "layers": 3, "heads": 1, "hidden": 2048},
    ],
)
@pytest.mark.parametrize("kv_type", ["f16", "f32", "q8_0"])
def test_llama_cpp_reserves_no_more_than_estimated(
    gguf_factory: Callable[..., Path], shape: dict[str, int], kv_type: Any
) -> None:
    import llama_cpp.llama_cpp as lib

    path = gguf_factory(**shape)
    read = facts.read(path)
    if kv_type == "q8_0" and not read.quantisable:
        return
    lines: list[str] = []
    heard = lib.llama_log_callback(lambda _level, text, _data: lines.append(text.decode()))
    lib.llama_log_set(heard, ctypes.c_void_p(0))
    try:
        lib.llama_backend_init()
        loaded = lib.llama_model_load_from_file(
            str(path).encode(), lib.llama_model_default_params()
        )
        for n_ctx, batch in ((512, 256), (8192, 512)):
            params = lib.llama_context_default_params()
            params.n_ctx, params.n_seq_max, params.kv_unified = n_ctx, 16, True
            params.n_batch = params.n_ubatch = batch
            params.type_k = params.type_v = {"f32": 0, "f16": 1, "q8_0": 8}[kv_type]
            lines.clear()
            context = lib.llama_init_from_model(loaded, params)
            lib.llama_free(context)
            told = dict(
                re.findall(r"CPU +(KV|output|compute) buffer size = +([\d.]+) MiB", "".join(lines))
            )
            sizes = EngineSettings(
                threads=1, n_ctx=n_ctx, n_batch=batch, n_seq=16, n_parallel=16, kv_type=kv_type
            )
            ours = estimate(read, sizes, ()).ram
            assert ours.kv == pytest.approx(float(told["KV"]) * MIB, abs=MIB / 50)
            assert float(told["output"]) * MIB <= ours.logits + MIB / 50
            assert float(told["compute"]) * MIB <= ours.compute + MIB / 50
            if read.flash:
                assert ours.compute <= float(told["compute"]) * MIB * 2 + 8 * MIB
        lib.llama_model_free(loaded)
    finally:
        quiet = lib.llama_log_callback(lambda _level, _text, _data: None)
        _kept.append(quiet)
        lib.llama_log_set(quiet, ctypes.c_void_p(0))


_kept: list[object] = []


def small_model(**changes: Any) -> ModelFacts:
    return replace(model(layers=16, width=1024, heads=16, kv_heads=8, vocabulary=32_000), **changes)


@pytest.mark.parametrize(("ram", "each"), [(40, 8192), (24, 4096), (8, None)])
def test_without_a_gpu_each_sequence_gets_a_stream_as_long_as_a_quarter_of_the_ram_allows(
    ram: float, each: int | None
) -> None:
    sizes = fit(small_model(), machine(ram)).settings
    assert (sizes.streams, sizes.n_ctx // sizes.n_seq if sizes.streams else None) == (
        each is not None, each,
    )  # fmt: skip
    assert sizes.n_parallel == 16


def test_a_stream_holds_the_window_that_was_given_and_no_more_than_the_model_was_trained_for() -> (
    None
):
    assert fit(small_model(), machine(40), Wishes(window=700)).settings.n_ctx == 48 * 768
    trained = small_model(context_length=1024)
    assert fit(trained, machine(40), Wishes(window=9000)).settings.n_ctx == 48 * 1024


def test_streams_are_for_machines_without_a_gpu_and_for_whoever_asks() -> None:
    with_gpu = machine(40, (8.0,))
    assert not fit(small_model(), with_gpu).settings.streams
    assert not fit(small_model(), machine(40), Wishes(streams=False)).settings.streams
    assert not fit(small_model(), machine(40), Wishes(context=8192)).settings.streams
    asked = fit(small_model(), with_gpu, Wishes(streams=True)).settings
    assert (asked.streams, asked.gpu_layers) == (True, 17)
    split = fit(
        small_model(), machine(40), Wishes(streams=True, context=8192, sequences=4)
    ).settings
    assert (split.n_ctx, split.n_parallel, split.streams) == (8192, 4, True)


def test_streams_on_a_cpu_go_without_flash_attention_and_all_else_with_it() -> None:
    assert not fit(small_model(), machine(40)).settings.flash
    assert fit(small_model(), machine(40), Wishes(streams=False)).settings.flash
    assert fit(small_model(), machine(40), Wishes(kv_type="q8_0")).settings.flash
    with_gpu = fit(small_model(), machine(40, (8.0,)), Wishes(streams=True)).settings
    assert (with_gpu.streams, with_gpu.flash) == (True, True)
    then = smaller(fit(small_model(), machine(24)))
    assert then is not None
    assert then.settings.flash


def test_flash_attention_is_kept_as_asked_and_told_of() -> None:
    def told(asked: Wishes) -> tuple[bool, str, str]:
        plan = fit(small_model(), machine(40), asked)
        (reason,) = (each for each in plan.reasons if each.figure == "flash")
        return plan.settings.flash, reason.value, reason.why

    assert told(Wishes(flash=True)) == (True, "flash attention", "asked for")
    assert told(Wishes(flash=False, streams=False)) == (False, "plain attention", "asked for")
    assert told(Wishes())[:2] == (False, "plain attention")
    tight = Wishes(flash=False, context=8192)
    for gib in (3, 4, 6, 8):
        plan = tried(model(), machine(gib), tight)
        assert plan is None or (plan.settings.kv_type, plan.settings.flash) == ("f16", False)
    with pytest.raises(ModelDoesNotFit, match=r"q8_0, which only flash attention reads") as caught:
        fit(small_model(), machine(40), Wishes(flash=False, kv_type="q8_0"))
    assert set(caught.value.named) == {"flash", "kv_type"}


def test_an_engine_that_died_of_memory_shares_its_cells_next() -> None:
    plan = fit(small_model(), machine(24))
    then = smaller(plan)
    assert then is not None
    assert (plan.settings.streams, then.settings.streams) == (True, False)
    assert then.estimate.ram.kv < plan.estimate.ram.kv
    told = {reason.figure: reason for reason in then.reasons}
    assert told["streams"].why == "the engine ran out of memory with one for each sequence"
    assert told["context"].value == f"{then.settings.n_ctx:,} tokens"


def streams_reason(plan: Plan) -> Reason:
    return next(reason for reason in plan.reasons if reason.figure == "streams")


def test_what_was_measured_on_this_machine_chooses_the_layout() -> None:
    shared = fit(small_model(), machine(40), Wishes(measured=measured(1.0, 1.2)))
    assert not shared.settings.streams
    told = streams_reason(shared)
    assert told.why == (
        "measured on this machine: streams read 1.2 ms a token against 1, and decode a step of 8 in "
        "9.6 ms against 8"
    )
    assert told.change == "--streams"
    apart = fit(small_model(), machine(40), Wishes(measured=measured(1.0, 0.5)))
    assert apart.settings.streams
    assert streams_reason(apart).why.startswith("measured on this machine: streams read 0.5 ms")


def test_what_is_asked_for_outweighs_what_was_measured() -> None:
    slower, faster = measured(1.0, 1.2), measured(1.0, 0.5)
    asked = fit(small_model(), machine(40), Wishes(streams=True, measured=slower))
    assert asked.settings.streams
    assert streams_reason(asked).why.startswith("asked for; measured on this machine")
    assert not fit(
        small_model(), machine(40), Wishes(streams=False, measured=faster)
    ).settings.streams
    assert not fit(
        small_model(), machine(40), Wishes(context=8192, measured=faster)
    ).settings.streams
    assert "measured" not in Wishes(measured=faster).named


def test_the_rule_stands_where_nothing_or_nothing_clear_was_measured_and_says_how_to_measure() -> (
    None
):
    close = Wishes(measured=measured(1.0, 1.04))
    for where, by_rule in ((machine(40), True), (machine(40, (24.0,)), False)):
        ruled, plain = fit(small_model(), where, close), fit(small_model(), where)
        assert ruled.settings == plain.settings and ruled.settings.streams is by_rule
        assert "hardly differs" in streams_reason(ruled).why
        assert "greenroom doctor --measure" in streams_reason(plain).change


def test_on_a_gpu_streams_that_were_measured_faster_are_taken_where_all_layers_leave_room() -> None:
    faster = Wishes(window=700, measured=measured(1.0, 0.5))
    plan = fit(small_model(), machine(40, (24.0,)), faster)
    assert (plan.settings.streams, plan.settings.gpu_layers) == (True, 17)
    assert plan.settings.threads == fit(small_model(), machine(40, (24.0,))).settings.threads
    assert plan.estimate.vram.kv <= 24 * GIB // 4
    within(plan)
    full = fit(small_model(), machine(40, (3.0,)), faster)
    assert not full.settings.streams and full.settings.gpu_layers == 17
    assert "streams would take more than a quarter" in streams_reason(full).why


def test_faster_streams_still_keep_to_a_quarter_of_the_ram() -> None:
    plan = fit(small_model(), machine(8), Wishes(measured=measured(1.0, 0.5)))
    assert not plan.settings.streams
    why = streams_reason(plan).why
    assert why.startswith("streams would take more than a quarter of") and "measured" in why


def test_a_recurrent_model_has_no_layouts_to_choose_from() -> None:
    plan = fit(model(kv_heads=0, state=1 << 20), machine(32), Wishes(measured=measured(1.0, 0.5)))
    assert not plan.settings.streams and "recurrent" in streams_reason(plan).why
