"""What people built, put onto a landscape: houses, bridges, dams, folds, dens and ruins as tiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from world.generate.draw import Draw
from world.generate.terrain import Heights, Mask, Tiles
from world.tiles import BLOCKED, WALKABLE, Tile

BUILDINGS = frozenset(
    {
        "bakery",
        "cottage",
        "forge",
        "house",
        "hut",
        "inn",
        "lodge",
        "mill",
        "shrine",
        "store",
        "watch",
    }
)
"""Kinds that are four walls and a door."""

RIVER_WORKS = frozenset({"bridge", "dam", "jetty", "pond"})
"""Kinds that need a river; they are moved along their row to where it runs."""

OPEN = frozenset(
    {
        "camp",
        "castle",
        "den",
        "edge",
        "field",
        "fold",
        "green",
        "market",
        "pass",
        "pasture",
        "spring",
    }
)

KINDS = BUILDINGS | RIVER_WORKS | OPEN
"""Every kind of place that can be stamped."""

SIZES: dict[str, tuple[int, int]] = {
    "bakery": (7, 6),
    "bridge": (5, 2),
    "camp": (7, 7),
    "castle": (23, 19),
    "cottage": (6, 6),
    "dam": (5, 2),
    "den": (13, 11),
    "edge": (7, 7),
    "field": (22, 18),
    "fold": (11, 9),
    "forge": (7, 6),
    "green": (13, 11),
    "house": (6, 5),
    "hut": (5, 5),
    "inn": (12, 9),
    "jetty": (5, 1),
    "lodge": (7, 6),
    "market": (9, 7),
    "mill": (8, 7),
    "pass": (5, 5),
    "pasture": (26, 20),
    "pond": (16, 11),
    "shrine": (7, 7),
    "spring": (5, 5),
    "store": (6, 6),
    "watch": (9, 7),
}
"""Width and height in tiles where a scene doesn't say."""

_WET = (Tile.DEEP_WATER, Tile.WATER)


@dataclass(frozen=True, slots=True)
class Stamped:
    """Where a place came to lie: its spot (a tile that can be walked), its way in, its extent in tiles."""

    x: int
    y: int
    door_x: int
    door_y: int
    radius: int


def is_wet(tiles: Tiles) -> Mask:
    """Return where water is."""
    wet: Mask = (tiles == Tile.DEEP_WATER) | (tiles == Tile.WATER) | (tiles == Tile.DAM)
    return wet


def nearest(mask: Mask, x: int, y: int, reach: int) -> tuple[int, int] | None:
    """Return the True tile nearest to (x, y), within `reach` tiles, ties by row then column."""
    height, width = mask.shape
    top, low = max(0, y - reach), min(height, y + reach + 1)
    left, right = max(0, x - reach), min(width, x + reach + 1)
    if top >= low or left >= right:
        return None
    found = np.nonzero(mask[top:low, left:right])
    if not len(found[0]):
        return None
    ys, xs = found[0] + top, found[1] + left
    best = int(np.argmin((ys - y) ** 2 + (xs - x) ** 2))
    return int(xs[best]), int(ys[best])


def sites(free: Mask, width: int, height: int) -> Mask:
    """Return the tiles around which a `width` x `height` rectangle of free tiles fits.

    The rectangle's first tile is `width // 2` to the west and `height // 2` to the north.
    """
    rows, columns = free.shape
    out = np.zeros_like(free)
    if height > rows or width > columns:
        return out
    sums = np.zeros((rows + 1, columns + 1), dtype=np.int64)
    sums[1:, 1:] = np.cumsum(np.cumsum(free, axis=0), axis=1)
    whole = (
        sums[height:, width:]
        - sums[:-height, width:]
        - sums[height:, :-width]
        + sums[:-height, :-width]
    )
    top, left = height // 2, width // 2
    out[top : top + rows - height + 1, left : left + columns - width + 1] = whole == width * height
    return out


