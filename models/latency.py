"""How long answers take, by priority class: the newest few hundred of each, as percentiles."""

from __future__ import annotations

from collections import deque

import numpy as np

from models.request import Priority, Reply

KEPT = 512


class Latencies:
    """Times to first token and per token of the newest `KEPT` replies of each class."""

    def __init__(self) -> None:
        self._first: dict[Priority, deque[float]] = {p: deque(maxlen=KEPT) for p in Priority}
        self._token: dict[Priority, deque[float]] = {p: deque(maxlen=KEPT) for p in Priority}

    def note(self, priority: Priority, reply: Reply) -> None:
        """Take a finished reply's times in."""
        self._first[priority].append(reply.first_token_s)
        if reply.token_s is not None:
            self._token[priority].append(reply.token_s)

    def status(self) -> dict[str, dict[str, float]]:
        """Milliseconds by class name, for classes that have had an answer."""
        return {
            priority.name.lower(): {
                **_percentiles("first_token", self._first[priority]),
                **_percentiles("token", self._token[priority]),
            }
            for priority in Priority
            if self._first[priority]
        }


def _percentiles(name: str, seconds: deque[float]) -> dict[str, float]:
    if not seconds:
        return {}
    # Copied at once, since another thread may add one meanwhile.
    p50, p95 = np.percentile(np.array(list(seconds)), (50, 95)) * 1000.0
    return {f"{name}_p50_ms": round(float(p50), 2), f"{name}_p95_ms": round(float(p95), 2)}
