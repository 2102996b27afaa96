"""Ways over the land: the cheapest path from everywhere to one spot, by Dijkstra over whole costs."""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from world.generate.noise import value_noise
from world.generate.terrain import Mask, Tiles
from world.tiles import WALKABLE, Tile

_NEVER = 0

_COSTS: dict[Tile, int] = {
    Tile.SAND: 10,
    Tile.GRASS: 8,
    Tile.FIELD: 20,
    Tile.FOREST: 16,
    Tile.HILL: 16,
    Tile.ROCK: 260,
    Tile.ROAD: 3,
    Tile.FLOOR: 90,
    Tile.BRIDGE: 4,
    Tile.RUIN: 14,
    Tile.MUD: 18,
}
"""What a step costs a road builder; rock can be cut through, water and walls can't."""


def road_costs(tiles: Tiles, seed: int) -> npt.NDArray[np.int64]:
    """Return the cost of each tile to a road, shape of `tiles`, 0 where none can go."""
    table = np.full(256, _NEVER, dtype=np.int64)
    for tile, cost in _COSTS.items():
        table[tile] = cost
    costs = table[tiles]
    height, width = tiles.shape
    # Uneven ground makes paths wind instead of running like rulers.
    rough = value_noise(height, width, 5, seed, "road") * 10 // 65_535
    costs[(costs > 4) & (costs < 90)] += rough[(costs > 4) & (costs < 90)]
    costs[0, :] = costs[-1, :] = costs[:, 0] = costs[:, -1] = _NEVER
    return costs


def towards(
    costs: npt.NDArray[np.int64], x: int, y: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return for each tile the flat index of the next tile on its cheapest way to (x, y), and its price.

    Both are -1 where there is no way; the goal follows itself. Eight directions; a diagonal step needs
    both tiles beside it, so that who walks in four directions can follow.
    """
    height, width = costs.shape
    flat = costs.ravel().tolist()
    goal = y * width + x
    best: list[int] = [-1] * (height * width)
    following: list[int] = [-1] * (height * width)
    best[goal], following[goal] = 0, goal
    queue: list[tuple[int, int]] = [(0, goal)]
    straight = (-width, -1, 1, width)
    diagonal = ((-width, -1), (-width, 1), (width, -1), (width, 1))
    while queue:
        cost, here = heapq.heappop(queue)
        if cost > best[here]:
            continue
        # The border costs nothing, which bars it: no index runs over an edge.
        for step in straight:
            there = here + step
            price = flat[there]
            if price:
                total = cost + price * 10
                if best[there] < 0 or total < best[there]:
                    best[there], following[there] = total, here
                    heapq.heappush(queue, (total, there))
        for down, along in diagonal:
            there = here + down + along
            price = flat[there]
            if price and flat[here + down] and flat[here + along]:
                total = cost + price * 14
                if best[there] < 0 or total < best[there]:
                    best[there], following[there] = total, here
                    heapq.heappush(queue, (total, there))
    shape = (height, width)
    return (
        np.array(following, dtype=np.int64).reshape(shape),
        np.array(best, dtype=np.int64).reshape(shape),
    )


def lay(
    tiles: Tiles,
    following: npt.NDArray[np.int64],
    x: int,
    y: int,
    *,
    paved: bool,
    spared: Mask,
) -> bool:
    """Follow the way from (x, y) and pave it, or only clear it of rock. False where there is no way.

    Tiles of `spared` are walked over but not paved.
    """
    width = tiles.shape[1]
    flat = tiles.reshape(-1)
    steps = following.reshape(-1)
    bare = spared.reshape(-1)
    here = y * width + x
    if steps[here] < 0:
        return False
    soft = {Tile.GRASS, Tile.FIELD, Tile.FOREST, Tile.HILL, Tile.MUD, Tile.SAND, Tile.ROCK}
    while True:
        there = int(steps[here])
        crossing = [here]
        if abs(there - here) not in (0, 1, width):
            # A diagonal is widened by one tile so that it looks and walks like a path.
            row = there // width - here // width
            crossing.append(here + row * width)
        for index in crossing:
            tile = int(flat[index])
            if paved and tile in soft and not bare[index]:
                flat[index] = Tile.ROAD
            elif tile == Tile.ROCK:
                flat[index] = Tile.HILL
        if there == here:
            return True
        here = there


def reachable(tiles: Tiles, x: int, y: int) -> Mask:
    """Return the tiles that can be walked to from (x, y) in four directions."""
    labels, _ = ndimage.label(WALKABLE[tiles])
    label = labels[y, x]
    return np.asarray((labels == label) & (label > 0), dtype=np.bool_)
