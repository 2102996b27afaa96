"""Both layouts of a real model take turns, as long as time allows; a child that fails says why."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.errors import ModelUnavailable
from models.llama import spawn
from models.llama.layout_measure import measure
from models.llama.layouts import REPEATS, Layout
from models.llama.settings import EngineSettings

pytest.importorskip("llama_cpp")
library = pytest.importorskip("models.llama.library")
contexts = pytest.importorskip("models.llama.context")
racing = pytest.importorskip("models.llama.layout_race")

pytestmark = pytest.mark.engine

Factory = Callable[..., Path]
SIZES = EngineSettings(threads=1, n_ctx=1024, n_seq=16, n_parallel=4, n_batch=128, gpu_layers=0)


class Watched:
    """A context that notes what it is asked to decode."""

    def __init__(self, name: Layout, context: Any, notes: list[tuple[str, int, bool]]) -> None:
        self.context, self._name, self._notes = context, name, notes
        self.save, self.load, self.cut = context.save, context.load, context.cut

    def decode(self, parts: Sequence[Any]) -> Any:
        tokens = sum(len(part[2]) for part in parts)
        step = all(len(part[2]) == 1 for part in parts)
        self._notes.append((self._name, tokens, step))
        return self.context.decode(parts)


Raced = tuple[Any, dict[Layout, Watched], list[tuple[str, int, bool]], int]


@pytest.fixture(params=[{}, {"sliding": 32}], ids=["whole", "sliding"])
def raced(gguf_factory: Factory, request: pytest.FixtureRequest) -> Iterator[Raced]:
    """A course, contexts for it, what they decode, and the size of the vocabulary."""
    model = library.Model(gguf_factory(**request.param), SIZES, library.LogTail())
    run = racing.course(SIZES, model.context_length)
    notes: list[tuple[str, int, bool]] = []
    made = {
        layout: Watched(layout, contexts.Context(model, sizes), notes)
        for layout, sizes in racing.sizes(SIZES, run).items()
    }
    yield run, made, notes, model.vocabulary.size
    for each in made.values():
        each.context.close()
    model.close()


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that goes on by so much whenever it is looked at."""
    times = itertools.count(0.0, seconds)
    return lambda: next(times)


def test_both_layouts_take_turns_over_the_same_course(raced: Raced) -> None:
    run, made, notes, vocabulary = raced
    assert (run.rows, run.tokens, run.steps, run.kept, run.kept_tokens) == (4, 240, 16, 0, 64)
    found = racing.race(made, run, vocabulary, clock=ticking(0.0001))
    assert (found.repeats, found.tokens, found.steps, found.bounded) == (REPEATS, 240, 16, False)
    laps = [layout for layout, steps in itertools.groupby(notes, lambda note: note[0])][1:]
    assert laps == ["streams", "unified", "streams", "unified", "streams"]
    read = dict.fromkeys(made, 0)
    steps = dict.fromkeys(made, 0)
    for layout, tokens, step in notes:
        assert tokens <= SIZES.n_batch
        read[layout] += 0 if step else tokens
        steps[layout] += step
    assert read["streams"] == REPEATS * 4 * 240 and steps["streams"] == REPEATS * 16
    # Its first prompt and the pilot come to it.
    assert read["unified"] == read["streams"] + 64 + 4 * 8
    assert steps["unified"] == steps["streams"] + 1


def test_unified_memory_is_full_while_it_is_timed_and_streams_hold_the_rows_alone(
    gguf_factory: Factory,
) -> None:
    wide = replace(SIZES, n_ctx=8192, n_seq=64, n_parallel=16, n_batch=512)
    run = racing.course(wide, 2048)
    assert (run.rows, run.tokens, run.steps) == (8, 256, 16)
    assert 8192 - run.kept_tokens < run.kept * run.kept_tokens + 8 * 272 <= 8192
    sizes = racing.sizes(wide, run)
    assert (sizes["unified"].n_ctx, sizes["unified"].streams) == (8192, False)
    assert (sizes["streams"].n_seq, sizes["streams"].n_ctx) == (9, 9 * 512)
    model = library.Model(gguf_factory(), wide, library.LogTail())
    made = {layout: contexts.Context(model, each) for layout, each in sizes.items()}
    found = racing.race(made, run, model.vocabulary.size, clock=ticking(0.0001))
    assert found.kept == run.kept * run.kept_tokens and not found.bounded
    unified = made["unified"]
    assert all(unified.first(n) == -1 for n in range(8))
    assert all(unified.first(8 + n) == 0 for n in range(run.kept))
    for each in made.values():
        each.close()
    model.close()


@pytest.mark.parametrize("longest", [16, 300, 2048, 0])
@pytest.mark.parametrize("n_ctx", [512, 8192, 32_768])
def test_a_course_fits_its_context_and_what_the_model_was_trained_for(
    longest: int, n_ctx: int
) -> None:
    settings = replace(SIZES, n_ctx=n_ctx, n_parallel=2 if n_ctx == 512 else 16)
    run = racing.course(settings, longest)
    assert run.rows * (run.tokens + run.steps) + run.kept * run.kept_tokens <= n_ctx
    for length in (run.tokens + run.steps, run.kept_tokens):
        assert 1 <= length <= (longest or n_ctx)
    sizes = racing.sizes(settings, run)
    each = sizes["streams"].n_ctx // sizes["streams"].n_seq
    assert run.tokens + run.steps <= each


def test_a_slow_model_reads_less_and_says_that_the_bound_was_hit(raced: Raced) -> None:
    run, made, _, vocabulary = raced
    found = racing.race(made, run, vocabulary, clock=ticking(1.0), budget_s=20.0)
    assert found.bounded and 1 <= found.repeats < REPEATS
    assert (found.tokens, found.steps) == (32, 4)
    assert found.seconds <= 20.0 + 1.0


def test_a_model_that_is_too_slow_for_any_course_is_refused_before_it_is_run(raced: Raced) -> None:
    run, made, notes, vocabulary = raced
    with pytest.raises(ModelUnavailable, match="too slow to be measured in 20 s"):
        racing.race(made, run, vocabulary, clock=ticking(9.0), budget_s=20.0)
    assert {layout for layout, _, _ in notes} == {"unified"}


def test_a_real_child_measures_a_real_model_and_tells_what_it_does(gguf_factory: Factory) -> None:
    doings: list[str] = []
    found = measure(gguf_factory(), SIZES, doings.append)
    assert (found.rows, found.repeats >= 1) == (4, True)
    assert found.unified.read_ms > 0 and found.streams.step_ms > 0
    assert doings[0] == "loading the model" and doings[-1].startswith("repeat ")


def test_a_file_that_llama_cpp_refuses_is_told_with_its_reason(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(ModelUnavailable, match=r"broken\.gguf"):
        measure(broken, SIZES)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT"),
        ("raise RuntimeError('no CUDA driver')", "exit code 1 .RuntimeError: no CUDA driver"),
        ("import time; time.sleep(60)", "took more than 0.5 s and was ended"),
        ("print('hello')", "it ended"),
        ("print('{\"layouts\": {}}')", "makes no sense"),
        ('print(\'{"failed": "no room"}\')', "no room"),
    ],
)
def test_a_child_that_fails_is_an_error_that_says_how(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, words: str
) -> None:
    monkeypatch.setattr(spawn, "command", lambda module: [sys.executable, "-c", code])
    slow = {"budget_s": 0.1, "load_s": 0.2} if "sleep" in code else {}
    with pytest.raises(ModelUnavailable, match=words):
        measure(tmp_path / "any.gguf", SIZES, **slow)  # type: ignore[arg-type]
