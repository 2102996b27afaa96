"""The bridge's metrics, in a registry of its own so that several bridges can run in one process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engine_bridge import model_metrics

_DEEPEST = 4


class BridgeMetrics:
    """Counters that the bridge keeps while it runs."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.connections = Gauge(
            "greenroom_bridge_connections", "Sockets open now", registry=self.registry
        )
        self.sessions = Gauge(
            "greenroom_bridge_sessions", "Sessions, attached or waiting", registry=self.registry
        )
        self.frames_in = Counter(
            "greenroom_bridge_frames_in", "Frames received", registry=self.registry
        )
        self.bytes_in = Counter(
            "greenroom_bridge_bytes_in", "Bytes received in frames", registry=self.registry
        )
        self.frames_out = Counter(
            "greenroom_bridge_frames_out", "Frames sent", ["t"], registry=self.registry
        )
        self._frames_out: dict[str, Counter] = {}
        self.bytes_out = Counter(
            "greenroom_bridge_bytes_out", "Bytes sent in frames", registry=self.registry
        )
        self.errors = Counter(
            "greenroom_bridge_errors", "Error replies", ["code"], registry=self.registry
        )
        self.closes = Counter(
            "greenroom_bridge_closes",
            "Connections closed by the server",
            ["code"],
            registry=self.registry,
        )
        self.resumes = Counter(
            "greenroom_bridge_resumes", "Sessions resumed", registry=self.registry
        )
        self.first_words = Histogram(
            "greenroom_bridge_first_words_seconds",
            "From a player's line to the first piece of the answer",
            ["by"],
            buckets=(0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
            registry=self.registry,
        )
        self.dropped = Gauge(
            "greenroom_bridge_events_dropped",
            "Events lost because the bridge fell behind the world",
            registry=self.registry,
        )

    def sent(self, t: str, size: int) -> None:
        """Count a frame that was sent."""
        counter = self._frames_out.get(t)
        if counter is None:
            # To look for a label's counter takes longer than to count.
            counter = self._frames_out[t] = self.frames_out.labels(t)
        counter.inc()
        self.bytes_out.inc(size)

    def note(self, t: str, d: Mapping[str, Any]) -> None:
        """Count what a message to a client tells of."""
        if t == "error":
            self.errors.labels(d["code"]).inc()
        elif t == "resumed":
            self.resumes.inc()
        elif t == "done":
            by = "reflex" if d["source"] == "reflex" else "model"
            self.first_words.labels(by).observe(d["first_token_ms"] / 1000)


class StatusCollector(Collector):
    """Every number in a status mapping as a gauge: {"a": {"b": 1}} becomes greenroom_a_b 1.

    What is under "models" becomes metrics with labels and kinds of their own (model_metrics.py).
    """

    def __init__(self, status: Callable[[], Mapping[str, Any]]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = dict(self._status())
        models = status.get("models")
        if isinstance(models, Mapping):
            yield from model_metrics.families(models)
            status["models"] = model_metrics.remainder(models)
        taken: set[str] = set()
        for name, value in flat(status):
            if name not in taken:
                taken.add(name)
                yield GaugeMetricFamily(name, "From the server's status", value=value)


def flat(
    status: Mapping[str, Any], prefix: str = "greenroom", depth: int = _DEEPEST
) -> Iterator[tuple[str, float]]:
    """The numbers of a nested mapping, at most four levels deep, with names Prometheus takes."""
    for key, value in status.items():
        name = f"{prefix}_{re.sub(r'[^a-zA-Z0-9_]', '_', str(key))}"
        if isinstance(value, Mapping):
            if depth > 1:
                yield from flat(value, name, depth - 1)
        elif isinstance(value, (bool, int, float)):
            yield name, float(value)
