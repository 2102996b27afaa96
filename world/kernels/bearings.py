"""Which of some directions each of many lines points along most nearly."""

from __future__ import annotations

from numba import njit

from world.kernels.kinds import Cells


@njit(cache=True)
def nearest(dx: Cells, dy: Cells, ring_x: Cells, ring_y: Cells, out: Cells) -> None:
    """Write for each (dx, dy) the index of the direction with the largest inner product, the first of equals."""
    for i in range(dx.size):
        found, most = 0, dx[i] * ring_x[0] + dy[i] * ring_y[0]
        for k in range(1, ring_x.size):
            along = dx[i] * ring_x[k] + dy[i] * ring_y[k]
            if along > most:
                found, most = k, along
        out[i] = found
