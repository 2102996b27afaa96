"""Ravens: they gather over the wounded and the dead, keep off people, and come when called."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from plugins.api import (
    FLEE,
    RING,
    TILE,
    ActionSpec,
    Activity,
    Aim,
    Begin,
    Consideration,
    Emit,
    Outcome,
    Purpose,
    Refusal,
    Species,
    StrictModel,
    Tile,
    View,
    below,
    flat,
    hookimpl,
    isqrt,
    nobody,
)

Ints = NDArray[np.int64]
Rows = NDArray[np.intp]


@hookimpl
def greenroom_species() -> list[Species]:
    return [
        Species(
            "raven",
            "wildlife",
            hp=6,
            speed=80,
            perception=24 * TILE,
            considerations=(
                "shy_of_people",
                "circle_the_fallen",
                "sleep_at_night",
                "wander",
                "idle",
            ),
            symbol="r",
            colour="#23232b",
            birth_delay=6_000,
        )
    ]


SHY = 6 * TILE
HOP = 9 * TILE
NO_FOOTING = (Tile.DEEP_WATER, Tile.WATER, Tile.ROCK, Tile.WALL, Tile.DAM)


def nearest(view: View, rows: Rows, others: Rows, reach: Ints) -> Ints:
    """For each of `rows`, the nearest of `others` within its reach in units, -1 for none."""
    if not others.size:
        return flat(rows, -1)
    dx = view.c.x[rows][:, None] - view.c.x[others]
    dy = view.c.y[rows][:, None] - view.c.y[others]
    d2 = dx * dx + dy * dy
    at = np.argmin(d2, axis=1)
    close = d2[np.arange(rows.size), at] <= reach * reach
    return np.where(close, others[at], -1)


def footing(view: View, x: Ints, y: Ints) -> NDArray[np.bool_]:
    """Whether each point lies on ground that can be walked."""
    return ~np.isin(view.ground(x, y), NO_FOOTING)


def person_near(view: View, rows: Rows) -> Ints:
    """The nearest of those who speak: that is who we call people."""
    people = view.index.of_species(view.tables.speaks)
    return nearest(view, rows, people, flat(rows, SHY))


def shy_score(view: View, rows: Rows) -> Ints:
    return np.where(person_near(view, rows) >= 0, 700, 0)


def shy_aim(view: View, rows: Rows) -> Aim:
    """Straight away from the person; home where that way is barred."""
    c = view.c
    person = np.maximum(person_near(view, rows), 0)
    dx, dy = c.x[rows] - c.x[person], c.y[rows] - c.y[person]
    apart = np.maximum(isqrt(dx * dx + dy * dy), 1)
    x, y = view.clamp(c.x[rows] + dx * HOP // apart, c.y[rows] + dy * HOP // apart)
    free = footing(view, x, y)
    return Aim(np.where(free, x, c.home_x[rows]), np.where(free, y, c.home_y[rows]), nobody(rows))


CIRCLE = Activity("circle", pace=100, interval=16, hunger=-60)
SLOT = Purpose.PLUGIN + 1


def ravens_only(view: View) -> NDArray[np.bool_]:
    """One flag a species, True for ours."""
    code = view.rules.species_code["raven"]
    flags: NDArray[np.bool_] = np.arange(len(view.rules.species_names)) == code
    return flags


def fallen_near(view: View, rows: Rows) -> Ints:
    """The nearest in sight that has lost half its strength (the dead: all) and has nobody by it."""
    c, n = view.c, view.c.high
    weak = c.hp[:n] * 2 < c.max_hp[:n]
    meat = view.tables.alive & ~ravens_only(view)
    fallen = np.flatnonzero(weak & meat[c.species[:n]])
    fallen = fallen[person_near(view, fallen) < 0]
    return nearest(view, rows, fallen, c.perception[rows])


def circle_score(view: View, rows: Rows) -> Ints:
    return np.where(fallen_near(view, rows) >= 0, 400, 0)


def circle_aim(view: View, rows: Rows) -> Aim:
    """A place on a ring of two tiles, the next one every 16 ticks; fast there, then slowly round."""
    c = view.c
    fallen = fallen_near(view, rows)
    at = np.maximum(fallen, 0)
    place = RING[(below(view.roll(rows, SLOT, 0), 16) + view.tick // 16) % 16] * 2
    x, y = view.clamp(c.x[at] + place[:, 0], c.y[at] + place[:, 1])
    free = footing(view, x, y)
    x, y = np.where(free, x, c.x[at]), np.where(free, y, c.y[at])
    dx, dy = c.x[at] - c.x[rows], c.y[at] - c.y[rows]
    far = dx * dx + dy * dy > (4 * TILE) ** 2
    return Aim(x, y, np.where(fallen >= 0, c.id[at], 0), np.where(far, 100, 30))


@hookimpl
def greenroom_considerations() -> list[Consideration]:
    return [
        Consideration("shy_of_people", FLEE, shy_score, shy_aim),
        Consideration("circle_the_fallen", CIRCLE, circle_score, circle_aim),
    ]


HEARD = {"low": 8 * TILE, "loud": 24 * TILE}
MOST = 32


class Caw(StrictModel):
    """Call like a raven."""

    voice: Literal["low", "loud"] = "loud"


def caw(view: View, row: int, body: StrictModel) -> Outcome | Refusal:
    """Ravens in hearing come and stay for ten seconds; then they mind their distance again."""
    assert isinstance(body, Caw)
    c = view.c
    ravens = view.index.of_species(ravens_only(view))
    dx, dy = c.x[ravens] - c.x[row], c.y[ravens] - c.y[row]
    hears = (dx * dx + dy * dy <= HEARD[body.voice] ** 2) & (ravens != row)
    called = [view.id(r) for r in ravens[hears].tolist()][:MOST]
    if not called:
        return Refusal("no_valid_target", "no raven hears it")
    caller, x, y = view.id(row), int(c.x[row]), int(c.y[row])
    effects: list[Emit | Begin] = [Emit("cawed", caller, 0, {"heard_by": called})]
    for n, entity in enumerate(called):
        dx, dy = RING[n % 16].tolist()
        spot = view.standable(x + 2 * dx, y + 2 * dy) or (x, y)
        effects.append(Begin(entity, "circle", view.tick + 200, spot, caller))
    return Outcome(tuple(effects), {"came": len(called)})


@hookimpl
def greenroom_actions() -> list[ActionSpec]:
    return [ActionSpec("caw", Caw, "Call ravens to you.", caw, cooldown=200)]
