"""What a scene folder may hold: `scene.toml` and `villagers.toml` as strict, bounded schemas.

Coordinates are tiles, (0, 0) in the north-west, y grows southwards. Keys name places, groups and
characters; a key is lower case with underscores.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from foundation.strict import StrictModel
from world.compiled import MAX_COMMON
from world.generate.terrain import LARGEST, Biome, Ground

SMALLEST_SCENE = 48
"""The least edge of a scene's map in tiles."""

MOST_VILLAGERS = 20_000

Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Fact = Annotated[str, Field(min_length=1, max_length=240)]
Common = Annotated[str, Field(max_length=MAX_COMMON)]
"""What all of some know: told to every mind among them, so that nobody else's secret may stand in it."""
Coordinate = Annotated[int, Field(ge=0, lt=LARGEST)]
Point = tuple[Coordinate, Coordinate]
Extent = tuple[Annotated[int, Field(ge=1, le=128)], Annotated[int, Field(ge=1, le=128)]]
Spot = Key | Point
"""A place's key, or a tile."""


class _Table(StrictModel):
    """A TOML table: arrays of tables have singular names there and plural ones in Python."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)


class RiverTable(_Table):
    """A river along points, source first; `width` and `meander` in tiles."""

    name: Name
    course: Annotated[tuple[Point, ...], Field(min_length=2, max_length=64)]
    width: Annotated[int, Field(ge=2, le=24)] = 6
    meander: Annotated[int, Field(ge=0, le=8)] = 2


class RegionTable(_Table):
    """An ellipse of a kind of ground around `at` with half axes `size`."""

    name: Annotated[str, Field(max_length=64)] = ""
    ground: Ground
    at: Point
    size: Extent


class TerrainTable(_Table):
    """The landscape: biome, width of the hills around, rivers, regions."""

    biome: Biome = "valley"
    rim: Annotated[int, Field(ge=0, le=64)] = 12
    rivers: Annotated[tuple[RiverTable, ...], Field(max_length=4, alias="river")] = ()
    regions: Annotated[tuple[RegionTable, ...], Field(max_length=64, alias="region")] = ()


class SettlementTable(_Table):
    """The village: its name, its centre, and how generated villagers are housed and what they say."""

    name: Name
    centre: Key
    most_houses: Annotated[int, Field(ge=1, le=400)] = 140
    rumours: Annotated[tuple[Fact, ...], Field(max_length=64)] = ()


class PlaceTable(_Table):
    """A named place. `kind` says what is built there; `way` how it is joined to the centre."""

    key: Key
    name: Name
    kind: Annotated[str, Field(min_length=1, max_length=32)]
    at: Point
    size: Extent | None = None
    way: Literal["road", "trail"] = "road"
    faces: Key | None = None


class GroupTable(_Table):
    """A pack, a coven, a watch; `leader` is the name of one of its members."""

    key: Key
    name: Name
    species: Key
    leader: Annotated[str, Field(max_length=64)] = ""
    common_knowledge: Common = ""


class SecretTable(_Table):
    """What is told only to those trusted enough; `trust` in thousandths."""

    text: Fact
    trust: Annotated[int, Field(ge=0, le=1000)]


class RelationTable(_Table):
    """How someone stands to another character; `feeling` -1000..1000."""

    to: Key
    kind: Name
    feeling: Annotated[int, Field(ge=-1000, le=1000)]


class CharacterTable(_Table):
    """Someone with a name, a home and things to say."""

    key: Key
    name: Name
    species: Key = "villager"
    group: Key | None = None
    place: Annotated[str, Field(max_length=64)] = ""
    trade: Name
    home: Key
    work: Key
    temper: Name
    persona: Annotated[str, Field(min_length=1, max_length=480)]
    knows: Annotated[tuple[Fact, ...], Field(max_length=12)] = ()
    secret: SecretTable | None = None
    relations: Annotated[tuple[RelationTable, ...], Field(max_length=16)] = ()


class HerdTable(_Table):
    """Creatures without personas: `count` of them within `spread` tiles of `at`."""

    species: Key
    count: Annotated[int, Field(ge=1, le=2_000)] = 1
    at: Spot
    spread: Annotated[int, Field(ge=0, le=64)] = 4
    home: Key | None = None
    group: Key | None = None
    names: Annotated[tuple[Name, ...], Field(max_length=2_000)] = ()


class ObjectTable(_Table):
    """A thing beside a place or on a tile."""

    species: Key
    name: Annotated[str, Field(max_length=64)] = ""
    at: Spot


class SceneTable(_Table):
    """The whole of `scene.toml`."""

    name: Key
    title: Name
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    width: Annotated[int, Field(ge=SMALLEST_SCENE, le=LARGEST)] = 192
    height: Annotated[int, Field(ge=SMALLEST_SCENE, le=LARGEST)] = 192
    day_ticks: Annotated[int, Field(ge=240, le=10_000_000)] = 24_000
    common_knowledge: Common = ""
    player_starts: Annotated[tuple[Point, ...], Field(min_length=1, max_length=64)]
    terrain: TerrainTable = TerrainTable()
    settlement: SettlementTable
    places: Annotated[tuple[PlaceTable, ...], Field(min_length=1, max_length=256, alias="place")]
    groups: Annotated[tuple[GroupTable, ...], Field(max_length=64, alias="group")] = ()
    characters: Annotated[tuple[CharacterTable, ...], Field(max_length=256, alias="character")] = ()
    herds: Annotated[tuple[HerdTable, ...], Field(max_length=128, alias="herd")] = ()
    objects: Annotated[tuple[ObjectTable, ...], Field(max_length=256, alias="object")] = ()


class VillagersTable(_Table):
    """The whole of `villagers.toml`."""

    villagers: Annotated[tuple[CharacterTable, ...], Field(max_length=1_000, alias="villager")] = ()


class Scene(SceneTable):
    """A scene, read and checked: `scene.toml` with the people of `villagers.toml` in `villagers`."""

    villagers: Annotated[tuple[CharacterTable, ...], Field(max_length=1_000)] = ()
