"""What many bodies choose by their scores, and what taking it up writes into their columns."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from world.kernels.kinds import Bools, Cells

NOTHING: Final = -1
MOST_SCORE: Final = 1000
MOST_PACE: Final = 400
MOST_ID: Final = 2**48 - 1


@njit(cache=True)
def best(
    scores: Cells,
    rows: Cells,
    intent: Cells,
    left: Cells,
    since: Cells,
    in_danger: Bools,
    tick: int,
    loyalty: int,
    steady: int,
    steady_ticks: int,
    out: Cells,
) -> None:
    """Write for each of `rows` which consideration is worth most to it, the first of equals; NOTHING without one above 0.

    `scores` is int64[considerations, rows], at most MOST_SCORE each; `in_danger` goes by `rows`, the others are columns. What each
    is at (`intent`) weighs `loyalty` more; in danger and for `steady_ticks` since it was chosen `steady` more, and what
    was `left` for it as much less. What is worth something stays worth something.
    """
    reasons = scores.shape[0]
    for i in range(rows.size):
        row = rows[i]
        held, given_up = intent[row], left[row]
        fresh = in_danger[i] and tick - since[row] < steady_ticks
        found, most = np.int64(NOTHING), np.int64(0)
        for k in range(reasons):
            score = min(scores[k, i], MOST_SCORE)
            if score <= 0:
                continue
            if k == held:
                score = max(score + (steady if fresh else loyalty), 1)
            if k == given_up:
                score = max(score - (steady if fresh else 0), 1)
            if score > most:
                found, most = np.int64(k), score
        out[i] = found


@njit(cache=True)
def take_up(
    rows: Cells,
    goal_x: Cells,
    goal_y: Cells,
    aimed: Cells,
    speed: Cells,
    choice: int,
    code: int,
    interval: int,
    chases: bool,
    tick: int,
    max_x: int,
    max_y: int,
    x: Cells,
    y: Cells,
    way_x: Cells,
    way_y: Cells,
    to_x: Cells,
    to_y: Cells,
    pace: Cells,
    stuck: Cells,
    phase: Cells,
    target: Cells,
    action: Cells,
    intent: Cells,
    left: Cells,
    since: Cells,
    action_until: Cells,
    next_decision: Cells,
) -> None:
    """Let each of `rows` do as it has chosen: `choice` (a consideration or NOTHING), an activity of this `code`.

    `goal_x`, `goal_y` (brought onto the map up to `max_x`, `max_y`), `aimed` (whom they mean) and `speed` (percent) go by `rows`, the
    last sixteen are columns. Who goes where it went before, or `chases` whom it chased, keeps its way.
    """
    for i in range(rows.size):
        row = rows[i]
        gx, gy = min(max(goal_x[i], 0), max_x), min(max(goal_y[i], 0), max_y)
        meant = min(max(aimed[i], 0), MOST_ID)
        there = x[row] == gx and y[row] == gy
        same = to_x[row] == gx and to_y[row] == gy
        if chases:
            same |= target[row] == meant and meant > 0 and action[row] == code
        if intent[row] != choice:
            left[row] = intent[row]
            since[row] = tick
            intent[row] = choice
        action[row] = code
        target[row] = meant
        action_until[row] = 0
        next_decision[row] = tick + interval + phase[row] % 8
        if not same:
            to_x[row], to_y[row] = gx, gy
            way_x[row], way_y[row] = x[row], y[row]
            stuck[row] = 0
        if not (same and chases):
            pace[row] = 0 if there else min(max(speed[i], 0), MOST_PACE)
