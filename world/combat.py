"""Who strikes whom, how hard, and what becomes of those struck down."""

from __future__ import annotations

from typing import Final

import numpy as np

from world import maths
from world.entities import Ints, Rows
from world.maths import Purpose
from world.view import View

STRIKE_COOLDOWN: Final = 20
"""Ticks between two strikes of one body."""


def damage(view: View, rows: Rows, victims: Rows) -> Ints:
    """hp each striker takes from its victim now: its attack, less half the defence, give or take.

    The draw is keyed by striker and tick; the result lies in 1..2*attack.
    """
    attack = view.c.attack[rows]
    spread = attack // 2 + 1
    draw = maths.below(view.roll(rows, Purpose.DAMAGE), spread)
    hurt: Ints = np.maximum(1, attack - spread // 2 + draw - view.c.defence[victims] // 2)
    return hurt
