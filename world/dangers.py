"""Reasons that danger, orders and hunger for prey give; scores from 400 for a prowl to 920 for orders."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world import maths
from world.aims import (
    NIGHT_ENDS,
    at_home,
    chase,
    closeness,
    flat,
    health,
    is_night,
    nobody,
    roam_near,
    stay,
)
from world.entities import Ints, Rows
from world.maths import RING, TILE, Purpose
from world.paths import clear
from world.ruleset import ATTACK, FLEE, HUNT, REST, Activity, Aim, Consideration
from world.tactics import HOLD, PROTECT, RETREAT, standing
from world.tiles import WALKABLE
from world.view import NOBODY, View

_RECENT: Final = 160
OUT_OF_SIGHT: Final = 6 * TILE
"""How far beyond its sight somebody is followed by one who is after it already."""
_AHEAD, _BESIDE = 2, 4
"""Sixteenths of the circle on either side of the way home in which a threat is in the way of those who go there, and of others."""
FOLLOW: Final = Activity("follow", pace=80, interval=24)


def _sheltered(view: View, rows: Rows) -> NDArray[np.bool_]:
    """Indoors, with nothing near that would come in."""
    threat = view.sense.threat_row[rows]
    out: NDArray[np.bool_] = threat >= 0
    at = out.nonzero()[0]
    if at.size:
        shuns = view.tables.shuns_floors[view.c.species[threat[at]]]
        out[at] = shuns & view.indoors(rows[at])
    return out


def _flee_score(view: View, rows: Rows) -> Ints:
    """The nearer, the more; reckoned for those who see a threat, who are few."""
    out = flat(rows, 0)
    at = (view.sense.threat_row[rows] >= 0).nonzero()[0]
    if at.size:
        scared = rows[at]
        near = closeness(view, scared, view.sense.threat_d2[scared])
        out[at] = np.where((near > 0) & ~_sheltered(view, scared), 620 + near // 4, 0)
    return out


def _away(view: View, rows: Rows) -> Aim:
    """Home if the threat is not in the way, else straight away from it.

    Who is on its way home turns back only from a threat well ahead: with one beside the way, each step would change its mind.
    """
    c = view.c
    other = np.maximum(view.sense.threat_row[rows], 0)
    x, y = c.x[rows], c.y[rows]
    hx, hy = c.home_x[rows] - x, c.home_y[rows] - y
    tx, ty = c.x[other] - x, c.y[other] - y
    far_from_home = (hx * hx + hy * hy) > (10 * TILE) ** 2
    off = np.abs((maths.compass(tx, ty) - maths.compass(hx, hy) + 8) % 16 - 8)
    homeward = (c.goal_x[rows] == c.home_x[rows]) & (c.goal_y[rows] == c.home_y[rows])
    into_it = (off <= np.where(homeward, _AHEAD, _BESIDE)) & far_from_home
    turn = maths.below(view.roll(rows, Purpose.FLIGHT, view.era(rows, 64)), 5) - 2
    heading = RING[(maths.compass(-tx, -ty) + turn) % 16]
    ax, ay = view.clamp(x + heading[:, 0] * 9, y + heading[:, 1] * 9)
    flies = into_it | ~WALKABLE[view.ground(c.home_x[rows], c.home_y[rows])]
    return Aim(
        np.where(flies, ax, c.home_x[rows]), np.where(flies, ay, c.home_y[rows]), nobody(rows)
    )


def _flee_wild(view: View, rows: Rows) -> Aim:
    """Straight away; home is no shelter."""
    c = view.c
    other = np.maximum(view.sense.threat_row[rows], 0)
    turn = maths.below(view.roll(rows, Purpose.FLIGHT, view.era(rows, 64)), 5) - 2
    heading = RING[(maths.compass(c.x[rows] - c.x[other], c.y[rows] - c.y[other]) + turn) % 16]
    x, y = view.clamp(c.x[rows] + heading[:, 0] * 9, c.y[rows] + heading[:, 1] * 9)
    return Aim(x, y, nobody(rows))


def _shelter_score(view: View, rows: Rows) -> Ints:
    return np.where(_sheltered(view, rows), 700, 0)


def _outnumbered(view: View, rows: Rows) -> NDArray[np.bool_]:
    sense = view.sense
    out: NDArray[np.bool_] = (sense.foes[rows] > sense.mates[rows]) | (health(view, rows) < 350)
    return out


def _flee_if_weak_score(view: View, rows: Rows) -> Ints:
    return np.where(_outnumbered(view, rows), _flee_score(view, rows) + 100, 0)


def _wounded_score(view: View, rows: Rows) -> Ints:
    hurt = health(view, rows) < 500
    return np.where(hurt & (view.tick - view.c.hurt_at[rows] < 2400), 780, 0)


def _aggressor(view: View, rows: Rows) -> Ints:
    """The row of who struck it lately and is still close, else NOBODY."""
    c = view.c
    lately = (c.aggressor[rows] > 0) & (view.tick - c.hurt_at[rows] < _RECENT)
    out = np.full(rows.size, NOBODY, dtype=np.int64)
    at = lately.nonzero()[0]
    if at.size:
        others = c.rows_of(c.aggressor[rows[at]])
        up = (others >= 0) & (c.died[others] < 0) & (c.downed_until[others] < 0)
        dx, dy = c.x[others] - c.x[rows[at]], c.y[others] - c.y[rows[at]]
        up &= dx * dx + dy * dy < (12 * TILE) ** 2
        out[at] = np.where(up, others, NOBODY)
    return out


def _fight_back_score(view: View, rows: Rows) -> Ints:
    return np.where(_aggressor(view, rows) >= 0, 760, 0)


def _fight_back_aim(view: View, rows: Rows) -> Aim:
    return chase(view, rows, _aggressor(view, rows))


def _beyond_doors(view: View, rows: Rows, others: Ints) -> NDArray[np.bool_]:
    """Whether each one's other is indoors, where it does not go itself."""
    out: NDArray[np.bool_] = view.tables.shuns_floors[view.c.species[rows]] & view.indoors(others)
    return out


