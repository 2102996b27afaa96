"""Arithmetic that may bear state: whole numbers only, the same on every CPU, randomness by key.

Mixing is the finaliser of splitmix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number
generators", 2014). Nothing here keeps a generator's state: a draw is a pure function of
(seed, entity, tick, purpose).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world.kernels import bearings

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]

TILE: Final = 256
"""Units of position in one tile."""

MASK: Final = 2**64 - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_M1: Final = 0xBF58476D1CE4E5B9
_M2: Final = 0x94D049BB133111EB
_G = np.uint64(_GOLDEN)
_U1, _U2 = np.uint64(_M1), np.uint64(_M2)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)


class Purpose(IntEnum):
    """What a draw is for: two purposes never share a number."""

    ID = 1
    WANDER = 2
    DAMAGE = 3
    PHASE = 4
    WORKPLACE = 5
    GATHERING = 6
    ROAM = 7
    FLIGHT = 8
    BIRTH = 9
    LIKING = 10
    STUCK = 11
    WAY = 12
    TURN = 13
    PLUGIN = 1000


def mix(word: int) -> int:
    """Scramble one 64-bit word, one to one."""
    word &= MASK
    word = ((word ^ (word >> 30)) * _M1) & MASK
    word = ((word ^ (word >> 27)) * _M2) & MASK
    return word ^ (word >> 31)


def mix_array(words: Words) -> Words:
    """`mix` for every element; uint64 in, a new uint64 array out."""
    out = words ^ (words >> _S30)
    out *= _U1
    out ^= out >> _S27
    out *= _U2
    out ^= out >> _S31
    return out


def stream(seed: int, purpose: int) -> int:
    """The word that all draws for a purpose begin with."""
    return mix(seed + _GOLDEN * (purpose + 1))


def keyed(seed: int, entity: int, tick: int, purpose: int) -> int:
    """A 64-bit draw for one entity."""
    start = stream(seed, purpose)
    return mix(mix(start ^ ((tick * _M1) & MASK)) ^ ((entity * _M2) & MASK))


def keyed_array(seed: int, entities: Ints, tick: int | Ints, purpose: int) -> Words:
    """`keyed` for an int64 array of entities, at one tick or one each: uint64, same length."""
    start = stream(seed, purpose)
    words: Words = entities.astype(np.uint64)
    words *= _U2
    if isinstance(tick, np.ndarray):
        moments: Words = tick.astype(np.uint64)
        moments *= _U1
        moments ^= np.uint64(start)
        words ^= mix_array(moments)
    else:
        words ^= np.uint64(mix(start ^ ((tick * _M1) & MASK)))
    return mix_array(words)


def below(words: Words, bound: int | Ints) -> Ints:
    """Map uniform 64-bit draws to 0..bound-1 (bound < 2**31); the bias is under bound / 2**32."""
    limit = bound.astype(np.uint64) if isinstance(bound, np.ndarray) else np.uint64(bound)
    out: Words = ((words >> _S32) * limit) >> _S32
    return out.astype(np.int64)


def below_int(word: int, bound: int) -> int:
    """`below` for one draw."""
    return ((word >> 32) * bound) >> 32


def clip(values: Ints, low: int | Ints, high: int | Ints) -> Ints:
    """`np.clip` for int64 arrays, without what that spends on other types."""
    out: Ints = np.minimum(np.maximum(values, low), high)
    return out


def isqrt(squares: Ints) -> Ints:
    """Whole square roots, rounded down, of int64 values in 0..2**52.

    Hardware square roots are correctly rounded (IEEE 754), and every such value is exact as a
    float64; the correction guards the last unit all the same.
    """
    roots: Ints = np.sqrt(squares.astype(np.float64)).astype(np.int64)
    roots -= roots * roots > squares
    roots += (roots + 1) * (roots + 1) <= squares
    return roots


def new_id(seed: int, creator: int, tick: int, n: int, probe: int = 0) -> int:
    """An entity id in 1..2**48-1, a pure function of who made it, when, and as which.

    `probe` counts collisions already met.
    """
    word = keyed(mix(seed ^ n), creator, tick, Purpose.ID)
    return (mix(word + probe * _GOLDEN) >> 16) or 1


RING16: Final[tuple[tuple[int, int], ...]] = (
    (256, 0), (237, 98), (181, 181), (98, 237), (0, 256), (-98, 237), (-181, 181), (-237, 98),
    (-256, 0), (-237, -98), (-181, -181), (-98, -237), (0, -256), (98, -237), (181, -181),
    (237, -98),
)  # fmt: skip
"""Sixteen directions, each of length 256, counter-clockwise from +x."""

RING: Final[Ints] = np.array(RING16, dtype=np.int64)
RING.setflags(write=False)
_RING_X, _RING_Y = np.ascontiguousarray(RING.T)


def compass(dx: Ints, dy: Ints) -> Ints:
    """The index into RING (0..15) that points most nearly along (dx, dy)."""
    out = np.empty(dx.size, dtype=np.int64)
    # Whatever a plugin hands over, so that nothing is compiled in the midst of a tick.
    along, up = (np.ascontiguousarray(way, dtype=np.int64) for way in (dx, dy))
    bearings.nearest(along, up, _RING_X, _RING_Y, out)
    return out
