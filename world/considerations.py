"""Ready-made reasons to act; species name those they heed, plugins add their own beside them.

Scores, roughly: 0 never, 100 pastime, 300 habit, 500 duty, 700 danger, 900 orders.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world import maths
from world.entities import Ints, Rows
from world.maths import RING, TILE, Purpose
from world.paths import clear
from world.ruleset import (
    ATTACK,
    EAT,
    FLEE,
    GATHER,
    HUNT,
    IDLE,
    PATROL,
    REST,
    WANDER,
    WORK,
    Activity,
    Aim,
    Consideration,
)
from world.tactics import HOLD, PROTECT, RETREAT, standing
from world.tiles import WALKABLE
from world.view import FAR, NOBODY, View

_RECENT: Final = 160
_NEAR_BY: Final = 12 * TILE
_NIGHT_STARTS, _NIGHT_ENDS = 21, 5
GRAZE: Final = Activity("graze", pace=35, interval=120, hunger=-60)
FOLLOW: Final = Activity("follow", pace=80, interval=24)


def flat(rows: Rows, score: int) -> Ints:
    """The same score for all."""
    return np.full(rows.size, score, dtype=np.int64)


def nobody(rows: Rows) -> Ints:
    """No target for all."""
    return np.zeros(rows.size, dtype=np.int64)


def is_night(view: View) -> bool:
    """Between nine in the evening and five."""
    return view.hour >= _NIGHT_STARTS or view.hour < _NIGHT_ENDS


def at_home(view: View, rows: Rows, spread: int = TILE // 2) -> Aim:
    """Home, each at its own spot of it."""
    return near_point(view, rows, view.c.home_x[rows], view.c.home_y[rows], spread)


def near_point(view: View, rows: Rows, x: Ints, y: Ints, spread: int, era: int | Ints = 0) -> Aim:
    """A spot in sight of a point, within `spread` units, the same for a whole `era`.

    Where a wall is in between it is the point itself. Those who are far aim for the point itself: their ways to it are then one way.
    """
    draw = view.roll(rows, Purpose.WORKPLACE, era)
    ox = maths.below(draw, 2 * spread + 1) - spread
    oy = maths.below(maths.mix_array(draw), 2 * spread + 1) - spread
    nx, ny = view.clamp(x + ox, y + oy)
    dx, dy = x - view.c.x[rows], y - view.c.y[rows]
    near = dx * dx + dy * dy < _NEAR_BY * _NEAR_BY
    fits = near & clear(view.tiles, x, y, nx, ny)
    return Aim(np.where(fits, nx, x), np.where(fits, ny, y), nobody(rows))


def stay(view: View, rows: Rows) -> Aim:
    """Where it stands."""
    return Aim(view.c.x[rows].copy(), view.c.y[rows].copy(), nobody(rows))


def _ids(view: View, others: Ints) -> Ints:
    return np.where(others >= 0, view.c.id[np.maximum(others, 0)], 0)


def chase(view: View, rows: Rows, others: Ints) -> Aim:
    """Go for others (rows; NOBODY stays where it stands)."""
    c = view.c
    some = others >= 0
    at = np.maximum(others, 0)
    return Aim(
        np.where(some, c.x[at], c.x[rows]),
        np.where(some, c.y[at], c.y[rows]),
        _ids(view, others),
    )


def _root(view: View, d2: Ints) -> Ints:
    return maths.isqrt(np.minimum(d2, 2**40))


def _health(view: View, rows: Rows) -> Ints:
    return view.c.hp[rows] * 1000 // np.maximum(view.c.max_hp[rows], 1)


def closeness(view: View, rows: Rows, d2: Ints) -> Ints:
    """0 at the edge of perception or beyond, 1000 at touching distance."""
    reach = np.maximum(view.c.perception[rows], 1)
    out: Ints = np.where(d2 < FAR, (reach - np.minimum(_root(view, d2), reach)) * 1000 // reach, 0)
    return out


# -- danger ------------------------------------------------------------------------------------


def _sheltered(view: View, rows: Rows) -> NDArray[np.bool_]:
    """Indoors, with nothing near that would come in."""
    threat = view.sense.threat_row[rows]
    shuns = view.tables.shuns_floors[view.c.species[np.maximum(threat, 0)]]
    out: NDArray[np.bool_] = (threat >= 0) & shuns & view.indoors(rows)
    return out


def _flee_score(view: View, rows: Rows) -> Ints:
    near = closeness(view, rows, view.sense.threat_d2[rows])
    return np.where((near > 0) & ~_sheltered(view, rows), 620 + near // 4, 0)


def _away(view: View, rows: Rows) -> Aim:
    """Home if the threat is not in the way, else straight away from it."""
    c = view.c
    other = np.maximum(view.sense.threat_row[rows], 0)
    x, y = c.x[rows], c.y[rows]
    hx, hy = c.home_x[rows] - x, c.home_y[rows] - y
    tx, ty = c.x[other] - x, c.y[other] - y
    far_from_home = (hx * hx + hy * hy) > (10 * TILE) ** 2
    into_it = (hx * tx + hy * ty > 0) & far_from_home
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
    out: NDArray[np.bool_] = (sense.foes[rows] > sense.mates[rows] + 1) | (
        _health(view, rows) < 350
    )
    return out


def _flee_if_weak_score(view: View, rows: Rows) -> Ints:
    return np.where(_outnumbered(view, rows), _flee_score(view, rows) + 100, 0)


def _wounded_score(view: View, rows: Rows) -> Ints:
    hurt = _health(view, rows) < 350
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
    out[at] = np.where(up, focus, out[at])
    return out


def _free_to_fight(view: View, rows: Rows) -> NDArray[np.bool_]:
    out: NDArray[np.bool_] = standing(view, rows) != RETREAT
    return out


def _defend_target(view: View, rows: Rows) -> Ints:
    return _focus_or(view, rows, view.sense.foe_row[rows])


def _defend_score(view: View, rows: Rows) -> Ints:
    able = (_health(view, rows) > 300) & _free_to_fight(view, rows)
    return np.where(able & (_defend_target(view, rows) >= 0), 730, 0)


def _defend_aim(view: View, rows: Rows) -> Aim:
    return chase(view, rows, _defend_target(view, rows))


# -- orders ------------------------------------------------------------------------------------


def _retreat_score(view: View, rows: Rows) -> Ints:
    return np.where(standing(view, rows) == RETREAT, 920, 0)


def _leader_point(view: View, rows: Rows, spread: int) -> Aim:
    c = view.c
    leader = view.leaders(rows)
    at = np.where(leader >= 0, leader, rows)
    slot = RING[c.phase[rows] % 16]
    x, y = view.clamp(c.x[at] + slot[:, 0] * spread // TILE, c.y[at] + slot[:, 1] * spread // TILE)
    fits = WALKABLE[view.ground(x, y)] & (at != rows)
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


# -- hunting -----------------------------------------------------------------------------------


def _hunt_target(view: View, rows: Rows) -> Ints:
    """The focus, else the leader's quarry, else the nearest prey."""
    c = view.c
    own = view.sense.prey_row[rows]
    leader = view.leaders(rows)
    led = ((leader >= 0) & (leader != rows)).nonzero()[0]
    if led.size:
        chosen = c.rows_of(c.target[leader[led]])
        up = (chosen >= 0) & (c.died[chosen] < 0) & (c.downed_until[chosen] < 0)
        edible = view.tables.eats[c.species[rows[led]], c.species[np.maximum(chosen, 0)]]
        dx, dy = c.x[chosen] - c.x[rows[led]], c.y[chosen] - c.y[rows[led]]
        up &= edible & (dx * dx + dy * dy < (30 * TILE) ** 2)
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
    """Attack foes at night when hungry and not alone."""
    if not is_night(view):
        return flat(rows, 0)
    bold = (view.sense.mates[rows] >= 2) & (view.c.hunger[rows] > 350)
    bold &= (_defend_target(view, rows) >= 0) & _free_to_fight(view, rows)
    return np.where(bold, 600, 0)


