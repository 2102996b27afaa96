"""A backend behind the semantic cache: what is asked again, what is answered, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pytest
from asking import Recorder, ask, request
from pydantic import Field

from foundation.strict import StrictModel
from models.cache import SemanticCache
from models.cached import CachedBackend, EmbeddingListener
from models.errors import Cancelled, ModelError, ModelUnavailable
from models.request import ModelRequest
from models.scripted import ScriptedBackend


@dataclass(frozen=True)
class FakeEmbeddings:
    """What an embedder tells."""

    vectors: np.ndarray
    source: str


class FakeEmbedder:
    """Vectors by the count of letters: no model. Holds its answers back while `held` is a list."""

    def __init__(self, name: str = "fake-1") -> None:
        self.name = name
        self.texts: list[str] = []
        self.error: ModelError | None = None
        self.held: list[Callable[[], None]] | None = None

    def __call__(self, text: str, deadline_s: float, listener: EmbeddingListener) -> None:
        self.texts.append(text)
        counts = np.array([text.lower().count(chr(97 + n)) + 0.01 for n in range(26)])
        made = (counts / np.linalg.norm(counts)).astype(np.float32)
        error = self.error

        def answer() -> None:
            if error:
                listener.on_error(1, error)
            else:
                listener.on_vectors(FakeEmbeddings(made[None], self.name))

        if self.held is None:
            answer()
        else:
            self.held.append(answer)


class Setting:
    """A cached backend whose model counts how often it is asked."""

    def __init__(self) -> None:
        self.embedder = FakeEmbedder()
        self.scope = "ada|ben"
        self.now = 0.0
        self.asked = 0
        self.cache = SemanticCache()
        self.model = ScriptedBackend(self.rule, name="house-1")
        self.backend = CachedBackend(
            self.model, self.embedder, self.cache, scope_of=self.scope_of, clock=lambda: self.now
        )

    def scope_of(self, _request: ModelRequest) -> str:
        return self.scope

    def rule(self, asked: ModelRequest) -> str:
        self.asked += 1
        if asked.schema:
            return '{"to":"mill"}'
        return f"Answer {self.asked}."


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_the_same_question_is_answered_from_the_cache(setting: Setting) -> None:
    first = ask(setting.backend, request("Where is the smith?")).reply
    again = ask(setting.backend, request("where is the smith"))
    assert again.reply.text == first.text == "Answer 1."
    assert again.reply.source == "cache: house-1"
    assert "".join(again.pieces) == first.text
    assert again.reply.request_id != first.request_id
    assert again.after_end == []
    assert setting.asked == 1


def test_another_question_is_asked(setting: Setting) -> None:
    ask(setting.backend, request("Where is the smith?")).wait()
    assert ask(setting.backend, request("Do you sell fur?")).reply.text == "Answer 2."


def test_a_request_without_a_scope_neither_reads_nor_fills_the_cache(setting: Setting) -> None:
    setting.scope = ""
    for n in (1, 2):
        assert ask(setting.backend, request("Where is the smith?")).reply.text == f"Answer {n}."
    assert len(setting.cache) == 0
    assert setting.embedder.texts == []


def test_another_scope_embedder_or_schema_is_asked_anew(setting: Setting) -> None:
    class Where(StrictModel):
        to: Annotated[str, Field(max_length=8)]

    ask(setting.backend, request("Where is the smith?")).wait()
    found = ask(setting.backend, request("Where is the smith?", schema=Where)).reply
    assert isinstance(found.parsed, Where)
    again = ask(setting.backend, request("Where is the smith?", schema=Where)).reply
    assert again.source == "cache: house-1"
    assert again.parsed == found.parsed
    assert setting.asked == 2
    setting.scope = "ada|cat"
    ask(setting.backend, request("Where is the smith?")).wait()
    setting.embedder.name = "fake-2"
    ask(setting.backend, request("Where is the smith?")).wait()
    assert setting.asked == 4


def test_an_answer_past_its_time_is_asked_again(setting: Setting) -> None:
    ask(setting.backend, request("Where is the smith?")).wait()
    setting.now = 3601.0
    assert ask(setting.backend, request("Where is the smith?")).reply.text == "Answer 2."


def test_an_embedder_that_fails_costs_only_the_cache(setting: Setting) -> None:
    setting.embedder.error = ModelUnavailable("no embedder")
    assert ask(setting.backend, request("Where?")).reply.text == "Answer 1."
    assert setting.backend.status()["unembedded"] == 1


def test_a_backend_that_fails_is_heard_once(setting: Setting) -> None:
    setting.model.close()
    setting.embedder.error = ModelUnavailable("no embedder")
    assert isinstance(ask(setting.backend, request("Where?")).error, ModelUnavailable)
    setting.embedder.error = None
    heard = ask(setting.backend, request("Where?"))
    assert isinstance(heard.error, ModelUnavailable)
    assert heard.after_end == []


def test_a_request_withdrawn_while_it_is_embedded_is_never_asked(setting: Setting) -> None:
    setting.embedder.held = []
    recorder = Recorder()
    setting.backend.submit(request("Where?"), recorder).cancel()
    setting.embedder.held[0]()
    assert isinstance(recorder.error, Cancelled)
    assert setting.asked == 0


def test_the_status_tells_of_cache_and_backend(setting: Setting) -> None:
    ask(setting.backend, request("Where?")).wait()
    status = setting.backend.status()
    assert status["cache"]["misses"] == 1  # type: ignore[index]
    assert status["backend"]["asked"] == 1  # type: ignore[index]
    assert setting.backend.name == "house-1"
    setting.backend.close()
