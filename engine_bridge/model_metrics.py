"""The models' metrics for Prometheus, made from the status of the ladder when it is scraped.

Names follow Prometheus's practice: seconds and bytes, `_total` for what only grows, `_ratio` for
what lies between 0 and 1. An engine that starts again counts from 0, which `rate()` knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

_P: Final = "greenroom_model_"
_E: Final = "greenroom_engine_"
_C: Final = "greenroom_answer_cache_"
_V: Final = "greenroom_embedding_"


@dataclass(frozen=True, slots=True)
class _Figure:
    """A number of a local engine's status and the metric that it is."""

    key: str
    name: str
    help: str
    counter: bool = True


# What the host of an engine tells about it …
_OF_HOST: Final = (
    _Figure("restarts", "restarts", "Times that the engine's process died and was started again"),
    _Figure("shrunk", "shrinks", "Times that it was started again at a smaller size"),
    _Figure("under_way", "requests_under_way", "Requests given to the engine and not ended", False),
    _Figure("listener_faults", "listener_faults", "Answers whose taker raised"),
)
# … and the engine itself, since its process started.
_OF_ENGINE: Final = (
    _Figure("asked", "requests", "Requests that reached the engine"),
    _Figure("done", "answers", "Requests that ended with an answer"),
    _Figure("failed", "refusals", "Requests that ended with an error told by the engine"),
    _Figure("steps", "steps", "Batches decoded"),
    _Figure("sequences", "step_sequences", "Sequences decoded, summed over the batches"),
    _Figure("batch_fill", "batch_fill_sequences", "Mean sequences a batch", False),
    _Figure("aborted", "steps_aborted", "Batches given up for a player's line and done again"),
    _Figure("misplaced", "misplaced_sequences", "Sequences read anew after a batch was given up"),
    _Figure("preempted", "preemptions", "Requests that gave way to a more urgent one"),
    _Figure("prompt_tokens", "prompt_tokens", "Tokens of the prompts"),
    _Figure(
        "cached_tokens", "prompt_tokens_saved", "Prompt tokens found in memory, not read again"
    ),
    _Figure("read_tokens", "prompt_tokens_read", "Prompt tokens decoded"),
    _Figure("completion_tokens", "completion_tokens", "Tokens of the answers"),
    _Figure("trimmed", "prompts_trimmed", "Prompts that lost messages to fit their window"),
    _Figure("prefix_hit_rate", "prefix_hit_ratio", "Prompt tokens saved, of all", False),
    _Figure("waiting", "queue_depth", "Requests waiting for their turn", False),
    _Figure("active", "active_requests", "Requests being read or answered", False),
    _Figure("kept_prefixes", "prefixes_kept", "Idle sequences kept for reuse", False),
    _Figure("pinned_prefixes", "prefixes_pinned", "Prefixes that many share, kept longest", False),
    _Figure("pinned_cells", "prefix_pinned_tokens", "Tokens of pinned prefixes", False),
    _Figure("evicted_prefixes", "prefix_evictions", "Idle sequences that lost their memory"),
    _Figure("spilled", "prefix_spills", "Prefixes written to disk"),
    _Figure("restored", "prefix_restores", "Prefixes read back from disk"),
    _Figure("spilled_bytes", "prefix_spilled_bytes", "Prefixes on disk", False),
    _Figure("stream_copies", "kv_stream_copies", "KV streams copied to fork or move a sequence"),
    _Figure("cells", "kv_cells", "Tokens that the KV memory holds", False),
    _Figure("free_cells", "kv_cells_free", "Tokens of KV memory that nobody uses", False),
    _Figure("busy_s", "busy_seconds", "Time spent on requests: taken in, decoded, told of"),
    _Figure("decode_s", "decode_seconds", "Time spent in llama_decode"),
    _Figure("adapters", "adapters_loaded", "LoRA adapters loaded", False),
    _Figure("adapters_freed", "adapters_freed", "LoRA adapters freed for newer ones"),
    _Figure("adapter_switches", "adapter_switches", "Times that another cohort took the context"),
    _Figure(
        "adapter_missing", "adapter_missing", "Requests for an adapter that could not be loaded"
    ),
)
# The cache in front of the ladder, where there is one.
_OF_CACHE: Final = (
    _Figure("hits", "hits", "Requests answered from the cache"),
    _Figure("misses", "misses", "Requests that nothing in the cache was like enough to"),
    _Figure("entries", "entries", "Answers kept", False),
)
# What any embedder tells since it was made …
_OF_EMBEDDER: Final = (
    _Figure("texts", "texts", "Texts turned into vectors"),
    _Figure("truncated", "texts_truncated", "Texts of which the model read only the beginning"),
)
# … the host of one that is a model …
_OF_EMBEDDING_HOST: Final = (
    _Figure("under_way", "requests_under_way", "Requests for vectors not ended", False),
    _Figure("restarts", "restarts", "Times that the process died and was started again"),
)
# … and the model, since its process started.
_OF_EMBEDDING: Final = (
    _Figure("batches", "batches", "Batches decoded"),
    _Figure("texts", "batch_texts", "Texts decoded, summed over the batches"),
    _Figure("texts_a_batch", "batch_fill_texts", "Mean texts a batch", False),
    _Figure("tokens", "tokens", "Tokens of the texts"),
    _Figure("waiting", "queue_depth", "Requests waiting for a batch", False),
    _Figure("busy_s", "busy_seconds", "Time spent in batches"),
)
_HISTOGRAMS: Final = (
    ("first_token_s", "first_token_seconds", "From asking a rung to its first token", "priority"),
    ("token_s", "token_seconds", "A token after the first, averaged over an answer", "priority"),
    ("request_s", "request_seconds", "From asking a rung to the end of its answer", "purpose"),
)


