"""The out-of-order rule: nobody passes one who could have reached them."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from world.influence import Influence
from world.maths import TILE

REACH, WAY, BLOCKS = 4 * TILE, 200, 12


def _walks(seed: int, n: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # A walker goes no further than its way, in any direction.
    moves = rng.integers(-WAY * 2 // 3, WAY * 2 // 3 + 1, (BLOCKS, n, 2))
    starts = rng.integers(0, 20 * TILE, (1, n, 2))
    return np.concatenate([starts, starts + np.cumsum(moves, axis=0)])


@given(st.integers(0, 2**32), st.integers(2, 6))
def test_whoever_was_within_reach_in_a_block_was_never_left_behind(seed: int, n: int) -> None:
    places, random = _walks(seed, n), Random(seed)
    ones = np.ones(n, dtype=np.int64)
    rule = Influence(
        places[..., 0], places[..., 1], ones * 0, np.ones(places.shape[:2], dtype=bool),
        ones * 0, np.array([[REACH]]), WAY,
    )  # fmt: skip
    at, held = ones * 0, np.zeros(n, dtype=bool)
    stepped = 0
    for _ in range(300):
        if (at >= BLOCKS).all():
            break
        being = random.choice(np.flatnonzero(at < BLOCKS).tolist())
        held[:] = [random.random() < 0.3 for _ in range(n)]
        members, blocker = rule.unit(being, at, held)
        if blocker >= 0:
            continue
        block = int(at[being])
        for member in members:
            away = ((places[block] - places[block, member]) ** 2).sum(axis=1)
            for other in np.flatnonzero(away <= REACH * REACH).tolist():
                assert at[other] > block or other in members
        at[members] += 1
        stepped += 1
    assert stepped


def test_one_far_away_is_passed_and_one_near_is_not() -> None:
    x = np.tile(np.array([0, 2 * TILE, 60 * TILE]), (BLOCKS, 1))
    rule = Influence(
        x, x * 0, np.zeros(3, dtype=np.int64), np.ones(x.shape, dtype=bool),
        np.zeros(3, dtype=np.int64), np.array([[REACH]]), WAY,
    )  # fmt: skip
    at = np.array([3, 1, 0])
    assert rule.unit(0, at, np.zeros(3, dtype=bool)) == ([0], 1)
    at[1] = 3
    assert rule.unit(0, at, np.zeros(3, dtype=bool)) == ([0, 1], -1)
    assert rule.unit(0, at, np.array([False, True, False]))[1] == 1


def test_a_group_is_one_unit_wherever_its_members_are() -> None:
    x = np.tile(np.array([0, 60 * TILE]), (BLOCKS, 1))
    rule = Influence(
        x, x * 0, np.zeros(2, dtype=np.int64), np.ones(x.shape, dtype=bool),
        np.array([7, 7]), np.array([[REACH]]), WAY,
    )  # fmt: skip
    assert rule.unit(0, np.array([1, 0]), np.zeros(2, dtype=bool)) == ([0], 1)
