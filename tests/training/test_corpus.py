"""The corpus: the same for a seed, whole sentences, true to each persona's facts."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.prompts import Decision, Orders, OrdersSituation, Panel, parse_choice
from training.corpus.acts import TACTICS, offered, teach_decision, teach_order
from training.corpus.grammar import count, expand, is_whole, plural
from training.corpus.people import draw_character, table, valley
from training.corpus.sample import Sample, draw_ask, held_out, panel, samples
from training.corpus.talk import INTENTS, Scene, answer


@cache
def drawn(seed: int, many: int, validation: bool = False) -> tuple[Sample, ...]:
    return tuple(itertools.islice(samples(seed, validation=validation), many))


def test_a_seed_writes_the_same_samples_each_time() -> None:
    again = tuple(itertools.islice(samples(3), 60))
    assert drawn(3, 60) == again
    assert drawn(4, 60) != again


def test_thousands_of_replies_are_whole_sentences() -> None:
    replies = [
        message["content"]
        for sample in drawn(11, 1500)
        if sample.kind == "speech"
        for message in sample.messages
        if message["role"] == "assistant"
    ]
    assert len(replies) > 4000
    broken = [reply for reply in replies if not is_whole(reply)]
    assert broken == []


def test_replies_are_varied() -> None:
    replies = Counter(
        message["content"]
        for sample in drawn(11, 1500)
        for message in sample.messages
        if message["role"] == "assistant"
    )
    assert len(replies) > 0.6 * replies.total()


def test_each_chat_ends_with_the_answer_and_alternates() -> None:
    for sample in drawn(11, 300):
        roles = [message["role"] for message in sample.messages]
        assert roles == ["system", *["user", "assistant"] * ((len(roles) - 1) // 2)]


def test_every_act_is_an_answer_that_the_schemas_take_and_the_choices_hold() -> None:
    kinds = Counter(sample.kind for sample in drawn(11, 1500))
    assert kinds["decide"] > 40 and kinds["orders"] > 40
    for sample in drawn(11, 1500):
        said = sample.messages[-1]["content"]
        asked = sample.messages[-2]["content"]
        if sample.kind == "decide":
            act = Decision.model_validate_json(said)
            choices = asked.split("Choices: ")[1].removesuffix(".").split(", ")
            assert (act.action, act.target) in [parse_choice(choice) for choice in choices]
        elif sample.kind == "orders":
            order = Orders.model_validate_json(said)
            offered_tactics = sample.messages[0]["content"].split("Tactics: ")[1].rstrip(".")
            assert order.tactic in offered_tactics.split(", ")
            assert order.focus == "none" or order.focus in asked
            assert json.loads(said).keys() == {"tactic", "focus", "reason"}


def test_the_hungry_eat_and_the_frightened_flee() -> None:
    who = next(each for each in valley() if each.key == "will")
    hungry = Panel(time="noon", mood="hungry", place="the pasture")
    assert teach_decision(who, hungry, ["work", "eat", "wait"]).action == "eat"
    hunted = Panel(time="noon", mood="calm", place="the pasture", trouble=("a wolf nearby",))
    choices = ["work", "flee from a wolf", "attack a wolf"]
    assert teach_decision(who, hunted, choices).action == "flee"
    assert teach_decision(who, hunted, choices).target == "a wolf"


@pytest.mark.parametrize(
    ("seen", "tactic"),
    [
        (OrdersSituation(foes=("A",), wounded=5), "retreat"),
        (OrdersSituation(foes=("A",), strong=("A",)), "surround"),
        (OrdersSituation(foes=("A",)), "focus"),
        (OrdersSituation(foes=("A", "B"), ground="forest"), "flank"),
        (OrdersSituation(foes=("A", "B"), ground="bridge"), "hold"),
        (OrdersSituation(foes=("A",), ward="the pups"), "protect"),
        (OrdersSituation(), "hold"),
    ],
)
def test_a_leader_reads_the_ground(seen: OrdersSituation, tactic: str) -> None:
    assert teach_order(7, TACTICS, seen).tactic == tactic


@given(st.integers(0, 5000))
def test_any_decision_is_among_the_choices(seed: int) -> None:
    rng = random.Random(seed)
    who = draw_character(rng)
    now = panel(who, rng)
    choices = offered(who, now, rng)
    act = teach_decision(who, now, choices)
    assert (act.action, act.target) in [parse_choice(choice) for choice in choices]


@given(st.integers(0, 5000))
def test_a_reply_that_states_a_fact_states_one_of_this_persona(seed: int) -> None:
    rng = random.Random(seed)
    who = draw_character(rng)
    scene = Scene(who, panel(who, rng), "Traveller", named=False)
    said = answer(draw_ask(rng.choice(INTENTS), scene, rng), scene, rng)
    assert said.fact is None or said.fact in who.facts
    assert is_whole(said.text)


@given(st.integers(0, 5000))
def test_a_price_asked_of_one_who_has_it_is_told(seed: int) -> None:
    rng = random.Random(seed)
    who = draw_character(rng)
    scene = Scene(who, panel(who, rng), "Traveller", named=False)
    ask = draw_ask("price", scene, rng)
    if who.kind == "villager" and ask.fact is not None:
        price = dict(ask.fact.wares)[ask.subject]
        said = answer(ask, scene, rng).text.lower()
        number = price.removesuffix(" coppers").removesuffix(" copper")
        assert re.search(rf"\b{number}\b", said)


def test_the_twelve_say_all_their_facts_and_no_secret() -> None:
    for who in valley():
        assert len(who.facts) == len(who.persona.knows)
        assert all(subject for fact in who.facts for subject in fact.subjects)
    pages = "\n".join(m["content"] for s in drawn(11, 1500) for m in s.messages)
    for secret in (
        "hid a deserter",
        "sleeping draught every new moon",
        "cannot swim",
        "packed a bag",
    ):
        assert secret not in pages


def test_validation_uses_phrasings_that_training_never_does() -> None:
    kept = [
        (intent, pattern)
        for intent in INTENTS
        for pattern in table("lines")[intent]["lines"]
        if held_out(intent, pattern)
    ]
    assert 60 < len(kept) < 240
    fixed = [p.casefold() for _, p in kept if not set(p) & set("[{")]
    lines = {
        re.sub(r'.*says: "|"$', "", message["content"].split("\n")[-1]).casefold().rstrip("?!.")
        for sample in drawn(11, 1500)
        for message in sample.messages
        if message["role"] == "user"
    }
    assert not [p for p in fixed if p.rstrip("?!.") in lines and len(p.split()) > 4]


def test_patterns_count_and_expand_alike() -> None:
    rng = random.Random(1)
    pattern = "[a|b[ c|]] and [d|e|]"
    assert count(pattern) == 12
    assert all("[" not in expand(pattern, rng, {}) for _ in range(20))
    with pytest.raises(KeyError):
        expand("{nobody}", rng, {})


@pytest.mark.parametrize(
    ("ware", "many"),
    [
        ("a loaf", "loaves"),
        ("a good knife", "good knives"),
        ("a bowl of stew", "bowls of stew"),
        ("an antidote", "antidotes"),
        ("a pair of boots", "boots"),
    ],
)
def test_wares_have_a_plural(ware: str, many: str) -> None:
    assert plural(ware) == many


@pytest.mark.parametrize(
    "text",
    ["no capital.", "No end", "Left {slot}.", "Two  spaces.", "<|im_end|>.", "", "A , comma."],
)
def test_broken_sentences_are_seen(text: str) -> None:
    assert not is_whole(text)


def test_each_topic_of_small_talk_has_lines_and_stands_under_a_plan_the_tutor_knows() -> None:
    for topic, row in table("chat").items():
        assert table("lines")[topic]["lines"]
        assert row["plan"] in table("replies") or row["plan"] in ("thanks", "compliment")


@given(st.integers(0, 2000))
def test_a_question_about_a_detail_is_answered_with_the_fact_it_was_drawn_from(seed: int) -> None:
    rng = random.Random(seed)
    who = draw_character(rng, "villager")
    scene = Scene(who, panel(who, rng), "Traveller", named=False)
    ask = draw_ask("detail", scene, rng)
    if ask.intent == "detail":
        assert ask.fact in who.facts
        assert not set(ask.claim) & set("[]{}|")
        assert answer(ask, scene, rng).fact is ask.fact
