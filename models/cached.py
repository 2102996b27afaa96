"""A backend in front of which the semantic cache answers what it can."""

from __future__ import annotations

import hashlib
import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models import grammar
from models.cache import CachedReply, SemanticCache
from models.delivery import Delivery
from models.embeddings import Embedder, EmbeddingRequest, Embeddings
from models.errors import Cancelled, DeadlineExceeded, ModelError
from models.request import Backend, Handle, Listener, ModelRequest, Reply

_LEAST_S = 0.05
LONGEST_EMBEDDING_S = 0.5
"""A question whose vector takes longer is asked without the cache."""

_LEAST_PIECE = 24
_MOST_PIECES = 32
_WORD_END = re.compile(r"\s+(?=\S)")


def question_of(request: ModelRequest) -> str:
    """The text that is compared: the request's own, or its last message."""
    if request.cache_question or not request.messages:
        return request.cache_question
    return request.messages[-1]["content"]


def mentions(text: str, words: Iterable[str]) -> bool:
    """Whether one of the words is in the text; case doesn't count.

    A word of a script that sets no spaces counts inside other words too.
    """
    folded = text.casefold()
    for word in filter(None, map(str.casefold, words)):
        bounds = r"\b" if word.isascii() and word.isalnum() else ""
        if re.search(f"{bounds}{re.escape(word)}{bounds}", folded):
            return True
    return False


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of a few whole words, at most 33: joined, they are the text."""
    least = max(_LEAST_PIECE, math.ceil(len(text) / _MOST_PIECES))
    start = 0
    for space in _WORD_END.finditer(text):
        if space.end() - start >= least:
            yield text[start : space.end()]
            start = space.end()
    if start < len(text):
        yield text[start:]


class CachedBackend:
    """A `Backend` that answers from the cache where a request may be so answered.

    A request's `cache_scope` says so, "" where it may not (see `cache.py` for what belongs in it).
    Added to it here: the model that would answer, as `model_of` names it (the name in its replies'
    `source`), `version` (what else tells that model from others of its name), the adapter, the
    embedder and the reply schema. What another model answered, lower on a ladder, is not kept, nor
    what is not `worth` it. An answer from the cache is streamed in pieces like any other.
    """

    def __init__(
        self,
        backend: Backend,
        embedder: Embedder,
        cache: SemanticCache,
        *,
        model_of: Callable[[ModelRequest], str] | None = None,
        version: str = "",
        worth: Callable[[ModelRequest, Reply], bool] = lambda request, reply: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._backend = backend
        self._embedder = embedder
        self._cache = cache
        self._model_of = model_of or (lambda request: backend.name)
        self._version = version
        self._worth = worth
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()

    @property
    def name(self) -> str:
        """The backend's."""
        return self._backend.name

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Answer from the cache, or ask the backend and keep the answer (see `Backend`)."""
        open_to_it = request.cache_scope and request.cache != "off"
        question = question_of(request) if open_to_it else ""
        if not question:
            return self._backend.submit(request, listener)
        asked = _Asked(self, request, listener, question)
        patience_s = min(LONGEST_EMBEDDING_S, request.deadline_s)
        self._embedder.submit(
            EmbeddingRequest((question,), asker=request.asker, deadline_s=patience_s), asked
        )
        return asked

    def status(self) -> dict[str, object]:
        """The backend's status and, under "cache", the cache's, the embedder's and why some were not used.

        "refreshed" questions were not looked up because the request said so, "unembedded" ones got no vector, "refused" ones did not fit the cache; answers not kept:
        "other_model", "personal" (they hold a word of `cache_unless`), "unworthy".
        """
        with self._lock:
            counts = {name: self._counts[name] for name in _COUNTED}
        return {
            **self._backend.status(),
            "cache": {**self._cache.status(), **counts, "embedder": self._embedder.status()},
        }

    def close(self) -> None:
        """Close the backend; the cache is its owner's to close."""
        self._backend.close()

    def key(self, request: ModelRequest, model: str, embedder: str) -> str:
        """The scope within the cache: the request's and a digest of all else that an answer is bound to."""
        bound = [
            model,
            self._version,
            request.adapter,
            embedder,
            request.schema.__name__ if request.schema else "",
        ]
        digest = hashlib.blake2b(json.dumps(bound).encode(), digest_size=12).hexdigest()
        return f"{request.cache_scope}|{digest}"

    def model_of(self, request: ModelRequest) -> str:
        """The name of the model that would answer now."""
        return self._model_of(request)

    def look_up(self, key: str, vector: NDArray[np.float32]) -> CachedReply | None:
        """An answer of the cache; None also for a vector that it refuses."""
        try:
            return self._cache.find(key, vector, self._clock())
        except ModelError:
            self.count("refused")
            return None

    def keep(
        self,
        request: ModelRequest,
        key: str,
        vector: NDArray[np.float32],
        question: str,
        reply: Reply,
        model: str,
    ) -> None:
        """Store an answer, if it is good for others and the cache takes it."""
        if reply.source != model:
            self.count("other_model")
        elif mentions(reply.text, request.cache_unless):
            self.count("personal")
        elif not self._worth(request, reply):
            self.count("unworthy")
        else:
            try:
                self._cache.store(key, vector, question, reply, self._clock())
            except ModelError:
                self.count("refused")

    def pass_on(self, request: ModelRequest, listener: Listener) -> Handle:
        """Ask the backend."""
        return self._backend.submit(request, listener)

    def count(self, what: str) -> None:
        """Add one to a metric."""
        with self._lock:
            self._counts[what] += 1


_COUNTED = ("refreshed", "unembedded", "refused", "other_model", "personal", "unworthy")


class _Asked:
    """One request: hears the embedder, then the backend; the asker's handle."""

    def __init__(
        self,
        cached: CachedBackend,
        request: ModelRequest,
        listener: Listener,
        question: str,
    ) -> None:
        self.request = request
        self._cached = cached
        self._delivery = Delivery(request, listener)
        self._question = question
        self._key = self._model = ""
        self._vector: NDArray[np.float32] | None = None
        self._handle: Handle | None = None
        self._passed_on = False
        self._withdrawn = False

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._withdrawn = True
        if (handle := self._handle) is not None:
            handle.cancel()

    def on_vectors(self, embeddings: Embeddings) -> None:
        """The question's vector is there: look, and ask the backend only if nothing is found."""
        self._model = self._cached.model_of(self.request)
        self._key = self._cached.key(self.request, self._model, embeddings.source)
        self._vector = embeddings.vectors[0]
        found = None
        if self.request.cache == "refresh":
            self._cached.count("refreshed")
        elif not self._withdrawn:
            found = self._cached.look_up(self._key, self._vector)
        if found is None or not self._answer(found):
            self._pass_on()

    def on_text(self, request_id: int, text: str) -> None:
        self._delivery.text(text)

    def on_done(self, reply: Reply) -> None:
        try:
            if self._vector is not None:
                self._cached.keep(
                    self.request, self._key, self._vector, self._question, reply, self._model
                )
        finally:
            self._delivery.done(
                replace(
                    reply, first_token_s=self._delivery.first_text_s, total_s=self._delivery.age_s
                )
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
        for piece in pieces(found.text) if schema is None else (found.text,):
            self._delivery.text(piece)
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
