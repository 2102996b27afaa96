"""The evaluation: lines that the corpus cannot write, marks that catch what they should."""

from __future__ import annotations

import random
import re

import pytest

from training.corpus.grammar import expand
from training.corpus.people import table
from training.corpus.sample import draw_ask, panel
from training.corpus.talk import INTENTS, Scene, line_slots
from training.exam.lines import heldout
from training.exam.marks import Nearest, in_character, is_fresh, kind_of, mark, nearest_template


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", text.lower()).strip()


def test_there_are_a_hundred_lines_each_with_a_check() -> None:
    lines = heldout()
    assert len(lines) == 100
    assert all(line.needs or line.never or line.like for line in lines)
    assert len({line.who.key for line in lines}) >= 15


def _pattern_regex(pattern: str) -> str:
    """A regular expression for all texts of a pattern, slots standing for up to five words."""
    out, text = "", pattern
    for token in re.findall(r"\[|\]|\||\{\w+\}|[^\[\]|{}]+", text):
        if token == "[":
            out += "(?:"
        elif token == "]":
            out += ")"
        elif token == "|":
            out += "|"
        elif token.startswith("{"):
            out += r"\w+(?: \w+){0,4}"
        else:
            out += re.escape(re.sub(r"[^a-z0-9 ]", "", token.lower()))
    return out


def test_no_held_out_line_can_be_written_by_the_corpus() -> None:
    patterns = [
        re.compile(_pattern_regex(pattern))
        for intent in INTENTS
        if intent != "hear_fact"
        for pattern in table("lines")[intent]["lines"]
        if len(re.sub(r"\{\w+\}|[^a-z ]", "", pattern).split()) > 1
    ]
    for line in heldout():
        asked = re.sub(r"\s+", " ", plain(line.text))
        hits = [p.pattern for p in patterns if p.fullmatch(asked)]
        assert hits == [], f"{line.text!r} is in the corpus"


def test_no_drawn_line_is_a_held_out_one() -> None:
    kept = {plain(line.text) for line in heldout()}
    rng = random.Random(5)
    people = list({line.who.key: line.who for line in heldout()}.values())
    for _ in range(4000):
        who = rng.choice(people)
        scene = Scene(who, panel(who, rng), "Traveller", named=False)
        ask = draw_ask(rng.choice(INTENTS), scene, rng)
        rows = table("lines")[ask.intent]
        slots = line_slots(ask, scene) | {"task": rng.choice(rows.get("task", [""]))}
        assert plain(expand(rng.choice(rows["lines"]), rng, slots)) not in kept


def test_the_nearest_text_is_found() -> None:
    nearest = Nearest(["how much is a bed?", "where is the mill?", "good morning"])
    assert nearest.find("what is a bed, how much")[0] == 0
    assert nearest.find("where would the mill be")[0] == 1


def test_marks_tell_good_replies_from_bad() -> None:
    line = next(each for each in heldout() if each.text.startswith("stew sounds good"))
    assert mark(line, "One copper for a bowl of stew.").passed
    assert not mark(line, "Nine coppers for a bowl of stew.").answers
    assert not mark(line, "One copper for a bowl").whole
    assert not mark(line, "I am Tobin Ash. One copper.").in_character
    assert not mark(line, "One copper. One copper.").fresh
    assert not mark(line, "As an AI I ask one copper.").in_character


def test_a_false_trade_is_out_of_character() -> None:
    marta = next(each.who for each in heldout() if each.who.key == "marta")
    assert in_character(marta, "I'm an innkeeper, as you see.")
    assert in_character(marta, "I'm the innkeeper of Alderford.")
    assert not in_character(marta, "I am a blacksmith, as you see.")
    assert not in_character(marta, "I'm the ferryman of Stagham.")
    assert not in_character(marta, "I am only a bell ringer.")


def test_a_reply_that_runs_in_circles_is_not_fresh() -> None:
    assert is_fresh("Wolves drink at the mill pond. Keep away.")
    assert not is_fresh("Go to the mill and then go to the mill and then rest.")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [("No. I have to eat too.", "haggle"), ("You never told me your name.", "who_am_i_unknown")],
)
def test_replies_are_told_apart_by_kind(reply: str, kind: str) -> None:
    marta = next(each.who for each in heldout() if each.who.key == "marta")
    assert kind_of(marta, reply) == kind


def test_the_baseline_answers_in_whole_sentences_too() -> None:
    lines = [line for line in heldout() if line.who.key in ("marta", "ruska")]
    assert all(mark(line, nearest_template(line, 1)).whole for line in lines)
