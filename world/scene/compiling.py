"""A scene made ready to live: map, places, people, herds and things, a pure function of scene and seed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from foundation.errors import UsageError
from world.compiled import (
    CommonKnowledge,
    CompiledScene,
    GroupInfo,
    PersonaCard,
    Relation,
    Secret,
    Spawn,
)
from world.errors import SceneError
from world.generate import roads, stamps
from world.generate.draw import Draw
from world.generate.terrain import Mask
from world.generate.villagers import Lore, Villager, acquaintances, directions, populate
from world.maths import TILE
from world.scene.layout import Layout, lay_out
from world.scene.loading import SCENE_FILE, VILLAGERS_FILE, Problem, fail, mend_for
from world.scene.schema import MOST_VILLAGERS, CharacterTable, Scene
from world.tiles import Tile

GENERATED_SPECIES = "villager"
"""The species of villagers that nobody has written."""


def compile_scene(
    scene: Scene, species: Collection[str], seed: int | None = None, npcs: int | None = None
) -> CompiledScene:
    """Return the scene's world at tick 0.

    `species` are the ruleset's names; `seed` None takes the scene's own. `npcs` is how many villagers
    there are in all: the written ones first, in the order of their file, then generated ones; None
    means the written ones.

    Raises SceneError for unknown species, places in the water or out of reach; UsageError for a
    number of villagers or a seed out of bounds.
    """
    seed = scene.seed if seed is None else seed
    if not 0 <= seed < 2**63:
        raise UsageError(f"a seed is a whole number from 0 to 2**63-1, not {seed}")
    npcs = len(scene.villagers) if npcs is None else npcs
    if not 0 <= npcs <= MOST_VILLAGERS:
        raise UsageError(f"a scene takes 0 to {MOST_VILLAGERS} villagers, not {npcs}")
    written = scene.villagers[:npcs]
    generated = npcs - len(written)
    fail(list(_unknown_species(scene, species, generated)))
    layout = lay_out(scene, seed, generated)
    centre = layout.stamped[scene.settlement.centre]
    walked = roads.reachable(layout.tiles, centre.x, centre.y)
    groups = {
        number: GroupInfo(group.name, group.species, group.leader)
        for number, group in enumerate(scene.groups, 1)
    }
    characters = (*scene.characters, *written)
    personas = {c.key: _card(c, scene.settlement.name) for c in characters}
    people = _generated(scene, layout, personas, characters, generated, seed)
    personas.update((villager.card.key, villager.card) for villager in people)
    spawns = [
        *_characters(scene, layout, walked, characters, people, species),
        *_herds(scene, layout, walked, seed),
        *_objects(scene, layout, walked),
    ]
    layout.tiles.setflags(write=False)
    return CompiledScene(
        name=scene.name,
        size=(scene.width, scene.height),
        tiles=layout.tiles,
        places=layout.places,
        spawns=tuple(spawns),
        player_starts=_player_starts(scene, walked),
        seed=seed,
        day_ticks=scene.day_ticks,
        groups=groups,
        personas=personas,
        common=CommonKnowledge(
            scene.common_knowledge,
            {
                number: group.common_knowledge
                for number, group in enumerate(scene.groups, 1)
                if group.common_knowledge
            },
        ),
    )


def _unknown_species(scene: Scene, species: Collection[str], generated: int) -> Iterator[Problem]:
    used = [
        (SCENE_FILE, f"character[{n}] {c.key!r}.species", c.species)
        for n, c in enumerate(scene.characters)
    ]
    used += [
        (VILLAGERS_FILE, f"villager[{n}] {c.key!r}.species", c.species)
        for n, c in enumerate(scene.villagers)
    ]
    used += [
        (SCENE_FILE, f"group[{n}] {g.key!r}.species", g.species) for n, g in enumerate(scene.groups)
    ]
    used += [(SCENE_FILE, f"herd[{n}].species", h.species) for n, h in enumerate(scene.herds)]
    used += [(SCENE_FILE, f"object[{n}].species", o.species) for n, o in enumerate(scene.objects)]
    if generated:
        used.append((SCENE_FILE, "settlement", GENERATED_SPECIES))
    for file, key, word in used:
        if word not in species:
            what = f"there is no species {word!r}"
            yield Problem(file, key, what, mend_for(word, species, "species"))


def _card(character: CharacterTable, village: str) -> PersonaCard:
    secret = character.secret
    return PersonaCard(
        key=character.key,
        name=character.name,
        trade=character.trade,
        place=character.place or village,
        temper=character.temper,
        persona=character.persona,
        knows=character.knows,
        secret=Secret(secret.text, secret.trust) if secret else None,
        relations=tuple(Relation(r.to, r.kind, r.feeling) for r in character.relations),
    )


def _generated(
    scene: Scene,
    layout: Layout,
    personas: Mapping[str, PersonaCard],
    characters: Sequence[CharacterTable],
    count: int,
    seed: int,
) -> tuple[Villager, ...]:
    if not count:
        return ()
    centre = scene.settlement.centre
    village = ("", scene.settlement.name)
    works = {c.key: layout.places[c.work] for c in characters if c.place in village}
    named = {place.kind: place.name for place in reversed(list(layout.places.values()))}
    woods = [r.name for r in scene.terrain.regions if r.ground == "forest" and r.name]
    rivers = [r.name for r in scene.terrain.rivers]
    names = {
        "village": scene.settlement.name,
        "inn": named.get("inn", "the inn"),
        "ruin": named.get("castle", "the old ruin"),
        "wood": woods[0] if woods else "the wood",
        "river": rivers[0] if rivers else "the river",
    }
    lore = Lore(
        rumours=scene.settlement.rumours,
        faces=tuple(acquaintances(personas, works)),
        ways=tuple(directions(layout.places, layout.places[centre])),
        names=names,
    )
    taken = [card.name for card in personas.values()]
    return populate(count, layout.houses, layout.places, centre, lore, taken, seed)


def _characters(
    scene: Scene,
    layout: Layout,
    walked: Mask,
    characters: Sequence[CharacterTable],
    people: Sequence[Villager],
    species: Collection[str],
) -> Iterator[Spawn]:
    """Wake everyone at home, side by side where several share a roof."""
    groups = {group.key: number for number, group in enumerate(scene.groups, 1)}
    everyone = [
        (c.species, c.name, c.home, c.work, groups.get(c.group or "", 0), c.key) for c in characters
    ]
    everyone += [
        (
            v.species if v.species in species else GENERATED_SPECIES,
            v.card.name,
            v.home,
            v.work,
            0,
            v.card.key,
        )
        for v in people
    ]
    beds: dict[str, list[tuple[int, int]]] = {}
    asleep: dict[str, int] = {}
    for kind, name, home, work, group, key in everyone:
        if home not in beds:
            beds[home] = _beds(layout, walked, home)
        number = asleep.get(home, 0)
        asleep[home] = number + 1
        x, y = beds[home][number % len(beds[home])]
        yield Spawn(kind, *_middle(x, y), name, home, work, group, key)


def _beds(layout: Layout, walked: Mask, home: str) -> list[tuple[int, int]]:
    """Return the tiles like the home's own within two steps of it, nearest first."""
    spot = layout.stamped[home]
    same = walked & (layout.tiles == layout.tiles[spot.y, spot.x])
    return _nearest_tiles(same, spot.x, spot.y, 2) or [(spot.x, spot.y)]


