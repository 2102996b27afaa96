"""The bench of ways: the peers walk the world's own steps, and the rows say what was measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csgraph

from benchmarks import _graph, ways
from greenroom.commands.bench import holds
from world.paths import NO_WAY, Paths
from world.tiles import WALKABLE, Tile


def _ground(seed: int, side: int = 30) -> np.ndarray:
    kinds = [Tile.GRASS, Tile.GRASS, Tile.FOREST, Tile.MUD, Tile.WALL]
    return np.random.default_rng(seed).choice(np.array(kinds, dtype=np.uint8), size=(side, side))


def test_scipy_finds_the_world_s_costs_in_the_world_s_graph() -> None:
    nav = _ground(1)
    goal = int(np.flatnonzero(WALKABLE[nav])[3])
    costs = csgraph.dijkstra(_graph.matrix(nav), indices=goal)
    paths = Paths(nav)
    ours = np.array([paths.cost(cell, goal) for cell in range(nav.size)], dtype=float)
    ours[ours == NO_WAY] = np.inf
    walked = WALKABLE[nav].reshape(-1)
    assert np.array_equal(ours[walked], costs[walked])


def test_tcod_finds_them_too() -> None:
    pytest.importorskip("tcod")
    nav = _ground(2)
    pairs = ways.walks(nav, 40, seed=2)
    costs, graph = _graph.matrix(nav), _graph.graph(nav)
    assert ways.agreement(Paths(nav), costs, graph, pairs) == 1.0
    elsewhere = _graph.graph(_ground(3))
    assert ways.agreement(Paths(nav), costs, elsewhere, pairs) < 1.0


def test_another_map_is_no_agreement() -> None:
    nav = _ground(2)
    pairs = ways.walks(nav, 40, seed=2)
    assert ways.agreement(Paths(nav), _graph.matrix(_ground(3)), None, pairs) < 1.0


def test_what_must_agree_agrees_and_what_is_bound_is_stated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ways, "SIDE", 128)
    report = ways.run(scale=0.05)
    shares = [r for r in report["results"] if r["unit"] == "share" and "at_least" in r]
    assert [holds(row) for row in shares] == [True, True]
    raced = [r for r in report["results"] if "peer" in r]
    assert all(r["value"] > 0 and r["peer_value"] > 0 for r in raced)
