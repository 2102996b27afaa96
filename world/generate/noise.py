"""Value noise on an integer lattice: landscapes without a float, equal to the bit on every CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from world.generate.draw import key_of, mix_array

FULL = 65_535
"""The highest value noise takes; the lowest is 0."""

_ONE = 4_096


def _smoothstep(t: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Map 0.._ONE to 0.._ONE by 3t² − 2t³ in fixed point."""
    return t * t * (3 * _ONE - 2 * t) // (_ONE * _ONE)


def lattice(
    key: int, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return values in 0..FULL at lattice points: shape (len(rows), len(columns)), int64."""
    row_keys = mix_array(rows.astype(np.uint64) ^ np.uint64(key))
    cells = mix_array(row_keys[:, None] + columns.astype(np.uint64)[None, :])
    return (cells >> np.uint64(48)).astype(np.int64)


def value_noise(
    height: int, width: int, cell: int, seed: int, *purpose: int | str
) -> npt.NDArray[np.int64]:
    """Return smooth noise in 0..FULL, shape (height, width), int64.

    `cell` is the distance in tiles between lattice points. A tile's value depends on its coordinates
    and the key alone, so a larger map has the smaller one in its corner.
    """
    if height < 1 or width < 1 or cell < 1:
        raise ValueError(f"noise needs a positive size and cell, not {width}x{height}, {cell}")
    ys, xs = np.arange(height, dtype=np.int64), np.arange(width, dtype=np.int64)
    points = lattice(
        key_of(seed, *purpose),
        np.arange(height // cell + 2, dtype=np.int64),
        np.arange(width // cell + 2, dtype=np.int64),
    )
    row, column = ys // cell, xs // cell
    down = _smoothstep((ys % cell) * _ONE // cell)[:, None]
    along = _smoothstep((xs % cell) * _ONE // cell)[None, :]
    top_left = points[row[:, None], column[None, :]]
    top_right = points[row[:, None], column[None, :] + 1]
    low_left = points[row[:, None] + 1, column[None, :]]
    low_right = points[row[:, None] + 1, column[None, :] + 1]
    top: npt.NDArray[np.int64] = top_left * (_ONE - along) + top_right * along
    low: npt.NDArray[np.int64] = low_left * (_ONE - along) + low_right * along
    out: npt.NDArray[np.int64] = (top * (_ONE - down) + low * down) // (_ONE * _ONE)
    return out


def fractal_noise(
    height: int, width: int, cell: int, octaves: int, seed: int, *purpose: int | str
) -> npt.NDArray[np.int64]:
    """Return `octaves` layers of value noise, each half as wide and half as strong; 0..FULL, int64."""
    total = np.zeros((height, width), dtype=np.int64)
    weights = 0
    for octave in range(octaves):
        weight = 1 << (octaves - 1 - octave)
        total += weight * value_noise(height, width, max(1, cell >> octave), seed, *purpose, octave)
        weights += weight
    out: npt.NDArray[np.int64] = total // weights
    return out


def wander(length: int, cell: int, seed: int, *purpose: int | str) -> npt.NDArray[np.int64]:
    """Return a line of smooth noise, shape (length,), int64 in -FULL//2..FULL//2+1."""
    line: npt.NDArray[np.int64] = value_noise(1, length, cell, seed, *purpose)[0]
    return line - FULL // 2
