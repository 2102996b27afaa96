"""A land with a hundred towns and ten thousand beings of the built-in species, made from a seed."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.compiled import CompiledScene, GroupInfo, Place, Spawn
from world.generate import stamps, terrain
from world.generate.draw import Draw
from world.maths import TILE
from world.tiles import WALKABLE, Tile

SIDE: Final = 1024
_TOWN: Final = 36
"""Tiles from a town's middle to its edge."""
_PLOT: Final = 10
_PACK: Final = 5
_THINGS: Final = ("food", "well", "hearth", "shrine")
# Of twenty: a village has its watch, its hunter, its sheep; game and a wolf keep to the land around.
_SHARES: Final = (*["villager"] * 14, "guard", "hunter", "sheep", "sheep", "deer", "wolf")


def crowded(npcs: int, things: int, seed: int = 7, side: int = SIDE) -> CompiledScene:
    """A compiled scene of `side` x `side` tiles with `npcs` who move and `things` that do not.

    A hundred NPCs make a town: walled houses with doors for two villagers each, an inn, a market, fields to
    work in, pastures; wolves in packs and deer live between the towns.
    """
    draw = Draw(seed, "crowded")
    tiles = terrain.generate(terrain.plan_for("plains", side, side, seed), seed).tiles
    places: dict[str, Place] = {}
    towns = [
        _town(tiles, places, f"t{n}", x, y, draw)
        for n, (x, y) in enumerate(_middles(max(1, npcs // 100), side, draw))
    ]
    groups: dict[int, GroupInfo] = {}
    wilds = np.argwhere(WALKABLE[tiles])
    spawns = [
        _being(n, towns[n // 20 % len(towns)], places, groups, wilds, draw) for n in range(npcs)
    ]
    for n in range(things):
        y, x = wilds[draw.below(len(wilds))].tolist()
        spawns.append(Spawn(_THINGS[n % len(_THINGS)], *_unit(x, y)))
    return CompiledScene(
        name="crowded",
        size=(side, side),
        tiles=tiles,
        places=places,
        spawns=tuple(spawns),
        player_starts=tuple(_unit(*town.middle) for town in towns),
        seed=seed,
        groups=groups,
    )


class _Town:
    def __init__(self, key: str, middle: tuple[int, int]) -> None:
        self.key = key
        self.middle = middle
        self.houses: list[str] = []
        self.works: list[str] = []


def _unit(x: int, y: int) -> tuple[int, int]:
    return x * TILE + TILE // 2, y * TILE + TILE // 2


def _middles(count: int, side: int, draw: Draw) -> list[tuple[int, int]]:
    """Spread over the map as on a board, each a little off the middle of its square."""
    rank = int(np.ceil(np.sqrt(count)))
    square = side // rank
    slack = max(1, square // 2 - _TOWN)
    return [
        (
            n % rank * square + square // 2 + draw.below(slack) - slack // 2,
            n // rank * square + square // 2 + draw.below(slack) - slack // 2,
        )
        for n in range(count)
    ]


def _town(
    tiles: NDArray[np.uint8], places: dict[str, Place], key: str, x: int, y: int, draw: Draw
) -> _Town:
    town = _Town(key, (x, y))
    side = tiles.shape[0]
    ground = tiles[max(0, y - _TOWN) : y + _TOWN, max(0, x - _TOWN) : x + _TOWN]
    ground[...] = Tile.GRASS
    tiles[y - 1 : y + 1, max(0, x - _TOWN - 20) : x + _TOWN + 20] = Tile.ROAD
    tiles[max(0, y - _TOWN - 20) : y + _TOWN + 20, x - 1 : x + 1] = Tile.ROAD

    def place(kind: str, n: int, px: int, py: int, radius: int) -> str:
        name = f"{key}_{kind}{n}"
        places[name] = Place(name, name, *_unit(px, py), radius * TILE, kind)
        return name

    place("market", 0, x, y, 4)
    plots = [
        (x + column * _PLOT + _PLOT // 2, y + row * _PLOT + _PLOT // 2)
        for row in range(-3, 3)
        for column in range(-3, 3)
    ]
    for n, (px, py) in enumerate(plots):
        if not (4 < px < side - 5 and 4 < py < side - 5):
            continue
        stamps.building(tiles, px, py, 6 + draw.below(2), 6, (x, y))
        if n == 0:
            place("inn", 0, px, py, 3)
        else:
            town.houses.append(place("house", n, px, py, 2))
    for n, (dx, dy) in enumerate(((-1, 0), (1, 0), (0, -1), (0, 1))):
        px = min(max(x + dx * (_TOWN - 2), 8), side - 9)
        py = min(max(y + dy * (_TOWN - 2), 8), side - 9)
        town.works.append(place("field" if n % 2 else "pasture", n, px, py, 6))
    return town


def _being(
    n: int,
    town: _Town,
    places: dict[str, Place],
    groups: dict[int, GroupInfo],
    wilds: NDArray[np.int64],
    draw: Draw,
) -> Spawn:
    species = _SHARES[n % len(_SHARES)]
    if species in ("deer", "wolf"):
        # Out on the land, a pack at one spot.
        pack = n // len(_SHARES) // _PACK
        spot = Draw(7, "pack" if species == "wolf" else "herd", pack)
        y, x = wilds[spot.below(len(wilds))].tolist()
        if species == "deer":
            return Spawn("deer" if n % 3 else "hare", *_unit(x, y))
        groups.setdefault(pack + 1, GroupInfo(f"pack {pack}", "wolf"))
        return Spawn("wolf", *_unit(x, y), group=pack + 1)
    home = town.houses[draw.below(len(town.houses))]
    work = town.works[draw.below(len(town.works))]
    at = places[work if species == "sheep" else home]
    return Spawn(species, at.x, at.y, home=work if species == "sheep" else home, work=work)
