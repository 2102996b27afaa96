"""The marks: what makes a reply to a held-out line pass, and the peer that looks for the nearest template."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from training.corpus.grammar import is_whole
from training.corpus.people import Character, table
from training.corpus.sample import draw_ask, panel, phrase
from training.corpus.talk import Answer, Ask, Scene, answer, replies_of
from training.exam.lines import Line, heldout

POOL = 6000
"""Corpus lines per persona among which the baseline looks for the nearest."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What one reply earned."""

    whole: bool
    in_character: bool
    answers: bool
    fresh: bool

    @property
    def passed(self) -> bool:
        """All four."""
        return self.whole and self.in_character and self.answers and self.fresh


def grams(text: str, low: int = 2, high: int = 5) -> Counter[str]:
    """Character n-grams of a line, letters in lower case, word edges as spaces."""
    plain = " " + re.sub(r"[^a-z0-9' ]+", " ", text.lower()) + " "
    return Counter(
        plain[i : i + n] for n in range(low, high + 1) for i in range(len(plain) - n + 1)
    )


class Nearest:
    """Finds the nearest of many texts by the cosine of TF-IDF weighted character n-grams."""

    def __init__(self, texts: Sequence[str]) -> None:
        counted = [grams(text) for text in texts]
        held: Counter[str] = Counter()
        for each in counted:
            held.update(each.keys())
        self._column = {gram: i for i, gram in enumerate(held)}
        documents = np.array(list(held.values()), np.float64)
        self._idf: NDArray[np.float64] = np.log((1 + len(texts)) / (1 + documents)) + 1
        self._rows = [self._vector(each) for each in counted]

    def _vector(self, counted: Counter[str]) -> dict[int, float]:
        weights = {
            self._column[g]: (1 + np.log(n)) * self._idf[self._column[g]]
            for g, n in counted.items()
            if g in self._column
        }
        norm = float(np.sqrt(sum(w * w for w in weights.values()))) or 1.0
        return {column: float(weight) / norm for column, weight in weights.items()}

    def find(self, text: str) -> tuple[int, float]:
        """The index of the nearest text and its cosine."""
        wanted = self._vector(grams(text))
        best, score = 0, -1.0
        for index, row in enumerate(self._rows):
            cosine = sum(weight * row.get(column, 0.0) for column, weight in wanted.items())
            if cosine > score:
                best, score = index, cosine
        return best, score


def _scene(line: Line) -> Scene:
    scene = Scene(line.who, line.panel, line.speaker, named=line.speaker != "Traveller")
    for _, reply in line.before:
        stated = next((f for f in line.who.facts if f.said in reply), None)
        if stated is None and line.who.facts:
            stated = next((f for f in line.who.facts if f.wares), None)
        scene.said.append(Answer(reply, stated))
    return scene


@cache
def _pool(key: str) -> tuple[tuple[tuple[Ask, str], ...], Nearest]:
    who = next(line.who for line in heldout() if line.who.key == key)
    rng = random.Random(20)
    drawn = []
    for _ in range(POOL):
        intent = rng.choice(list(table("lines")))
        scene = Scene(who, panel(who, rng), "Traveller", named=False)
        ask = draw_ask(intent, scene, rng)
        drawn.append((ask, phrase(ask, scene, rng, validation=False)))
    return tuple(drawn), Nearest([text for _, text in drawn])


def nearest_template(line: Line, seed: int) -> str:
    """The baseline: the nearest corpus line for this persona, and the corpus's reply to it."""
    drawn, nearest = _pool(line.who.key)
    ask = drawn[nearest.find(line.text)[0]][0]
    return answer(ask, _scene(line), random.Random(seed)).text


_FORBIDDEN = re.compile(
    r"<\||im_start|im_end|language model|\bAI\b|You know:|You are [A-Z]\w+ [A-Z]|assistant"
)
_CLAIM = re.compile(r"\b(?:I'm|I am|My name is|They call me) ((?:[A-Z]\w+ ?)+)")
_TRADE = re.compile(r"\bI(?:'m| am)(?: only)? (?:an?|the) ((?:[\w-]+ ?)+)")


def in_character(who: Character, reply: str) -> bool:
    """No marker or machine talk, no other name and no other trade than one's own."""
    if _FORBIDDEN.search(reply):
        return False
    own = set(who.persona.name.split())
    for name in _CLAIM.findall(reply):
        if not set(name.split()) <= own:
            return False
    trades = sorted(
        [each["name"] for each in table("tables")["trade"]] + table("tables")["plain_trades"],
        key=len,
        reverse=True,
    )
    for claim in _TRADE.findall(reply):
        said = claim.strip()
        claimed = next((t for t in trades if said == t or said.startswith(t + " ")), None)
        if claimed and not said.startswith(who.persona.trade):
            return False
    return True


def is_fresh(reply: str) -> bool:
    """No sentence twice, and no five words in a row twice."""
    words = re.findall(r"[\w']+", reply.lower())
    runs = [tuple(words[i : i + 5]) for i in range(len(words) - 4)]
    parts = [part.strip().lower() for part in re.split(r"[.!?]", reply) if part.strip()]
    return len(set(runs)) == len(runs) and len(set(parts)) == len(parts)


@cache
def _families(key: str) -> tuple[tuple[str, ...], Nearest]:
    """Replies of every kind in the corpus as this persona would give them, with their kinds."""
    line = next(each for each in heldout() if each.who.key == key)
    rng = random.Random(7)
    kinds: list[str] = []
    texts: list[str] = []
    for kind, text in replies_of(_scene(line), rng):
        kinds.append(kind)
        texts.append(text)
    return tuple(kinds), Nearest(texts)


def kind_of(who: Character, reply: str) -> str:
    """The kind of corpus reply that is nearest to this one."""
    kinds, nearest = _families(who.key)
    return kinds[nearest.find(reply)[0]]


_REFUSAL = re.compile(
    r"can't tell you|couldn't tell you|know nothing|don't know|never heard|means nothing to me|"
    r"heard nothing|never met|no \w+(?: \w+)? to sell"
)
"""Words that refuse: with them in it, a reply has not told what a line demands."""


def mark(line: Line, reply: str) -> Marks:
    """Judge one reply."""
    heard = reply.lower()
    refused = bool(_REFUSAL.search(reply)) and not line.like
    meets = not refused and all(
        any(phrase.lower() in heard for phrase in group) for group in line.needs
    )
    clean = not any(phrase.lower() in heard for phrase in line.never)
    fits = not line.like or kind_of(line.who, reply) in line.like
    return Marks(
        whole=is_whole(reply),
        in_character=in_character(line.who, reply),
        answers=meets and clean and fits,
        fresh=is_fresh(reply),
    )


def shares(marks: Sequence[Marks]) -> dict[str, float]:
    """The share of replies with each mark, in percent."""
    return {
        name: round(100 * float(np.mean([getattr(each, name) for each in marks])), 1)
        for name in ("passed", "whole", "in_character", "answers", "fresh")
    }
