"""Where two runs part, and why: both journals walked side by side, and both worlds stepped to the place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import UsageError
from world.entities import NAMES
from world.errors import ReplayError
from world.inputs import Input
from world.replay import catch_up
from world.ruleset import Ruleset
from world.store.reader import Reader
from world.store.records import Identity, JournalDamage, TickRecord, WorldMeta
from world.store.recovery import recover
from world.world import World

MOST_CELLS = 8
"""Differing values that are named; all are counted."""

_SEEN = (0, 120)
# What a world is made of beside its rows, in the order in which a difference is looked for.
_PARTS = (
    "seed",
    "day_ticks",
    "scene",
    "species",
    "names",
    "personas",
    "groups",
    "globals",
    "births",
)
_MADE = (
    "seed",
    "scene",
    "npcs",
    "scene_digest",
    "ruleset_digest",
    "mod_versions",
    "engine_version",
)
_CAUSES = {"scene_digest": "scene", "ruleset_digest": "ruleset", "mod_versions": "mods"}

Start = Callable[[WorldMeta], World]


@dataclass(frozen=True, slots=True)
class Run:
    """One of the two: what it was made from, which world it is, and the ticks its journal reaches."""

    path: str
    meta: WorldMeta
    identity: Identity | None
    first_tick: int
    last_tick: int


@dataclass(frozen=True, slots=True)
class Cell:
    """A value that differs: of an entity's column, or (entity 0) of the world's own parts."""

    entity: int
    name: str
    column: str
    values: tuple[Any, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first tick that differs.

    `what` differs: "start" (the state of the first tick that both reach), "inputs", "events", "hash" or
    "damage". `cause` is "seed", "scene", "npcs", "ruleset", "mods" or "engine_version" (what the two were
    made from), "input" (an input is in one only, or is another), "history" (they parted before the journals
    reach), "damage", or "altered" (nothing tells why); `why` says it in a sentence. `entity` is 0 where it
    is nobody's. `cells` are the first values in which both worlds, stepped to the tick, differ, by entity and column;
    `cells_total` is how many do. Both are empty when a journal can't be stepped by the rules at hand.
    """

    tick: int
    what: str
    entity: int
    cause: str
    why: str
    cells: tuple[Cell, ...] = ()
    cells_total: int = 0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both runs, the ticks compared, what they were made from otherwise, and where they part.

    `difference` is None when all ticks that both have agree. `state_tick` is the first whose state differs,
    which may come later: a note, say, changes nothing. `related` tells of branches.
    """

    runs: tuple[Run, Run]
    first_tick: int
    last_tick: int
    made_otherwise: Mapping[str, tuple[Any, Any]]
    related: str
    difference: Difference | None
    state_tick: int | None


def compare(
    first: str | Path,
    second: str | Path,
    ruleset: Ruleset,
    start: Start,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare the worlds in two folders, from the first tick that both journals reach.

    `start(meta)` makes the world of a folder without a checkpoint; `on_progress(tick, last)` is called
    now and then. Raises `UsageError` when they have no tick in common, `StorageError`.
    """
    with Reader.open(first) as one, Reader.open(second) as two:
        readers = (one, two)
        runs = (_run(one), _run(two))
        begin = max(run.first_tick for run in runs)
        last = min(run.last_tick for run in runs)
        if begin > last:
            raise UsageError(
                f"the two have no tick in common: {_span(runs[0])}, {_span(runs[1])}",
                "journals begin at the oldest checkpoint kept; compare runs of the same time",
            )
        made = {
            name: (getattr(runs[0].meta, name), getattr(runs[1].meta, name))
            for name in _MADE
            if getattr(runs[0].meta, name) != getattr(runs[1].meta, name)
        }
        walk = _Walk(readers, ruleset, start, made, begin, last)
        difference = walk.at_start() or walk.onwards(on_progress)
        return Comparison(runs, begin, last, made, _related(runs), difference, walk.state_tick)


def _run(reader: Reader) -> Run:
    kept = reader.checkpoints()
    return Run(
        str(reader.path),
        reader.meta(),
        reader.identity(),
        kept[0].tick if kept else 0,
        max(0, reader.end()[0]),
    )


def _span(run: Run) -> str:
    return f"{run.path} has {run.first_tick} to {run.last_tick}"


def _related(runs: tuple[Run, Run]) -> str:
    a, b = (run.identity for run in runs)
    if a is None or b is None:
        return ""
    if a.id == b.id:
        return "both are the same world"
    for this, (other, told) in ((a, (b, runs)), (b, (a, runs[::-1]))):
        if this.parent == other.id:
            return f"{told[0].path} is a branch of {told[1].path}, parted at tick {this.tick}"
    if a.parent and a.parent == b.parent:
        return f"both are branches of one world, parted at ticks {a.tick} and {b.tick}"
    return ""


