"""Layer 1: the land, the rooms and the monsters of a request, each from the seed alone."""

from __future__ import annotations

from world.content import (
    ContentRequest,
    Customization,
    Foundation,
    MonsterTouch,
    RoomTouch,
    TerrainBase,
)
from world.generate import bestiary, rooms, terrain
from world.generate.draw import Draw
from world.generate.names import place_name


def terrain_base(request: ContentRequest) -> TerrainBase:
    """Return the land: tiles row by row and how much of each kind there is."""
    plan = terrain.plan_for(request.biome, request.size, request.size, request.seed)
    land = terrain.generate(plan, request.seed)
    return TerrainBase(
        biome=request.biome, width=request.size, height=request.size, tiles=land.tiles.tobytes()
    )


def room_bases(request: ContentRequest) -> tuple[rooms.RoomBase, ...]:
    """Return the rooms of a building of the request's dimensions."""
    width, height = request.dimensions
    return rooms.floor_plan(width, height, request.biome, request.seed).rooms


def monster_base(request: ContentRequest, index: int) -> bestiary.MonsterBase:
    """Return the monster of that index; it doesn't depend on how many are made."""
    return bestiary.monster(index, request.monster_type, request.biome, request.size, request.seed)


def foundation(request: ContentRequest) -> Foundation:
    """Return layer 1 whole. Its parts don't need one another, so a pipeline may make each by itself."""
    count = bestiary.how_many(request.size)
    return Foundation(
        seed=request.seed,
        terrain=terrain_base(request),
        rooms=room_bases(request),
        monsters=tuple(monster_base(request, index) for index in range(count)),
    )


def plain_customization(base: Foundation) -> Customization:
    """Return layer 2 without a model: names from the lists, tempers from the numbers."""
    draw = Draw(base.seed, "land name", base.terrain.biome)
    return Customization(
        source="procedural",
        land_name=place_name(draw, base.terrain.biome),
        monsters=tuple(
            MonsterTouch(
                index=beast.index,
                name=beast.byname,
                temper=", ".join(beast.temper),
                history=_history(beast),
            )
            for beast in base.monsters
        ),
        rooms=tuple(
            RoomTouch(index=room.index, name=room.name, details=_details(room))
            for room in base.rooms
        ),
    )


def _history(beast: bestiary.MonsterBase) -> str:
    years = {"young": "its first winter", "grown": "a few winters"}.get(beast.grade, "many winters")
    hunger = "has not eaten for days" if beast.hunger > 550 else "feeds well"
    article = "An" if beast.grade == "elder" else "A"
    return f"{article} {beast.grade} {beast.monster_type} of the {beast.biome}. It has seen {years} and {hunger}."


def _details(room: rooms.RoomBase) -> str:
    things = ", ".join(feature.kind for feature in room.features) or "nothing but dust"
    size = "cramped" if room.width * room.height < 12 else "wide"
    return f"A {size} {room.use}: {things}."
