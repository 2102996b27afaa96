"""The vocabulary: what minds and clients may propose, and what the system may order.

Each kind has one strict pydantic model: the wire's check, the grammar of a local reply and the
reference page are made from it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import AfterValidator, Field

from foundation.strict import StrictModel
from world.combat import damage
from world.effects import Begin, Emit, Harm, Outcome, Refusal
from world.inputs import MAX_ENTITY
from world.maths import TILE
from world.ruleset import ActionSpec, Handler
from world.view import View

EARSHOT: Final = 16 * TILE
"""How far a voice carries, in units."""
MAX_HEARERS: Final = 32
ATTENTION: Final = 200
"""Ticks for which reflexes leave an NPC to the choice a mind made for it."""
MAX_PAINT: Final = 16_384
"""Cells one `tiles` input may write."""


def _clean(text: str) -> str:
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in text):
        raise ValueError("control characters and lone surrogates are not text")
    return text


Text = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_clean)]
Name = Annotated[str, Field(max_length=48), AfterValidator(_clean)]
Id = Annotated[int, Field(ge=1, le=MAX_ENTITY)]
IdOrNone = Annotated[int, Field(ge=0, le=MAX_ENTITY)]
Coordinate = Annotated[int, Field(ge=0, le=2**20)]
Word = Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]


class Move(StrictModel):
    """Walk to a point of the map, in units of 1/256 tile."""

    x: Coordinate
    y: Coordinate


class Attack(StrictModel):
    """Strike a living target within reach."""

    target: Id


class Use(StrictModel):
    """Use a thing within reach: a well, a shrine, a lever."""

    target: Id


class Say(StrictModel):
    """Say something aloud, to one who is in earshot or (0) to all."""

    to: IdOrNone
    text: Text


class Wait(StrictModel):
    """Stand still."""


class Flee(StrictModel):
    """Run from someone (0: from whatever threatens)."""

    from_: IdOrNone


class Rest(StrictModel):
    """Go home and rest."""


class Work(StrictModel):
    """Go to work."""


class Eat(StrictModel):
    """Go and eat."""


class SpawnBody(StrictModel):
    """System: a new entity at a point in units; `home` and `work` are that spot if absent."""

    species: Word
    x: Coordinate
    y: Coordinate
    name: Name = ""
    group: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    player: bool = False
    home: tuple[Coordinate, Coordinate] | None = None
    work: tuple[Coordinate, Coordinate] | None = None
    persona_key: Annotated[str, Field(max_length=64), AfterValidator(_clean)] = ""


class DespawnBody(StrictModel):
    """System: take the input's entity out of the world."""


class TilesBody(StrictModel):
    """System: write w*h tile bytes at cell (x, y), row by row."""

    x: Annotated[int, Field(ge=0, le=4096)]
    y: Annotated[int, Field(ge=0, le=4096)]
    w: Annotated[int, Field(ge=1, le=4096)]
    h: Annotated[int, Field(ge=1, le=4096)]
    data: Annotated[bytes, Field(min_length=1, max_length=MAX_PAINT)]


Tactic = Literal["none", "focus", "flank", "surround", "hold", "protect", "retreat"]


class OrderBody(StrictModel):
    """System: give a group a tactic; it stands for `ticks`, then the group's own tactics do."""

    group: Annotated[int, Field(ge=1, le=2**31 - 1)]
    tactic: Tactic
    focus: IdOrNone = 0
    ticks: Annotated[int, Field(ge=1, le=24_000)] = 600


class GlobalBody(StrictModel):
    """System: set a named number of the world."""

    key: Word
    value: Annotated[int, Field(ge=-(2**53), le=2**53)]


class NoteBody(StrictModel):
    """System: a decision that a wall clock took; journalled, changes nothing."""

    text: Text


class NameBody(StrictModel):
    """System: name the input's entity; "" takes the name away."""

    text: Name


class ResetBody(StrictModel):
    """System: the input's entity was stuck; it drops what it is about, and chooses anew."""

    reason: Word
    home: bool = False


class AttendBody(StrictModel):
    """System: the input's entity is lived in full for so many ticks, however far it is from players."""

    ticks: Annotated[int, Field(ge=1, le=24_000)]


SYSTEM: Final[Mapping[str, type[StrictModel]]] = {
    "spawn": SpawnBody,
    "despawn": DespawnBody,
    "tiles": TilesBody,
    "order": OrderBody,
    "global": GlobalBody,
    "note": NoteBody,
    "name": NameBody,
    "reset": ResetBody,
    "attend": AttendBody,
}
"""Kinds that directors, builders and coordinators propose; never clients or NPCs."""


