"""Scrambling the numbers of rows into one word each, for the state's hash."""

from __future__ import annotations

import numpy as np
from numba import njit

from world.kernels.kinds import Cells, Words
from world.kernels.numbers import AT

_K1 = np.uint64(0xBF58476D1CE4E5B9)
_K2 = np.uint64(0x94D049BB133111EB)
_BLOCK = 1024
_S27, _S29, _S30, _S31, _S32 = (np.uint64(n) for n in (27, 29, 30, 31, 32))


@njit(cache=True)
def mix(word: np.uint64) -> np.uint64:
    """`maths.mix` for one word."""
    word = (word ^ (word >> _S30)) * _K1
    word = (word ^ (word >> _S27)) * _K2
    return word ^ (word >> _S31)


@njit(cache=True)
def rows(
    data: Words,
    which: Cells,
    columns: Cells,
    salts: Words,
    identity: int,
    half: np.uint64,
    out: Words,
) -> None:
    """Write a word for each of the rows `which`: the sum over `columns` of each number, salted and scrambled.

    `data` is uint64[columns, rows], `salts` a word for each of its columns; the sum is scrambled again with the
    row's number in column `identity` and `half`. All arithmetic is modulo 2**64.
    """
    # A block's numbers are gathered first: what follows then has no index in it, and becomes vectors.
    words = np.empty(_BLOCK, dtype=np.uint64)
    ids = data[identity]
    for start in range(0, which.size, _BLOCK):
        some, sums = which[start : start + _BLOCK], out[start : start + _BLOCK]
        many = some.size
        sums[:] = np.uint64(0)
        for k in range(columns.size):
            salt = salts[columns[k]]
            column = data[columns[k]]
            for i in range(many):
                words[i] = column[AT(some[i])]
            for i in range(many):
                word = words[i] ^ salt
                word *= _K1
                word ^= word >> _S29
                word *= _K2
                word ^= word >> _S32
                sums[i] += word
        for i in range(many):
            words[i] = ids[AT(some[i])]
        for i in range(many):
            sums[i] = mix(mix(words[i] ^ half) ^ sums[i])
