"""Which rows lie nearest to a query: exactly, or by an index's candidates, filters kept.

Scores are cosines: dot products of float32 vectors of unit length, computed from the rows
themselves even where an index has proposed them. They are taken row by row (`vecdot`): a matrix product
would be a third faster, and wake the threads of a BLAS, whose waiting costs a busy server milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from world.lore.attributes import Labels, Vectors, Where
from world.lore.index import Index
from world.lore.segments import Mask, View

GATHER_ROWS = 512
STEPS = 3
"""How often a search goes on to the neighbours of the best so far."""


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
    part: View, may: Allowed, query: Vectors, k: int, effort: int, beam: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], Tally]:
    """The k allowed rows of highest cosine, best first, with their cosines; fewer only if there are.

    `query`: float32[dims], unit. With an index about `effort` rows are looked at by its trees, then
    the links of the best `beam`; both grow as the filter lets fewer rows through, and again while
    fewer than k of that best beam are allowed. Where that comes to as many rows as are allowed,
    those are scanned instead, which is then exact.
    """
    k = min(k, may.count)
    if k == 0:
        return np.empty(0, np.int64), np.empty(0, np.float32), Tally(0, 0)
    widened = 0
    if part.index is not None:
        share = may.count / len(part.alive)
        wide = max(1.0, 2 * k / beam) / share
        while effort * wide < may.count:
            rows, scores = _walk(part, part.index, query, int(effort * wide), int(beam * wide))
            best = _top(scores, int(beam * wide))
            best = best[may.mask[rows[best]]][:k]
            if len(best) == k:
                return rows[best], scores[best], Tally(0, widened)
            widened += 1
            wide *= 4
    rows, scores = _scan(part.vectors, may, query, k)
    return rows, scores, Tally(1, widened)


def _walk(
    part: View, index: Index, query: Vectors, effort: int, beam: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The rows looked at from where the trees begin along the links of the best, and their cosines."""
    best = rows = index.begin(query, beam, effort)
    scores = _cosines(part.vectors, rows, query)
    seen = np.zeros(len(part.alive), dtype=np.bool_)
    gone_on_from = np.zeros(len(part.alive), dtype=np.bool_)
    seen[rows] = True
    for step in range(STEPS):
        if step:
            best = rows[_top(scores, beam)]
            best = best[~gone_on_from[best]]
        gone_on_from[best] = True
        linked = index.links[best].ravel()
        fresh = np.unique(linked[~seen[linked]]).astype(np.int64)
        if len(fresh) == 0:
            break
        seen[fresh] = True
        rows = np.concatenate([rows, fresh])
        scores = np.concatenate([scores, _cosines(part.vectors, fresh, query)])
    return rows, scores


def _scan(
    vectors: Vectors, may: Allowed, query: Vectors, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if 2 * may.count < len(vectors):
        rows = np.flatnonzero(may.mask)
        scores = _cosines(vectors, rows, query)
        best = _top(scores, k)
        return rows[best], scores[best]
    scores = np.vecdot(vectors, query)
    if may.count < len(vectors):
        scores[~may.mask] = -np.inf
    best = _top(scores, k)
    return best, scores[best]


def _cosines(vectors: Vectors, rows: NDArray[np.int64], query: Vectors) -> NDArray[np.float32]:
    # in pieces: numpy gathers rows without letting go of the interpreter
    return np.concatenate(
        [
            np.vecdot(vectors[rows[first : first + GATHER_ROWS]], query)
            for first in range(0, max(1, len(rows)), GATHER_ROWS)
        ]
    )


def _top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The places of the k highest, highest first, the earlier row first among equals."""
    if k < len(scores):
        chosen = np.sort(np.argpartition(scores, len(scores) - k)[len(scores) - k :])
    else:
        chosen = np.arange(len(scores))
    order: NDArray[np.int64] = chosen[np.argsort(-scores[chosen], kind="stable")]
    return order
