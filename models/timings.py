"""How long answers took, as histograms: by priority class and by purpose, since the beginning.

latency.py tells percentiles of the newest answers, for people; these are for machines that scrape,
and take the difference of two moments themselves.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from models.request import ModelRequest, Priority, Reply

FIRST_TOKEN_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
TOKEN_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0)
EMBEDDING_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
WAIT_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
REQUEST_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
MOST_PURPOSES = 32
OTHER = "other"
"""Where the answers go whose purpose is one too many."""


class Histogram:
    """Counts of values up to each bound, ascending; not safe on two threads."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def note(self, value: float) -> None:
        """Take a value in."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def status(self) -> dict[str, object]:
        """`bounds`, `counts` (how many lie in each, the last beyond all bounds) and `sum`."""
        return {
            "bounds": list(self._bounds),
            "counts": list(self._counts),
            "sum": round(self._sum, 6),
        }


class Timings:
    """The times of one backend's answers, in seconds, as it tells them. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dict[Priority, Histogram] = {}
        self._token: dict[Priority, Histogram] = {}
        self._request: dict[str, Histogram] = {}

    def note(self, request: ModelRequest, reply: Reply) -> None:
        """Take a finished reply's times in."""
        priority = request.priority
        with self._lock:
            purpose = request.purpose
            if purpose not in self._request and len(self._request) >= MOST_PURPOSES:
                purpose = OTHER
            self._request.setdefault(purpose, Histogram(REQUEST_S)).note(reply.total_s)
            self._first.setdefault(priority, Histogram(FIRST_TOKEN_S)).note(reply.first_token_s)
            if reply.token_s is not None:
                self._token.setdefault(priority, Histogram(TOKEN_S)).note(reply.token_s)

    def status(self) -> dict[str, object]:
        """`first_token_s` and `token_s` by class name, `request_s` by purpose (see `Histogram`)."""
        with self._lock:
            return {
                "first_token_s": {p.name.lower(): h.status() for p, h in self._first.items()},
                "token_s": {p.name.lower(): h.status() for p, h in self._token.items()},
                "request_s": {purpose: h.status() for purpose, h in self._request.items()},
            }


class EmbeddingTally:
    """What an embedder did since it was made: texts, times in seconds, failures. Safe on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts = 0
        self._truncated = 0
        self._request = Histogram(EMBEDDING_S)
        self._failed: Counter[str] = Counter()

    def answered(self, texts: int, truncated: int, total_s: float) -> None:
        """Take in a request that got its vectors."""
        with self._lock:
            self._texts += texts
            self._truncated += truncated
            self._request.note(total_s)

    def failed(self, code: str) -> None:
        """Take in a request that ended with an error of this code."""
        with self._lock:
            self._failed[code] += 1

    def status(self) -> dict[str, object]:
        """`texts` embedded, `truncated` of them cut, `request_s` (a `Histogram`), `failed` by code."""
        with self._lock:
            return {
                "texts": self._texts,
                "truncated": self._truncated,
                "request_s": self._request.status(),
                "failed": dict(self._failed),
            }
