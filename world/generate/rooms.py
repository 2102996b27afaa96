"""Floor plans from a seed: a building split into rooms, with exits, uses and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from foundation.strict import StrictModel
from world.generate.draw import Draw
from world.generate.names import room_name
from world.tiles import Tile

LEAST, MOST = 5, 64
"""The edge of a floor plan in tiles, outer walls included."""

MOST_ROOMS = 40

Side = Literal["north", "east", "south", "west"]
Span = Annotated[int, Field(ge=0, lt=MOST)]


class Exit(StrictModel):
    """A door at (x, y) of the plan; `to` is the room behind it, -1 for outside."""

    side: Side
    x: Span
    y: Span
    to: Annotated[int, Field(ge=-1, lt=MOST_ROOMS)]


class Feature(StrictModel):
    """A thing that stands at (x, y) of the plan."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    x: Span
    y: Span


class RoomBase(StrictModel):
    """A room: its floor is `width` x `height` tiles from (x, y) of the plan, walls not counted."""

    index: Annotated[int, Field(ge=0, lt=MOST_ROOMS)]
    use: Annotated[str, Field(min_length=1, max_length=32)]
    name: Annotated[str, Field(min_length=1, max_length=64)]
    x: Span
    y: Span
    width: Annotated[int, Field(ge=1, le=MOST)]
    height: Annotated[int, Field(ge=1, le=MOST)]
    exits: Annotated[tuple[Exit, ...], Field(max_length=32)]
    features: Annotated[tuple[Feature, ...], Field(max_length=16)]


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """A building: `tiles` uint8 of shape (height, width), and its rooms."""

    tiles: npt.NDArray[np.uint8]
    rooms: tuple[RoomBase, ...]


_USES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "house": (
        ("hall", ("hearth", "long table", "bench", "rushes", "lamp")),
        ("kitchen", ("oven", "butcher block", "shelf", "barrel", "herb rack")),
        ("bedroom", ("bed", "chest", "cradle", "wash stand")),
        ("pantry", ("sack", "barrel", "crock", "ham hook")),
        ("workroom", ("bench", "loom", "tool rack", "spinning wheel")),
        ("cellar", ("cask", "wine rack", "trapdoor", "coal heap")),
        ("study", ("desk", "book shelf", "map chest", "candle stand")),
        ("stable", ("manger", "hay rick", "saddle rack", "trough")),
    ),
    "den": (
        ("lair", ("bone heap", "nest", "claw marks", "bedding of leaves")),
        ("larder", ("carcass", "bone heap", "torn sack", "antlers")),
        ("gallery", ("rock fall", "drip stone", "pool", "bats' roost")),
        ("burrow", ("nest", "roots", "loose earth")),
        ("crypt", ("coffin", "stone slab", "broken lamp", "faded banner")),
        ("shrine", ("altar", "candle stump", "offering bowl", "cracked idol")),
    ),
}

_WILD_BIOMES = frozenset({"cave", "mountains", "marsh"})


@dataclass(slots=True)
class _Box:
    """A rectangle of floor, inner coordinates."""

    x: int
    y: int
    width: int
    height: int


def floor_plan(width: int, height: int, biome: str, seed: int) -> FloorPlan:
    """Return the rooms of a building of `width` x `height` tiles, outer walls included.

    Every room can be reached from the outside. A wild biome gives lairs instead of halls.
    Raises ValueError for an edge outside LEAST..MOST.
    """
    if not (LEAST <= width <= MOST and LEAST <= height <= MOST):
        raise ValueError(
            f"a floor plan is {LEAST} to {MOST} tiles wide and high, not {width}x{height}"
        )
    draw = Draw(seed, "rooms", width, height, biome)
    boxes = _split(_Box(1, 1, width - 2, height - 2), draw)
    tiles = np.full((height, width), Tile.WALL, dtype=np.uint8)
    for box in boxes:
        tiles[box.y : box.y + box.height, box.x : box.x + box.width] = Tile.FLOOR
    exits: list[list[Exit]] = [[] for _ in boxes]
    _join(boxes, exits, tiles, draw)
    _front_door(boxes, exits, tiles, draw)
    uses = _USES["den" if biome in _WILD_BIOMES else "house"]
    rooms = []
    names: set[str] = set()
    for number, box in enumerate(boxes):
        use, things = uses[0] if number == 0 else draw.pick(uses)
        name = room_name(draw, use)
        for _ in range(8):
            if name not in names:
                break
            name = room_name(draw, use)
        names.add(name)
        rooms.append(
            RoomBase(
                index=number,
                use=use,
                name=name,
                x=box.x,
                y=box.y,
                width=box.width,
                height=box.height,
                exits=tuple(exits[number]),
                features=_furnish(box, things, draw),
            )
        )
    return FloorPlan(tiles, tuple(rooms))