class _Walk:
    """Both journals, side by side."""

    def __init__(
        self,
        readers: tuple[Reader, Reader],
        ruleset: Ruleset,
        start: Start,
        made: Mapping[str, tuple[Any, Any]],
        begin: int,
        last: int,
    ) -> None:
        self._readers = readers
        self._ruleset = ruleset
        self._start = start
        self._made = made
        self._begin = begin
        self._last = last
        self.state_tick: int | None = None

    def at_start(self) -> Difference | None:
        """How the states of the first common tick differ, before any further input."""
        tick = self._begin
        told = [_hash_at(reader, tick) for reader in self._readers]
        if None not in told and told[0] == told[1]:
            return None
        worlds, stuck = self._worlds(tick)
        if worlds is not None and worlds[0].hash() == worlds[1].hash():
            return None
        self.state_tick = tick
        if self._made:
            cause, why = self._blame("the worlds differ from the first tick that both reach")
        else:
            cause = "history"
            why = f"the two had parted before tick {tick}, where their journals begin to overlap"
        return self._difference(tick, "start", 0, cause, why + stuck, worlds)

    def onwards(self, on_progress: Callable[[int, int], None] | None) -> Difference | None:
        """The first tick whose record differs."""
        found: Difference | None = None
        walks = [self._records(reader) for reader in self._readers]
        for tick in range(self._begin + 1, self._last + 1):
            pair: list[TickRecord] = []
            for reader, walk in zip(self._readers, walks, strict=True):
                try:
                    pair.append(next(walk))
                except JournalDamage as damage:
                    why = f"the journal of {reader.path} is damaged at tick {damage.tick}: {damage.reason}"
                    return found or Difference(damage.tick, "damage", 0, "damage", why)
            a, b = pair
            if a.hash != b.hash:
                self.state_tick = tick
            if found is None:
                found = self._differing(a, b)
            if self.state_tick is not None:
                return found
            if on_progress is not None and (tick % 256 == 0 or tick == self._last):
                on_progress(tick, self._last)
        return found

    def _records(self, reader: Reader) -> Iterator[TickRecord]:
        kept = reader.checkpoints()
        info = max(
            (one for one in kept if one.tick <= self._begin), key=lambda i: i.tick, default=None
        )
        for record in reader.records(info, self._last):
            if record.tick > self._begin:
                yield record

    def _differing(self, a: TickRecord, b: TickRecord) -> Difference | None:
        if a.inputs != b.inputs:
            entity, why = self._inputs(a, b)
            worlds, stuck = self._worlds(a.tick)
            return self._difference(a.tick, "inputs", entity, "input", why + stuck, worlds)
        if a.events == b.events and a.hash == b.hash:
            return None
        what, entity, told = "hash", 0, "the same inputs led to another state"
        if a.events != b.events:
            what = "events"
            entity, told = self._events(a, b)
        worlds, stuck = self._worlds(a.tick)
        if self._made:
            cause, why = self._blame(told)
        else:
            cause, why = "altered", f"{told}, though both were made from the same"
        return self._difference(a.tick, what, entity, cause, why + stuck, worlds)

    def _inputs(self, a: TickRecord, b: TickRecord) -> tuple[int, str]:
        at = _first(a.inputs, b.inputs)
        one, two = (_at(record.inputs, at) for record in (a, b))
        # An input that the other run has a place further on was not replaced, but is in one run only.
        if one is not None and two is not None and one in b.inputs and two not in a.inputs:
            one = None
        elif one is not None and two is not None and two in a.inputs and one not in b.inputs:
            two = None
        paths = [str(reader.path) for reader in self._readers]
        if one is None or two is None:
            told = one if one is not None else two
            there = paths[0] if one is not None else paths[1]
            return _entity(told, 1), f"only {there} has {_input(told)}"
        return _entity(one, 1), f"{paths[0]} has {_input(one)}, {paths[1]} {_input(two)}"

    def _events(self, a: TickRecord, b: TickRecord) -> tuple[int, str]:
        at = _first(a.events, b.events)
        one, two = _at(a.events, at), _at(b.events, at)
        told = f"event {at} is {_event(one)} in the one, {_event(two)} in the other"
        return _entity(one if one is not None else two, 2), told

    def _blame(self, told: str) -> tuple[str, str]:
        name = next(iter(self._made))
        a, b = self._made[name]
        if name == "mod_versions":
            changed = {mod: (a.get(mod, "none"), b.get(mod, "none")) for mod in sorted({*a, *b})}
            a, b = ({m: v[i] for m, v in changed.items() if v[0] != v[1]} for i in (0, 1))
        names = {"scene_digest": "the scene's files", "ruleset_digest": "the rules"}
        how = "were others" if name.endswith("_digest") else f"was {a} and {b}"
        also = ", ".join(other for other in list(self._made)[1:])
        return _CAUSES.get(name, name), (
            f"{told}: {names.get(name, name)} {how}" + (f" (also other: {also})" if also else "")
        )

    def _worlds(self, tick: int) -> tuple[tuple[World, World] | None, str]:
        """Both worlds stepped to the tick; or None, and whose journal the rules at hand can't step."""
        found: list[World] = []
        for reader in self._readers:
            try:
                found.append(self._lived(reader, tick))
            except (ReplayError, JournalDamage) as error:
                return (
                    None,
                    f"; {reader.path} can't be stepped to it by the rules at hand: {error.message}",
                )
        return (found[0], found[1]), ""

    def _lived(self, reader: Reader, tick: int) -> World:
        recovery = recover(reader, tick, tick)
        if recovery.state is None:
            world = self._start(reader.meta())
        else:
            world = World.from_state(recovery.state, self._ruleset)
        catch_up(world, recovery.records)
        return world

    def _difference(
        self,
        tick: int,
        what: str,
        entity: int,
        cause: str,
        why: str,
        worlds: tuple[World, World] | None,
    ) -> Difference:
        cells = _cells(*worlds) if worlds is not None else []
        if not entity and cells:
            entity = cells[0].entity
        return Difference(tick, what, entity, cause, why, tuple(cells[:MOST_CELLS]), len(cells))


