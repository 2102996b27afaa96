"""The face of embedders, on the one that needs nothing; and the collector before the others."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from embedding import Hearer, ask
from hypothesis import given
from hypothesis import strategies as st

from models import hashed
from models.collector import Collector
from models.embeddings import MAX_CHARACTERS, MAX_TEXTS, EmbeddingRequest
from models.errors import Cancelled, DeadlineExceeded, ModelUnavailable, RequestRefused
from models.hashed import HashedEmbedder


@pytest.fixture
def embedder() -> Iterator[HashedEmbedder]:
    made = HashedEmbedder()
    yield made
    made.close()


def cosine(one: str, other: str) -> float:
    first, second = hashed.embed([one, other])
    return float(first @ second)


@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_any_text_gives_a_vector_of_length_one_that_does_not_depend_on_its_neighbours(
    texts: list[str],
) -> None:
    vectors = hashed.embed(texts)
    assert vectors.shape == (len(texts), 384)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    assert all(np.array_equal(vectors[n], hashed.embed([t])[0]) for n, t in enumerate(texts))


def test_vectors_are_the_same_everywhere_bit_for_bit() -> None:
    texts = [
        "The wolves attacked the sheep.", "", "Éowyn's naïve café — 東京 🐺 ½", "a\ud800b", "a " * 9
    ]  # fmt: skip
    digest = hashlib.sha256(hashed.embed(texts).astype("<f4").tobytes()).hexdigest()
    assert digest == "3a827af1ed25d2e0a327da7d5d506dcd81bb1300503396298d1fa787937dd201"


def test_shared_words_and_parts_of_words_are_near_and_nothing_else_is() -> None:
    line = "The wolves attacked the sheep at the mill."
    assert cosine(line, "the WOLVES attacked; the sheep... at the mill") == pytest.approx(1.0)
    assert cosine("wolf", "wolfish") > 0.15
    assert cosine("Alderford", "Aldreford") > 0.1
    assert cosine(line, "A wolf attacks sheep") > 0.25
    assert abs(cosine(line, "Bread costs one copper")) < 0.15


def test_case_accents_and_width_of_letters_do_not_matter() -> None:
    assert hashed.words("Éowyn’s Ｍill, №5") == ["eowyn", "s", "mill", "no5"]


def test_long_words_tell_more_than_short_ones() -> None:
    line = "the innkeeper is in the"
    assert cosine(line, "innkeeper") > 2 * cosine(line, "is")


def test_nothing_to_embed_has_a_vector_of_its_own() -> None:
    nothing, blank, dots = hashed.embed(["", "  \n", "...!"])
    assert np.array_equal(nothing, blank)
    assert np.array_equal(nothing, dots)


def test_the_listener_hears_once_on_the_embedders_thread_in_the_order_of_the_texts(
    embedder: HashedEmbedder,
) -> None:
    hearer = ask(embedder, "wolves", "sheep")
    embeddings = hearer.embeddings
    assert np.array_equal(embeddings.vectors, hashed.embed(["wolves", "sheep"]))
    assert (embeddings.source, embeddings.truncated) == (embedder.name, 0)
    assert embedder.dimensions == 384
    assert hearer.threads == ["hashed-embedder"]
    assert embeddings.total_s > 0.0


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (EmbeddingRequest(()), "no texts"),
        (EmbeddingRequest(("a",) * (MAX_TEXTS + 1)), "257 texts"),
        (EmbeddingRequest(("a" * MAX_CHARACTERS, "b")), "1000001 characters"),
        (EmbeddingRequest(("a",), deadline_s=float("nan")), "deadline_s is nan"),
    ],
    ids=["nothing", "many", "long", "deadline"],
)
def test_what_cannot_be_asked_is_refused(
    embedder: HashedEmbedder, request_: EmbeddingRequest, fault: str
) -> None:
    hearer = Hearer()
    embedder.submit(request_, hearer)
    assert isinstance(hearer.error, RequestRefused)
    assert fault in hearer.error.message


class Blocker(Hearer):
    """Holds the embedder's thread until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def _note(self, what: object) -> None:
        self.let_go.wait(20.0)
        super()._note(what)  # type: ignore[arg-type]