def building(
    tiles: Tiles, x: int, y: int, width: int, height: int, towards: tuple[int, int]
) -> Stamped:
    """Stamp walls, floor and one door on the side that looks towards a tile. (x, y) is the middle."""
    left, top = x - width // 2, y - height // 2
    right, low = left + width - 1, top + height - 1
    yard = tiles[max(0, top - 1) : low + 2, max(0, left - 1) : right + 2]
    yard[np.isin(yard, (Tile.FOREST, Tile.HILL, Tile.FIELD, Tile.MUD, Tile.ROCK))] = Tile.GRASS
    tiles[top : low + 1, left : right + 1] = Tile.WALL
    tiles[top + 1 : low, left + 1 : right] = Tile.FLOOR
    if width >= 10:
        # A wide house is two rooms with a gap in the wall between.
        wall = left + width * 2 // 3
        tiles[top + 1 : low, wall] = Tile.WALL
        tiles[y, wall] = Tile.FLOOR
    dx, dy = towards[0] - x, towards[1] - y
    if abs(dx) * height > abs(dy) * width:
        door, step = ((right, y), (right + 1, y)) if dx > 0 else ((left, y), (left - 1, y))
    else:
        door, step = ((x, low), (x, low + 1)) if dy >= 0 else ((x, top), (x, top - 1))
    tiles[door[1], door[0]] = Tile.FLOOR
    tiles[step[1], step[0]] = Tile.ROAD
    return Stamped(x, y, step[0], step[1], max(width, height) // 2 + 2)


def river_span(tiles: Tiles, x: int, y: int, reach: int = 24) -> tuple[int, int] | None:
    """Return first and last wet column of the water nearest to x in row y, or None within `reach`."""
    wet = is_wet(tiles[y : y + 1])[0]
    spot = nearest(wet[None, :], x, 0, reach)
    if spot is None:
        return None
    left = right = spot[0]
    while left > 0 and wet[left - 1]:
        left -= 1
    while right < len(wet) - 1 and wet[right + 1]:
        right += 1
    return left, right


def bridge(tiles: Tiles, x: int, y: int, rows: int) -> Stamped | None:
    """Lay a bridge over the river, `rows` tiles wide; None where no river is near."""
    spans = [river_span(tiles, x, row) for row in range(y, y + rows)]
    if any(span is None for span in spans):
        return None
    left = min(span[0] for span in spans if span)
    right = max(span[1] for span in spans if span)
    if left < 2 or right > tiles.shape[1] - 3:
        return None
    tiles[y : y + rows, left - 1 : right + 2] = Tile.BRIDGE
    tiles[y : y + rows, left - 2] = Tile.ROAD
    tiles[y : y + rows, right + 2] = Tile.ROAD
    return Stamped((left + right) // 2, y, right + 2, y, (right - left) // 2 + 2)


def dam(tiles: Tiles, x: int, y: int, rows: int) -> Stamped | None:
    """Wall the river off. The spot is dry ground beside it, on the side of x; None where no river is near."""
    spans = [river_span(tiles, x, row) for row in range(y, y + rows)]
    if any(span is None for span in spans):
        return None
    left = min(span[0] for span in spans if span) - 1
    right = max(span[1] for span in spans if span) + 1
    if left < 2 or right > tiles.shape[1] - 3:
        return None
    tiles[y : y + rows, left : right + 1] = Tile.DAM
    tiles[y - 1 : y + rows + 1, left - 1] = Tile.SAND
    tiles[y - 1 : y + rows + 1, right + 1] = Tile.SAND
    spot = right + 1 if x * 2 >= left + right else left - 1
    return Stamped(spot, y, spot, y, (right - left) // 2 + 2)


def pond(tiles: Tiles, x: int, y: int, width: int, height: int, near: Heights) -> Stamped | None:
    """Widen the river to a pond, ragged by `near` (noise in 0..65535). The spot is on its shore."""
    span = river_span(tiles, x, y)
    if span is None:
        return None
    middle = (span[0] + span[1]) // 2
    ys = (np.arange(tiles.shape[0], dtype=np.int64) - y)[:, None]
    xs = (np.arange(tiles.shape[1], dtype=np.int64) - middle)[None, :]
    spread = (
        xs * xs * 65_536 // max(1, (width // 2) ** 2)
        + ys * ys * 65_536 // max(1, (height // 2) ** 2)
        + (near - 32_768) // 3
    )
    tiles[(spread < 92_000) & ~np.isin(tiles, _WET)] = Tile.SAND
    tiles[(spread < 65_536) & (tiles != Tile.DEEP_WATER)] = Tile.WATER
    tiles[spread < 34_000] = Tile.DEEP_WATER
    shore = river_span(tiles, middle, y)
    assert shore is not None, "the pond is wet in its middle"
    side = min(shore[1] + 1, tiles.shape[1] - 2)
    if not WALKABLE[tiles[y, side]]:
        tiles[y, side] = Tile.SAND
    return Stamped(side, y, side, y, max(width, height) // 2 + 1)


def jetty(tiles: Tiles, x: int, y: int, length: int) -> Stamped | None:
    """Run planks from the bank on the side of x into the river; the spot is on them."""
    span = river_span(tiles, x, y)
    if span is None:
        return None
    left, right = span
    length = min(length, right - left)
    if x * 2 >= left + right:
        tiles[y, right - length + 1 : right + 2] = Tile.BRIDGE
        end, shore = right - length + 1, right + 2
    else:
        tiles[y, left - 1 : left + length] = Tile.BRIDGE
        end, shore = left + length - 1, left - 2
    if not 0 < shore < tiles.shape[1] - 1:
        return None
    if not WALKABLE[tiles[y, shore]]:
        tiles[y, shore] = Tile.SAND
    return Stamped(end, y, shore, y, 3)


def _ellipse(shape: tuple[int, ...], x: int, y: int, width: int, height: int) -> Heights:
    """Return 0 in the middle, 1,000 on the ellipse's edge, more outside."""
    ys = (np.arange(shape[0], dtype=np.int64) - y)[:, None]
    xs = (np.arange(shape[1], dtype=np.int64) - x)[None, :]
    out: Heights = 4_000 * xs * xs // (width * width) + 4_000 * ys * ys // (height * height)
    return out


def open_ground(
    tiles: Tiles, x: int, y: int, width: int, height: int, ground: Tile, keep: Mask
) -> Stamped:
    """Turn an ellipse into one ground, except where `keep` holds or water is."""
    inside = _ellipse(tiles.shape, x, y, width, height) <= 1_000
    tiles[inside & ~is_wet(tiles) & ~keep] = ground
    return Stamped(x, y, x, y, max(2, max(width, height) // 2))


def square(tiles: Tiles, x: int, y: int, width: int, height: int) -> Stamped:
    """Pave a market square."""
    tiles[y - height // 2 : y - height // 2 + height, x - width // 2 : x - width // 2 + width] = (
        Tile.ROAD
    )
    return Stamped(x, y, x, y, max(width, height) // 2 + 1)


def fold(
    tiles: Tiles, x: int, y: int, width: int, height: int, towards: tuple[int, int]
) -> Stamped:
    """Fence a yard with a gate, and put the shepherd's hut into a corner where there is room."""
    stamped = building(tiles, x, y, width, height, towards)
    left, top = x - width // 2, y - height // 2
    tiles[top + 1 : top + height - 1, left + 1 : left + width - 1] = Tile.GRASS
    fence = tiles[top : top + height, left : left + width]
    fence[fence == Tile.FLOOR] = Tile.ROAD
    if width < 9 or height < 7:
        return stamped
    # The hut keeps out of the gate's way: it stands in a northern corner, away from an eastern gate.
    west = stamped.door_x > left + width - 1
    hut_left, hut_top = (left + 1 if west else left + width - 4), top + 1
    wall = hut_left + 3 if west else hut_left - 1
    tiles[hut_top : hut_top + 3, hut_left : hut_left + 3] = Tile.FLOOR
    tiles[hut_top + 3, hut_left : hut_left + 3] = Tile.WALL
    tiles[hut_top : hut_top + 4, wall] = Tile.WALL
    tiles[hut_top + 2, wall] = Tile.FLOOR
    return Stamped(
        hut_left + 1, hut_top + 1, stamped.door_x, stamped.door_y, max(width, height) // 2 + 1
    )


def den(tiles: Tiles, x: int, y: int, width: int, height: int, towards: tuple[int, int]) -> Stamped:
    """Ring a hollow with rock, open towards a tile."""
    ring = _ellipse(tiles.shape, x, y, width, height)
    dry = ~is_wet(tiles)
    ys = (np.arange(tiles.shape[0], dtype=np.int64) - y)[:, None]
    xs = (np.arange(tiles.shape[1], dtype=np.int64) - x)[None, :]
    dx, dy = towards[0] - x, towards[1] - y
    facing = xs * dx + ys * dy
    cross = xs * dy - ys * dx
    gap = (facing > 0) & (cross * cross * 4 <= 3 * (dx * dx + dy * dy) * 3)
    tiles[(ring <= 1_000) & (ring > 480) & dry & ~gap] = Tile.ROCK
    tiles[(ring <= 1_000) & (ring > 480) & dry & gap] = Tile.GRASS
    tiles[(ring <= 480) & dry] = Tile.MUD
    tiles[(ring <= 220) & dry] = Tile.FOREST
    tiles[(ring <= 60) & dry] = Tile.MUD
    return Stamped(x, y, x, y, max(width, height) // 2 + 1)


def castle(
    tiles: Tiles, x: int, y: int, width: int, height: int, towards: tuple[int, int], draw: Draw
) -> Stamped:
    """Raise a ruin: a broken curtain wall, four towers, a keep without a roof, a gate."""
    left, top = x - width // 2, y - height // 2
    right, low = left + width - 1, top + height - 1
    mound = _ellipse(tiles.shape, x, y, width + 10, height + 10) <= 1_000
    tiles[mound & ~is_wet(tiles)] = Tile.HILL
    tiles[top : low + 1, left : right + 1] = Tile.RUIN
    edge = [(c, r) for r in (top, low) for c in range(left, right + 1)]
    edge += [(c, r) for c in (left, right) for r in range(top + 1, low)]
    for column, row in edge:
        if not draw.chance(160):
            tiles[row, column] = Tile.WALL
    for column, row in ((left, top), (right, top), (left, low), (right, low)):
        tiles[row - 1 : row + 2, column - 1 : column + 2] = Tile.WALL
    keep_left, keep_top = left + 3, top + 3
    keep_right, keep_low = left + width // 2 - 1, low - 3
    for row in range(keep_top, keep_low + 1):
        for column in range(keep_left, keep_right + 1):
            rim = row in (keep_top, keep_low) or column in (keep_left, keep_right)
            tiles[row, column] = Tile.WALL if rim and not draw.chance(90) else Tile.FLOOR
    middle = (keep_top + keep_low) // 2
    tiles[middle, keep_right] = Tile.FLOOR
    dx, dy = towards[0] - x, towards[1] - y
    if abs(dx) * height > abs(dy) * width:
        gate_x = right if dx > 0 else left
        tiles[y - 1 : y + 2, gate_x] = Tile.RUIN
        door = (gate_x + (1 if dx > 0 else -1), y)
    else:
        gate_y = low if dy > 0 else top
        tiles[gate_y, x - 1 : x + 2] = Tile.RUIN
        door = (x, gate_y + (1 if dy > 0 else -1))
    tiles[door[1], door[0]] = Tile.ROAD
    spot_x = (keep_left + keep_right) // 2
    return Stamped(spot_x, middle, door[0], door[1], max(width, height) // 2 + 2)


def spring(tiles: Tiles, x: int, y: int) -> Stamped:
    """Fill a small basin; the spot is on its southern rim."""
    tiles[y - 2 : y + 3, x - 2 : x + 3] = Tile.RUIN
    tiles[y - 1 : y + 2, x - 1 : x + 2] = Tile.WATER
    return Stamped(x, y + 2, x, y + 2, 3)


def mountain_pass(tiles: Tiles, x: int, y: int) -> Stamped:
    """Cut a road through the hills from a spot to the nearest edge of the map."""
    rows, columns = tiles.shape
    ways = {
        x: (slice(y - 1, y + 2), slice(1, x + 1)),
        columns - 1 - x: (slice(y - 1, y + 2), slice(x, columns - 1)),
        y: (slice(1, y + 1), slice(x - 1, x + 2)),
        rows - 1 - y: (slice(y, rows - 1), slice(x - 1, x + 2)),
    }
    strip = tiles[ways[min(ways)]]
    strip[~is_wet(strip)] = Tile.ROAD
    tiles[y, x] = Tile.ROAD
    return Stamped(x, y, x, y, 4)


def blocked_for_building(tiles: Tiles, taken: Mask) -> Mask:
    """Return the tiles no new house may cover: water, rock, what is built, and what is taken."""
    built = (*BLOCKED, Tile.ROAD, Tile.FLOOR, Tile.BRIDGE, Tile.RUIN)
    return np.asarray(np.isin(tiles, built) | taken, dtype=np.bool_)
