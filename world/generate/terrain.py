"""Landscapes from a seed: hills, rivers, woods, fields and marshes as tiles, in integers alone.

Distances are worked out in sixteenths of a tile, heights in 0..65535, so that the same seed gives
the same bytes on every CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from world.generate.draw import Draw
from world.generate.noise import FULL, fractal_noise, value_noise, wander
from world.tiles import Tile

Biome = Literal["valley", "forest", "plains", "hills", "mountains", "marsh", "cave"]
BIOMES: tuple[str, ...] = get_args(Biome)

Ground = Literal["forest", "field", "pasture", "hill", "rock", "marsh"]

SMALLEST, LARGEST = 16, 1024
"""The edge of a map in tiles."""

FINE = 16
"""Steps to a tile in which the river's line is laid."""

Mask = npt.NDArray[np.bool_]
Heights = npt.NDArray[np.int64]
Tiles = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class River:
    """A river along control points (x, y) in tiles; `width` and `meander` in tiles."""

    course: tuple[tuple[int, int], ...]
    width: int = 5
    meander: int = 2
    name: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """An ellipse around (x, y) with half axes (rx, ry), in tiles, that leans to one kind of ground."""

    ground: Ground
    x: int
    y: int
    rx: int
    ry: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class TerrainPlan:
    """What a landscape is made from, beside its seed. `rim` is the width in tiles of the hills around."""

    width: int
    height: int
    biome: Biome = "valley"
    rim: int = 12
    rivers: tuple[River, ...] = ()
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class Terrain:
    """A landscape.

    `tiles` uint8 and `heights` int64 0..65535 have shape (height, width); `lines` holds for each
    river its middle from source to mouth, int64 of shape (n, 2), (x, y) in sixteenths of a tile.
    """

    tiles: Tiles
    heights: Heights
    lines: tuple[npt.NDArray[np.int64], ...] = ()


@dataclass(frozen=True, slots=True)
class _Character:
    """A biome's thresholds in heights (hill, rock) and densities in 0..65535 (wood, mud)."""

    hill: int
    rock: int
    wood: int
    mud: int
    rivers: int = 1
    fields: int = 0
    ponds: int = 0
    lift: int = 0


_CHARACTERS: dict[str, _Character] = {
    "valley": _Character(hill=44_000, rock=57_000, wood=40_500, mud=52_000, fields=3),
    "forest": _Character(hill=47_000, rock=59_000, wood=24_000, mud=50_000),
    "plains": _Character(hill=54_000, rock=63_000, wood=49_000, mud=56_000, fields=5),
    "hills": _Character(hill=33_000, rock=47_000, wood=40_000, mud=58_000),
    "mountains": _Character(hill=27_000, rock=37_000, wood=44_000, mud=63_000, lift=2_000),
    "marsh": _Character(hill=60_000, rock=65_000, wood=42_000, mud=29_000, ponds=25_000),
}


def generate(plan: TerrainPlan, seed: int) -> Terrain:
    """Return the landscape of a plan and a seed; a pure function of both.

    Raises ValueError for a size outside SMALLEST..LARGEST.
    """
    width, height = plan.width, plan.height
    if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
        raise ValueError(
            f"a map is {SMALLEST} to {LARGEST} tiles wide and high, not {width}x{height}"
        )
    if plan.biome == "cave":
        return _cave(plan, seed)
    character = _CHARACTERS[plan.biome]
    lines = tuple(
        river_line(_over_the_edge(river, width, height), seed, n)
        for n, river in enumerate(plan.rivers)
    )
    nearness = [_nearness(line, height, width) for line in lines]
    heights = _heights(plan, seed, character, nearness)
    tiles = np.full((height, width), Tile.GRASS, dtype=np.uint8)
    _paint_ground(tiles, plan, seed, character, heights)
    for number, (river, near) in enumerate(zip(plan.rivers, nearness, strict=True)):
        _paint_river(tiles, river, near, seed, number)
    return Terrain(tiles, heights, lines)


