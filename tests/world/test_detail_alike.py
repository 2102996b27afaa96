"""Those whom a player comes upon are distributed as if they had been lived near: a two-sample test over seeds.

A sample is a world of one seed. Half of the worlds are lived in full; in the others nobody is near until a player
comes. All beings of a sample are pooled, and two pools compared by the largest Kolmogorov-Smirnov distance of any of their
properties. Beings of one world are not independent, so what that distance is worth is told by permuting whole worlds:
p is the share of the ways to deal the worlds into two halves that come out at least as far apart. With one p a comparison
and a bound of 0.01, a true catch-up is refused once in a hundred choices of the seeds, which are fixed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from world import movement, needs
from world.detail import KEY, LOOK_EVERY
from world.far import NEAR
from world.inputs import Input
from world.maths import TILE
from world.world import World

Sample = dict[str, NDArray[np.int64]]
Worlds = list[Sample]
Spawns = tuple[Any, ...]
MakeWorld = Callable[..., World]
REFUSED = 0.01


def folk(at: Callable[..., Any]) -> Spawns:
    """A hamlet whom nobody hunts."""
    homes = (("cottage", "field"), ("inn", "green"), ("cottage", "green"), ("inn", "field"))
    people = [
        at("villager", 6 + n * 7 % 22, 22 + n * 3 % 18, home=h, work=w)
        for n in range(48)
        for h, w in (homes[n % 4],)
    ]
    flock = [at("sheep", 8 + n * 5 % 18, 24 + n * 7 % 30) for n in range(16)]
    return (*people, *flock)


def with_wolves(at: Callable[..., Any]) -> Spawns:
    """The same, and across the river two packs among their game, and a watch that walks at night."""
    packs = [
        at("wolf", 50 + n % 5, 52 + n // 5, home="den", group=1 + 2 * (n // 5)) for n in range(10)
    ]
    game = [at(("deer", "hare")[n % 2], 38 + n * 5 % 24, 3 + n * 11 % 56) for n in range(40)]
    watch = [at("guard", 14 + n, 20, home="inn", work="green", group=2) for n in range(4)]
    return (*folk(at), *packs, *game, *watch)


def begun(make_world: MakeWorld, spawns: Spawns, seed: int, tick: int) -> World:
    """A world of one seed at an hour, with hunger as it may be at any time of the day."""
    world = make_world(*spawns, seed=seed)
    state = world.get_state() | {"tick": tick}
    columns = state["rows"]["columns"]
    columns["hunger"] = np.random.default_rng(seed).integers(0, 640, columns["hunger"].size)
    columns["next_decision"] = columns["next_decision"] + tick
    return World.from_state(state, world.ruleset)


def lived(world: World, ticks: int, *, far: bool) -> Sample:
    """The world after so many ticks, and the look at which a player comes to those who were far."""
    if far:
        world.step([_within(12)])
        for _ in range(ticks - 1):
            world.step()
        assert world.far.sum() > 0.4 * len(world.columns)
        comes = {"species": "traveller", "x": 15 * TILE, "y": 20 * TILE, "player": True}
        # Whoever is on the map is within sight of who comes now.
        world.step([_within(200, 1), Input("spawn", 0, "director:join", 0, comes)])
    else:
        for _ in range(ticks + 1):
            world.step()
    for _ in range(LOOK_EVERY):
        world.step()
    assert not world.far.any()
    return properties(world)


def _within(tiles: int, n: int = 0) -> Input:
    return Input("global", 0, "director:detail", n, {"key": KEY, "value": tiles})


def properties(world: World) -> Sample:
    """What is compared of each being; who was struck down is no being to compare."""
    c = world.columns
    tables = world.ruleset.tables
    up = (c.id > 0) & (c.died < 0) & (c.player == 0) & tables.alive[c.species]
    rows = up.nonzero()[0]

    def away(x: NDArray[np.int64], y: NDArray[np.int64]) -> NDArray[np.int64]:
        d2 = (c.x[rows] - x[rows]) ** 2 + (c.y[rows] - y[rows]) ** 2
        return np.sqrt(d2).astype(np.int64) // (TILE // 2)

    def of(name: str) -> NDArray[np.int64]:
        return (c.action[rows] == world.ruleset.activity_code[name]).astype(np.int64)

    sample = {name: getattr(c, name)[rows].copy() for name in ("hunger", "fatigue", "mood", "fear")}
    sample |= {
        "health": c.hp[rows] * 100 // c.max_hp[rows],
        "from home": away(c.home_x, c.home_y),
        "from work": away(c.work_x, c.work_y),
        "column of cells": c.x[rows] // (4 * TILE),
        "row of cells": c.y[rows] // (4 * TILE),
        "under way": (c.pace[rows] > 0).astype(np.int64),
    }
    return sample | {
        name: of(name) for name in ("rest", "work", "eat", "gather", "wander", "graze")
    }


def _distance(one: Worlds, other: Worlds, grids: dict[str, NDArray[np.int64]]) -> float:
    """The largest KS distance of any property between two pools."""

    def ladder(worlds: Worlds, name: str) -> NDArray[np.float64]:
        pool = np.sort(np.concatenate([w[name] for w in worlds]))
        return np.searchsorted(pool, grids[name], side="right") / pool.size

    return max(float(np.abs(ladder(one, k) - ladder(other, k)).max()) for k in grids)


def p_value(near: Worlds, far: Worlds) -> float:
    """How often the worlds, dealt anew into two such halves, lie at least as far apart."""
    worlds = [*near, *far]
    grids = {k: np.unique(np.concatenate([w[k] for w in worlds])) for k in worlds[0]}
    truth = _distance(near, far, grids)
    everyone = range(len(worlds))
    if comb(len(worlds), len(near)) <= 1000:
        deals = list(combinations(everyone, len(near)))
    else:
        rng = np.random.default_rng(1)
        picked = [tuple(sorted(rng.permutation(len(worlds))[: len(near)])) for _ in range(999)]
        deals = [tuple(range(len(near))), *picked]
    apart = [
        _distance([worlds[i] for i in deal], [worlds[i] for i in everyone if i not in deal], grids)
        for deal in deals
    ]
    return sum(d >= truth - 1e-12 for d in apart) / len(apart)


def test_the_comparison_itself_tells_a_shift_from_none() -> None:
    rng = np.random.default_rng(2)

    def worlds(shift: int) -> Worlds:
        return [
            {"a": rng.integers(0, 100, 60) + shift, "b": rng.integers(0, 9, 60)} for _ in range(6)
        ]

    told = [p_value(worlds(0), worlds(0)) <= 0.05 for _ in range(40)]
    assert sum(told) <= 6
    assert p_value(worlds(0), worlds(25)) <= REFUSED


# -- catch-ups that are wrong -------------------------------------------------------------------


@contextmanager
def _no_drift(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Needs stand still while one is far."""
    with patch.context() as inside:
        inside.setattr(needs, "next_turn", lambda phase, after: after + 10**9)
        yield


