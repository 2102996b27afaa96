"""Where two runs part: both journals walked in step to the first tick that differs, and the reason found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import numpy as np

from foundation.errors import GreenroomError, UsageError
from world.replay import Steppable, catch_up, load_world
from world.ruleset import Ruleset
from world.store import CheckpointInfo, Reader, TickRecord, WorldMeta

PROGRESS_TICKS: Final = 256
"""How often `on_progress` is called."""
MOST_NAMED: Final = 8
_MADE_FROM: Final = ("scene", "seed", "npcs", "scene_digest", "ruleset_digest", "engine_version")
_TABLES: Final = (("names", "name"), ("personas", "persona"))
_EPOCHLESS: Final = frozenset({"epoch", "tick"})

Start = Callable[[WorldMeta], Steppable]


@dataclass(frozen=True, slots=True)
class Made:
    """Something the runs were made from that isn't the same: a seed, a scene, a mod's version."""

    what: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of the state. `entity` is 0 for what is no entity's, such as a tile or a global."""

    entity: int
    name: str
    column: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where run b parts from run a.

    `tick` is the first tick whose inputs, events or hash differ, None when all common ticks agree;
    `what` says which of these it is ("inputs", "events", "hash"), `entity` whom the first of them
    concerns, `only_a` and `only_b` what stands in one journal alone, in few words. `cause` is "seed",
    "scene", "npcs", "rules", "mods" or "state" when they began otherwise, "inputs" when one was given
    what the other wasn't, "order" when only their order differs, "outcome" when the same inputs came
    out otherwise; `why` says it in a sentence. `cells` are the first values of the state that differ,
    at `cells_tick`, by entity; `cells_entities` counts the entities concerned, `cells_columns` the columns.
    """

    first_tick: int
    last_tick: int
    last_a: int
    last_b: int
    made: tuple[Made, ...]
    tick: int | None = None
    what: str = ""
    entity: int = 0
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    cause: str = ""
    why: str = ""
    cells_tick: int | None = None
    cells: tuple[Cell, ...] = ()
    cells_entities: int = 0
    cells_columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())


def diff(
    a: Reader,
    b: Reader,
    ruleset: Ruleset,
    *,
    start: Start | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Difference:
    """Compare two worlds' journals from their first common tick on, and say where and why they part.

    `start(meta)` makes the world of the first tick where there is no checkpoint. `on_progress(tick,
    last)` is called every 256 ticks. Raises `StorageError`, `JournalDamage`, and `UsageError` when the
    journals have no tick in common.
    """
    origin_a, origin_b = _origin(a), _origin(b)
    first = max(origin_a[0], origin_b[0]) + 1
    last_a, last_b = a.end()[0], b.end()[0]
    last = min(last_a, last_b)
    if first > last:
        raise UsageError(
            f"the runs have no tick in common: {a.path} holds ticks {origin_a[0] + 1} to {last_a}, "
            f"{b.path} {origin_b[0] + 1} to {last_b}",
            "compare runs that were kept from the same tick on",
        )
    made = _made(a.meta(), b.meta())
    pairs = zip(_from(a, origin_a[1], first), _from(b, origin_b[1], first), strict=False)
    for one, other in pairs:
        if on_progress is not None and one.tick % PROGRESS_TICKS == 0:
            on_progress(one.tick, last)
        if (one.inputs, one.events, one.hash) != (other.inputs, other.events, other.hash):
            parted = _parting(one, other)
            reasons = _reasons(a, b, ruleset, start, one, other, made, first)
            return Difference(first, last, last_a, last_b, made, one.tick, **parted, **reasons)
    return Difference(first, last, last_a, last_b, made)


def _origin(reader: Reader) -> tuple[int, CheckpointInfo | None]:
    """The tick after which the journal's records begin, and the checkpoint they follow."""
    first, kept = reader.first_tick(), reader.checkpoints()
    if first is not None and reader.begins_at_first():
        return first - 1, None
    if kept:
        return kept[0].tick, kept[0]
    return reader.end()[0], None


def _from(reader: Reader, origin: CheckpointInfo | None, first: int) -> Iterator[TickRecord]:
    return (record for record in reader.records(origin) if record.tick >= first)


