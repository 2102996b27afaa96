"""Reasons that the hour and the body give: sleep, meals, work, company; scores from 60 to 860."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from world import maths
from world.aims import (
    NIGHT_ENDS,
    at_home,
    flat,
    is_night,
    near_point,
    roam_near,
    stay,
)
from world.entities import Ints, Rows
from world.maths import TILE, Purpose
from world.ruleset import (
    EAT,
    GATHER,
    IDLE,
    PATROL,
    REST,
    WANDER,
    WORK,
    Activity,
    Aim,
    Consideration,
)
from world.view import View

GRAZE: Final = Activity("graze", pace=35, interval=120, hunger=-60)


def _own_minute(view: View, rows: Rows) -> Ints:
    """The time of day in minutes by each one's own habits, up to an hour late."""
    out: Ints = (view.minute - view.c.phase[rows] * 3 // 5) % 1440
    return out


def _between(minutes: Ints, start: int, end: int) -> NDArray[np.bool_]:
    """Whether each time of day lies in [start, end) hours, past midnight if need be."""
    if start <= end:
        return (minutes >= start * 60) & (minutes < end * 60)
    return (minutes >= start * 60) | (minutes < end * 60)


def _sleep_night_score(view: View, rows: Rows) -> Ints:
    tired = view.c.fatigue[rows]
    late = _between(_own_minute(view, rows), 21, 5)
    return np.where(tired > 900, 640, np.where(late, 480 + tired // 8, 0))


def _sleep_day_score(view: View, rows: Rows) -> Ints:
    light = 6 <= view.hour < 18
    return flat(rows, 440) + view.c.fatigue[rows] // 10 if light else flat(rows, 0)


def _sleep_noon_score(view: View, rows: Rows) -> Ints:
    tired = view.c.fatigue[rows]
    base = 520 if 9 <= view.hour < 17 else 0
    return np.where(tired > 900, 620, base)


def _shun_sun_score(view: View, rows: Rows) -> Ints:
    return flat(rows, 860 if 5 <= view.hour < 20 else 0)


def _bed_down_score(view: View, rows: Rows) -> Ints:
    return flat(rows, 300 if is_night(view) else 0)


def _eat_score(view: View, rows: Rows) -> Ints:
    """Worth the way from half hungry on; once begun, until sated."""
    hungry = view.c.hunger[rows]
    eating = (view.c.action[rows] == view.rules.activity_code["eat"]) & (hungry > 80)
    return np.where(eating, 590, np.where(hungry > 450, 180 + hungry // 2, 0))


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
    draw = view.roll(rows, Purpose.GATHERING, view.day)
    choice = np.array(spots)[maths.below(draw, len(spots))]
    x, y = view.place_x[choice], view.place_y[choice]
    dx, dy = x - c.home_x[rows], y - c.home_y[rows]
    near = dx * dx + dy * dy < (60 * TILE) ** 2
    x, y = np.where(near, x, c.home_x[rows]), np.where(near, y, c.home_y[rows])
    return near_point(view, rows, x, y, 2 * TILE, view.day)


def _patrol_score(view: View, rows: Rows) -> Ints:
    return flat(rows, 540 if view.hour >= 18 or view.hour < NIGHT_ENDS else 0)


def _patrol_aim(view: View, rows: Rows) -> Aim:
    """A round of the places near home, one every 600 ticks."""
    c = view.c
    if not view.places:
        return roam_near(view, rows, 12 * TILE, 600)
    choice = maths.below(view.roll(rows, Purpose.ROAM, view.era(rows, 600)), len(view.places))
    x, y = view.place_x[choice], view.place_y[choice]
    dx, dy = x - c.home_x[rows], y - c.home_y[rows]
    near = dx * dx + dy * dy < (36 * TILE) ** 2
    x, y = np.where(near, x, c.home_x[rows]), np.where(near, y, c.home_y[rows])
    return near_point(view, rows, x, y, 2 * TILE, view.era(rows, 600))


def _graze_score(view: View, rows: Rows) -> Ints:
    night = 60 if is_night(view) else 200
    return flat(rows, night) + view.c.hunger[rows] // 4


def _graze_aim(view: View, rows: Rows) -> Aim:
    """Around where it was put, its pasture."""
    era = view.era(rows, 500)
    return near_point(view, rows, view.c.work_x[rows], view.c.work_y[rows], 7 * TILE, era)


def _wander_aim(view: View, rows: Rows) -> Aim:
    era = view.era(rows, 240)
    return near_point(view, rows, view.c.home_x[rows], view.c.home_y[rows], 4 * TILE, era)


ROUTINES: Final[tuple[Consideration, ...]] = (
    Consideration("idle", IDLE, lambda view, rows: flat(rows, 20), stay),
    Consideration("wander", WANDER, lambda view, rows: flat(rows, 100), _wander_aim),
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
"""What the core knows of days and nights."""
