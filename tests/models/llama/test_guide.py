"""Compiled grammars are kept, within bounds, and made anew before what they learn grows too large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from foundation.strict import StrictModel
from models import grammar
from models.llama.settings import EngineSettings

library = pytest.importorskip("models.llama.library")
guide = pytest.importorskip("models.llama.guide")

pytestmark = pytest.mark.engine


class Nod(StrictModel):
    nods: Literal["yes", "no"]


@pytest.fixture
def guides(gguf_factory: Callable[..., Path]) -> Iterator[Any]:
    model = library.Model(gguf_factory(), EngineSettings(threads=1), library.LogTail())
    yield guide.Guides(model.vocabulary)
    model.close()


def test_a_grammar_is_compiled_anew_after_its_replies_and_those_under_way_go_on(
    guides: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    compile_ = guide.LLMatcher
    monkeypatch.setattr(guide, "_REPLIES", 3)
    monkeypatch.setattr(
        guide, "LLMatcher", lambda *a, **k: made.append(compile_(*a, **k)) or made[-1]
    )
    asked = grammar.compile_schema(Nod).grammar
    begun = [guides.begin(asked) for _ in range(7)]
    assert len(made) == 3
    first = [each.allowed().tolist() for each in begun]
    assert first == first[:1] * 7 and any(first[0])


def test_grammars_that_are_kept_are_bounded(guides: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guide, "_KEPT", 2)
    for text in ('"a"', '"b"', '"c"'):
        guides.begin(f"start: {text}")
    assert len(guides._compiled) == len(guides._replies) == 2