def _nearest_tiles(mask: Mask, x: int, y: int, reach: int) -> list[tuple[int, int]]:
    height, width = mask.shape
    top, left = max(0, y - reach), max(0, x - reach)
    found = np.argwhere(mask[top : min(height, y + reach + 1), left : min(width, x + reach + 1)])
    tiles = [(int(column) + left, int(row) + top) for row, column in found]
    return sorted(
        tiles, key=lambda tile: ((tile[0] - x) ** 2 + (tile[1] - y) ** 2, tile[1], tile[0])
    )


def _herds(scene: Scene, layout: Layout, walked: Mask, seed: int) -> Iterator[Spawn]:
    groups = {group.key: number for number, group in enumerate(scene.groups, 1)}
    outdoors = walked & (layout.tiles != Tile.FLOOR)
    for number, herd in enumerate(scene.herds):
        if isinstance(herd.at, str):
            spot = layout.stamped[herd.at]
            x, y = spot.x, spot.y
        else:
            x, y = herd.at
        ground = _nearest_tiles(outdoors, x, y, herd.spread)
        if not ground:
            near = stamps.nearest(outdoors, x, y, max(outdoors.shape))
            assert near is not None, "the centre can be walked"
            key = f"{SCENE_FILE}: herd[{number}] {herd.species!r}.at"
            raise SceneError(
                f"{key}: nothing can stand within {herd.spread} tiles of [{x}, {y}]",
                f"the nearest tile is [{near[0]}, {near[1]}]",
            )
        draw = Draw(seed, "herd", number, herd.species)
        chosen = draw.some(ground, herd.count)
        group = groups.get(herd.group or "", 0)
        for member in range(herd.count):
            name = herd.names[member] if member < len(herd.names) else ""
            at = chosen[member % len(chosen)]
            yield Spawn(herd.species, *_middle(*at), name, herd.home or "", "", group)


def _objects(scene: Scene, layout: Layout, walked: Mask) -> Iterator[Spawn]:
    """Put each thing beside its place's middle, on the same kind of ground and never two on a tile."""
    used: set[tuple[int, int]] = set()
    for thing in scene.objects:
        if isinstance(thing.at, str):
            spot = layout.stamped[thing.at]
            x, y, least = spot.x, spot.y, 1
        else:
            (x, y), least = thing.at, 0
        near = _nearest_tiles(walked, x, y, 8)
        same = [at for at in near if layout.tiles[at[1], at[0]] == layout.tiles[y, x]]
        far = [at for at in same if (at[0] - x) ** 2 + (at[1] - y) ** 2 >= least]
        free = [at for at in (*far, *near) if at not in used]
        at = free[0] if free else (x, y)
        used.add(at)
        home = thing.at if isinstance(thing.at, str) else ""
        yield Spawn(thing.species, *_middle(*at), thing.name, home)


def _player_starts(scene: Scene, walked: Mask) -> tuple[tuple[int, int], ...]:
    starts = []
    for x, y in scene.player_starts:
        near = stamps.nearest(walked, x, y, max(walked.shape))
        assert near is not None, "the centre can be walked"
        starts.append(_middle(*near))
    return tuple(starts)


def _middle(x: int, y: int) -> tuple[int, int]:
    """Return the middle of a tile, in units."""
    return x * TILE + TILE // 2, y * TILE + TILE // 2