def _split(box: _Box, draw: Draw) -> list[_Box]:
    """Cut the box in two, across its longer side, until the pieces are rooms."""
    pending = [box]
    rooms: list[_Box] = []
    while pending:
        piece = pending.pop()
        long = max(piece.width, piece.height)
        full = len(pending) + len(rooms) + 2 > MOST_ROOMS
        if long < 7 or full or (long < 11 and draw.chance(350)):
            rooms.append(piece)
            continue
        cut = draw.between(3, long - 4)
        if piece.width >= piece.height:
            pending.append(_Box(piece.x + cut + 1, piece.y, piece.width - cut - 1, piece.height))
            pending.append(_Box(piece.x, piece.y, cut, piece.height))
        else:
            pending.append(_Box(piece.x, piece.y + cut + 1, piece.width, piece.height - cut - 1))
            pending.append(_Box(piece.x, piece.y, piece.width, cut))
    return rooms


def _shared_wall(a: _Box, b: _Box) -> list[tuple[Side, int, int]]:
    """Return where a door from a to b could be: its side of a, and its tile."""
    spots: list[tuple[Side, int, int]] = []
    top, low = max(a.y, b.y), min(a.y + a.height, b.y + b.height)
    left, right = max(a.x, b.x), min(a.x + a.width, b.x + b.width)
    if a.x + a.width + 1 == b.x:
        spots += [("east", b.x - 1, y) for y in range(top, low)]
    if b.x + b.width + 1 == a.x:
        spots += [("west", a.x - 1, y) for y in range(top, low)]
    if a.y + a.height + 1 == b.y:
        spots += [("south", x, b.y - 1) for x in range(left, right)]
    if b.y + b.height + 1 == a.y:
        spots += [("north", x, a.y - 1) for x in range(left, right)]
    return spots


_OPPOSITE: dict[Side, Side] = {
    "north": "south",
    "south": "north",
    "east": "west",
    "west": "east",
}


def _join(
    boxes: list[_Box],
    exits: list[list[Exit]],
    tiles: npt.NDArray[np.uint8],
    draw: Draw,
) -> None:
    """Put a door into enough shared walls to reach every room, and into some more for rounds."""
    group = list(range(len(boxes)))
    walls = [
        (a, b, spots)
        for a in range(len(boxes))
        for b in range(a + 1, len(boxes))
        if (spots := _shared_wall(boxes[a], boxes[b]))
    ]
    for a, b, spots in draw.some(walls, len(walls)):
        joined = group[a] == group[b]
        if joined and not draw.chance(150):
            continue
        side, x, y = draw.pick(spots)
        tiles[y, x] = Tile.FLOOR
        exits[a].append(Exit(side=side, x=x, y=y, to=b))
        exits[b].append(Exit(side=_OPPOSITE[side], x=x, y=y, to=a))
        old, new = group[b], group[a]
        group = [new if number == old else number for number in group]


def _front_door(
    boxes: list[_Box],
    exits: list[list[Exit]],
    tiles: npt.NDArray[np.uint8],
    draw: Draw,
) -> None:
    height = tiles.shape[0]
    outer = [n for n, box in enumerate(boxes) if box.y + box.height == height - 1]
    number = draw.pick(outer)
    box = boxes[number]
    x = box.x + draw.below(box.width)
    tiles[height - 1, x] = Tile.FLOOR
    exits[number].append(Exit(side="south", x=x, y=height - 1, to=-1))


def _furnish(box: _Box, things: tuple[str, ...], draw: Draw) -> tuple[Feature, ...]:
    spots = [
        (x, y)
        for y in range(box.y, box.y + box.height)
        for x in range(box.x, box.x + box.width)
        if x in (box.x, box.x + box.width - 1) or y in (box.y, box.y + box.height - 1)
    ]
    count = min(len(spots), 1 + box.width * box.height // 8, len(things), 16)
    where = draw.some(spots, count)
    return tuple(
        Feature(kind=kind, x=x, y=y)
        for kind, (x, y) in zip(draw.some(things, count), where, strict=True)
    )
