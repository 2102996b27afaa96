"""The workload: seeded, within its bounds, and its floor the least that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.llm import workload
from benchmarks.llm.workload import NEW_TOKENS, PERSONA_TOKENS, Prompt


def tokenise(messages: Sequence[tuple[str, str]]) -> list[int]:
    """A token a word and one round every message: enough of a template for counting."""
    tokens: list[int] = []
    for role, content in messages:
        words = [f"<{role}>", *content.split(), "<end>"]
        tokens += [int.from_bytes(word.encode()[:7], "big") for word in words]
    return tokens


def prompt(*tokens: int) -> Prompt:
    return Prompt(0, 0, "", "", tokens, 0)


def made(**changes: int) -> list[Prompt]:
    sizes = {"npcs": 16, "personas": 4, "count": 40, "seed": 1, **changes}
    return workload.prompts(tokenise, **sizes)


def test_the_same_seed_asks_the_same_and_another_seed_something_else() -> None:
    assert made() == made()
    assert {one.tokens for one in made()}.isdisjoint(one.tokens for one in made(seed=2))


def test_personas_and_lines_have_the_lengths_that_were_promised() -> None:
    for one in made():
        assert PERSONA_TOKENS - 8 <= one.prefix <= PERSONA_TOKENS
        assert NEW_TOKENS[0] <= len(one.tokens) - one.prefix <= NEW_TOKENS[1]
        assert list(one.tokens) == tokenise(one.messages)


def test_npcs_of_one_persona_share_its_tokens_and_no_more_than_by_chance() -> None:
    asked = made(npcs=16, personas=4, count=16)
    for left, right in pairwise(asked):
        shared = workload.common(left.tokens, right.tokens)
        assert (shared >= left.prefix) == (left.persona == right.persona)


def test_every_npc_is_asked_once_before_any_is_asked_again() -> None:
    asked = made(npcs=16, personas=16, count=48)
    for at in (0, 16, 32):
        assert sorted(one.npc for one in asked[at : at + 16]) == list(range(16))
    assert [one.npc for one in asked[:16]] != [one.npc for one in asked[16:32]]


def test_the_floor_counts_each_prefix_once_and_each_tail_once() -> None:
    persona = tuple(range(100, 120))
    asked = [prompt(*persona, 1, 2), prompt(*persona, 3, 4, 5), prompt(7, 8, 9)]
    assert workload.floor(asked) == 20 + 2 + 3 + 3
    assert workload.floor([]) == 0


def test_a_prompt_asked_twice_costs_the_one_token_whose_logits_are_needed() -> None:
    assert workload.floor([prompt(1, 2, 3), prompt(1, 2, 3)]) == 4


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=8))
def test_the_floor_is_the_number_of_different_beginnings(rows: list[list[int]]) -> None:
    different = {tuple(row) for row in rows}
    beginnings = {row[:end] for row in different for end in range(1, len(row) + 1)}
    repeats = len(rows) - len(different)
    assert workload.floor([prompt(*row) for row in rows]) == len(beginnings) + repeats


def test_poisson_arrivals_are_seeded_and_keep_their_rate() -> None:
    times = workload.poisson(4000, 5.0, seed=3)
    assert times == workload.poisson(4000, 5.0, seed=3)
    assert times == sorted(times)
    assert 4.7 < len(times) / times[-1] < 5.3
    # A faster world asks in the same rhythm.
    assert workload.poisson(10, 10.0, seed=3)[9] * 2 == workload.poisson(10, 5.0, seed=3)[9]