def _move(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
    assert isinstance(body, Move)
    if body.x > view.max_x or body.y > view.max_y:
        return Refusal("blocked", f"({body.x}, {body.y}) is beyond the edge of the map")
    spot = view.standable(body.x, body.y, reach=4)
    if spot is None:
        return Refusal("blocked", "nobody can stand there")
    entity = view.id(row)
    return Outcome(
        (Begin(entity, "move", view.tick + 3 * ATTENTION, spot),), {"x": spot[0], "y": spot[1]}
    )


def _attack(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
    assert isinstance(body, Attack)
    victim = view.row(body.target)
    if view.c.attack[row] <= 0:
        return Refusal("blocked", "it has nothing to fight with")
    rows, victims = np.array([row]), np.array([victim])
    amount = int(damage(view, rows, victims)[0])
    entity = view.id(row)
    effects: list[Harm | Emit | Begin] = [Harm(body.target, amount, entity)]
    if not view.c.player[row]:
        effects.append(Begin(entity, "attack", view.tick + ATTENTION // 4, None, body.target))
    return Outcome(tuple(effects), {"damage": amount})


def _use(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
    assert isinstance(body, Use)
    thing = view.row(body.target)
    species = view.rules.species_list[int(view.c.species[thing])]
    if species.on_use is None:
        return Refusal("no_valid_target", f"{view.name(body.target)} is nothing to use")
    result = species.on_use(view, row, thing)
    if isinstance(result, Refusal):
        return result
    used = Emit("used", view.id(row), body.target, {"species": species.name})
    return Outcome((used, *result.effects), result.detail)


def hearers(view: View, row: int) -> list[int]:
    """Ids within EARSHOT that can hear and are awake enough to, nearest first, at most 32."""
    c = view.c
    rows, _ = view.within(row, EARSHOT)
    can = view.tables.speaks[c.species[rows]] | (c.player[rows] == 1)
    can &= (c.died[rows] < 0) & (c.downed_until[rows] < 0)
    heard: list[int] = c.id[rows[can][:MAX_HEARERS]].tolist()
    return heard


def _say(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
    assert isinstance(body, Say)
    entity = view.id(row)
    if body.to:
        other = view.row(body.to)
        if other < 0 or body.to == entity:
            return Refusal("no_valid_target", "there is nobody like that to talk to")
        if view.c.died[other] >= 0 or not view.tables.alive[view.c.species[other]]:
            return Refusal("no_valid_target", f"{view.name(body.to)} can't hear")
        if view.distance2(row, other) > EARSHOT * EARSHOT:
            return Refusal("out_of_range", f"{view.name(body.to)} is too far away to hear")
    heard = hearers(view, row)
    if body.to and body.to not in heard:
        heard = [body.to, *heard][:MAX_HEARERS]
    said = Emit("said", entity, body.to, {"text": body.text, "heard_by": heard})
    if view.c.player[row]:
        return Outcome((said,), {"heard_by": heard})
    here = (int(view.c.x[row]), int(view.c.y[row]))
    if view.c.threat[row] or view.c.pace[row] or view.c.action[row] in _busy(view):
        return Outcome((said,), {"heard_by": heard})
    return Outcome(
        (said, Begin(entity, "talk", view.tick + 60, here, body.to)), {"heard_by": heard}
    )


def _busy(view: View) -> tuple[int, ...]:
    code = view.rules.activity_code
    return code["attack"], code["flee"], code["rest"]


def _wait(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
    here = (int(view.c.x[row]), int(view.c.y[row]))
    return Outcome((Begin(view.id(row), "idle", view.tick + ATTENTION, here),))


def _flee(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
    assert isinstance(body, Flee)
    other = view.row(body.from_ or int(view.c.threat[row]))
    if other < 0 or other == row:
        return Refusal("no_valid_target", "there is nothing to flee from")
    c = view.c
    dx, dy = int(c.x[row]) - int(c.x[other]), int(c.y[row]) - int(c.y[other])
    if abs(dx) > 64 * TILE or abs(dy) > 64 * TILE:
        return Refusal("out_of_range", f"{view.name(view.id(other))} is far away")
    size = max(abs(dx), abs(dy), 1)
    x = min(max(int(c.x[row]) + dx * 12 * TILE // size, 0), view.max_x)
    y = min(max(int(c.y[row]) + dy * 12 * TILE // size, 0), view.max_y)
    spot = view.standable(x, y)
    if spot is None:
        spot = (int(c.home_x[row]), int(c.home_y[row]))
    entity = view.id(row)
    fled = Emit("fled", entity, view.id(other))
    return Outcome((Begin(entity, "flee", view.tick + ATTENTION // 2, spot), fled))


def _go(activity: str, where: str, ticks: int) -> Handler:
    def handler(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
        x, y = ("home_x", "home_y") if where == "home" else ("work_x", "work_y")
        spot = (int(getattr(view.c, x)[row]), int(getattr(view.c, y)[row]))
        return Outcome((Begin(view.id(row), activity, view.tick + ticks, spot),))

    return handler


VOCABULARY: Final[tuple[ActionSpec, ...]] = (
    ActionSpec("move", Move, "Walk to a point.", _move),
    ActionSpec(
        "attack", Attack, "Strike a target in reach.", _attack, needs_target=True, cooldown=20
    ),
    ActionSpec("use", Use, "Use a thing.", _use, needs_target=True, reach=2 * TILE, cooldown=10),
    ActionSpec("say", Say, "Say something.", _say),
    ActionSpec("wait", Wait, "Stand still.", _wait),
    ActionSpec("flee", Flee, "Run away from someone.", _flee),
    ActionSpec("rest", Rest, "Go home and rest.", _go("rest", "home", 1200)),
    ActionSpec("work", Work, "Go to work.", _go("work", "work", 1200)),
    ActionSpec("eat", Eat, "Go and eat.", _go("eat", "home", 800)),
)
"""The core vocabulary; plugins add to it through `greenroom_actions`."""