def _focus_or(view: View, rows: Rows, others: Ints) -> Ints:
    """The group's focus while an order names one that is in reach of a short run, else `others`."""
    c = view.c
    named = (c.focus[rows] > 0) & (c.order_until[rows] > view.tick)
    at = named.nonzero()[0]
    if not at.size:
        return others
    out = others.copy()
    focus = c.rows_of(c.focus[rows[at]])
    up = (focus >= 0) & (c.died[focus] < 0) & (c.downed_until[focus] < 0)
    dx, dy = c.x[focus] - c.x[rows[at]], c.y[focus] - c.y[rows[at]]
    up &= dx * dx + dy * dy < (40 * TILE) ** 2
    up &= ~_beyond_doors(view, rows[at], focus)
    out[at] = np.where(up, focus, out[at])
    return out


def _still_after(view: View, rows: Rows, seen: Ints) -> Ints:
    """The row of whom each sees, else of whom it is after already while that one is not clearly out of sight.

    Sight ends on the spot, and the way around something may lead back over its edge.
    """
    c, tables = view.c, view.tables
    lost = ((seen < 0) & (c.target[rows] > 0)).nonzero()[0]
    if not lost.size:
        return seen
    body = rows[lost]
    others = c.rows_of(c.target[body])
    wanted = tables.hostile | tables.eats
    up = (others >= 0) & (c.died[others] < 0) & (c.downed_until[others] < 0)
    up &= wanted[c.species[body], c.species[others]]
    dx, dy = c.x[others] - c.x[body], c.y[others] - c.y[body]
    up &= dx * dx + dy * dy < (c.perception[body] + OUT_OF_SIGHT) ** 2
    up &= ~_beyond_doors(view, body, others)
    out = seen.copy()
    out[lost] = np.where(up, others, seen[lost])
    return out


