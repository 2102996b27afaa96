"""The types of what the kernels read and write."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Cells = NDArray[np.int64]
Costs = NDArray[np.int32]
Links = NDArray[np.int32]
Masks = NDArray[np.uint8]
Words = NDArray[np.uint64]


class Ground(NamedTuple):
    """What is walked on: `tiles` uint8[height, width], and by tile whether it can be walked and what a step costs."""

    tiles: Masks
    walkable: Bools
    cost: Cells


class Bodies(NamedTuple):
    """The columns that walking reads and writes."""

    x: Cells
    y: Cells
    way_x: Cells
    way_y: Cells
    goal_x: Cells
    goal_y: Cells
    speed: Cells
    pace: Cells
    stuck: Cells


class Known(NamedTuple):
    """The ways over a map that are kept, where a kernel finds them; a cell is y * width + x.

    `steps` and `cost` by cell are as for `ways.spread`; cells of one number in `island` can reach one another, 0 is
    blocked. `slot` has for each cell the number under which what is known of the ways to it is kept, -1 for none.
    By slot, `boxes` (int64[slots, 5]) holds where in memory its costs are (int32[tall, wide], NO_WAY where not known), and
    left, top, wide and tall of the box of cells whose costs they are; and `used` when it was last asked for: `now` is written.
    """

    width: int
    steps: Masks
    cost: Costs
    island: Links
    slot: Links
    boxes: Cells
    used: Cells
    now: int
