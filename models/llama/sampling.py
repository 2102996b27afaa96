"""Logits to a token: greedy, or temperature and nucleus with counter-based chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 256
"""At most this many of the likeliest tokens take part in a draw (sorting 152,000 would cost ms)."""
_NEGLIGIBLE = 20.0
"""A logit this many temperatures below the best has less than 10⁻⁸ of its probability."""

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


def sample(
    logits: NDArray[np.float32],
    *,
    temperature: float,
    top_p: float,
    chance: float,
    allowed: NDArray[np.bool_] | None = None,
) -> int:
    """Choose a token.

    `logits`: float32 [n_vocab], left unchanged; `allowed`: bool [n_vocab] from a grammar, or None.
    `temperature` ≤ 0 takes the likeliest. `chance` in [0, 1) decides among the smallest set of
    tokens whose probability reaches `top_p`. Raises ValueError when no token is allowed or an
    allowed logit is not a number.
    """
    # Most of a large vocabulary is out of the question, which one comparison finds out.
    reach = _NEGLIGIBLE * max(temperature, 0.0)
    likeliest = int(np.argmax(logits))
    if allowed is None or allowed[likeliest]:
        best = logits[likeliest]
        if temperature <= 0.0 and np.isfinite(best):
            return likeliest
        ids = np.flatnonzero(logits >= best - reach)
        ids = ids if allowed is None else ids[allowed[ids]]
    else:
        among = np.flatnonzero(allowed[: logits.shape[0]])
        best = logits[among].max(initial=-np.inf)
        ids = among[logits[among] >= best - reach]
    if not np.isfinite(best):
        raise ValueError("no token can follow: the best logit is not finite")
    if temperature <= 0.0:
        return int(ids[0])
    if ids.shape[0] > CANDIDATES:
        ids = ids[np.argpartition(logits[ids], -CANDIDATES)[-CANDIDATES:]]
    # Ties are broken by id, so the order never depends on how argpartition left them.
    ids = ids[np.lexsort((ids, -logits[ids]))]
    scores = logits[ids].astype(np.float64)
    weights = np.exp((scores - scores[0]) / temperature)
    cumulative = np.cumsum(weights)
    total = cumulative[-1]
    kept = int(np.searchsorted(cumulative, min(max(top_p, 0.0), 1.0) * total, side="left")) + 1
    kept = min(kept, int(np.count_nonzero(weights)))
    drawn = int(np.searchsorted(cumulative[:kept], chance * cumulative[kept - 1], side="right"))
    return int(ids[min(drawn, kept - 1)])


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
