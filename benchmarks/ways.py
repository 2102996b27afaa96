"""Ways over a map: new ones, kept ones, whole fields and changed ground, beside compiled A* and Dijkstra of others.

The peers are tcod's (libtcod in C), whose pathfinder takes a step's cost for each direction, so that it can be told exactly
the world's steps, and scipy's `csgraph.dijkstra` on the same graph. All find ways of the same cost.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csgraph

from benchmarks import _graph
from benchmarks._crowded import crowded
from benchmarks._machine import machine
from world.paths import AHEAD, NO_WAY, Paths
from world.tiles import WALKABLE, Tile

SIDE: Final = 256
NPCS: Final = 600
"""As many as make six towns of walls and doors on such a map."""
WAYS: Final = 120
FIELDS: Final = 12
ROUNDS: Final = 5

Pairs = list[tuple[int, int]]
Map = NDArray[np.uint8]


def run(*, scale: float = 1.0, seed: int = 7) -> dict[str, Any]:
    """Find the same ways with all three, by turns.

    The map has 256 x 256 tiles, towns with walls, rivers and roads; ways lead from anywhere to anywhere. What a peer prepares for a
    map (its graph) is not counted, nor what we do when a map is read. `scale` changes how many ways there are. Returns {bench, machine,
    results}, and {…, missing} without tcod, when scipy is the peer of all.
    """
    nav = crowded(NPCS, 0, seed, SIDE).tiles
    count = max(12, round(WAYS * scale))
    pairs = walks(nav, count, seed)
    fields = [goal for _, goal in pairs[: max(3, round(FIELDS * scale))]]
    costs = _graph.matrix(nav)
    missing = []
    try:
        graph = _graph.graph(nav)
    except ImportError as error:
        graph = None
        missing = [{"what": "tcod", "reason": str(error), "hint": "pip install -e '.[bench]'"}]
    paths = Paths(nav)
    results = [
        _agreement(paths, costs, graph, pairs),
        _new(nav, costs, graph, pairs),
        _kept(nav, graph, pairs, fields),
        _field(nav, costs, graph, fields),
        *_changed(nav, pairs),
    ]
    return {
        "bench": "ways",
        "machine": machine(),
        "results": [row for row in results if row],
        **({"missing": missing} if missing else {}),
    }


def walks(nav: Map, count: int, seed: int) -> Pairs:
    """Cells from which and to which there is a way, drawn anywhere, each goal once."""
    rng = np.random.default_rng(seed)
    free = np.flatnonzero(WALKABLE[nav].reshape(-1))
    paths = Paths(nav)
    found: dict[int, int] = {}
    while len(found) < count:
        start, goal = rng.choice(free, 2).tolist()
        if start != goal and paths._joined(start, goal):
            found.setdefault(goal, start)
    return [(start, goal) for goal, start in found.items()]


def agreement(paths: Paths, costs: Any, graph: Any, pairs: Pairs) -> float:
    """The share of ways that cost the same by all who are asked."""
    same = 0
    goals = [goal for _, goal in pairs]
    theirs = csgraph.dijkstra(costs, indices=goals)
    for n, (start, goal) in enumerate(pairs):
        all_costs = {float(paths.cost(start, goal)), float(theirs[n, start])}
        if graph is not None:
            finder = _finder(graph, goal)
            at = divmod(start, graph.shape[1])
            finder.resolve(at)
            all_costs.add(float(finder.distance[at]))
        same += len(all_costs) == 1 and NO_WAY not in all_costs
    return same / len(pairs)


def _agreement(paths: Paths, costs: Any, graph: Any, pairs: Pairs) -> dict[str, Any]:
    who = "scipy and tcod" if graph is not None else "scipy"
    row = _row(f"ways of the cost that {who} find", "share", agreement(paths, costs, graph, pairs))
    return row | {"at_least": 1.0}


def _new(nav: Map, costs: Any, graph: Any, pairs: Pairs) -> dict[str, Any]:
    """A way to a goal that nobody asked for before."""
    width = nav.shape[1]
    paths = Paths(nav)

    def ours() -> None:
        paths.forget()
        for start, goal in pairs:
            paths.ahead(np.array([start]), np.array([goal]))

    def theirs() -> None:
        for start, goal in pairs:
            if graph is None:
                csgraph.dijkstra(costs, indices=goal, return_predecessors=True)
            else:
                _finder(graph, goal).path_from(divmod(start, width))

    peer = _scipy() if graph is None else _tcod("A*")
    return _raced(f"a new way of {len(pairs)}", ours, theirs, len(pairs), peer, at_least=2)


def _kept(nav: Map, graph: Any, pairs: Pairs, goals: list[int]) -> dict[str, Any] | None:
    """The next cells of ways to goals whose fields are kept; theirs are whole ways, which is all they tell."""
    if graph is None:
        return None
    width = nav.shape[1]
    paths = Paths(nav)
    paths.warm(goals)
    finders = {goal: _finder(graph, goal) for goal in goals}
    for finder in finders.values():
        finder.resolve()
    asked = [(s, g) for g in goals for s, _ in pairs if paths._joined(s, g)]
    starts, ends = (np.array(side) for side in zip(*asked, strict=True))

    def ours() -> None:
        paths.ahead(starts, ends)

    def theirs() -> None:
        for start, goal in asked:
            finders[goal].path_from(divmod(start, width))

    what = f"the next {AHEAD} cells of a kept way, of {len(asked)} at once"
    return _raced(what, ours, theirs, len(asked), _tcod("whole ways"))


def _field(nav: Map, costs: Any, graph: Any, goals: list[int]) -> dict[str, Any]:
    """What it costs to a goal from every cell."""
    paths = Paths(nav)

    def ours() -> None:
        for goal in goals:
            paths._spread(goal, -1)

    def scipys() -> None:
        for goal in goals:
            csgraph.dijkstra(costs, indices=goal)

    def tcods() -> None:
        for goal in goals:
            _finder(graph, goal).resolve()

    peers = {_scipy(): scipys} | ({_tcod("Dijkstra"): tcods} if graph is not None else {})
    best = min(peers, key=lambda name: _seconds(peers[name]))
    what = f"a goal's cost from all {nav.size:,} cells"
    return _raced(what, ours, peers[best], len(goals), best, at_least=1.5)


def _changed(nav: Map, pairs: Pairs) -> list[dict[str, Any]]:
    """A box on the first way is walled up, and opened, and all ways are asked for again: what is kept beside a new look at all."""
    width = nav.shape[1]
    starts, goals = (np.array(side) for side in zip(*pairs, strict=True))
    old, new = nav.copy(), nav.copy()
    y, x = divmod(int(Paths(nav).ahead(starts[:1], goals[:1])[0, -1]), width)
    new[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = Tile.WALL
    cells = np.flatnonzero(old != new)
    kept, fresh = Paths(old), Paths(old)
    answers, updates, forgotten, times = [], [], [], []
    for n in range(2 * ROUNDS):
        now = (new, old)[n % 2]
        kept.ahead(starts, goals)
        began = time.perf_counter()
        forgotten.append(kept.update(now, cells))
        updates.append(time.perf_counter() - began)
        ours = kept.ahead(starts, goals)
        half = time.perf_counter()
        fresh.reset(now)
        theirs = fresh.ahead(starts, goals)
        times.append((half - began, time.perf_counter() - half))
        answers.append(float((ours == theirs).all(axis=1).mean()))
    mine, theirs_s = (statistics.median(side) for side in zip(*times, strict=True))
    return [
        _row(f"a box of {cells.size} cells changes: the update", "ms", _ms(updates)),
        _row("of the goals that were kept, forgotten", "share", max(forgotten) / len(pairs)),
        _row(f"{len(pairs)} ways after it", "ms", mine * 1e3)
        | {
            "peer": "the same, nothing kept",
            "peer_value": round(theirs_s * 1e3, 3),
            "ratio": round(theirs_s / mine, 2),
            "at_least": 1.5,
        },
        _row("ways after it that are those of a new look", "share", min(answers))
        | {"at_least": 1.0},
    ]


def _finder(graph: Any, goal: int) -> Any:
    import tcod.path

    finder = tcod.path.Pathfinder(graph)
    finder.add_root(divmod(goal, graph.shape[1]))
    return finder


def _seconds(what: Callable[[], None]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def _raced(
    what: str,
    ours: Callable[[], None],
    theirs: Callable[[], None],
    count: int,
    peer: str,
    at_least: float | None = None,
) -> dict[str, Any]:
    """Both by turns, medians for each of `count`; the first round warms up."""
    rounds = [(_seconds(ours), _seconds(theirs)) for _ in range(ROUNDS + 1)][1:]
    mine, other = (statistics.median(side) / count * 1e6 for side in zip(*rounds, strict=True))
    row = _row(what, "µs", mine) | {
        "peer": peer,
        "peer_value": round(other, 1),
        "ratio": round(other / mine, 2),
    }
    return row if at_least is None else row | {"at_least": at_least}


def _ms(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1e3


def _scipy() -> str:
    return f"scipy {version('scipy')}, csgraph.dijkstra"


def _tcod(what: str) -> str:
    return f"tcod {version('tcod')}, {what}"


def _row(metric: str, unit: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "unit": unit, "value": float(f"{value:.4g}")}
