"""Which groups have foes in sight, and what their leaders see of the field."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from actors.fighters import Fighter, GroupView
from world.compiled import GroupInfo
from world.entities import INDEX
from world.events import Event
from world.maths import TILE
from world.tiles import Tile
from world.world import World

__all__ = ["Alarms", "distances_to_players", "group_view", "groups_of"]

MAX_FIGHTERS: Final = 24
MOST_VIEWS: Final = 8
"""Groups that are told how things stand in one tick; the others' turn comes in the next ones."""
SIGHT: Final = 18 * TILE
"""How far from any member foes are seen, in units."""
_TOLD: Final = np.array(
    [INDEX[n] for n in ["id", "species", "hp", "max_hp", "attack", "defence", "x", "y", "player"]],
    dtype=np.intp,
)
"""What is told of a fighter, as rows of the columns."""
_ALARMING: Final = frozenset({"attacked", "threat", "died", "downed"})
_GROUND: Final = {
    Tile.FOREST: "forest",
    Tile.HILL: "hill",
    Tile.FLOOR: "indoors",
    Tile.ROAD: "road",
    Tile.BRIDGE: "bridge",
    Tile.RUIN: "ruins",
    Tile.MUD: "marsh",
}


def groups_of(world: World, entities: Collection[int]) -> dict[int, int]:
    """The group of each entity that has one."""
    columns = world.columns
    found = {}
    for entity in entities:
        row = columns.row_of(entity)
        if row >= 0 and columns.group[row] > 0:
            found[entity] = int(columns.group[row])
    return found


def group_view(world: World, group: int, info: GroupInfo | None) -> GroupView | None:
    """What the group's leader sees; None when nobody of it is on their feet.

    Foes are those a member is hostile to, and whoever struck one last, within SIGHT of a member,
    nearest first; at most MAX_FIGHTERS a side.
    """
    view, rules = world.view(), world.ruleset
    columns = view.c
    mine = view.index.members(group)[:MAX_FIGHTERS]
    if not mine.size:
        return None
    middle_x = int(columns.x[mine].sum()) // mine.size
    middle_y = int(columns.y[mine].sum()) // mine.size
    species = columns.species
    foes_of = np.asarray(rules.tables.hostile[np.unique(species[mine])].any(axis=0))
    # One pass over everybody, from one member and as far as the farthest of the others sees; the rest is about who is near.
    first = int(mine[0])
    spread = np.abs(columns.x[mine] - columns.x[first]) + np.abs(columns.y[mine] - columns.y[first])
    near, _ = view.within(first, SIGHT + int(spread.max()))
    near = near[(columns.died[near] < 0) & (columns.downed_until[near] < 0)]
    struck = np.isin(columns.id[near], columns.aggressor[mine][columns.aggressor[mine] > 0])
    others = near[(foes_of[species[near]] | struck) & (columns.group[near] != group)]
    across = columns.x[others][:, None] - columns.x[mine][None, :]
    down = columns.y[others][:, None] - columns.y[mine][None, :]
    d2 = (across**2 + down**2).min(axis=1)
    seen = d2 <= SIGHT * SIGHT
    others, d2 = others[seen], d2[seen]
    others = others[np.lexsort((columns.id[others], d2))][:MAX_FIGHTERS]
    name = info.name if info is not None else f"group {group}"
    kind = rules.species_names[int(species[first])]

    def fighters(rows: NDArray[np.intp]) -> tuple[Fighter, ...]:
        # All at once: a number read by itself takes as long as a row of them.
        told = columns.data[_TOLD[:, None], rows].T.tolist()
        return tuple(
            Fighter(
                id=entity,
                name=view.name(entity),
                species=rules.species_names[of],
                hp=hp,
                max_hp=max_hp,
                attack=attack,
                defence=defence,
                x=x,
                y=y,
                player=bool(player),
            )
            for entity, of, hp, max_hp, attack, defence, x, y, player in told
        )

    members = fighters(mine)
    named = [m.id for m in members if info is not None and info.leader and m.name == info.leader]
    strongest = max(members, key=lambda m: (m.attack + m.max_hp, -m.id)).id
    tile = Tile(int(world.tiles[middle_y // TILE, middle_x // TILE]))
    return GroupView(
        tick=world.tick,
        epoch=world.epoch,
        group=group,
        name=name,
        species=kind,
        tactics=rules.species[kind].tactics,
        leader=named[0] if named else strongest,
        members=members,
        foes=fighters(others),
        ground=_GROUND.get(tile, "open"),
    )


def distances_to_players(world: World, entities: list[int]) -> list[int]:
    """The squared distance of each entity to the nearest player, 0 for all without players."""
    columns = world.columns
    high = columns.high
    players = np.flatnonzero((columns.player[:high] == 1) & (columns.id[:high] != 0))
    if not players.size:
        return [0] * len(entities)
    rows = columns.rows_of(np.array(entities, dtype=np.int64))
    x, y = columns.x[rows][:, None], columns.y[rows][:, None]
    d2 = (x - columns.x[players][None, :]) ** 2 + (y - columns.y[players][None, :]) ** 2
    nearest: NDArray[np.int64] = d2.min(axis=1)
    nearest[rows < 0] = 2**62
    return [int(d) for d in nearest]


class Alarms:
    """The groups on alert: since when, and when each is next to be told and planned for."""

    def __init__(self, alarm_ticks: int, view_ticks: int, plan_ticks: int) -> None:
        self._alarm = alarm_ticks
        self._view = view_ticks
        self._plan = plan_ticks
        self._until: dict[int, int] = {}
        self._next_view: dict[int, int] = {}
        self._next_plan: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._until)

    def copy(self, groups: Collection[int] | None = None) -> Alarms:
        """One that goes its own way from here, with all groups or these."""
        other = Alarms(self._alarm, self._view, self._plan)
        for name in ("_until", "_next_view", "_next_plan"):
            kept = {g: t for g, t in getattr(self, name).items() if groups is None or g in groups}
            setattr(other, name, kept)
        return other

    def clear(self) -> None:
        """Nobody is on alert any more, as when another state was loaded."""
        self._until.clear()
        self._next_view.clear()
        self._next_plan.clear()

    def notice(self, events: Iterable[Event], world: World, known: Collection[int]) -> None:
        """Put the groups of those who fight or see a foe on alert."""
        alarming = [event for event in events if event.kind in _ALARMING]
        if not alarming:
            return
        concerned = {event.entity for event in alarming} | {event.target for event in alarming}
        for group in set(groups_of(world, concerned - {0}).values()):
            if group in known:
                self._until[group] = world.tick + self._alarm

    def due(self, tick: int) -> list[int]:
        """The groups to be told how things stand now, in order; those calm again are let go.

        MOST_VIEWS at the most, who have waited longest: a hundred packs on alert since the same tick are not all told in one.
        """
        for group in [group for group, until in self._until.items() if until < tick]:
            del self._until[group]
            self._next_view.pop(group, None)
            self._next_plan.pop(group, None)
        waiting = [(self._next_view.get(g, 0), g) for g in self._until]
        due = sorted([g for when, g in sorted(waiting) if when <= tick][:MOST_VIEWS])
        for group in due:
            self._next_view[group] = tick + self._view
        return due

    def plan_due(self, group: int, tick: int) -> bool:
        """Whether a plan for this group is to be asked for now."""
        if self._next_plan.get(group, 0) > tick:
            return False
        self._next_plan[group] = tick + self._plan
        return True
