"""How many tokens a step may decode so that it stays within a time: learnt from the steps before."""

from __future__ import annotations

_SMOOTHING = 0.2
_LEAST = 16


class Pace:
    """Learns how long batches of about 1, 2, 4, 8 … tokens take.

    `allowance` is the largest size whose expected time is within what is given; sizes never tried
    are approached by doubling, up to `most`.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._seconds: dict[int, float] = {}

    def note(self, tokens: int, seconds: float) -> None:
        """A step of `tokens` tokens took `seconds`."""
        bucket = tokens.bit_length()
        # Scaled to the bucket's upper edge, the size that `allowance` would promise.
        scaled = seconds * min(1 << bucket, self._most) / tokens
        before = self._seconds.get(bucket)
        self._seconds[bucket] = (
            scaled if before is None else before + _SMOOTHING * (scaled - before)
        )

    def expected(self, tokens: int) -> float:
        """Seconds a step of that size may take; 0 when none like it has been seen."""
        return self._seconds.get(tokens.bit_length(), 0.0)

    def allowance(self, step_s: float) -> int:
        """How many tokens a step of `step_s` seconds may take: between 16 and the batch's size."""
        known = [bucket for bucket, s in self._seconds.items() if s <= step_s]
        if not known:
            return min(self._most, _LEAST)
        best = max(known)
        over = [bucket for bucket in self._seconds if bucket > best]
        tokens = 1 << (best if over else best + 1)
        return max(min(_LEAST, self._most), min(tokens, self._most))
