"""A backend in front of which the semantic cache answers what it can."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models import grammar
from models.cache import CachedReply, SemanticCache
from models.delivery import Delivery
from models.errors import Cancelled, DeadlineExceeded, ModelError
from models.request import Backend, Handle, Listener, ModelRequest, Reply

_LEAST_S = 0.05
LONGEST_EMBEDDING_S = 0.5
"""A question whose vector takes longer is asked without the cache."""


class Embedded(Protocol):
    """What an embedder tells: float32[n, dims] of unit length, and its own name."""

    @property
    def vectors(self) -> NDArray[np.float32]: ...

    @property
    def source(self) -> str: ...


class EmbeddingListener(Protocol):
    """Hears the vectors or an error, once."""

    def on_vectors(self, embeddings: Embedded) -> None: ...

    def on_error(self, request_id: int, error: ModelError) -> None: ...


Embed = Callable[[str, float, EmbeddingListener], object]
"""Have a text embedded within so many seconds: (text, deadline_s, listener). Returns at once."""


def last_message(request: ModelRequest) -> str:
    """The content of the last message."""
    return request.messages[-1]["content"] if request.messages else ""


class CachedBackend:
    """A `Backend` that answers from the cache where a request may be so answered.

    `scope_of` gives a request's cache scope, "" where it may not (see `cache.py` for what belongs in
    it; the embedder's name and the reply schema's are added here). `question_of` gives the text that
    is compared: only what the player said, if the request's last message holds more than that.
    """

    def __init__(
        self,
        backend: Backend,
        embed: Embed,
        cache: SemanticCache,
        *,
        scope_of: Callable[[ModelRequest], str],
        question_of: Callable[[ModelRequest], str] = last_message,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._backend = backend
        self._embed = embed
        self._cache = cache
        self._scope_of = scope_of
        self._question_of = question_of
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """The backend's."""
        return self._backend.name

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Answer from the cache, or ask the backend and keep the answer (see `Backend`)."""
        scope, question = self._scope_of(request), self._question_of(request)
        if not scope or not question:
            return self._backend.submit(request, listener)
        asked = _Asked(self, request, listener, scope, question)
        self._embed(question, min(LONGEST_EMBEDDING_S, request.deadline_s), asked)
        return asked

    def status(self) -> dict[str, object]:
        """The cache's status, the backend's, and how many questions got no vector ("unembedded")."""
        with self._lock:
            counts = dict(self._counts)
        return {
            "name": self.name,
            "kind": "cached",
            "unembedded": counts.get("unembedded", 0),
            "unfit": counts.get("unfit", 0),
            "cache": self._cache.status(),
            "backend": self._backend.status(),
        }

    def close(self) -> None:
        """Close the backend; the cache is its owner's to close."""
        self._backend.close()

    def look_up(self, scope: str, vector: NDArray[np.float32]) -> CachedReply | None:
        """An answer of the cache; None also for a vector that it refuses."""
        try:
            return self._cache.find(scope, vector, self._clock())
        except ModelError:
            self.count("unfit")
            return None

    def keep(self, scope: str, vector: NDArray[np.float32], question: str, reply: Reply) -> None:
        """Store an answer, if the cache takes it."""
        try:
            self._cache.store(scope, vector, question, reply, self._clock())
        except ModelError:
            self.count("unfit")

    def pass_on(self, request: ModelRequest, listener: Listener) -> Handle:
        """Ask the backend."""
        return self._backend.submit(request, listener)

    def count(self, what: str) -> None:
        """Add one to a metric."""
        with self._lock:
            self._counts[what] += 1


class _Asked:
    """One request: hears the embedder, then the backend; the asker's handle."""

    def __init__(
        self,
        cached: CachedBackend,
        request: ModelRequest,
        listener: Listener,
        scope: str,
        text: str,
    ) -> None:
        self.request = request
        self._cached = cached
        self._delivery = Delivery(request, listener)
        self._scope = scope
        self._question = text
        self._vector: NDArray[np.float32] | None = None
        self._handle: Handle | None = None
        self._passed_on = False
        self._withdrawn = False

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._withdrawn = True
        if (handle := self._handle) is not None:
            handle.cancel()

    def on_vectors(self, embeddings: Embedded) -> None:
        """The question's vector is there: look, and ask the backend only if nothing is found."""
        schema = self.request.schema
        self._scope += f"|{embeddings.source}|{schema.__name__ if schema else ''}"
        self._vector = embeddings.vectors[0]
        found = None if self._withdrawn else self._cached.look_up(self._scope, self._vector)
        if found is None or not self._answer(found):
            self._pass_on()

    def on_text(self, request_id: int, text: str) -> None:
        self._delivery.text(text)

    def on_done(self, reply: Reply) -> None:
        if self._vector is not None:
            self._cached.keep(self._scope, self._vector, self._question, reply)
        self._delivery.done(
            replace(reply, first_token_s=self._delivery.first_text_s, total_s=self._delivery.age_s)
        )

    def on_error(self, request_id: int, error: ModelError) -> None:
        """The embedder's error costs only the cache; the backend's is the asker's to hear."""
        if not self._passed_on:
            self._cached.count("unembedded")
            self._pass_on()
        else:
            self._delivery.error(error)

    def _answer(self, found: CachedReply) -> bool:
        schema = self.request.schema
        try:
            parsed = grammar.parse(found.text, schema) if schema else None
        except ModelError:
            # kept under another version of the schema
            return False
        self._delivery.text(found.text)
        self._delivery.done(
            Reply(
                request_id=self.request.id,
                text=found.text,
                source=found.source,
                parsed=parsed,
                first_token_s=self._delivery.first_text_s,
                total_s=self._delivery.age_s,
            )
        )
        return True

    def _pass_on(self) -> None:
        left_s = self._delivery.seconds_left
        if self._withdrawn:
            self._delivery.error(Cancelled("the request was withdrawn"))
        elif left_s < _LEAST_S:
            self._delivery.error(
                DeadlineExceeded(f"no answer within {self.request.deadline_s:g} s")
            )
        else:
            self._passed_on = True
            self._handle = self._cached.pass_on(replace(self.request, deadline_s=left_s), self)
            if self._withdrawn:
                self._handle.cancel()
