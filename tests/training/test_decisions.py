"""The house model's acts and orders agree with its teacher's no less for being kept to what is open."""

from __future__ import annotations

import random
from typing import Any

import pytest
from asking import ask
from pydantic import BaseModel

from actors.choices import DecisionReply
from models import grammar, house
from models.narrow import narrowed
from models.prompts import Decision, parse_choice
from models.request import ModelRequest
from training.corpus.acts import draw_decision
from training.corpus.people import valley
from training.corpus.sample import panel

pytestmark = pytest.mark.engine
QUESTIONS = 40


def test_greedy_decisions_agree_with_the_teacher_at_least_as_often() -> None:
    pytest.importorskip("llama_cpp")
    from models.llama.host import LlamaHost

    if not house.path().exists():
        pytest.skip("the house model's file is not here")
    rng, people = random.Random(20261), valley()
    drawn = []
    for _ in range(QUESTIONS):
        who = rng.choice(people)
        *messages, answer = draw_decision(who, panel(who, rng), rng)
        _, _, choices = messages[-1]["content"].partition("Choices: ")
        pairs = [parse_choice(choice) for choice in choices.rstrip(".").split(", ")]
        kept = narrowed(DecisionReply, ("action", "target"), pairs)
        drawn.append((messages, Decision.model_validate_json(answer["content"]), pairs, kept))
    host = LlamaHost(house.path(), threads=1, n_ctx=8192, n_seq=16)
    host.wait_ready(60.0)

    def acts(messages: Any, schema: type[BaseModel]) -> tuple[str, str]:
        most = grammar.longest_tokens(schema)
        question = ModelRequest(messages, "decide", schema=schema, max_tokens=most, temperature=0.0)
        parsed: Any = ask(host, question).reply.parsed
        return parsed.action, parsed.target

    free = kept_to = 0
    for messages, taught, pairs, kept in drawn:
        wanted = (taught.action, taught.target)
        free += acts(messages, DecisionReply) == wanted
        named = acts(messages, kept)
        kept_to += named == wanted
        assert named in pairs
    host.close()
    assert kept_to >= free