def _made(a: WorldMeta, b: WorldMeta) -> tuple[Made, ...]:
    found = [
        Made(what, str(getattr(a, what)), str(getattr(b, what)))
        for what in _MADE_FROM
        if getattr(a, what) != getattr(b, what)
    ]
    for mod in sorted({*a.mod_versions, *b.mod_versions}):
        one, other = a.mod_versions.get(mod, "absent"), b.mod_versions.get(mod, "absent")
        if one != other:
            found.append(Made(f"mod {mod}", one, other))
    return tuple(found)


def _parting(a: TickRecord, b: TickRecord) -> dict[str, Any]:
    """What of the tick differs first, and what only one of them has."""
    for what, ours, theirs in (("inputs", a.inputs, b.inputs), ("events", a.events, b.events)):
        if ours == theirs:
            continue
        only_a, only_b = _without(ours, theirs), _without(theirs, ours)
        firsts = only_a[:1] + only_b[:1] or list(ours[:1])
        # where both have one, the first is that of the lower entity
        entity = min((_entity(what, one) for one in firsts), default=0)
        return {
            "what": what,
            "entity": entity,
            "only_a": tuple(_told(what, one) for one in only_a[:MOST_NAMED]),
            "only_b": tuple(_told(what, one) for one in only_b[:MOST_NAMED]),
        }
    return {"what": "hash"}


def _without(ours: tuple[Any, ...], theirs: tuple[Any, ...]) -> list[Any]:
    """What is in `ours` more often than in `theirs`, in order."""
    left: dict[bytes, int] = {}
    for one in theirs:
        left[_key(one)] = left.get(_key(one), 0) + 1
    found = []
    for one in ours:
        if left.get(_key(one), 0):
            left[_key(one)] -= 1
        else:
            found.append(one)
    return found


def _key(packed: Any) -> bytes:
    data: bytes = msgpack.packb(packed)
    return data


def _entity(what: str, packed: Any) -> int:
    at = 1 if what == "inputs" else 2
    return int(packed[at]) if isinstance(packed, list) and len(packed) > at else 0


def _told(what: str, packed: Any) -> str:
    match what, packed:
        case "inputs", [kind, entity, proposer, n, body]:
            return f"{kind} of {entity}, proposed by {proposer} ({n}): {str(body)[:160]}"
        case "events", [_, kind, entity, target, data]:
            return f"{kind} of {entity} on {target}: {str(data)[:160]}"
        case _:
            return str(packed)[:160]


def _reasons(
    a: Reader,
    b: Reader,
    ruleset: Ruleset,
    start: Start | None,
    one: TickRecord,
    other: TickRecord,
    made: tuple[Made, ...],
    first: int,
) -> dict[str, Any]:
    """Why the tick differs: how the worlds stood before it, then what they were given, then the rules."""
    notes: list[str] = []
    before = [_state(reader, ruleset, start, one.tick - 1, notes) for reader in (a, b)]
    cells = _cells(*before) if None not in before else {}
    if cells.get("cells"):
        cells["cells_tick"] = one.tick - 1
        seen = {each.what for each in made}
        cause = next(
            (
                name
                for name, keys in (
                    ("seed", {"seed"}),
                    ("scene", {"scene", "scene_digest"}),
                    ("npcs", {"npcs"}),
                    ("rules", {"ruleset_digest"}),
                )
                if seen & keys
            ),
            "mods" if any(what.startswith("mod ") for what in seen) else "state",
        )
        why = (
            f"the worlds differ before tick {one.tick} already, the first they have in common: "
            if one.tick == first
            else f"the worlds differ after tick {one.tick - 1} already, though their hashes agree: "
        ) + (f"they were made from another {cause}" if cause != "state" else "they began otherwise")
        return {"cause": cause, "why": why, **cells, "notes": tuple(notes)}
    if one.inputs != other.inputs:
        if not _without(one.inputs, other.inputs) and not _without(other.inputs, one.inputs):
            why = "both were given the same, in another order"
            return {"cause": "order", "why": why, "notes": tuple(notes)}
        return {"cause": "inputs", "why": _given(one, other), "notes": tuple(notes)}
    after = [_state(reader, ruleset, start, one.tick, notes) for reader in (a, b)]
    cells = _cells(*after) if None not in after else {}
    if cells.get("cells"):
        cells["cells_tick"] = one.tick
    rules = [each for each in made if each.what.startswith(("ruleset", "mod ", "engine"))]
    why = "the same inputs came out otherwise"
    if rules:
        named = ", ".join(f"{each.what} {each.a[:12]} against {each.b[:12]}" for each in rules)
        why += f": they were lived by other rules ({named})"
    elif notes:
        why += ": one of them can't be lived again, see the notes"
    return {"cause": "rules" if rules else "outcome", "why": why, **cells, "notes": tuple(notes)}