def plan_for(biome: Biome, width: int, height: int, seed: int) -> TerrainPlan:
    """Return a plan with rivers, fields and woods drawn from the seed, for a land nobody has described."""
    if biome == "cave":
        return TerrainPlan(width, height, biome, rim=2)
    character = _CHARACTERS[biome]
    draw = Draw(seed, "terrain plan", biome, width, height)
    small = min(width, height)
    rivers = []
    for _ in range(character.rivers):
        x = draw.between(width // 3, width - 1 - width // 3)
        course = [(x, 0)]
        steps = max(2, height // 32)
        for step in range(1, steps + 1):
            x = min(
                max(x + draw.between(-width // 10, width // 10), width // 6), width - 1 - width // 6
            )
            course.append((x, min(height - 1, step * height // steps)))
        rivers.append(River(tuple(course), width=max(2, small // 40), meander=max(1, small // 64)))
    regions = [
        Region(
            "field",
            draw.between(width // 5, width - width // 5),
            draw.between(height // 5, height - height // 5),
            max(3, width // 9),
            max(3, height // 9),
        )
        for _ in range(character.fields)
    ]
    return TerrainPlan(width, height, biome, max(2, small // 14), tuple(rivers), tuple(regions))


def _over_the_edge(river: River, width: int, height: int) -> River:
    """Lengthen a river that ends at the map's edge, so that its meander can't pull it back inside."""
    far = 2 * river.meander + 4

    def beyond(x: int, y: int) -> tuple[tuple[int, int], ...]:
        gaps = {(-1, 0): x, (1, 0): width - 1 - x, (0, -1): y, (0, 1): height - 1 - y}
        (dx, dy), gap = min(gaps.items(), key=lambda item: item[1])
        return ((x + dx * far, y + dy * far),) if gap <= 1 else ()

    course = (*beyond(*river.course[0]), *river.course, *beyond(*river.course[-1]))
    return River(course, river.width, river.meander, river.name)


def river_line(river: River, seed: int, number: int = 0) -> npt.NDArray[np.int64]:
    """Return the river's middle, int64 of shape (n, 2), (x, y) in sixteenths of a tile.

    The line is a Catmull-Rom spline through the control points, pushed aside by smooth noise of at
    most `meander` tiles.
    """
    points = np.array(river.course, dtype=np.int64) * FINE + FINE // 2
    if len(points) < 2:
        raise ValueError("a river needs two points at least")
    padded = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    pieces = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        # Thrice the longest side leaves no gap, however the noise below stretches the line.
        steps = 3 * max(1, int(np.abs(p2 - p1).max()) // FINE + 1)
        t = np.arange(steps, dtype=np.int64)[:, None]
        a = 2 * p1 * steps**3
        b = (p2 - p0) * t * steps**2
        c = (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 * steps
        d = (3 * p1 - p0 - 3 * p2 + p3) * t**3
        pieces.append((a + b + c + d) // (2 * steps**3))
    line = np.concatenate([*pieces, points[-1:]])
    for axis in (0, 1):
        line[:, axis] += (
            wander(len(line), 24, seed, "meander", number, axis)
            * (2 * river.meander * FINE)
            // FULL
        )
    return line


def falloff(region: Region, height: int, width: int) -> Heights:
    """Return FULL in the region's middle down to 0 at its edge and beyond; shape (height, width)."""
    dy = (np.arange(height, dtype=np.int64) - region.y)[:, None]
    dx = (np.arange(width, dtype=np.int64) - region.x)[None, :]
    spread = dx * dx * FULL // max(1, region.rx * region.rx) + dy * dy * FULL // max(
        1, region.ry * region.ry
    )
    out: Heights = np.maximum(0, FULL - spread)
    return out


def _nearness(line: npt.NDArray[np.int64], height: int, width: int) -> Heights:
    """Return each tile's squared distance to the line in sixteenths, cut off at 40 tiles."""
    reach = 40
    near = np.full((height, width), (reach * FINE) ** 2, dtype=np.int64)
    for x, y in np.unique(line, axis=0).tolist():
        column, row = x // FINE, y // FINE
        top, low = max(0, row - reach), min(height, row + reach + 1)
        left, right = max(0, column - reach), min(width, column + reach + 1)
        if top >= low or left >= right:
            continue
        dy = np.arange(top, low, dtype=np.int64) * FINE + FINE // 2 - y
        dx = np.arange(left, right, dtype=np.int64) * FINE + FINE // 2 - x
        patch = near[top:low, left:right]
        np.minimum(patch, dy[:, None] ** 2 + dx[None, :] ** 2, out=patch)
    return near


def _heights(
    plan: TerrainPlan, seed: int, character: _Character, nearness: list[Heights]
) -> Heights:
    width, height = plan.width, plan.height
    cell = max(8, min(48, min(width, height) // 4))
    land = fractal_noise(height, width, cell, 5, seed, "land") * 3 // 4 + FULL // 8 + character.lift
    ys, xs = np.arange(height, dtype=np.int64), np.arange(width, dtype=np.int64)
    edge = np.minimum(
        np.minimum(ys, height - 1 - ys)[:, None], np.minimum(xs, width - 1 - xs)[None, :]
    )
    ragged = plan.rim * value_noise(height, width, max(4, cell // 3), seed, "rim") // FULL
    short = np.maximum(0, plan.rim + ragged - edge)
    land += short * short * 44_000 // max(1, plan.rim * plan.rim * 2)
    for region in plan.regions:
        if region.ground in ("hill", "rock"):
            lift = 30_000 if region.ground == "rock" else 17_000
            land += falloff(region, height, width) * lift // FULL
        elif region.ground in ("field", "pasture", "marsh"):
            land -= np.minimum(falloff(region, height, width), FULL // 2) * 12_000 // (FULL // 2)
    for near in nearness:
        # A squared fall-off carves a wide flat floor with banks that steepen outwards.
        reach = (24 * FINE) ** 2
        land -= np.maximum(0, reach - near) * 26_000 // reach
    return np.clip(land, 0, FULL)


def _paint_ground(
    tiles: Tiles, plan: TerrainPlan, seed: int, character: _Character, heights: Heights
) -> None:
    height, width = tiles.shape
    # Noise crowds around its middle: stretched, it makes glades within woods and copses without.
    wood = (fractal_noise(height, width, 18, 5, seed, "wood") - FULL // 2) * 8 // 5 + FULL // 2
    ragged = (fractal_noise(height, width, 12, 3, seed, "ragged") - FULL // 2) * 2
    wet = fractal_noise(height, width, 16, 3, seed, "wet")
    fields = np.zeros((height, width), dtype=np.bool_)
    for region in plan.regions:
        inside = falloff(region, height, width)
        if region.ground == "forest":
            wood = wood + np.minimum(inside * 2, FULL) * 22_000 // FULL
        elif region.ground in ("field", "pasture"):
            wood = wood - np.minimum(inside * 3, FULL) * 40_000 // FULL
            wet = wet - np.minimum(inside * 3, FULL) * 40_000 // FULL
            if region.ground == "field":
                fields |= (inside > 0) & (inside + ragged > FULL // 5)
        elif region.ground == "marsh":
            wet = wet + np.minimum(inside * 2, FULL) * 26_000 // FULL
    wet = wet - np.maximum(0, heights - 26_000) // 2
    tiles[fields & parcels(height, width, seed)] = Tile.FIELD
    tiles[wet > character.mud] = Tile.MUD
    if character.ponds:
        tiles[wet > character.mud + character.ponds // 2] = Tile.WATER
    tiles[(wood > character.wood) & (tiles == Tile.GRASS)] = Tile.FOREST
    tiles[(heights > character.hill) & (tiles != Tile.FOREST)] = Tile.HILL
    tiles[(heights > character.hill + 5_000) & (tiles == Tile.FOREST)] = Tile.HILL
    tiles[heights > character.rock] = Tile.ROCK


def parcels(height: int, width: int, seed: int) -> Mask:
    """Return where ploughed strips lie: True within, False on the grass balks between them."""
    ys, xs = np.arange(height, dtype=np.int64), np.arange(width, dtype=np.int64)
    shift = value_noise(height, width, 24, seed, "balks") * 6 // FULL
    across = (xs[None, :] + shift) % 11
    down = (ys[:, None] + shift) % 8
    fallow = value_noise(height, width, 9, seed, "fallow") > FULL * 4 // 5
    strips: Mask = (across != 0) & (down != 0) & ~fallow
    return strips


def _paint_river(tiles: Tiles, river: River, near: Heights, seed: int, number: int) -> None:
    height, width = tiles.shape
    breadth = value_noise(height, width, 12, seed, "breadth", number)
    half = river.width * FINE // 2
    bank = half + half * (breadth - FULL // 2) // (2 * FULL)
    sand = bank + FINE // 2 + FINE * 2 * np.maximum(0, breadth - FULL // 2) // FULL
    ponds = (tiles == Tile.WATER) | (tiles == Tile.MUD)
    tiles[(near <= sand * sand) & ~ponds] = Tile.SAND
    tiles[near <= bank * bank] = Tile.WATER
    deep = bank * 11 // 20
    tiles[near <= deep * deep] = Tile.DEEP_WATER


def _cave(plan: TerrainPlan, seed: int) -> Terrain:
    """Grow halls by a cellular automaton and keep the largest, so that all of it can be walked."""
    height, width = plan.height, plan.width
    roll = value_noise(height, width, 1, seed, "cave")
    heights = fractal_noise(height, width, max(8, min(width, height) // 6), 4, seed, "cave floor")
    edge = np.ones((height, width), dtype=np.bool_)
    edge[plan.rim : height - plan.rim, plan.rim : width - plan.rim] = False
    rock = (roll < FULL * 45 // 100) | edge
    ring = np.ones((3, 3), dtype=np.int64)
    for _ in range(5):
        beside = ndimage.convolve(rock.astype(np.int64), ring, mode="constant", cval=1)
        rock = (beside >= 5) | edge
    halls, count = ndimage.label(~rock)
    tiles = np.full((height, width), Tile.ROCK, dtype=np.uint8)
    if count:
        sizes = np.bincount(halls.ravel())
        sizes[0] = 0
        hall = halls == int(sizes.argmax())
    else:
        hall = np.zeros_like(rock)
        hall[height // 2, width // 2] = True
    tiles[hall] = Tile.FLOOR
    tiles[hall & (heights < FULL * 3 // 10)] = Tile.MUD
    return Terrain(tiles, heights)


def walkable_regions(walkable: Mask) -> tuple[npt.NDArray[np.int32], int]:
    """Number the areas that can be walked (four neighbours); 0 is what can't. Returns labels and their count."""
    labels, count = ndimage.label(walkable)
    return labels.astype(np.int32), int(count)


__all__ = [
    "BIOMES",
    "FINE",
    "LARGEST",
    "SMALLEST",
    "Biome",
    "Ground",
    "Region",
    "River",
    "Terrain",
    "TerrainPlan",
    "falloff",
    "generate",
    "parcels",
    "plan_for",
    "river_line",
    "walkable_regions",
]