def ladder_of(models: Mapping[str, Any]) -> Mapping[str, Any]:
    """The router's status inside that of all models, whatever stands in front of it; {} for none."""
    while models and models.get("kind") != "router":
        inner = models.get("backend")
        models = inner if isinstance(inner, Mapping) else {}
    return models


def remainder(models: Mapping[str, Any]) -> dict[str, Any]:
    """The status of all models without what `families` makes metrics of."""
    if models.get("kind") == "router":
        rungs = models.get("rungs", {})
        return {"rungs": {n: s for n, s in rungs.items() if s.get("kind") != "llama.cpp"}}
    inner = models.get("backend")
    if isinstance(inner, Mapping):
        return {**models, "backend": remainder(inner)}
    return dict(models)


def families(models: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics of the ladder in a status; none without one."""
    ladder = ladder_of(models)
    if not ladder:
        return
    yield from _rungs(ladder)
    yield from _uses(ladder.get("counts", {}))
    for key, name, help_text, by in _HISTOGRAMS:
        yield _histogram(_P + name, help_text, by, key, ladder.get("timings", {}))
    engines = {n: s for n, s in ladder.get("rungs", {}).items() if s.get("kind") == "llama.cpp"}
    refused = GaugeMetricFamily(
        _E + "adapters_refused", "LoRA adapters left out for a fault", labels=["rung"]
    )
    for label, status in engines.items():
        states = status.get("adapters", {}).values()
        refused.add_metric([label], sum(state not in ("loaded", "loading") for state in states))
    yield refused
    yield from _figures(_OF_HOST, engines)
    yield from _figures(_OF_ENGINE, {n: s.get("engine", {}) for n, s in engines.items()})
    if "cache" in ladder:
        for figure in _OF_CACHE:
            kind = CounterMetricFamily if figure.counter else GaugeMetricFamily
            yield kind(_C + figure.name, figure.help, float(ladder["cache"][figure.key]))
        yield from _embedder(ladder["cache"]["embedder"])


def _embedder(status: Mapping[str, Any]) -> Iterator[Metric]:
    tally, told = status.get("tally", {}), {str(status.get("name", "")): status}
    name = next(iter(told))
    up = GaugeMetricFamily(_V + "up", "Whether texts get vectors", labels=["embedder"])
    up.add_metric([name], status.get("state") == "ready")
    failed = CounterMetricFamily(
        _V + "failures", "Requests that got no vectors", labels=["embedder", "code"]
    )
    for code, count in tally.get("failed", {}).items():
        failed.add_metric([name, code], count)
    yield from (up, failed)
    for metric, help_text, histogram in (
        ("request_seconds", "From asking for vectors to having them", tally.get("request_s")),
        (
            "wait_seconds",
            "A request's wait for others to be sent together with",
            status.get("collector", {}).get("wait_s"),
        ),
    ):
        family = HistogramMetricFamily(_V + metric, help_text, labels=["embedder"])
        if histogram is not None:
            family.add_metric([name], *_cumulative(histogram))
        yield family
    yield from _figures(_OF_EMBEDDER, {name: tally}, _V, "embedder")
    yield from _figures(_OF_EMBEDDING_HOST, told, _V, "embedder")
    yield from _figures(_OF_EMBEDDING, {name: status.get("engine", {})}, _V, "embedder")


def _rungs(ladder: Mapping[str, Any]) -> Iterator[Metric]:
    up = GaugeMetricFamily(_P + "rung_up", "Whether a rung takes requests", labels=["rung"])
    on = GaugeMetricFamily(_P + "rung_on", "Whether a rung is not switched off", labels=["rung"])
    for label, status in ladder.get("rungs", {}).items():
        up.add_metric([label], status.get("state", "ready") == "ready")
        on.add_metric([label], label not in ladder.get("off", ()))
    answering = GaugeMetricFamily(
        _P + "rung_answering",
        '1 for the rung that a purpose asks first as things stand; purpose "" is every other',
        labels=["rung", "purpose"],
    )
    for purpose, label in ladder.get("answering", {}).items():
        if label:
            answering.add_metric([label, purpose], 1)
    yield from (up, on, answering)


def _uses(counts: Mapping[str, int]) -> Iterator[Metric]:
    asked = CounterMetricFamily(_P + "requests", "Requests that a rung was asked", labels=["rung"])
    answered = CounterMetricFamily(_P + "answers", "Answers of a rung", labels=["rung"])
    failed = CounterMetricFamily(
        _P + "failures", "Requests that a rung did not answer", labels=["rung", "code"]
    )
    for name, count in counts.items():
        label, _, what = name.partition(".")
        outcome, _, code = what.partition(".")
        if outcome == "failed":
            failed.add_metric([label, code], count)
        elif outcome in ("asked", "answered"):
            (asked if outcome == "asked" else answered).add_metric([label], count)
    yield from (asked, answered, failed)


def _histogram(
    name: str, help_text: str, by: str, key: str, timings: Mapping[str, Any]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help_text, labels=["rung", by])
    for label, kept in timings.items():
        for each, histogram in kept.get(key, {}).items():
            family.add_metric([label, each], *_cumulative(histogram))
    return family


def _cumulative(histogram: Mapping[str, Any]) -> tuple[list[tuple[str, float]], float]:
    """Buckets as Prometheus counts them, each with all below it; and the sum."""
    reached, buckets = 0, []
    for bound, count in zip([*histogram["bounds"], inf], histogram["counts"], strict=True):
        reached += count
        buckets.append(("+Inf" if bound == inf else str(bound), float(reached)))
    return buckets, histogram["sum"]


def _figures(
    figures: tuple[_Figure, ...],
    told: Mapping[str, Mapping[str, Any]],
    prefix: str = _E,
    of: str = "rung",
) -> Iterator[Metric]:
    for figure in figures:
        kind = CounterMetricFamily if figure.counter else GaugeMetricFamily
        family = kind(prefix + figure.name, figure.help, labels=[of])
        for label, status in told.items():
            if figure.key in status:
                family.add_metric([label], float(status[figure.key]))
        yield family
