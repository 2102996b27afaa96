"""The bench of structured replies, on a small vocabulary: valid, within limits, and a peer of the same shape."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field

pytest.importorskip("gguf")
pytest.importorskip("llama_cpp")
pytest.importorskip("llguidance")

from benchmarks import _gguf, _vocabulary, structure
from benchmarks._gbnf import GrammarSampler, follow, gbnf
from foundation.strict import StrictModel
from greenroom.commands.bench import holds
from models import grammar
from models.llama.guide import Guides

pytestmark = pytest.mark.engine


class Every(StrictModel):
    """A reply with a field of each kind."""

    act: structure.Aimed
    pair: tuple[bool, bool]
    path: list[Annotated[int, Field(ge=-2, le=12)]] = Field(min_length=1, max_length=3)
    lines: list[Annotated[str, Field(max_length=4)]] = Field(max_length=2)
    focus: Annotated[str, Field(min_length=1, max_length=3, pattern="^[a-z ',-]*$")] | None


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return structure._model(3000, tmp_path_factory.mktemp("vocabulary"))


@pytest.fixture(scope="module")
def vocabulary(model: Path) -> Any:
    return structure._vocabulary(model)


def test_every_row_is_measured_and_what_must_hold_holds(model: Path) -> None:
    report = structure.run(scale=0.03, model=model)
    rows = {row["metric"]: row for row in report["results"]}
    assert rows["mask and advance, ms a token, 3,000 tokens"]["at_most"] == 0.2
    bound = [row for row in rows.values() if {"at_least", "at_most"} & row.keys()]
    assert [holds(row) for row in bound if row["unit"] == "share"] == [True, True]
    assert rows["longest reply in tokens, of its limit"]["value"] > 0.5
    beside = rows["masks and advances of a whole reply"]
    assert beside["value"] > 0 and beside["peer_value"] > 0


def test_a_reply_that_is_cut_or_foreign_is_not_counted_as_valid(vocabulary: Any) -> None:
    walked = structure.walk(Guides(vocabulary), vocabulary, structure.Aimed, 3)
    assert walked.valid == len(walked.replies) == 3
    cut = walked.replies[0][:-1]
    assert not structure._is_valid(vocabulary, cut, structure.Aimed)
    assert not structure._is_valid(vocabulary, walked.replies[0], Every)


def test_both_grammars_take_every_reply_and_their_masks_agree(vocabulary: Any) -> None:
    guides = Guides(vocabulary)
    compiled = grammar.compile_schema(Every)
    peer = gbnf(compiled.schema)
    assert structure.longest(guides, vocabulary, Every) <= 1.0
    for reply in structure.walk(guides, vocabulary, Every, 4).replies:
        assert follow(vocabulary, peer, reply) > 0
        with pytest.raises(ValueError, match="not in the peer's grammar"):
            follow(vocabulary, peer, reply[1:])
    # Past the part that is forced, where llguidance allows its own spelling only.
    guide, sampler = guides.begin(compiled.grammar), GrammarSampler(vocabulary, peer)
    chance = np.random.default_rng(1)
    compared = 0
    while not guide.finished:
        ours, theirs = guide.allowed(), sampler.allowed()[0]
        assert not (ours & ~theirs).any()
        if ours.sum() > 1:
            assert (ours == theirs).all()
            compared += 1
        token = int(chance.choice(np.flatnonzero(ours)))
        for each in (token, *guide.accept(token)):
            sampler.allowed()
            sampler.accept(each)
    sampler.close()
    assert compared > 5


@pytest.mark.parametrize(
    ("pattern", "fault"), [("^(wolf|elf)$", "no class"), ("^[a-z]+x$", "no class")]
)
def test_a_schema_that_the_peer_cannot_be_given_is_refused(pattern: str, fault: str) -> None:
    schema = {"type": "string", "minLength": 0, "maxLength": 4, "allOf": [{"pattern": pattern}]}
    with pytest.raises(ValueError, match=fault):
        gbnf(schema)


def test_the_large_vocabulary_holds_what_is_not_latin_too() -> None:
    tokens, _ = _gguf.vocabulary(structure.TOKENS, _vocabulary.words(4), seed=4)
    plain = sum(token.isascii() or token[1:].isascii() for token in tokens)
    assert len(set(tokens)) == structure.TOKENS
    assert 0.6 < plain / structure.TOKENS < 0.9
