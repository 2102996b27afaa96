"""A context of llama.cpp: sequences in one batch don't disturb each other, forks share cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.llama.cells import SharedCells
from models.llama.prefix import SequenceTable
from models.llama.settings import EngineSettings

pytest.importorskip("llama_cpp")
library = pytest.importorskip("models.llama.library")
contexts = pytest.importorskip("models.llama.context")

pytestmark = pytest.mark.engine

Factory = Callable[..., Path]

WORDS = np.random.default_rng(1).integers(3, 300, (8, 40)).tolist()


@pytest.fixture(params=[False, True], ids=["fast", "exact"])
def context(gguf_factory: Factory, request: pytest.FixtureRequest) -> Iterator[Any]:
    settings = EngineSettings(threads=1, n_ctx=1024, n_seq=16, n_parallel=16, exact=request.param)
    model = library.Model(gguf_factory(), settings, library.LogTail())
    made = contexts.Context(model, settings)
    # f16 memory rounds at 2⁻¹¹, and the logits' spread is about 6.
    made.tolerance = 1e-4 if request.param else 0.1
    yield made
    made.close()
    model.close()


def alone(context: Any, tokens: list[int]) -> np.ndarray:
    context.clear()
    return context.decode([(0, 0, tokens, True)])[0].copy()  # type: ignore[no-any-return]


def test_each_sequence_of_a_batch_gets_its_own_logits(context: Any) -> None:
    expected = [alone(context, tokens) for tokens in WORDS]
    context.clear()
    together = context.decode([(n, 0, tokens, True) for n, tokens in enumerate(WORDS)])
    assert np.abs(together - expected).max() < context.tolerance
    assert min(np.abs(expected[0] - other).max() for other in expected[1:]) > 1.0


def test_a_prompt_read_in_pieces_beside_replies_is_read_the_same(context: Any) -> None:
    expected = [alone(context, tokens) for tokens in WORDS[:2]]
    context.clear()
    first, second = WORDS[:2]
    context.decode([(3, 0, first[:10], False)])
    context.decode([(3, 10, first[10:39], False), (5, 0, second[:7], False)])
    got = context.decode([(5, 7, second[7:], True), (3, 39, first[39:], True)])
    assert np.abs(got[0] - expected[1]).max() < context.tolerance
    assert np.abs(got[1] - expected[0]).max() < context.tolerance


def test_a_fork_goes_on_from_the_shared_prefix(context: Any) -> None:
    stem = WORDS[0][:20]
    branches = [stem + WORDS[1][20:30], stem + WORDS[2][20:30]]
    expected = [alone(context, branch) for branch in branches]
    context.clear()
    context.decode([(0, 0, stem, False)])
    context.copy(0, 1, 20)
    got = context.decode([(0, 20, branches[0][20:], True), (1, 20, branches[1][20:], True)])
    assert np.abs(got - expected).max() < context.tolerance
    context.cut(1, 20)
    again = context.decode([(1, 20, branches[0][20:], True)])
    assert np.abs(again[0] - expected[0]).max() < context.tolerance


def test_a_full_memory_is_told_and_nothing_is_lost(context: Any) -> None:
    expected = alone(context, WORDS[0])
    context.clear()
    context.decode([(0, 0, WORDS[0][:-1], False)])
    filler = (WORDS[1] * 12)[:450]
    context.decode([(1, 0, filler, False)])
    context.decode([(2, 0, filler, False)])
    with pytest.raises(contexts.NoRoom):
        context.decode([(3, 0, filler, False)])
    got = context.decode([(0, len(WORDS[0]) - 1, WORDS[0][-1:], True)])
    assert np.abs(got[0] - expected).max() < context.tolerance


def test_a_carried_stream_gives_the_same_logits_at_once_and_leaves_its_source(
    gguf_factory: Factory,
) -> None:
    sizes = EngineSettings(threads=1, n_ctx=1024, n_seq=4, n_parallel=3, streams=True)
    model = library.Model(gguf_factory(), sizes, library.LogTail())
    streams = contexts.Context(model, sizes)
    first, second, next_ = WORDS[0], WORDS[1], WORDS[2][:1]
    streams.decode([(0, 0, first, False), (1, 0, second, False)])
    assert streams.carry(0, 2)
    assert streams.carry(1, 0)
    streams.cut(1, 0)
    got = streams.decode([(0, 40, next_, True), (2, 40, next_, True)]).copy()
    streams.clear()
    expected = [streams.decode([(0, 0, [*each, *next_], True)])[0].copy() for each in (second,)]
    streams.clear()
    expected.append(streams.decode([(0, 0, [*first, *next_], True)])[0].copy())
    assert np.abs(got - expected).max() < 0.1
    assert np.abs(expected[0] - expected[1]).max() > 1.0
    streams.close()
    model.close()


def test_a_state_that_is_too_large_to_carry_is_left_to_llama_cpp(
    gguf_factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = EngineSettings(threads=1, n_ctx=512, n_seq=3, n_parallel=2, streams=True)
    model = library.Model(gguf_factory(), sizes, library.LogTail())
    streams = contexts.Context(model, sizes)
    streams.decode([(0, 0, WORDS[0], False)])
    monkeypatch.setattr(contexts, "MAX_CARRIED", 1000)
    assert not streams.carry(0, 1)
    streams.close()
    model.close()


def test_what_has_left_a_sliding_window_is_read_again(gguf_factory: Factory) -> None:
    sizes = EngineSettings(threads=1, n_ctx=2048, n_seq=8, n_parallel=1, n_batch=64, exact=True)
    model = library.Model(gguf_factory(sliding=32, layers=4), sizes, library.LogTail())
    chance = np.random.default_rng(1)

    def drawn(count: int) -> list[int]:
        return [int(each) for each in chance.integers(3, model.vocabulary.size, count)]

    def read(table: SequenceTable, context: Any, tokens: list[int]) -> np.ndarray:
        sequence, fed = table.acquire(np.array(tokens, dtype=np.int32)) or (-1, -1)
        logits = np.zeros((0, 0), dtype=np.float32)
        while fed < len(tokens):
            part = tokens[fed : fed + 64]
            logits = context.decode([(sequence, fed, part, fed + len(part) == len(tokens))])
            table.extend(sequence, part)
            fed += len(part)
        table.release(sequence)
        return logits[0].copy()

    def begun() -> tuple[SequenceTable, Any]:
        context = contexts.Context(model, sizes)
        cells = SharedCells(8, context.cells)
        return SequenceTable(context, 8, cells, sliding=model.sliding), context

    assert model.sliding == 32
    short, long, other = drawn(100), drawn(200), drawn(210)
    asked = long[:120] + drawn(10)
    expected = read(*begun(), asked)
    table, context = begun()
    for tokens in (short, long):
        read(table, context, tokens)
    assert table.longest_prefix(np.array(asked, dtype=np.int32))[1] == 120
    # The next prompt gets cells of the long one that have left the window, though others are free.
    table.cut(0, 0)
    read(table, context, other)
    np.testing.assert_allclose(read(table, context, asked), expected, atol=1e-3)
