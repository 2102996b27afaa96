"""A scene's places put onto its landscape: works in the river, open ground, buildings, houses, roads."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from world.compiled import Place
from world.errors import SceneError
from world.generate import roads, stamps
from world.generate.draw import Draw
from world.generate.names import surname
from world.generate.noise import FULL, fractal_noise
from world.generate.stamps import Stamped
from world.generate.terrain import Mask, Region, River, TerrainPlan, Tiles, generate, parcels
from world.maths import TILE
from world.scene.loading import SCENE_FILE, Problem, fail
from world.scene.schema import PlaceTable, Scene
from world.tiles import WALKABLE, Tile

SLACK = 14
"""Tiles that a building may be moved from where the scene wishes it, to find room."""

PEOPLE_PER_HOUSE = 4

_ORDER: tuple[tuple[str, ...], ...] = (
    ("pond",),
    ("dam",),
    ("bridge", "jetty"),
    ("field", "pasture"),
    ("green", "edge", "camp", "market"),
    ("castle", "den"),
    ("spring", "pass"),
    ("fold",),
    tuple(sorted(stamps.BUILDINGS)),
)
"""Later stamps go over earlier ones: river, ground, ruins, buildings."""


@dataclass(slots=True)
class Layout:
    """A map in the making: `tiles` uint8 and `taken` bool of shape (height, width)."""

    tiles: Tiles
    taken: Mask
    spared: Mask
    stamped: dict[str, Stamped] = field(default_factory=dict)
    places: dict[str, Place] = field(default_factory=dict)
    houses: list[str] = field(default_factory=list)


def terrain_plan(scene: Scene) -> TerrainPlan:
    """Return the landscape that the scene describes."""
    table = scene.terrain
    return TerrainPlan(
        width=scene.width,
        height=scene.height,
        biome=table.biome,
        rim=table.rim,
        rivers=tuple(River(r.course, r.width, r.meander, r.name) for r in table.rivers),
        regions=tuple(Region(r.ground, *r.at, *r.size, r.name) for r in table.regions),
    )


def lay_out(scene: Scene, seed: int, generated: int) -> Layout:
    """Return the scene's map with its places, and houses for so many generated villagers.

    Raises SceneError for a place in the water, off the map, without room, without its river or out
    of reach on foot.
    """
    land = generate(terrain_plan(scene), seed)
    height, width = land.tiles.shape
    layout = Layout(
        land.tiles.copy(),
        np.zeros((height, width), dtype=np.bool_),
        np.zeros((height, width), dtype=np.bool_),
    )
    fail(_in_water(scene, layout))
    problems: list[Problem] = []
    targets = {place.key: place.at for place in scene.places}
    targets[""] = targets[scene.settlement.centre]
    for kinds in _ORDER:
        for place in scene.places:
            if place.kind in kinds:
                problems += _stamp(place, layout, targets, seed)
    fail(problems)
    _roads(scene, layout, seed)
    if generated:
        _houses(scene, layout, seed, generated)
    return layout


def _in_water(scene: Scene, layout: Layout) -> list[Problem]:
    """Name the places, players and creatures whose spot the river has, each with the nearest dry tile."""
    wet = stamps.is_wet(layout.tiles)
    dry = WALKABLE[layout.tiles]
    spots = [
        (f"place[{n}] {place.key!r}.at", place.at)
        for n, place in enumerate(scene.places)
        if place.kind not in stamps.RIVER_WORKS
    ]
    spots += [(f"player_starts[{n}]", at) for n, at in enumerate(scene.player_starts)]
    spots += [
        (f"herd[{n}] {herd.species!r}.at", herd.at)
        for n, herd in enumerate(scene.herds)
        if not isinstance(herd.at, str)
    ]
    spots += [
        (f"object[{n}] {thing.species!r}.at", thing.at)
        for n, thing in enumerate(scene.objects)
        if not isinstance(thing.at, str)
    ]
    problems = []
    for key, (x, y) in spots:
        if wet[y, x]:
            near = stamps.nearest(dry, x, y, max(dry.shape))
            mend = (
                f"the nearest dry tile is [{near[0]}, {near[1]}]"
                if near
                else "the map is all water"
            )
            problems.append(Problem(SCENE_FILE, key, f"[{x}, {y}] lies in the water", mend))
    return problems


def _stamp(
    place: PlaceTable, layout: Layout, targets: dict[str, tuple[int, int]], seed: int
) -> list[Problem]:
    """Stamp one place and note where it came to lie; return what kept it from being stamped."""
    width, height = place.size or stamps.SIZES[place.kind]
    x, y = place.at
    rows, columns = layout.tiles.shape
    if place.kind in stamps.BUILDINGS and min(width, height) < 4:
        mend = "a building is 4 tiles wide and high at least"
        return [Problem(SCENE_FILE, f"place {place.key!r}.size", f"{width}x{height}", mend)]
    within = width // 2 < x < columns - width // 2 - 1 and height // 2 < y < rows - height // 2 - 1
    if not within and place.kind not in ("field", "pasture", "pond", "bridge", "dam", "jetty"):
        what = f"{width}x{height} tiles around [{x}, {y}] run over the map's edge"
        return [Problem(SCENE_FILE, f"place {place.key!r}.at", what, "move it inwards")]
    target = targets[place.faces or ""]
    if place.kind in stamps.RIVER_WORKS:
        stamped = _river_work(place.kind, layout, x, y, width, height, seed)
        if stamped is None:
            what = f"no river to put a {place.kind} into within reach of [{x}, {y}]"
            mend = "move it to a row that the river crosses, away from the map's edge"
            return [Problem(SCENE_FILE, f"place {place.key!r}.at", what, mend)]
    elif place.kind in stamps.BUILDINGS:
        free = ~stamps.blocked_for_building(layout.tiles, layout.taken)
        site = stamps.nearest(stamps.sites(free, width + 2, height + 2), x, y, SLACK)
        if site is None:
            what = f"no room for {width}x{height} tiles within {SLACK} tiles of [{x}, {y}]"
            return [Problem(SCENE_FILE, f"place {place.key!r}.at", what, "move or shrink it")]
        # A site counts from the yard's corner, a building from its own.
        x, y = (
            site[0] - (width + 2) // 2 + 1 + width // 2,
            site[1] - (height + 2) // 2 + 1 + height // 2,
        )
        stamped = stamps.building(layout.tiles, x, y, width, height, target)
    else:
        stamped = _ground(place.kind, layout, (x, y), (width, height), target, seed)
    _note(layout, place.key, place.name, place.kind, stamped)
    _take(layout, place.kind, x, y, width, height)
    return []


def _river_work(
    kind: str, layout: Layout, x: int, y: int, width: int, height: int, seed: int
) -> Stamped | None:
    if not 2 <= y < layout.tiles.shape[0] - height - 2:
        return None
    if kind == "bridge":
        return stamps.bridge(layout.tiles, x, y, height)
    if kind == "dam":
        return stamps.dam(layout.tiles, x, y, height)
    if kind == "jetty":
        return stamps.jetty(layout.tiles, x, y, width)
    rows, columns = layout.tiles.shape
    ragged = fractal_noise(rows, columns, 9, 2, seed, "shore")
    return stamps.pond(layout.tiles, x, y, width, height, ragged)


def _ground(
    kind: str,
    layout: Layout,
    at: tuple[int, int],
    size: tuple[int, int],
    target: tuple[int, int],
    seed: int,
) -> Stamped:
    tiles, (x, y), (width, height) = layout.tiles, at, size
    rows, columns = tiles.shape
    if kind == "field":
        ragged = fractal_noise(rows, columns, 7, 2, seed, "headland") > FULL * 3 // 5
        keep = ~parcels(rows, columns, seed) | ragged
        return stamps.open_ground(tiles, x, y, width, height, Tile.FIELD, keep)
    if kind == "market":
        return stamps.square(tiles, x, y, width, height)
    if kind == "fold":
        return stamps.fold(tiles, x, y, width, height, target)
    if kind == "den":
        return stamps.den(tiles, x, y, width, height, target)
    if kind == "castle":
        return stamps.castle(tiles, x, y, width, height, target, Draw(seed, "ruin", x, y))
    if kind == "spring":
        return stamps.spring(tiles, x, y)
    if kind == "pass":
        return stamps.mountain_pass(tiles, x, y)
    keep = np.zeros(tiles.shape, dtype=np.bool_)
    if kind in ("edge", "camp"):
        keep = tiles == Tile.ROAD
    return stamps.open_ground(tiles, x, y, width, height, Tile.GRASS, keep)


def _take(layout: Layout, kind: str, x: int, y: int, width: int, height: int) -> None:
    """Keep houses off what was stamped, with a margin."""
    margin = 1 if kind in stamps.BUILDINGS else 2
    top, left = max(0, y - height // 2 - margin), max(0, x - width // 2 - margin)
    low, right = y - height // 2 + height + margin, x - width // 2 + width + margin
    layout.taken[top:low, left:right] = True
    if kind == "green":
        inner = layout.spared[top + margin : low - margin, left + margin : right - margin]
        inner[:] = True


def _note(layout: Layout, key: str, name: str, kind: str, stamped: Stamped) -> None:
    layout.stamped[key] = stamped
    layout.places[key] = Place(
        key=key,
        name=name,
        x=stamped.x * TILE + TILE // 2,
        y=stamped.y * TILE + TILE // 2,
        radius=stamped.radius * TILE,
        kind=kind,
    )


def _roads(scene: Scene, layout: Layout, seed: int) -> None:
    """Join each place to the centre by its cheapest way, then see that all can be reached on foot."""
    centre = layout.stamped[scene.settlement.centre]
    costs = roads.road_costs(layout.tiles, seed)
    following, _ = roads.towards(costs, centre.x, centre.y)
    for place in scene.places:
        spot = layout.stamped[place.key]
        roads.lay(
            layout.tiles,
            following,
            spot.door_x,
            spot.door_y,
            paved=place.way == "road",
            spared=layout.spared,
        )
    walked = roads.reachable(layout.tiles, centre.x, centre.y)
    problems = []
    for number, place in enumerate(scene.places):
        spot = layout.stamped[place.key]
        if not walked[spot.y, spot.x]:
            what = f"{place.name} can't be reached on foot from {scene.settlement.centre!r}"
            key = f"place[{number}] {place.key!r}.at"
            problems.append(Problem(SCENE_FILE, key, what, "add a bridge, or move it"))
    for number, (x, y) in enumerate(scene.player_starts):
        near = stamps.nearest(walked, x, y, SLACK)
        if near is None:
            what = f"[{x}, {y}] can't be reached on foot from {scene.settlement.centre!r}"
            problems.append(Problem(SCENE_FILE, f"player_starts[{number}]", what, "move it"))
    fail(problems)


def _houses(scene: Scene, layout: Layout, seed: int, generated: int) -> None:
    """Build houses along the roads, nearest to the centre first, each with a path to its door."""
    centre = layout.stamped[scene.settlement.centre]
    wanted = min(scene.settlement.most_houses, -(-generated // PEOPLE_PER_HOUSE))
    _, price = roads.towards(roads.road_costs(layout.tiles, seed), centre.x, centre.y)
    free = ~stamps.blocked_for_building(layout.tiles, layout.taken) & (price >= 0)
    free &= ~_wilds(layout)
    ys = np.arange(price.shape[0], dtype=np.int64)[:, None] - centre.y
    xs = np.arange(price.shape[1], dtype=np.int64)[None, :] - centre.x
    # The way decides, so that houses line the roads; the distance keeps the village together.
    price = price + (xs * xs + ys * ys) * 4 // 5
    doors = []
    for number in range(wanted):
        draw = Draw(seed, "house", number)
        width, height = draw.between(5, 7), draw.between(5, 6)
        margin = 4
        fit = stamps.sites(free, width + margin, height + margin)
        if not fit.any():
            break
        costs = np.where(fit, price, np.iinfo(np.int64).max)
        y, x = divmod(int(np.argmin(costs)), layout.tiles.shape[1])
        left, top = (
            x - (width + margin) // 2 + margin // 2,
            y - (height + margin) // 2 + margin // 2,
        )
        x, y = left + width // 2, top + height // 2
        stamped = stamps.building(layout.tiles, x, y, width, height, _street(layout, x, y, centre))
        free[top - 1 : top + height + 1, left - 1 : left + width + 1] = False
        free[stamped.door_y, stamped.door_x] = False
        key = f"house_{number + 1:03d}"
        name = f"the {surname(Draw(seed, 'family', number))} house"
        _note(layout, key, name, "house", stamped)
        layout.houses.append(key)
        doors.append((stamped.door_x, stamped.door_y))
    if not layout.houses:
        raise SceneError(
            f"{SCENE_FILE}: settlement: no room for a single house near {scene.settlement.centre!r}",
            "widen the map, or ask for fewer villagers",
        )
    following, _ = roads.towards(roads.road_costs(layout.tiles, seed), centre.x, centre.y)
    for x, y in doors:
        roads.lay(layout.tiles, following, x, y, paved=True, spared=layout.spared)
    walked = roads.reachable(layout.tiles, centre.x, centre.y)
    for key in list(layout.houses):
        spot = layout.stamped[key]
        if not walked[spot.y, spot.x]:
            layout.houses.remove(key)
            del layout.places[key], layout.stamped[key]


def _wilds(layout: Layout) -> Mask:
    """Return the ground too near to dens and ruins for anyone to build on."""
    wild = np.zeros(layout.tiles.shape, dtype=np.bool_)
    for key, place in layout.places.items():
        if place.kind in ("castle", "den", "spring"):
            spot = layout.stamped[key]
            reach = spot.radius + 18
            top, left = max(0, spot.y - reach), max(0, spot.x - reach)
            wild[top : spot.y + reach, left : spot.x + reach] = True
    return wild


def _street(layout: Layout, x: int, y: int, centre: Stamped) -> tuple[int, int]:
    """Return what a house looks at: the nearest road, else the centre."""
    near = stamps.nearest(layout.tiles == Tile.ROAD, x, y, 12)
    return near or (centre.x, centre.y)