def _prowl_score(view: View, rows: Rows) -> Ints:
    dark = view.hour >= 18 or view.hour < _NIGHT_ENDS
    return flat(rows, 400 if dark else 0)


def _prowl_aim(view: View, rows: Rows) -> Aim:
    """Leaders and loners roam within 40 tiles of home; the others go where their leader goes."""
    c = view.c
    roam = roam_near(view, rows, 40 * TILE, 1200)
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


def roam_near(view: View, rows: Rows, radius: int, era_ticks: int) -> Aim:
    """A random walkable point within `radius` of home, another each era; home if it is none."""
    c = view.c
    era = view.era(rows, era_ticks)
    draw = view.roll(rows, Purpose.ROAM, era)
    x, y = view.clamp(
        c.home_x[rows] + maths.below(draw, 2 * radius + 1) - radius,
        c.home_y[rows] + maths.below(maths.mix_array(draw), 2 * radius + 1) - radius,
    )
    fits = WALKABLE[view.ground(x, y)]
    return Aim(np.where(fits, x, c.home_x[rows]), np.where(fits, y, c.home_y[rows]), nobody(rows))


# -- days and nights ---------------------------------------------------------------------------


def _sleep_night_score(view: View, rows: Rows) -> Ints:
    tired = view.c.fatigue[rows]
    late = _between(_own_minute(view, rows), 21, 5)
    return np.where(tired > 900, 640, np.where(late, 480 + tired // 8, 0))


def _sleep_day_score(view: View, rows: Rows) -> Ints:
    light = 6 <= view.hour < 18
    return flat(rows, 440) + view.c.fatigue[rows] // 10 if light else flat(rows, 0)


def _shun_sun_score(view: View, rows: Rows) -> Ints:
    return flat(rows, 860 if 5 <= view.hour < 20 else 0)


def _eat_score(view: View, rows: Rows) -> Ints:
    """Worth the way from half hungry on; once begun, until sated."""
    hungry = view.c.hunger[rows]
    eating = (view.c.action[rows] == view.rules.activity_code["eat"]) & (hungry > 80)
    return np.where(eating, 590, np.where(hungry > 450, 180 + hungry // 2, 0))


def _own_minute(view: View, rows: Rows) -> Ints:
    """The time of day in minutes by each one's own habits, up to an hour late."""
    out: Ints = (view.minute - view.c.phase[rows] * 3 // 5) % 1440
    return out


def _between(minutes: Ints, start: int, end: int) -> NDArray[np.bool_]:
    """Whether each time of day lies in [start, end) hours, past midnight if need be."""
    if start <= end:
        return (minutes >= start * 60) & (minutes < end * 60)
    return (minutes >= start * 60) | (minutes < end * 60)


def _work_score(view: View, rows: Rows) -> Ints:
    return np.where(_between(_own_minute(view, rows), 7, 17), 500, 0)


def _work_aim(view: View, rows: Rows) -> Aim:
    era = view.era(rows, 900)
    return near_point(view, rows, view.c.work_x[rows], view.c.work_y[rows], 2 * TILE, era)


def _gather_score(view: View, rows: Rows) -> Ints:
    return np.where(_between(_own_minute(view, rows), 17, 21), 330, 0)


_MEETING: Final = ("inn", "tavern", "green", "market", "shrine")


def _gather_aim(view: View, rows: Rows) -> Aim:
    """One of the meeting places within 60 tiles of home, by the evening's mood; home without one."""
    spots = [i for kind in _MEETING for i in view.place_kinds.get(kind, ())]
    if not spots:
        return at_home(view, rows, 2 * TILE)
    c = view.c
    place_x = np.array([view.places[i].x for i in spots], dtype=np.int64)
    place_y = np.array([view.places[i].y for i in spots], dtype=np.int64)
    choice = maths.below(view.roll(rows, Purpose.GATHERING, view.day), len(spots))
    x, y = place_x[choice], place_y[choice]
    dx, dy = x - c.home_x[rows], y - c.home_y[rows]
    near = dx * dx + dy * dy < (60 * TILE) ** 2
    x, y = np.where(near, x, c.home_x[rows]), np.where(near, y, c.home_y[rows])
    return near_point(view, rows, x, y, 2 * TILE, view.day)


def _patrol_score(view: View, rows: Rows) -> Ints:
    return flat(rows, 540 if view.hour >= 18 or view.hour < _NIGHT_ENDS else 0)


def _patrol_aim(view: View, rows: Rows) -> Aim:
    """A round of the places near home, one every 600 ticks."""
    c = view.c
    if not view.places:
        return roam_near(view, rows, 12 * TILE, 600)
    place_x = np.array([p.x for p in view.places], dtype=np.int64)
    place_y = np.array([p.y for p in view.places], dtype=np.int64)
    choice = maths.below(view.roll(rows, Purpose.ROAM, view.era(rows, 600)), len(view.places))
    x, y = place_x[choice], place_y[choice]
    dx, dy = x - c.home_x[rows], y - c.home_y[rows]
    near = dx * dx + dy * dy < (36 * TILE) ** 2
    x, y = np.where(near, x, c.home_x[rows]), np.where(near, y, c.home_y[rows])
    return near_point(view, rows, x, y, 2 * TILE, view.era(rows, 600))


def _sleep_noon_score(view: View, rows: Rows) -> Ints:
    tired = view.c.fatigue[rows]
    base = 520 if 9 <= view.hour < 17 else 0
    return np.where(tired > 900, 620, base)


def _graze_score(view: View, rows: Rows) -> Ints:
    night = 60 if is_night(view) else 200
    return flat(rows, night) + view.c.hunger[rows] // 4


def _graze_aim(view: View, rows: Rows) -> Aim:
    """Around where it was put, its pasture."""
    era = view.era(rows, 500)
    return near_point(view, rows, view.c.work_x[rows], view.c.work_y[rows], 7 * TILE, era)


def _bed_down_score(view: View, rows: Rows) -> Ints:
    return flat(rows, 300 if is_night(view) else 0)


def _wander_aim(view: View, rows: Rows) -> Aim:
    era = view.era(rows, 240)
    return near_point(view, rows, view.c.home_x[rows], view.c.home_y[rows], 4 * TILE, era)


CORE: Final[tuple[Consideration, ...]] = (
    Consideration("idle", IDLE, lambda view, rows: flat(rows, 20), stay),
    Consideration("wander", WANDER, lambda view, rows: flat(rows, 100), _wander_aim),
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
    Consideration("sleep_at_night", REST, _sleep_night_score, at_home),
    Consideration("sleep_by_day", REST, _sleep_day_score, at_home),
    Consideration("nap_at_noon", REST, _sleep_noon_score, at_home),
    Consideration("shun_the_sun", REST, _shun_sun_score, at_home),
    Consideration("eat_at_home", EAT, _eat_score, at_home),
    Consideration("go_to_work", WORK, _work_score, _work_aim),
    Consideration("meet_in_the_evening", GATHER, _gather_score, _gather_aim),
    Consideration("patrol_at_night", PATROL, _patrol_score, _patrol_aim),
    Consideration("graze", GRAZE, _graze_score, _graze_aim),
    Consideration("bed_down", REST, _bed_down_score, at_home),
)
"""The core's considerations; every ruleset has them."""