def _given(one: TickRecord, other: TickRecord) -> str:
    told = []
    for name, only in (
        ("a", _without(one.inputs, other.inputs)),
        ("b", _without(other.inputs, one.inputs)),
    ):
        if only:
            who = ", ".join(dict.fromkeys(str(each[2]) for each in only[:MOST_NAMED]))
            told.append(f"{name} alone was given {len(only)} by {who}")
    return "; ".join(told)


def _state(
    reader: Reader, ruleset: Ruleset, start: Start | None, tick: int, notes: list[str]
) -> dict[str, Any] | None:
    """The state after `tick`, stepped again from the nearest checkpoint; None, and a note, if it can't be."""
    try:
        near = [info for info in reader.checkpoints() if info.tick <= tick]
        if near:
            world = load_world(reader.load(near[-1]), ruleset)
        elif start is not None:
            world = start(reader.meta())
        else:
            raise UsageError(f"no checkpoint at or before tick {tick}")
        catch_up(world, reader.records(near[-1] if near else None, tick))
        state: dict[str, Any] = world.get_state()  # type: ignore[attr-defined]
        return state
    except GreenroomError as error:
        note = f"{reader.path} can't be stepped again to tick {tick}: {error.message}"
        if note not in notes:
            notes.append(note)
        return None


def _cells(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any]:
    """The first values that differ, entities first and lowest id first, then what is no entity's."""
    assert a is not None and b is not None
    rows_a, rows_b = _by_id(a["rows"]["columns"]), _by_id(b["rows"]["columns"])
    tables = [(label, dict(map(tuple, a[key])), dict(map(tuple, b[key]))) for key, label in _TABLES]
    names = tables[0][1] | tables[0][2]
    found: list[Cell] = []
    columns: dict[str, None] = {}
    entities = 0
    for entity in sorted({*rows_a, *rows_b}):
        one, other = rows_a.get(entity), rows_b.get(entity)
        cells: list[tuple[str, Any, Any]] = (
            [("is there", one is not None, other is not None)] if not (one and other) else []
        )
        if one and other:
            cells += [(column, value, other.get(column)) for column, value in one.items()]
            cells += [(label, x.get(entity, ""), y.get(entity, "")) for label, x, y in tables]
        differ = [cell for cell in cells if cell[1] != cell[2]]
        entities += bool(differ)
        for column, x, y in differ:
            columns[column] = None
            if len(found) < MOST_NAMED:
                found.append(Cell(entity, str(names.get(entity, "")), column, str(x), str(y)))
    for key in sorted({*a, *b} - {"rows", *(key for key, _ in _TABLES)} - _EPOCHLESS):
        parts: tuple[Any, Any] = (a.get(key), b.get(key))
        first, second = parts
        if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
            if np.array_equal(first, second):
                continue
            if first.shape == second.shape:
                at = tuple(int(i) for i in np.argwhere(first != second)[0])
                key, first, second = f"{key}{list(at)}", first[at], second[at]
            else:
                first, second = first.shape, second.shape
        elif first == second:
            continue
        columns[key] = None
        if len(found) < MOST_NAMED:
            found.append(Cell(0, "", key, str(first)[:80], str(second)[:80]))
    return {"cells": tuple(found), "cells_entities": entities, "cells_columns": tuple(columns)}


def _by_id(columns: dict[str, Any]) -> dict[int, dict[str, int]]:
    """Each entity's values by column, whatever row it stands in."""
    lists = {column: values.tolist() for column, values in columns.items()}
    ids = lists.pop("id")
    return {
        entity: {column: values[row] for column, values in lists.items()}
        for row, entity in enumerate(ids)
        if entity
    }
