"""Which rows lie nearest to a query: exactly, or by an index's candidates, filters kept.

Scores are cosines: dot products of float32 vectors of unit length, computed from the rows
themselves even where an index has proposed them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from world.lore.attributes import Labels, Vectors, Where
from world.lore.segments import Mask, View

GATHER_ROWS = 512
SPARE = 8
"""Candidates scored beyond k, so that rounding in the index can't push a neighbour out."""


class Tally(NamedTuple):
    """How a search went: parts scanned exactly, and rounds in which an index had to look further."""

    exact: int
    widened: int


@dataclass(frozen=True, slots=True, eq=False)
class Allowed:
    """The rows of a part that may be found, and how many they are."""

    mask: Mask
    count: int


def allowed(part: View, where: Where | None, labels: Labels) -> Allowed:
    """The living rows that pass the filter."""
    if where is None:
        return Allowed(part.alive, part.live)
    mask = part.alive & labels.mask(where, part.columns)
    return Allowed(mask, int(np.count_nonzero(mask)))


def nearest(
    part: View, may: Allowed, query: Vectors, k: int, effort: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], Tally]:
    """The k allowed rows of highest cosine, best first, with their cosines; fewer only if there are.

    `query`: float32[dims], unit. With an index, about `effort` rows are looked at when all are
    allowed, and more as the filter lets fewer through; where that comes to as many rows as are
    allowed, those are scanned instead, which is then exact.
    """
    k = min(k, may.count)
    if k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32), Tally(0, 0)
    widened = 0
    if part.index is not None:
        rows = len(part.alive)
        share = may.count / rows
        look = effort * max(1.0, k / 10) / share
        count = int(k / share * 1.25) + SPARE
        while look < may.count:
            found = part.index.candidates(query, count, int(look))
            found = found[may.mask[found]]
            if len(found) >= k:
                best, scores = _best(part.vectors, found[: k + SPARE], query, k)
                return best, scores, Tally(0, widened)
            widened += 1
            count, look = count * 4, look * 4
    best, scores = _scan(part.vectors, may, query, k)
    return best, scores, Tally(1, widened)


def _scan(
    vectors: Vectors, may: Allowed, query: Vectors, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if 2 * may.count < len(vectors):
        return _best(vectors, np.flatnonzero(may.mask), query, k)
    scores = vectors @ query
    if may.count < len(vectors):
        scores[~may.mask] = -np.inf
    best = _top(scores, k)
    return best, scores[best]


def _best(
    vectors: Vectors, rows: NDArray[np.int64], query: Vectors, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    # in pieces: numpy gathers rows without letting go of the interpreter
    scores = np.concatenate(
        [
            vectors[rows[first : first + GATHER_ROWS]] @ query
            for first in range(0, len(rows), GATHER_ROWS)
        ]
    )
    best = _top(scores, k)
    return rows[best], scores[best]


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The places of the k highest, highest first, the earlier row first among equals."""
    if k < len(scores):
        chosen = np.sort(np.argpartition(scores, len(scores) - k)[len(scores) - k :])
    else:
        chosen = np.arange(len(scores))
    order: NDArray[np.int64] = chosen[np.argsort(-scores[chosen], kind="stable")]
    return order
