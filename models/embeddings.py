"""What is asked of an embedder and what comes back: the one face over every kind of text vector."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.delivery import Ending
from models.errors import ModelError, RequestRefused
from models.timings import EmbeddingTally

MAX_TEXTS = 256
"""Texts in one request."""
MAX_CHARACTERS = 1_000_000
"""Characters in all texts of one request together."""

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts to turn into vectors.

    `deadline_s` counts seconds from submission; past it the request is cancelled. `asker` names who
    wants them: "memory:<id>", "lore" … Some models were trained with a word before each text
    ("query: ", "passage: "); whoever asks puts it there.
    """

    texts: tuple[str, ...]
    asker: str = ""
    deadline_s: float = 30.0
    id: int = field(default_factory=lambda: next(_ids))


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The vectors of one request.

    `vectors` is float32 [n, dimensions] in the order of the texts, each of length 1, so that a dot
    product is the cosine; it may be read-only. `source` is the embedder's name: vectors of different
    sources are never compared. `truncated` counts texts that were longer than the model reads.
    `total_s` is seconds from submission.
    """

    request_id: int
    vectors: NDArray[np.float32]
    source: str
    truncated: int = 0
    total_s: float = 0.0


class EmbeddingListener(Protocol):
    """Hears how a request ended, on the embedder's thread: hand over and return at once.

    Exactly one of the two is called, once.
    """

    def on_vectors(self, embeddings: Embeddings) -> None: ...

    def on_error(self, request_id: int, error: ModelError) -> None: ...


class EmbeddingHandle(Protocol):
    """A request under way."""

    @property
    def request(self) -> EmbeddingRequest: ...

    def cancel(self) -> None:
        """Withdraw it; the listener hears `Cancelled` unless it had already ended. Never blocks."""


class Embedder(Protocol):
    """Anything that turns text into vectors."""

    @property
    def name(self) -> str:
        """Model and version. Two embedders with different names are never mixed in one store."""

    @property
    def dimensions(self) -> int:
        """The vectors' length; 0 until it is known."""

    def submit(self, request: EmbeddingRequest, listener: EmbeddingListener) -> EmbeddingHandle:
        """Take the request and return at once. Never raises for a model's fault: the listener hears it."""

    def status(self) -> dict[str, object]:
        """A snapshot of plain values for metrics and the dashboard."""

    def close(self) -> None:
        """Stop taking requests, end what is under way with `Cancelled`, free everything."""


class EmbeddingDelivery(Ending):
    """Tells one listener about one request for vectors."""

    def __init__(
        self, request: EmbeddingRequest, listener: EmbeddingListener, tally: EmbeddingTally
    ) -> None:
        super().__init__(request, listener)
        self.request = request
        self._listener = listener
        self._tally = tally

    def vectors(self, embeddings: Embeddings) -> bool:
        """Tell the vectors and end."""

        def tell() -> None:
            self._tally.answered(len(self.request.texts), embeddings.truncated, embeddings.total_s)
            self._listener.on_vectors(embeddings)

        return self._end(tell)

    def error(self, error: ModelError) -> bool:
        """Tell an error and end."""

        def tell() -> None:
            self._tally.failed(error.code)
            self._listener.on_error(self.request.id, error)

        return self._end(tell)


def check(request: EmbeddingRequest) -> None:
    """Raises RequestRefused when the request could not be answered by any embedder."""
    if not request.texts:
        raise RequestRefused("the request has no texts")
    if len(request.texts) > MAX_TEXTS:
        raise RequestRefused(
            f"the request has {len(request.texts)} texts, more than {MAX_TEXTS}", "ask in parts"
        )
    size = sum(map(len, request.texts))
    if size > MAX_CHARACTERS:
        raise RequestRefused(
            f"the texts have {size} characters, more than {MAX_CHARACTERS}", "ask in parts"
        )
    if not math.isfinite(request.deadline_s):
        raise RequestRefused(f"deadline_s is {request.deadline_s}", "give a number of seconds")
