"""Logits to a token: greedy, or temperature and nucleus with counter-based chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 256
"""At most this many of the likeliest tokens take part in a draw (sorting 152,000 would cost ms)."""
_NEAR = 1e-3
"""Tokens with this much of the best one's probability are nearly always the whole nucleus."""
_NEGLIGIBLE = 2e-9
_STEEPEST = 1e6
"""Of colder temperatures the differences of logits would be too large for their numbers."""

_MASK = (1 << 64) - 1


def unit(seed: int, position: int) -> float:
    """A number in [0, 1) that depends on nothing but the request's seed and the token's position.

    SplitMix64 (Steele, Lea and Flood, 2014) over both words.
    """
    state = (seed * 0x9E3779B97F4A7C15 + position * 0xD1B54A32D192ED03 + 0x9E3779B97F4A7C15) & _MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
    state ^= state >> 31
    return (state >> 11) / (1 << 53)


class Sampler:
    """Chooses tokens from `n_vocab` logits; for one thread, since what it reckons with is kept.

    Fresh arrays of a large vocabulary's size would take longer to get than to fill.
    """

    def __init__(self, n_vocab: int) -> None:
        self._scores: NDArray[np.float32] = np.empty(n_vocab, dtype=np.float32)
        self._likely: NDArray[np.bool_] = np.empty(n_vocab, dtype=np.bool_)

    def choose(
        self,
        logits: NDArray[np.float32],
        *,
        temperature: float,
        top_p: float,
        chance: float,
        allowed: NDArray[np.bool_] | None = None,
    ) -> int:
        """Choose a token.

        `logits`: float32 [n_vocab], left unchanged; `allowed`: bool [n_vocab] from a grammar, or
        None. `temperature` ≤ 0 takes the likeliest. `chance` in [0, 1) decides among the smallest
        set of tokens whose probability reaches `top_p`. Raises ValueError when no token is allowed
        or an allowed logit is not a number.
        """
        scores = logits
        if allowed is not None:
            scores = self._scores
            scores.fill(-np.inf)
            np.copyto(scores, logits, where=allowed[: scores.shape[0]])
        likeliest = int(scores.argmax())
        best = logits[likeliest]
        if not np.isfinite(scores[likeliest]):
            raise ValueError("no token can follow: the best logit is not finite")
        if temperature <= 0.0:
            return likeliest
        slope = min(1.0 / temperature, _STEEPEST)
        weights = np.subtract(scores, best, out=self._scores)
        weights *= np.float32(slope)
        np.exp(weights, out=weights)
        total = float(weights.sum())
        share = min(max(top_p, 0.0), 1.0)
        # To sort what can't be drawn would take most of the time.
        ids = np.flatnonzero(np.greater_equal(weights, _NEAR, out=self._likely))
        if ids.shape[0] <= CANDIDATES and float(weights[ids].sum()) <= (share + 1e-6) * total:
            ids = np.flatnonzero(np.greater_equal(weights, _NEGLIGIBLE, out=self._likely))
        if ids.shape[0] > CANDIDATES:
            ids = np.sort(ids[np.argpartition(logits[ids], -CANDIDATES)[-CANDIDATES:]])
            total = np.inf
        # A stable sort: ties are broken by id.
        ids = ids[np.argsort(-logits[ids], kind="stable")]
        cumulative = np.cumsum(np.exp((logits[ids].astype(np.float64) - float(best)) * slope))
        reached = share * min(total, float(cumulative[-1]))
        kept = int(np.searchsorted(cumulative, reached, side="left"))
        drawn = np.searchsorted(cumulative[: kept + 1], chance * cumulative[kept], side="right")
        return int(ids[min(int(drawn), kept)])


def log_probabilities(
    logits: NDArray[np.float32], token: int, likeliest: int
) -> tuple[float, list[tuple[int, float]]]:
    """(log-probability of `token`, the `likeliest` tokens with theirs), by softmax of all logits."""
    scores = logits.astype(np.float64)
    best = scores.max()
    norm = float(best + np.log(np.exp(scores - best).sum()))
    count = min(likeliest, scores.shape[0])
    ids = np.argpartition(scores, -count)[-count:]
    ids = ids[np.lexsort((ids, -scores[ids]))]
    return float(scores[token]) - norm, [(int(i), float(scores[i]) - norm) for i in ids]
