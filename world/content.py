"""What is asked of the four layers and what they give back: bounded schemas, each value checked.

Layer 1 (the foundation) is made from the seed alone and never changed by a model. What later
layers add stands beside it, each part with its source.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from foundation.strict import StrictModel
from world.generate.bestiary import MOST as MOST_MONSTERS
from world.generate.bestiary import MonsterBase
from world.generate.rooms import LEAST as LEAST_ROOM
from world.generate.rooms import MOST as MOST_ROOM
from world.generate.rooms import MOST_ROOMS, RoomBase
from world.generate.terrain import Biome
from world.tiles import KINDS

MOST_NPCS = 64
MOST_ACTS = 256
LARGEST_LAND = 256
"""The edge in tiles of the land of one request: its tiles are 64 KiB."""

Name = Annotated[str, Field(min_length=1, max_length=64)]
Line = Annotated[str, Field(min_length=1, max_length=400)]
Note = Annotated[str, Field(max_length=1_000)]
Source = Annotated[str, Field(min_length=1, max_length=80)]
EntityId = Annotated[int, Field(ge=1, lt=2**48)]
RoomEdge = Annotated[int, Field(ge=LEAST_ROOM, le=MOST_ROOM)]
MonsterIndex = Annotated[int, Field(ge=0, lt=MOST_MONSTERS)]


class PlayerContext(StrictModel):
    """Who asks, where they stand (in units, 256 a tile) and how far (in tiles) they reach.

    Dialogue is made for NPCs within `radius` only. `history` is player text: data, never instructions.
    """

    player: Annotated[str, Field(max_length=32)] = ""
    x: Annotated[int, Field(ge=0, lt=2**31)] = 0
    y: Annotated[int, Field(ge=0, lt=2**31)] = 0
    radius: Annotated[int, Field(ge=1, le=256)] = 100
    level: Annotated[int, Field(ge=1, le=100)] = 1
    history: Annotated[tuple[Line, ...], Field(max_length=16)] = ()


class ContentRequest(StrictModel):
    """One request for a piece of world.

    `size` is the edge of the land in tiles, `dimensions` width and height of the building in tiles,
    outer walls included. `monster_type` may be any species, a mod's too.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    monster_type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")] = "wolf"
    biome: Biome = "valley"
    size: Annotated[int, Field(ge=16, le=LARGEST_LAND)] = 64
    dimensions: tuple[RoomEdge, RoomEdge] = (16, 12)
    activate_npcs: bool = False
    requires_coordination: bool = False
    player_context: PlayerContext | None = None


class TerrainBase(StrictModel):
    """A land: `tiles` holds width x height bytes, row by row, each a `world.tiles.Tile`. Base64 in JSON."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    biome: Biome
    width: Annotated[int, Field(ge=16, le=LARGEST_LAND)]
    height: Annotated[int, Field(ge=16, le=LARGEST_LAND)]
    tiles: Annotated[bytes, Field(max_length=LARGEST_LAND * LARGEST_LAND)]

    @model_validator(mode="after")
    def _tiles_fit(self) -> Self:
        if len(self.tiles) != self.width * self.height:
            raise ValueError(f"{len(self.tiles)} tiles for {self.width}x{self.height}")
        if max(self.tiles) >= KINDS:
            raise ValueError(f"no tile has the number {max(self.tiles)}")
        return self


class Foundation(StrictModel):
    """Layer 1: equal to the bit for equal requests. Monsters and rooms are in the order of their index."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    terrain: TerrainBase
    rooms: Annotated[tuple[RoomBase, ...], Field(min_length=1, max_length=MOST_ROOMS)]
    monsters: Annotated[tuple[MonsterBase, ...], Field(max_length=MOST_MONSTERS)]

    @model_validator(mode="after")
    def _indices_run(self) -> Self:
        for what, parts in (("room", self.rooms), ("monster", self.monsters)):
            if [part.index for part in parts] != list(range(len(parts))):
                raise ValueError(f"each {what}'s index is its place in the list")
        return self


class MonsterTouch(StrictModel):
    """What layer 2 gives a monster: who it is. The base stays as it was."""

    index: MonsterIndex
    name: Name
    temper: Annotated[str, Field(max_length=160)]
    history: Note


class RoomTouch(StrictModel):
    """What layer 2 gives a room."""

    index: Annotated[int, Field(ge=0, lt=MOST_ROOMS)]
    name: Name
    details: Note


class Customization(StrictModel):
    """Layer 2: names and flavour beside the foundation. `source` is "procedural" or the model that wrote it."""

    source: Source
    land_name: Name
    monsters: Annotated[tuple[MonsterTouch, ...], Field(max_length=MOST_MONSTERS)]
    rooms: Annotated[tuple[RoomTouch, ...], Field(max_length=MOST_ROOMS)]


class NpcLine(StrictModel):
    """A line an NPC near the player has ready."""

    entity: EntityId
    name: Name
    text: Line
    source: Source


class Interactions(StrictModel):
    """Layer 3: dialogue for NPCs within the player's range; `deferred` are those beyond it."""

    lines: Annotated[tuple[NpcLine, ...], Field(max_length=MOST_NPCS)]
    deferred: Annotated[tuple[EntityId, ...], Field(max_length=MOST_ACTS)] = ()


class MonsterOrder(StrictModel):
    """What a plan wants of one monster, by its index."""

    monster: MonsterIndex
    tactic: Annotated[str, Field(min_length=1, max_length=32)]
    focus: Annotated[str, Field(max_length=64)] = ""


class Conflict(StrictModel):
    """An inconsistency that rules found between layers or entities, and what was done about it."""

    about: Name
    problem: Note
    resolution: Note
    resolved_by: Source


class Orchestration(StrictModel):
    """Layer 4: a light plan. `source` is "rules" where no model was asked or none answered."""

    source: Source
    tactic: Annotated[str, Field(min_length=1, max_length=32)]
    summary: Note
    orders: Annotated[tuple[MonsterOrder, ...], Field(max_length=MOST_MONSTERS)]
    conflicts: Annotated[tuple[Conflict, ...], Field(max_length=64)] = ()


class Degraded(StrictModel):
    """A part of the work that failed: its branch fell back, the request didn't fail."""

    node: Name
    reason: Note


class ContentResponse(StrictModel):
    """What the layers made. Layers that weren't asked for are None; `degraded` names what fell back."""

    request: ContentRequest
    foundation: Foundation
    customized: Customization
    interactions: Interactions | None = None
    orchestration: Orchestration | None = None
    degraded: Annotated[tuple[Degraded, ...], Field(max_length=64)] = ()

    @model_validator(mode="after")
    def _layers_agree(self) -> Self:
        base, touch = self.foundation, self.customized
        if base.seed != self.request.seed:
            raise ValueError("the foundation is another seed's")
        _each_known("monster", [m.index for m in touch.monsters], len(base.monsters))
        _each_known("room", [r.index for r in touch.rooms], len(base.rooms))
        if self.orchestration:
            orders = [order.monster for order in self.orchestration.orders]
            _each_known("monster", orders, len(base.monsters))
        return self


def _each_known(what: Literal["monster", "room"], indices: list[int], count: int) -> None:
    if len(set(indices)) != len(indices):
        raise ValueError(f"a {what} is named twice")
    if any(index >= count for index in indices):
        raise ValueError(f"there is no {what} {max(indices)}: the foundation has {count}")