def _free_to_fight(view: View, rows: Rows) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = standing(view, rows) != RETREAT
    return out


def _defend_target(view: View, rows: Rows) -> Ints:
    return _focus_or(view, rows, _still_after(view, rows, view.sense.foe_row[rows]))


def _in_bounds(view: View, rows: Rows, others: Ints) -> NDArray[np.bool_]:
    """Whether the others are within 28 tiles of each one's home or work, or are named by order."""
    c = view.c
    at = np.maximum(others, 0)
    out: NDArray[np.bool_] = (c.focus[rows] == c.id[at]) & (c.order_until[rows] > view.tick)
    for x, y in ((c.home_x, c.home_y), (c.work_x, c.work_y)):
        dx, dy = c.x[at] - x[rows], c.y[at] - y[rows]
        out |= dx * dx + dy * dy < (28 * TILE) ** 2
    out &= others >= 0
    return out


def _defend_score(view: View, rows: Rows) -> Ints:
    able = (health(view, rows) > 300) & _free_to_fight(view, rows)
    return np.where(able & _in_bounds(view, rows, _defend_target(view, rows)), 730, 0)


def _defend_aim(view: View, rows: Rows) -> Aim:
    return chase(view, rows, _defend_target(view, rows))


def _retreat_score(view: View, rows: Rows) -> Ints:
    return np.where(standing(view, rows) == RETREAT, 920, 0)


