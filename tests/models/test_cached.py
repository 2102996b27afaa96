"""A backend behind the semantic cache: what is asked again, what is answered, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pytest
from asking import Recorder, ask, request
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from foundation.strict import StrictModel
from models.cache import SemanticCache
from models.cached import CachedBackend, mentions, pieces
from models.embeddings import EmbeddingListener, EmbeddingRequest, Embeddings
from models.errors import Cancelled, ModelError, ModelUnavailable
from models.request import ModelRequest
from models.router import Router, Rung
from models.scripted import ScriptedBackend


class FakeEmbedder:
    """Vectors by the count of letters: no model. Holds its answers back while `held` is a list."""

    def __init__(self, name: str = "fake-1") -> None:
        self.name = name
        self.texts: list[str] = []
        self.error: ModelError | None = None
        self.held: list[Callable[[], None]] | None = None

    @property
    def dimensions(self) -> int:
        return 26

    def submit(self, request: EmbeddingRequest, listener: EmbeddingListener) -> Any:
        (text,) = request.texts
        self.texts.append(text)
        counts = np.array([text.lower().count(chr(97 + n)) + 0.01 for n in range(26)])
        made = (counts / np.linalg.norm(counts)).astype(np.float32)
        error = self.error

        def answer() -> None:
            if error:
                listener.on_error(request.id, error)
            else:
                listener.on_vectors(Embeddings(request.id, made[None], self.name))

        if self.held is None:
            answer()
        else:
            self.held.append(answer)

    def status(self) -> dict[str, object]:
        return {}

    def close(self) -> None:
        return None


class Setting:
    """A cached backend whose model counts how often it is asked."""

    def __init__(self) -> None:
        self.embedder = FakeEmbedder()
        self.scope = "ada|ben"
        self.now = 0.0
        self.asked = 0
        self.cache = SemanticCache()
        self.model = ScriptedBackend(self.rule, name="house-1")
        self.backend = CachedBackend(self.model, self.embedder, self.cache, clock=lambda: self.now)

    def request(self, line: str, **fields: Any) -> ModelRequest:
        return request(line, cache_scope=self.scope, **fields)

    def rule(self, asked: ModelRequest) -> str:
        self.asked += 1
        if asked.schema:
            return '{"to":"mill"}'
        return f"Answer {self.asked}."


@pytest.fixture
def setting() -> Setting:
    return Setting()


def test_the_same_question_is_answered_from_the_cache(setting: Setting) -> None:
    first = ask(setting.backend, setting.request("Where is the smith?")).reply
    again = ask(setting.backend, setting.request("where is the smith"))
    assert again.reply.text == first.text == "Answer 1."
    assert again.reply.source == "cache: house-1"
    assert "".join(again.pieces) == first.text
    assert again.reply.request_id != first.request_id
    assert again.after_end == []
    assert setting.asked == 1


def test_another_question_is_asked(setting: Setting) -> None:
    ask(setting.backend, setting.request("Where is the smith?")).wait()
    assert ask(setting.backend, setting.request("Do you sell fur?")).reply.text == "Answer 2."


def test_a_request_without_a_scope_neither_reads_nor_fills_the_cache(setting: Setting) -> None:
    setting.scope = ""
    for n in (1, 2):
        assert (
            ask(setting.backend, setting.request("Where is the smith?")).reply.text
            == f"Answer {n}."
        )
    assert len(setting.cache) == 0
    assert setting.embedder.texts == []


def test_a_request_may_leave_the_cache_alone(setting: Setting) -> None:
    ask(setting.backend, setting.request("Where is the smith?")).wait()
    off = ask(setting.backend, setting.request("Where is the smith?", cache="off")).reply
    assert (off.text, off.source) == ("Answer 2.", "house-1")
    assert ask(setting.backend, setting.request("Where is the smith?")).reply.text == "Answer 1."


def test_a_refreshed_answer_takes_the_place_of_the_kept_one(setting: Setting) -> None:
    ask(setting.backend, setting.request("Where is the smith?")).wait()
    fresh = ask(setting.backend, setting.request("Where is the smith?", cache="refresh")).reply
    assert (fresh.text, fresh.source) == ("Answer 2.", "house-1")
    again = ask(setting.backend, setting.request("Where is the smith?")).reply
    assert (again.text, again.source) == ("Answer 2.", "cache: house-1")
    assert len(setting.cache) == 1
    told: Any = setting.backend.status()["cache"]
    assert told["refreshed"] == 1


def test_no_wish_of_the_caller_reaches_another_scope_or_keeps_what_may_not_be_kept(
    setting: Setting,
) -> None:
    for cache in ("use", "refresh", "off"):
        setting.scope = ""
        ask(setting.backend, setting.request("Where is the smith?", cache=cache)).wait()
        assert len(setting.cache) == 0
    for scope in ("ada|ben", "ada|cat"):
        setting.scope = scope
        found = ask(setting.backend, setting.request("Where is the smith?", cache="refresh")).reply
        assert found.source == "house-1"
    assert ask(setting.backend, setting.request("Where is the smith?")).reply.text == "Answer 5."


def test_another_scope_embedder_or_schema_is_asked_anew(setting: Setting) -> None:
    class Where(StrictModel):
        to: Annotated[str, Field(max_length=8)]

    ask(setting.backend, setting.request("Where is the smith?")).wait()
    found = ask(setting.backend, setting.request("Where is the smith?", schema=Where)).reply
    assert isinstance(found.parsed, Where)
    again = ask(setting.backend, setting.request("Where is the smith?", schema=Where)).reply
    assert again.source == "cache: house-1"
    assert again.parsed == found.parsed
    assert setting.asked == 2
    setting.scope = "ada|cat"
    ask(setting.backend, setting.request("Where is the smith?")).wait()
    setting.embedder.name = "fake-2"
    ask(setting.backend, setting.request("Where is the smith?")).wait()
    assert setting.asked == 4


def test_an_answer_past_its_time_is_asked_again(setting: Setting) -> None:
    ask(setting.backend, setting.request("Where is the smith?")).wait()
    setting.now = 3601.0
    assert ask(setting.backend, setting.request("Where is the smith?")).reply.text == "Answer 2."


def test_an_embedder_that_fails_costs_only_the_cache(setting: Setting) -> None:
    setting.embedder.error = ModelUnavailable("no embedder")
    assert ask(setting.backend, setting.request("Where?")).reply.text == "Answer 1."
    assert told(setting)["unembedded"] == 1


def test_a_backend_that_fails_is_heard_once(setting: Setting) -> None:
    setting.model.close()
    setting.embedder.error = ModelUnavailable("no embedder")
    assert isinstance(ask(setting.backend, setting.request("Where?")).error, ModelUnavailable)
    setting.embedder.error = None
    heard = ask(setting.backend, setting.request("Where?"))
    assert isinstance(heard.error, ModelUnavailable)
    assert heard.after_end == []


def test_a_request_withdrawn_while_it_is_embedded_is_never_asked(setting: Setting) -> None:
    setting.embedder.held = []
    recorder = Recorder()
    setting.backend.submit(setting.request("Where?"), recorder).cancel()
    setting.embedder.held[0]()
    assert isinstance(recorder.error, Cancelled)
    assert setting.asked == 0


def test_the_status_is_the_backends_with_the_caches_in_it(setting: Setting) -> None:
    for _ in range(3):
        ask(setting.backend, setting.request("Where?")).wait()
    assert setting.backend.status()["asked"] == 1
    found = told(setting)
    assert (found["misses"], found["hits"], found["entries"]) == (1, 2, 1)
    assert found["hit_rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert setting.backend.name == "house-1"
    setting.backend.close()


def told(setting: Setting) -> dict[str, Any]:
    found = setting.backend.status()["cache"]
    assert isinstance(found, dict)
    return found


def test_the_requests_own_question_is_compared_and_not_its_last_message(setting: Setting) -> None:
    for n in range(2):
        line = f"(evening; near: {'Bo' * n}) Ann says: where is the smith?"
        ask(setting.backend, setting.request(line, cache_question="Where is the smith?")).wait()
    assert setting.embedder.texts == ["Where is the smith?"] * 2
    assert setting.asked == 1


def test_an_answer_that_names_the_asker_is_not_kept_for_others(setting: Setting) -> None:
    setting.model = ScriptedBackend(lambda _: "The mill, Ann.", name="house-1")
    setting.backend = CachedBackend(setting.model, setting.embedder, setting.cache)
    ask(setting.backend, setting.request("Where?", cache_unless=("ann", "Finch"))).wait()
    assert (len(setting.cache), told(setting)["personal"]) == (0, 1)
    ask(setting.backend, setting.request("Where?", cache_unless=("Bo",))).wait()
    assert len(setting.cache) == 1


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("Come in, Ann!", ["ann"], True),
        ("I cannot say.", ["Ann"], False),
        ("Ann's bread.", ["Ann"], True),
        ("你好小李请坐", ["小李"], True),
        ("Bon jour, Zoë.", ["zoë"], True),
        ("Well.", ["", "."], True),
        ("Well", [""], False),
    ],
)
def test_a_word_is_found_whole_where_its_script_sets_spaces(
    text: str, words: list[str], found: bool
) -> None:
    assert mentions(text, words) is found


def test_an_answer_that_is_not_worth_it_is_not_kept(setting: Setting) -> None:
    setting.backend = CachedBackend(
        setting.model, setting.embedder, setting.cache, worth=lambda _, reply: "2" in reply.text
    )
    for _ in range(3):
        ask(setting.backend, setting.request("Where?")).wait()
    assert (setting.asked, told(setting)["unworthy"], told(setting)["hits"]) == (2, 1, 1)


def test_an_answer_never_crosses_model_version_or_adapter(setting: Setting) -> None:
    other = ScriptedBackend(setting.rule, name="house-2")
    router = Router([Rung("one", setting.model), Rung("two", other)])

    def model_of(asked: ModelRequest) -> str:
        return router.ladder(asked.purpose, asked.backend)[0].backend.name

    def backend(version: str = "") -> CachedBackend:
        return CachedBackend(
            router, setting.embedder, setting.cache, model_of=model_of, version=version
        )

    setting.backend = backend()
    sources = [
        ask(setting.backend, setting.request("Where?", **fields)).reply.source
        for fields in ({}, {"adapter": "wolf"}, {"backend": "two"}) * 2
    ]
    fresh = ["house-1", "house-1", "house-2"]
    assert sources == [*fresh, *(f"cache: {source}" for source in fresh)]
    router.switch(None, ["two", "one"])
    assert ask(setting.backend, setting.request("Where?")).reply.source == "cache: house-2"
    setting.backend = backend("#2")
    assert ask(setting.backend, setting.request("Where?")).reply.source == "house-2"


def test_what_a_lower_rung_answered_is_not_kept(setting: Setting) -> None:
    broken = ScriptedBackend(name="house-0")
    broken.close()
    router = Router([broken, setting.model])
    setting.backend = CachedBackend(
        router, setting.embedder, setting.cache, model_of=lambda _: "house-0"
    )
    assert ask(setting.backend, setting.request("Where?")).reply.source == "house-1"
    assert (len(setting.cache), told(setting)["other_model"]) == (0, 1)


def test_an_answer_from_the_cache_is_streamed_in_pieces(setting: Setting) -> None:
    long = "The smith lives beyond the mill, past the old bear traps; mind the ford.\nFarewell. "
    setting.model = ScriptedBackend(lambda _: long * 3, name="house-1")
    setting.backend = CachedBackend(setting.model, setting.embedder, setting.cache)
    ask(setting.backend, setting.request("Where?", max_tokens=400)).wait()
    again = ask(setting.backend, setting.request("Where?", max_tokens=400))
    assert again.reply.source == "cache: house-1"
    assert len(again.pieces) > 5
    assert "".join(again.pieces) == again.reply.text
    assert again.reply.first_token_s <= again.reply.total_s


@given(st.text())
def test_pieces_are_few_and_joined_they_are_the_text(text: str) -> None:
    found = list(pieces(text))
    assert "".join(found) == text
    assert len(found) <= 33 and all(found)


def test_a_scope_can_be_forgotten_by_its_beginning(setting: Setting) -> None:
    ask(setting.backend, setting.request("Where?")).wait()
    assert setting.cache.forget("ada|ben|") == 1