@contextmanager
def _no_walk(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody moves while far."""
    with patch.context() as inside:
        inside.setattr(movement, "leap", lambda state, paths, rows, ticks, events: ticks * 0)
        yield


@contextmanager
def _at_home(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever is caught up is put in the middle of its home."""
    leap = movement.leap

    def home(state: Any, paths: Any, rows: Any, ticks: Any, events: Any) -> Any:
        out = leap(state, paths, rows, ticks, events)
        c = state.columns
        asleep = rows[state.far.lived[rows] != NEAR]
        for axis in ("x", "y"):
            for what in ("", "way_", "goal_"):
                state.write(what + axis, asleep, getattr(c, "home_" + axis)[asleep])
        return out

    with patch.context() as inside:
        inside.setattr(movement, "leap", home)
        yield


WRONG = {"no drift": _no_drift, "no walk": _no_walk, "all at home": _at_home}


def test_a_hamlet_that_a_player_comes_upon_is_as_if_it_had_been_lived_near(
    make_world: MakeWorld, at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    spawns, tick, ticks, worlds = folk(at), 1_500, 2_400, 6
    near = [lived(begun(make_world, spawns, s, tick), ticks, far=False) for s in range(worlds)]

    def far(first: int) -> Worlds:
        seeds = range(first, first + worlds)
        return [lived(begun(make_world, spawns, s, tick), ticks, far=True) for s in seeds]

    assert p_value(near, far(100)) > REFUSED
    for n, (name, broken) in enumerate(WRONG.items()):
        with broken(monkeypatch):
            assert p_value(near, far(200 + 10 * n)) <= REFUSED, name


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("tick", "ticks"), [(1_500, 12_000), (15_500, 6_000), (3_000, 26_000)])
def test_by_day_and_by_night_and_after_a_day_and_with_wolves_it_is_so(
    make_world: MakeWorld, at: Callable[..., Any], tick: int, ticks: int
) -> None:
    worlds = 8
    for spawns in (folk(at), with_wolves(at)):
        near = [lived(begun(make_world, spawns, s, tick), ticks, far=False) for s in range(worlds)]
        far = [
            lived(begun(make_world, spawns, s, tick), ticks, far=True)
            for s in range(100, 100 + worlds)
        ]
        assert p_value(near, far) > REFUSED, len(spawns)