def _hash_at(reader: Reader, tick: int) -> int | None:
    for info in reader.checkpoints():
        if info.tick == tick:
            return info.hash
    return reader.hash_at(tick)


def _cells(a: World, b: World) -> list[Cell]:
    """All that differs, the world's own parts first, then by entity and column."""
    one, two = a.get_state(), b.get_state()
    found = [
        Cell(0, "", part, (_short(one[part]), _short(two[part])))
        for part in _PARTS
        if one[part] != two[part]
    ]
    if one["tiles"].shape != two["tiles"].shape:
        found.append(Cell(0, "", "tiles", (str(one["tiles"].shape), str(two["tiles"].shape))))
    else:
        for y, x in np.argwhere(one["tiles"] != two["tiles"]).tolist():
            values = (int(one["tiles"][y, x]), int(two["tiles"][y, x]))
            found.append(Cell(0, "", f"tiles[{y}, {x}]", values))
    rows = [_rows(state["rows"]["columns"]) for state in (one, two)]
    names = [dict(map(tuple, state["names"])) for state in (one, two)]
    for entity in sorted({*rows[0], *rows[1]}):
        name = names[0].get(entity) or names[1].get(entity, "")
        p, q = rows[0].get(entity), rows[1].get(entity)
        if p is None or q is None:
            found.append(Cell(entity, name, "id", (p is not None, q is not None)))
            continue
        found += [
            Cell(entity, name, column, (left, right))
            for column, left, right in zip(NAMES, p, q, strict=True)
            if left != right
        ]
    return found


def _rows(columns: Mapping[str, Any]) -> dict[int, list[int]]:
    table = np.stack([columns[name] for name in NAMES], axis=1)
    return {int(i): row for i, row in zip(columns["id"].tolist(), table.tolist(), strict=True) if i}


def _short(value: Any) -> Any:
    return value if isinstance(value, int) else str(value)[slice(*_SEEN)]


def _first(a: tuple[Any, ...], b: tuple[Any, ...]) -> int:
    pairs = zip(a, b, strict=False)
    return next((i for i, (p, q) in enumerate(pairs) if p != q), min(len(a), len(b)))


def _at(values: tuple[Any, ...], at: int) -> Any:
    return values[at] if at < len(values) else None


def _entity(packed: Any, at: int) -> int:
    entity = packed[at] if isinstance(packed, list | tuple) and len(packed) > at else 0
    return entity if isinstance(entity, int) else 0


def _input(packed: Any) -> str:
    try:
        one = Input.unpack(packed)
    except (ValueError, TypeError):
        return str(packed)[slice(*_SEEN)]
    body = str(dict(one.body))[slice(*_SEEN)]
    return f"{one.kind!r} of entity {one.entity} by {one.proposer!r} (its number {one.n}) {body}"


def _event(packed: Any) -> str:
    match packed:
        case None:
            return "none"
        case [int(), str(kind), int(entity), int(target), data]:
            return f"{kind!r} of entity {entity} on {target} {str(data)[slice(*_SEEN)]}"
        case _:
            return str(packed)[slice(*_SEEN)]
