"""Chance for generation: counter-based, keyed by seed and purpose, integers alone, the same on every CPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from world.maths import MASK, Words
from world.maths import mix as scramble
from world.maths import mix_array as scramble_array

T = TypeVar("T")

_GAMMA = 0x9E3779B97F4A7C15
_GAMMA_WORD = np.uint64(_GAMMA)


def mix(value: int) -> int:
    """Return one splitmix64 step of `value` (taken mod 2**64): an integer in 0..2**64-1, never fixed at 0."""
    return scramble(value + _GAMMA)


def mix_array(values: Words) -> Words:
    """Return `mix` of each element; same shape, uint64."""
    return scramble_array(values + _GAMMA_WORD)


def key_of(seed: int, *parts: int | str) -> int:
    """Fold a seed and what it is for into one key in 0..2**64-1; the order of the parts counts."""
    key = mix(seed)
    for part in parts:
        if isinstance(part, str):
            part = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "little")
        key = mix(key ^ mix(part))
    return key


class Draw:
    """A stream of draws for one purpose; two streams with other keys don't disturb each other."""

    __slots__ = ("_count", "_key")

    def __init__(self, seed: int, *purpose: int | str) -> None:
        self._key = key_of(seed, *purpose)
        self._count = 0

    def bits(self) -> int:
        """Return the next 64 bits."""
        self._count += 1
        return mix(self._key ^ (self._count * _GAMMA & MASK))

    def below(self, n: int) -> int:
        """Return an integer in 0..n-1; n must be positive. The bias is below n / 2**64."""
        if n <= 0:
            raise ValueError(f"can't draw below {n}")
        return (self.bits() * n) >> 64

    def between(self, low: int, high: int) -> int:
        """Return an integer in low..high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, thousandths: int) -> bool:
        """Return True in so many of a thousand draws."""
        return self.below(1000) < thousandths

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items, each as likely as the others."""
        return items[self.below(len(items))]

    def some(self, items: Sequence[T], count: int) -> tuple[T, ...]:
        """Return up to `count` different positions of `items`, in the order drawn."""
        pool = list(items)
        taken: list[T] = []
        while pool and len(taken) < count:
            at = self.below(len(pool))
            pool[at], pool[-1] = pool[-1], pool[at]
            taken.append(pool.pop())
        return tuple(taken)

    def weighted(self, items: Sequence[tuple[T, int]]) -> T:
        """Return one of `(item, weight)`, by weight; the weights are positive integers."""
        at = self.below(sum(weight for _, weight in items))
        for item, weight in items:
            at -= weight
            if at < 0:
                return item
        raise AssertionError("weights add up")
