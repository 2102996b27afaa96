"""Ready-made reasons to act; species name those they heed, plugins add their own beside them.

Scores, roughly: 0 never, 100 pastime, 300 habit, 500 duty, 700 danger, 900 orders.
"""

from __future__ import annotations

from typing import Final

from world.dangers import DANGERS
from world.routines import ROUTINES
from world.ruleset import Consideration

CORE: Final[tuple[Consideration, ...]] = (*ROUTINES, *DANGERS)
"""The core's considerations; every ruleset has them."""
