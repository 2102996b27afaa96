"""Sampling: seeded, bounded by the nucleus and the grammar, honest about broken logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.llama.sampling import CANDIDATES, Sampler, unit


def sample(logits: np.ndarray, **asked: Any) -> int:
    return Sampler(len(logits)).choose(logits, **asked)


logit_rows = hnp.arrays(
    np.float32, st.integers(1, 600), elements=st.floats(-30, 30, width=32), fill=st.nothing()
)


@given(logit_rows, st.floats(0.0, 0.999), st.floats(0.0, 1.0), st.floats(0.01, 2.0))
def test_a_drawn_token_is_always_one_of_the_likeliest_that_reach_top_p(
    logits: np.ndarray, chance: float, top_p: float, temperature: float
) -> None:
    token = sample(logits, temperature=temperature, top_p=top_p, chance=chance)
    weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    likelier = weights[logits > logits[token]]
    assert len(likelier) < CANDIDATES
    assert likelier.sum() <= (top_p + 1e-6) * weights.sum()


@given(logit_rows, st.floats(0.0, 0.999))
def test_a_mask_is_never_left(logits: np.ndarray, chance: float) -> None:
    allowed = np.zeros(len(logits), dtype=np.bool_)
    allowed[:: max(1, len(logits) // 3)] = True
    for temperature in (0.0, 1.0):
        assert allowed[
            sample(logits, temperature=temperature, top_p=1.0, chance=chance, allowed=allowed)
        ]


def test_no_temperature_takes_the_likeliest() -> None:
    assert sample(np.array([1, 5, 3], np.float32), temperature=0, top_p=1, chance=0.9) == 1


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_an_error(broken: float) -> None:
    for temperature in (0.0, 1.0):
        with pytest.raises(ValueError, match="not finite"):
            sample(np.array([0, broken], np.float32), temperature=temperature, top_p=1, chance=0)


def test_nothing_allowed_is_an_error() -> None:
    with pytest.raises(ValueError, match="not finite"):
        sample(
            np.zeros(3, np.float32), temperature=1, top_p=1, chance=0,
            allowed=np.zeros(3, np.bool_),
        )  # fmt: skip


def test_draws_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2])).astype(np.float32)
    drawn = [
        sample(logits, temperature=1.0, top_p=1.0, chance=unit(7, position))
        for position in range(4000)
    ]
    assert np.bincount(drawn) / 4000 == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000))
def test_chance_is_a_pure_function_within_the_unit_interval(seed: int, position: int) -> None:
    assert 0.0 <= unit(seed, position) < 1.0
    assert unit(seed, position) == unit(seed, position)
    assert unit(seed, position) != unit(seed, position + 1)


def test_what_was_sampled_before_leaves_no_trace() -> None:
    rng = np.random.default_rng(3)
    kept = Sampler(5000)
    for position in range(60):
        logits = (rng.standard_normal(5000) * 3).astype(np.float32)
        before = logits.copy()
        asked: dict[str, Any] = {
            "temperature": float(rng.choice([0.0, 0.3, 1.0, 4.0])),
            "top_p": float(rng.choice([0.5, 0.95, 1.0])),
            "chance": unit(3, position),
            "allowed": rng.random(5000) < 0.3 if position % 2 else None,
        }
        assert kept.choose(logits, **asked) == sample(logits, **asked)
        assert (logits == before).all()


@pytest.mark.parametrize("spread", [0.0, 1.0, 8.0])
def test_a_draw_is_the_one_that_sorting_everything_would_give(spread: float) -> None:
    rng = np.random.default_rng(5)
    for position in range(200):
        logits = (rng.standard_normal(200) * spread).astype(np.float32)
        order = np.lexsort((np.arange(200), -logits))
        weights = np.exp(logits[order].astype(np.float64) - float(logits.max()))
        cumulative = weights.cumsum()
        kept = int(np.searchsorted(cumulative, 0.9 * cumulative[-1]))
        chance = unit(5, position)
        expected = order[np.searchsorted(cumulative, chance * cumulative[kept], side="right")]
        assert sample(logits, temperature=1.0, top_p=0.9, chance=chance) == expected