def _leader_point(view: View, rows: Rows, spread: int) -> Aim:
    c = view.c
    leader = view.leaders(rows)
    at = np.where(leader >= 0, leader, rows)
    slot = RING[c.phase[rows] % 16]
    x, y = view.clamp(c.x[at] + slot[:, 0] * spread // TILE, c.y[at] + slot[:, 1] * spread // TILE)
    fits = WALKABLE[view.ground(x, y)] & (at != rows)
    # Nobody keeps close on the other side of a wall.
    fits &= clear(view.tiles, c.x[at], c.y[at], x, y)
    return Aim(np.where(fits, x, c.x[at]), np.where(fits, y, c.y[at]), nobody(rows))


def _keep_close_score(view: View, rows: Rows) -> Ints:
    tactic = standing(view, rows)
    ordered = view.c.order_until[rows] > view.tick
    danger = view.sense.foe_d2[rows] < (7 * TILE) ** 2
    score = np.where((tactic == PROTECT) & ordered & ~danger, 740, 0)
    out: Ints = np.where((tactic == HOLD) & ordered & ~danger, 735, score)
    return out


def _keep_close_aim(view: View, rows: Rows) -> Aim:
    near = _leader_point(view, rows, 2 * TILE)
    holds = standing(view, rows) == HOLD
    return Aim(
        np.where(holds, view.c.x[rows], near.goal_x),
        np.where(holds, view.c.y[rows], near.goal_y),
        near.target,
    )


def _hunt_target(view: View, rows: Rows) -> Ints:
    """The focus, else the leader's quarry, else the nearest prey."""
    c = view.c
    own = _still_after(view, rows, view.sense.prey_row[rows])
    leader = view.leaders(rows)
    led = ((leader >= 0) & (leader != rows)).nonzero()[0]
    if led.size:
        chosen = c.rows_of(c.target[leader[led]])
        up = (chosen >= 0) & (c.died[chosen] < 0) & (c.downed_until[chosen] < 0)
        edible = view.tables.eats[c.species[rows[led]], c.species[np.maximum(chosen, 0)]]
        dx, dy = c.x[chosen] - c.x[rows[led]], c.y[chosen] - c.y[rows[led]]
        up &= edible & (dx * dx + dy * dy < (30 * TILE) ** 2)
        up &= ~_beyond_doors(view, rows[led], chosen)
        own = own.copy()
        own[led] = np.where(up, chosen, own[led])
    return _focus_or(view, rows, own)


def _hunt_score(view: View, rows: Rows) -> Ints:
    hungry = view.c.hunger[rows]
    target = _hunt_target(view, rows)
    wants = (target >= 0) & (hungry > 250) & _free_to_fight(view, rows)
    return np.where(wants, 450 + hungry // 5, 0)


def _hunt_aim(view: View, rows: Rows) -> Aim:
    return chase(view, rows, _hunt_target(view, rows))


def _raid_score(view: View, rows: Rows) -> Ints:
    """Attack foes at night when hungry, whole and in numbers."""
    if not is_night(view):
        return flat(rows, 0)
    mates, foes = view.sense.mates[rows], view.sense.foes[rows]
    bold = (mates >= 2) & (2 * foes <= mates + 1) & (view.c.hunger[rows] > 350)
    bold &= health(view, rows) > 600
    bold &= (_defend_target(view, rows) >= 0) & _free_to_fight(view, rows)
    return np.where(bold, 600, 0)


def _prowl_score(view: View, rows: Rows) -> Ints:
    dark = view.hour >= 18 or view.hour < NIGHT_ENDS
    return flat(rows, 400 if dark else 0)


def _prowl_aim(view: View, rows: Rows) -> Aim:
    """Leaders and loners go their rounds; the others go where their leader goes."""
    c = view.c
    roam = _rounds(view, rows)
    leader = view.leaders(rows)
    led = (leader >= 0) & (leader != rows)
    if not led.any():
        return roam
    close = _leader_point(view, rows, 3 * TILE)
    head = np.maximum(leader, 0)
    dx, dy = c.x[rows] - c.x[head], c.y[rows] - c.y[head]
    apart = dx * dx + dy * dy
    gone = (apart > (8 * TILE) ** 2) | (c.pace[head] > 0)
    goal_x = np.where(gone, c.goal_x[head], close.goal_x)
    goal_y = np.where(gone, c.goal_y[head], close.goal_y)
    return Aim(
        np.where(led, goal_x, roam.goal_x),
        np.where(led, goal_y, roam.goal_y),
        roam.target,
        np.where(led & (apart > (8 * TILE) ** 2), 100, HUNT.pace),
    )


def _rounds(view: View, rows: Rows) -> Aim:
    """Now the wilds around home, now some place within 90 tiles, another every 1,200 ticks."""
    roam = roam_near(view, rows, 40 * TILE, 1200)
    if not view.places:
        return roam
    draw = maths.mix_array(view.roll(rows, Purpose.ROAM, view.era(rows, 1200)) + np.uint64(1))
    choice = maths.below(draw, 2 * len(view.places))
    x, y = view.place_x[choice // 2], view.place_y[choice // 2]
    dx, dy = x - view.c.home_x[rows], y - view.c.home_y[rows]
    visits = (choice % 2 == 0) & (dx * dx + dy * dy < (90 * TILE) ** 2)
    return Aim(np.where(visits, x, roam.goal_x), np.where(visits, y, roam.goal_y), roam.target)


DANGERS: Final[tuple[Consideration, ...]] = (
    Consideration("flee_threat", FLEE, _flee_score, _away),
    Consideration("bolt", FLEE, _flee_score, _flee_wild),
    Consideration("take_shelter", REST, _shelter_score, stay),
    Consideration("flee_if_weak", FLEE, _flee_if_weak_score, _away),
    Consideration("nurse_wounds", REST, _wounded_score, at_home),
    Consideration("fight_back", ATTACK, _fight_back_score, _fight_back_aim),
    Consideration("defend", ATTACK, _defend_score, _defend_aim),
    Consideration("obey_retreat", FLEE, _retreat_score, at_home),
    Consideration("keep_close", FOLLOW, _keep_close_score, _keep_close_aim),
    Consideration("hunt", ATTACK, _hunt_score, _hunt_aim),
    Consideration("raid", ATTACK, _raid_score, _defend_aim),
    Consideration("prowl", HUNT, _prowl_score, _prowl_aim),
)
"""What the core knows of danger and prey."""
