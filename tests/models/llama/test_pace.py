"""The pace of steps: learnt from steps, never beyond the batch, back up after a hiccup."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.llama.pace import Pace


def run(pace: Pace, seconds_a_token: float, steps: int = 200) -> int:
    for _ in range(steps):
        size = pace.allowance(0.05)
        pace.note(size, size * seconds_a_token)
    return pace.allowance(0.05)


@given(st.lists(st.tuples(st.integers(1, 512), st.floats(0, 10)), max_size=50))
def test_the_allowance_stays_between_its_bounds(steps: list[tuple[int, float]]) -> None:
    pace = Pace(512)
    for tokens, seconds in steps:
        pace.note(tokens, seconds)
        assert 16 <= pace.allowance(0.05) <= 512


def test_a_fast_model_reads_whole_batches_and_a_slow_one_small_bites() -> None:
    assert run(Pace(512), 0.00001) == 512
    assert run(Pace(512), 0.05) == 16
    assert 16 < run(Pace(512), 0.001) <= 64


def test_a_hiccup_is_forgotten() -> None:
    pace = Pace(512)
    before = run(pace, 0.0005)
    pace.note(before - 1, 5.0)
    assert pace.allowance(0.05) < before
    assert run(pace, 0.0005) >= before / 2


def test_more_time_allows_more_at_once() -> None:
    pace = Pace(512)
    assert run(pace, 0.001) <= 64
    for _ in range(20):
        size = pace.allowance(0.5)
        pace.note(size, size * 0.001)
    assert pace.allowance(0.05) <= 64 < 256 <= pace.allowance(0.5)
