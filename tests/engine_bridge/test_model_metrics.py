"""What embeddings take, as Prometheus reads it: real embedders behind a cache, and the page that lists it."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from embedding import ask
from prometheus_client.metrics_core import Metric

from engine_bridge.model_metrics import families
from models import house
from models.cache import SemanticCache
from models.cached import CachedBackend
from models.embeddings import Embedder
from models.hashed import HashedEmbedder
from models.llama.embedder import LlamaEmbedder
from models.router import Router
from models.scripted import ScriptedBackend

PAGE = Path(__file__).parents[2] / "docs" / "operating.md"


def embed(embedder: Embedder, *texts: str) -> None:
    assert ask(embedder, *texts).ended.wait(60)


def scraped(embedder: Embedder) -> dict[str, Metric]:
    """The families of a ladder whose cache asks this embedder, those of embeddings alone."""
    status = CachedBackend(Router([ScriptedBackend()]), embedder, SemanticCache()).status()
    told = [each for each in families(status) if each.name.startswith("greenroom_embedding_")]
    found = {family.name.removeprefix("greenroom_embedding_"): family for family in told}
    assert len(found) == len(told)
    return found


def value(family: Metric, suffix: str = "", **labels: str) -> float:
    [found] = [
        float(each.value)
        for each in family.samples
        if each.name == family.name + suffix and labels.items() <= each.labels.items()
    ]
    return found


@pytest.fixture
def hashed() -> Iterator[HashedEmbedder]:
    made = HashedEmbedder()
    yield made
    made.close()


def test_texts_times_and_failures_of_an_embedder_are_metrics(hashed: HashedEmbedder) -> None:
    embed(hashed, "the wolf", "the mill")
    embed(hashed, "the smith")
    embed(hashed)
    found = scraped(hashed)
    assert (found["texts"].type, value(found["texts"], "_total")) == ("counter", 3.0)
    assert found["request_seconds"].type == "histogram"
    assert value(found["request_seconds"], "_count") == 2.0
    assert value(found["request_seconds"], "_bucket", le="+Inf") == 2.0
    assert value(found["wait_seconds"], "_count") == 3.0
    assert value(found["failures"], "_total", code="model_refused") == 1.0
    assert value(found["up"], embedder=hashed.name) == 1.0
    assert found["batches"].samples == [], "words that are hashed are read in no batches"


@pytest.mark.engine
def test_batches_and_restarts_of_an_embedding_model_are_metrics() -> None:
    pytest.importorskip("llama_cpp")
    embedder = LlamaEmbedder(house.path(), threads=1, n_ctx=512)
    try:
        embedder.wait_ready(60.0)
        embed(embedder, *(f"wolf {n}" for n in range(8)))
        until(lambda: value(scraped(embedder)["batch_texts"], "_total") == 8.0)
        found = scraped(embedder)
        batches = value(found["batches"], "_total")
        assert 1 <= batches <= 8
        assert value(found["batch_fill_texts"]) == pytest.approx(8 / batches, abs=0.01)
        assert value(found["tokens"], "_total") >= 8
        assert value(found["restarts"], "_total") == 0.0
        os.kill(embedder.pid or 0, signal.SIGKILL)
        until(lambda: value(scraped(embedder)["restarts"], "_total") == 1.0)
        assert value(scraped(embedder)["texts"], "_total") == 8.0, "kept over a death"
    finally:
        embedder.close()


def test_the_page_names_every_metric_of_embeddings_and_no_other(hashed: HashedEmbedder) -> None:
    told = set(re.findall(r"`(greenroom_embedding_\w+?)`", PAGE.read_text(encoding="utf-8")))
    assert told == {
        family.name + ("_total" if family.type == "counter" else "")
        for family in scraped(hashed).values()
    }


def test_without_a_cache_nothing_is_embedded_and_nothing_told() -> None:
    status: Any = Router([ScriptedBackend()]).status()
    assert not [each for each in families(status) if "embedding" in each.name]


def until(holds: Callable[[], bool]) -> None:
    last = time.monotonic() + 30.0
    while not holds():
        assert time.monotonic() < last
        time.sleep(0.05)
