"""An embedder where nothing is installed: hashed words and letter n-grams, counted.

Not a model: two texts are near when they share words or parts of words, and for no other reason.
"the wolves attacked" and "a wolf attacks" are near, "a pack killed" is not; "no wolves" is near
"wolves". It finds names, places and whoever repeats himself, which is much of what a memory is asked.

Feature hashing with signs is Weinberger et al., "Feature Hashing for Large Scale Multitask Learning",
2009, https://arxiv.org/abs/0902.2206; the n-grams with marked ends of Bojanowski et al. 2017,
https://arxiv.org/abs/1607.04606. Hashes are BLAKE2b, letters are classed by Unicode 3.2, which Python
keeps for good, and sums are exact or in one order: vectors are the same everywhere, bit for bit.
"""

from __future__ import annotations

import hashlib
import math
import threading
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from models.collector import Collector
from models.embeddings import (
    EmbeddingDelivery,
    EmbeddingListener,
    EmbeddingRequest,
    Embeddings,
    check,
)
from models.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelError,
    ModelUnavailable,
    RequestRefused,
)
from models.timings import EmbeddingTally

NAME = "hashed-ngrams 1"
DIMENSIONS = 384

_SIZES = (3, 4, 5)
_PARTS = 0.7
_LONG = 6
_MOST_WORDS = 4096
_MOST_LETTERS = 64
_UNICODE = unicodedata.ucd_3_2_0

Feature = tuple[int, float]


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of length 1, float32 [len(texts), 384].

    A word counts as itself and, together with as much as 0.7 of that, as its n-grams; a word that
    comes n times counts √n; one of less than six letters counts less, as the commonest words are
    short. A text without letters or digits has the vector of the empty word. Of a text, the first
    4,096 words count, of a word the first 64 letters.
    """
    vectors: NDArray[np.float32] = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for row, text in enumerate(texts):
        sums = [0.0] * DIMENSIONS
        for word, count in Counter(words(text)).items():
            weight = math.sqrt(count) * min(_LONG, max(1, len(word))) / _LONG
            for index, value in features(word):
                sums[index] += weight * value
        # Exactly rounded, so that no order of adding shows.
        length = math.sqrt(math.fsum(value * value for value in sums))
        vectors[row] = [value / length for value in sums] if length else _vector_of_nothing()
    return vectors


def words(text: str) -> list[str]:
    """Runs of letters and digits, lower case, without accents; [""] when there are none."""
    plain = _UNICODE.normalize("NFKD", text.encode("utf-8", "replace").decode())
    found = "".join([_letter(letter) for letter in plain]).split(" ")
    return [word[:_MOST_LETTERS] for word in found if word][:_MOST_WORDS] or [""]


@lru_cache(maxsize=8192)
def _letter(letter: str) -> str:
    """What a character adds to a word: nothing for an accent, " " for what parts words."""
    kind = _UNICODE.category(letter)
    if kind in ("Lu", "Lt"):
        return letter.lower()
    if kind.startswith("M"):
        return ""
    # Unassigned in Unicode 3.2 (Cn) are later scripts and emoji, which carry meaning.
    return letter if kind[0] in "LN" or kind == "Cn" else " "


@lru_cache(maxsize=16_384)
def features(word: str) -> tuple[Feature, ...]:
    """Where a word and its n-grams fall, and with which sign and weight."""
    marked = f"<{word}>"
    grams = {
        marked[start : start + size]
        for size in _SIZES
        for start in range(len(marked) - size + 1)
        if size < len(marked)
    }
    found = [_hashed(f"w{word}", 1.0)]
    if grams:
        share = _PARTS / math.sqrt(len(grams))
        found += [_hashed(f"g{gram}", share) for gram in sorted(grams)]
    return tuple(found)


def _hashed(feature: str, weight: float) -> Feature:
    digest = hashlib.blake2b(feature.encode("utf-8"), digest_size=8).digest()
    number = int.from_bytes(digest, "little")
    return (number >> 1) % DIMENSIONS, weight if number & 1 else -weight


def _vector_of_nothing() -> NDArray[np.float32]:
    """For a text whose features cancel each other out."""
    vector: NDArray[np.float32] = np.zeros(DIMENSIONS, dtype=np.float32)
    vector[0] = 1.0
    return vector


@dataclass(slots=True, eq=False)
class HashedHandle:
    """A request given to a HashedEmbedder."""

    request: EmbeddingRequest
    _delivery: EmbeddingDelivery
    _fault: ModelError | None = field(default=None)

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._fault = self._fault or Cancelled("the request was withdrawn")


class HashedEmbedder:
    """`embed` behind the `Embedder` face, on a thread of its own; `queue` requests may wait."""

    def __init__(self, *, queue: int = 256) -> None:
        self._queue = queue
        self._lock = threading.Lock()
        self._under_way = 0
        self._done = 0
        self._failed = 0
        self._tally = EmbeddingTally()
        self._listener_faults = 0
        self._collector: Collector[HashedHandle] = Collector(
            self._serve, wait_s=0.0, name="hashed-embedder"
        )

    @property
    def name(self) -> str:
        """The features' name and version."""
        return NAME

    @property
    def dimensions(self) -> int:
        """384."""
        return DIMENSIONS

    def submit(self, request: EmbeddingRequest, listener: EmbeddingListener) -> HashedHandle:
        """Queue the request and return at once (see `Embedder`)."""
        handle = HashedHandle(request, EmbeddingDelivery(request, listener, self._tally))
        try:
            check(request)
            with self._lock:
                if self._under_way >= self._queue:
                    raise RequestRefused(f"{self._queue} requests wait already", "ask less often")
        except ModelError as error:
            handle._fault = error
        with self._lock:
            self._under_way += 1
        if not self._collector.put(handle):
            handle._fault = ModelUnavailable("the embedder was closed")
            self._end(handle)
        return handle

    def status(self) -> dict[str, object]:
        """Requests answered and failed, the tally of timings.py, and the collector's figures."""
        with self._lock:
            return {
                "name": self.name,
                "kind": "hashed",
                "state": "ready",
                "dimensions": DIMENSIONS,
                "under_way": self._under_way,
                "done": self._done,
                "failed": self._failed,
                "tally": self._tally.status(),
                "collector": self._collector.status(),
                "listener_faults": self._listener_faults,
            }

    def close(self) -> None:
        """Stop; what waits hears `Cancelled`."""
        for handle in self._collector.close():
            handle.cancel()
            self._end(handle)

    def _serve(self, handles: list[HashedHandle]) -> None:
        for handle in handles:
            self._end(handle)

    def _end(self, handle: HashedHandle) -> None:
        request, delivery, fault = handle.request, handle._delivery, handle._fault
        if fault is None and delivery.seconds_left <= 0:
            fault = DeadlineExceeded(f"no answer within {request.deadline_s:g} s")
        if fault is not None:
            delivery.error(fault)
        else:
            vectors = embed(request.texts)
            delivery.vectors(Embeddings(request.id, vectors, NAME, total_s=delivery.age_s))
        with self._lock:
            self._under_way -= 1
            self._done += fault is None
            self._failed += fault is not None
            self._listener_faults += delivery.faults
