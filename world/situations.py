"""One entity's moment in plain English: the state panel that prompts and clients show."""

from __future__ import annotations

from typing import Final

from world import clock, maths
from world.entities import Rows
from world.frame import Near, Situation
from world.maths import TILE
from world.state import State
from world.tiles import Tile
from world.view import View

MAX_NEAR: Final = 16
MAX_TROUBLE: Final = 4
_GROUND: Final = {
    Tile.FOREST: "the forest",
    Tile.FIELD: "the fields",
    Tile.HILL: "the hills",
    Tile.ROAD: "the road",
    Tile.SAND: "the river bank",
    Tile.BRIDGE: "the bridge",
    Tile.RUIN: "the ruins",
    Tile.MUD: "the mud",
    Tile.WATER: "the water",
    Tile.DEEP_WATER: "the water",
    Tile.FLOOR: "indoors",
}


def situation(state: State, view: View, entity: int, radius: int) -> Situation | None:
    """The panel of one entity, with others within `radius` units; None if there is none."""
    row = state.row(entity)
    if row < 0:
        return None
    c, rules = state.columns, state.rules
    around = _near(state, view, row, radius)
    x, y = int(c.x[row]), int(c.y[row])
    group = int(c.group[row])
    info = state.groups.get(group)
    place = _place(state, row)
    return Situation(
        tick=state.tick,
        epoch=state.epoch,
        entity=entity,
        name=view.name(entity),
        species=rules.species_names[int(c.species[row])],
        time=clock.time_of_day(state.tick, state.day_ticks),
        hour=clock.hour(state.tick, state.day_ticks),
        place=place[1],
        place_key=place[0],
        mood=mood_word(state, row),
        mood_value=int(c.mood[row]),
        action=rules.activity_names[int(c.action[row])],
        near=around,
        trouble=_trouble(state, view, row),
        hp=int(c.hp[row]),
        max_hp=int(c.max_hp[row]),
        hunger=int(c.hunger[row]),
        fatigue=int(c.fatigue[row]),
        fear=int(c.fear[row]),
        x=x,
        y=y,
        group=group,
        group_name=info.name if info else "",
        target=int(c.target[row]),
        threat=int(c.threat[row]),
        player=bool(c.player[row]),
        alive=bool(c.died[row] < 0),
        downed=bool(c.downed_until[row] >= 0),
    )


def _near(state: State, view: View, row: int, radius: int) -> tuple[Near, ...]:
    c, rules = state.columns, state.rules
    rows, d2 = view.within(row, min(radius, 2**20))
    living = (rules.tables.alive[c.species[rows]] & (c.died[rows] < 0)).nonzero()[0][:MAX_NEAR]
    found = []
    for other, away in zip(rows[living].tolist(), maths.isqrt(d2[living]).tolist(), strict=True):
        entity = int(c.id[other])
        species = int(c.species[other])
        hostile = bool(rules.tables.threatens[int(c.species[row]), species])
        down = bool(c.downed_until[other] >= 0)
        named, kind = view.name(entity), rules.species_names[species]
        found.append(Near(entity, named, kind, away, hostile, down))
    return tuple(found)


def _place(state: State, row: int) -> tuple[str, str]:
    c = state.columns
    cell = (int(c.y[row]) // TILE, int(c.x[row]) // TILE)
    index = int(state.place_grid[cell])
    if index >= 0:
        place = state.place_list[index]
        return place.key, place.name
    return "", _GROUND.get(Tile(int(state.tiles[cell])), "the meadows")


def mood_word(state: State, row: int) -> str:
    """One word for how it feels, the most pressing first."""
    c = state.columns
    hp, most = int(c.hp[row]), max(1, int(c.max_hp[row]))
    mood = int(c.mood[row])
    for holds, word in (
        (hp * 10 < most * 4, "hurt"),
        (c.fear[row] >= 500, "afraid"),
        (c.threat[row] > 0, "wary"),
        (c.hunger[row] >= 750, "hungry"),
        (c.fatigue[row] >= 800, "tired"),
        (c.fear[row] >= 200, "uneasy"),
        (mood >= 350, "glad"),
        (mood >= 150, "content"),
        (mood >= -100, "calm"),
        (mood >= -300, "worried"),
    ):
        if holds:
            return word
    return "sad"


def _trouble(state: State, view: View, row: int) -> tuple[str, ...]:
    """What is wrong around it: beasts in sight first, then what befell people and things near."""
    c, rules = state.columns, state.rules
    rows, _ = view.within(row, 40 * TILE)
    up = (c.died[rows] < 0) & (c.downed_until[rows] < 0)
    harmful = rows[up & rules.tables.threatens[c.species[row]][c.species[rows]]]
    found: list[str] = []
    for code in dict.fromkeys(c.species[harmful].tolist()):
        pack = harmful[c.species[harmful] == code]
        found.append(_beasts(state, view, row, rules.species_names[code], pack))
    wounded = rows[c.downed_until[rows] >= 0]
    if wounded.size:
        other = int(wounded[0])
        found.append(f"{view.name(int(c.id[other]))} lies wounded at {_place(state, other)[1]}")
    fighting = rows[(state.tick - c.hurt_at[rows] < 100) & (c.hurt_at[rows] > 0)]
    if fighting.size:
        found.append(f"a fight at {_place(state, int(fighting[0]))[1]}")
    if state.globals.get("flood", 0) > 0:
        found.append("water rising")
    if state.globals.get("dam_broken", 0) > 0:
        found.append("the dam is broken")
    return tuple(found[:MAX_TROUBLE])


def _beasts(state: State, view: View, row: int, species: str, pack: Rows) -> str:
    c = state.columns
    first = int(pack[0])
    place = _place(state, first)[1]
    article = "an" if species[0] in "aeiou" else "a"
    close = view.distance2(row, first) < (12 * TILE) ** 2
    if species == "vampire" and not close:
        return "a vampire in the dark"
    if len(pack) == 1:
        return f"{article} {species} nearby" if close else f"{article} {species} at {place}"
    many = "wolves" if species == "wolf" else f"{species}s"
    asleep = bool((c.action[pack] == state.rules.activity_code["rest"]).all())
    verb = "sleep" if asleep else "howl" if species == "wolf" else "prowl"
    return f"{many} nearby" if close else f"{many} {verb} near {place}"
