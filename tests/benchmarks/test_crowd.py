"""The bench of flocks: one step against the plain rules, the edge of the torus, and rows that fail when a rule is changed."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

from benchmarks import crowd
from benchmarks._flock import LARGE, SMALL, Flock, Rules, alignment, farthest, step_slowly
from greenroom.commands.bench import holds
from world import maths

TIGHT = Rules(birds=60, side=12.0, sight=3.0)
"""Few squares, many neighbours, some nearer than they like."""
TINY = Rules(birds=20, side=10.0, sight=4.0)
"""A sight takes in more than a third of the side: one square, looked through once."""


def _pair(rules: Rules, seed: int) -> tuple[Flock, Flock]:
    return Flock.born(rules, seed), Flock.born(rules, seed)


@pytest.mark.parametrize("rules", [TIGHT, TINY, dataclasses.replace(SMALL, birds=80)])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_step_is_the_rules_step(rules: Rules, seed: int) -> None:
    flock, slow = _pair(rules, seed)
    for _ in range(4):
        flock.fly(1)
        step_slowly(slow)
        assert farthest((flock.x, flock.y), (slow.x, slow.y), rules.side) < 1e-12
        assert np.allclose((flock.vx, flock.vy), (slow.vx, slow.vy), rtol=0, atol=1e-12)


def test_many_in_one_square_find_room() -> None:
    flock, slow = _pair(TIGHT, 3)
    for one in (flock, slow):
        one.x[:], one.y[:] = one.x / 12, one.y / 12
        one.fly(1) if one is flock else step_slowly(one)
    assert farthest((flock.x, flock.y), (slow.x, slow.y), 12.0) < 1e-12


def test_steps_in_one_go_are_steps_one_by_one() -> None:
    once, often = _pair(LARGE, 5)
    once.fly(20)
    for _ in range(20):
        often.fly(1)
    assert farthest((once.x, once.y), (often.x, often.y), LARGE.side) < 1e-10


def test_birds_see_one_another_across_the_edge_and_fly_over_it() -> None:
    rules = Rules(birds=2, side=30.0, sight=5.0)
    there = Flock(rules, 1, *(np.array(a) for a in ([29.5, 0.2], [15.0, 29.9], [1.0, 1], [0.0, 0])))
    level = dataclasses.replace(there, x=there.x.copy(), y=np.array([15.0, 15.0]))
    level.vx, level.vy = level.vx.copy(), level.vy.copy()
    there.fly(1)
    assert there.x[0] == 0.5 and there.vy.tolist() == [0.0, 0.0]  # too far apart to turn
    apart = 30 - 29.5 + 0.2
    level.y[1] += apart / 100  # a little higher, so that who sees the other turns
    level.fly(1)
    assert level.vy[0] != 0 and level.vy[1] != 0
    assert (level.x >= 0).all() and (level.x < 30).all() and (level.y < 30).all()


def test_a_bird_a_hair_below_zero_comes_out_at_zero() -> None:
    rules = Rules(birds=1, side=30.0, sight=5.0)
    flock = Flock(rules, 1, *(np.array([v]) for v in (1.0 - 2**-53, 10.0, -1.0, 0.0)))
    flock.fly(1)
    assert flock.x[0] == 0.0


def test_each_step_has_its_own_order_drawn_by_key() -> None:
    flock = Flock.born(SMALL, 9)
    order = list(range(SMALL.birds))
    for i in range(SMALL.birds - 1, 0, -1):
        j = maths.below_int(maths.keyed(9, i, 7, maths.Purpose.PLUGIN + 1), i + 1)
        order[i], order[j] = order[j], order[i]
    assert flock.order_of(7) == order != flock.order_of(8)


def test_alignment_is_one_for_a_flock_and_none_for_two_that_part() -> None:
    assert alignment(np.array([0.6, 0.6]), np.array([0.8, 0.8])) == pytest.approx(1.0)
    assert alignment(np.array([1.0, -1.0]), np.array([0.0, 0.0])) == 0.0


@pytest.mark.parametrize("changed", ["cohere", "separate", "match", "apart", "sight"])
def test_a_changed_rule_fails_the_comparison_and_the_same_rules_hold(changed: str) -> None:
    birds = pytest.importorskip("benchmarks._flock_mesa").Birds
    rules = Rules(birds=50, side=15.0, sight=3.0)
    other = dataclasses.replace(rules, **{changed: getattr(rules, changed) * 1.01})
    same = crowd.compared("few", rules, rules, (1,), birds)
    assert [holds(row) for row in same] == [True] * 3
    wrong = crowd.compared("few", rules, other, (1,), birds)
    assert holds(wrong[-1]) is False


@pytest.mark.parametrize("plain", [False, True])
def test_both_models_of_mesa_fly_as_the_kernel_does(plain: bool) -> None:
    birds = pytest.importorskip("benchmarks._flock_mesa").Birds
    flock = Flock.born(TIGHT, 4)
    model = birds(TIGHT, 4, plain=plain, born=(flock.x, flock.y, flock.vx, flock.vy))
    for step in range(5):
        model.act(flock.order_of(step))
        flock.fly(1)
    x, y, vx, vy = model.arrays()
    assert farthest((flock.x, flock.y), (x, y), TIGHT.side) < 1e-11
    assert np.allclose((flock.vx, flock.vy), (vx, vy), rtol=0, atol=1e-11)


def test_bounds_are_on_the_ratio_and_on_the_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mesa")
    few = Rules(birds=20, side=20.0, sight=3.0)
    monkeypatch.setattr(crowd, "_SIZES", {"few": few})
    report = crowd.run(scale=0.01)
    rows = {row["metric"]: row for row in report["results"]}
    race = rows["few: 20 birds built and flown 100 steps"]
    assert race["at_least"] == 100 and race["peer"].startswith("Mesa 3")
    assert race["ratio"] == pytest.approx(race["peer_value"] / race["value"], rel=0.02)
    apart = [row for row in rows.values() if "farthest" in row["metric"]]
    assert [row["at_most"] for row in apart] == [1e-12, 1e-11, 1e-9]
    assert all("cited" in note for note in report["notes"])


def test_without_mesa_the_bench_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "benchmarks._flock_mesa", None)
    report = crowd.run(scale=0.1)
    assert report["missing"][0]["what"] == "Mesa"
    assert all("peer" not in row for row in report["results"])