def test_a_deadline_a_withdrawal_and_a_full_queue_end_in_their_errors() -> None:
    embedder = HashedEmbedder(queue=4)
    blocker = Blocker()
    embedder.submit(EmbeddingRequest(("first",)), blocker)
    late = ask(embedder, "late", deadline_s=0.01)
    withdrawn = Hearer()
    embedder.submit(EmbeddingRequest(("withdrawn",)), withdrawn).cancel()
    answered = ask(embedder, "answered")
    too_many = ask(embedder, "too many")
    time.sleep(0.02)
    blocker.let_go.set()
    assert isinstance(late.error, DeadlineExceeded)
    assert isinstance(withdrawn.error, Cancelled)
    assert isinstance(too_many.error, RequestRefused)
    assert answered.embeddings.vectors.shape == (1, 384)
    embedder.close()
    status = embedder.status()
    assert (status["done"], status["failed"], status["under_way"]) == (2, 3, 0)
    tally: Any = status["tally"]
    assert (tally["texts"], sum(tally["request_s"]["counts"])) == (2, 2)
    assert tally["failed"] == {"deadline": 1, "cancelled": 1, "model_refused": 1}


def test_closing_cancels_who_waits_and_refuses_who_comes() -> None:
    embedder = HashedEmbedder()
    blocker = Blocker()
    embedder.submit(EmbeddingRequest(("first",)), blocker)
    hearers = [ask(embedder, str(n)) for n in range(20)]
    threading.Timer(0.1, blocker.let_go.set).start()
    embedder.close()
    ends = [hearer.heard[0] for hearer in hearers]
    assert all(len(hearer.heard) == 1 for hearer in hearers)
    assert isinstance(ends[-1], Cancelled)
    assert isinstance(ask(embedder, "after").error, ModelUnavailable)


def test_a_listener_that_raises_harms_nobody_else(embedder: HashedEmbedder) -> None:
    class Clumsy(Hearer):
        def _note(self, what: object) -> None:
            raise RuntimeError("clumsy")

    embedder.submit(EmbeddingRequest(("a",)), Clumsy())
    assert ask(embedder, "b").embeddings
    assert embedder.status()["listener_faults"] == 1


def collect(
    size: int, wait_s: float, count: int, pause_s: float = 0.0
) -> tuple[list[list[int]], dict[str, object]]:
    batches: list[list[int]] = []
    over = threading.Event()

    def send(batch: list[int]) -> None:
        batches.append(batch)
        if sum(map(len, batches)) == count:
            over.set()

    collector = Collector(send, size=size, wait_s=wait_s)
    for number in range(count):
        collector.put(number)
        time.sleep(pause_s)
    assert over.wait(20.0)
    collector.close()
    return batches, collector.status()


def test_ten_calls_are_sent_together_and_in_order() -> None:
    batches, status = collect(10, 20.0, 30)
    assert batches == [[*range(10)], [*range(10, 20)], [*range(20, 30)]]
    assert (status["batches"], status["mean_size"], status["full"]) == (3, 10.0, 3)


def test_what_comes_alone_waits_no_longer_than_the_bound() -> None:
    batches, status = collect(10, 0.02, 3, pause_s=0.3)
    assert batches == [[0], [1], [2]]
    assert (status["mean_size"], status["full"]) == (1.0, 0)
    waited: Any = status["wait_s"]
    assert sum(waited["counts"]) == 3
    assert waited["sum"] >= 3 * 0.02


def test_a_call_taken_back_is_not_sent_and_the_rest_keep_their_order() -> None:
    sent: list[list[str]] = []
    over = threading.Event()

    def send(batch: list[str]) -> None:
        sent.append(batch)
        over.set()

    collector = Collector(send, size=3, wait_s=20.0)
    first = "first"
    collector.put(first)
    collector.put("second")
    assert collector.withdraw(first)
    assert not collector.withdraw(first)
    collector.put("third")
    collector.put("fourth")
    assert over.wait(20.0)
    assert sent == [["second", "third", "fourth"]]
    collector.put("fifth")
    assert collector.close() == ["fifth"]
    assert not collector.put("sixth")


def test_a_batch_that_cannot_be_sent_does_not_stop_the_next() -> None:
    sent: list[list[int]] = []
    over = threading.Event()

    def send(batch: list[int]) -> None:
        if batch == [0]:
            raise RuntimeError("lost")
        sent.append(batch)
        over.set()

    collector = Collector(send, size=1)
    collector.put(0)
    collector.put(1)
    assert over.wait(20.0)
    collector.close()
    assert (sent, collector.status()["faults"]) == ([[1]], 1)


@pytest.mark.parametrize(("size", "wait_s"), [(0, 0.1), (1, -1.0), (1, float("nan"))])
def test_a_collector_without_bounds_is_refused(size: int, wait_s: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        Collector(print, size=size, wait_s=wait_s)
