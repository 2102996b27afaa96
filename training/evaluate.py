"""Score replies to the held-out lines, the model's beside the nearest template's.

`python -m training.evaluate --model FILE.gguf` prints both scores and the first twenty replies.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from models.prompts import SHIPPED, Panel, Persona, Turn
from models.request import Message
from training.corpus.grammar import capital, is_whole
from training.corpus.people import Character, Fact, table, tone_of, valley
from training.corpus.sample import draw_ask, panel, phrase
from training.corpus.talk import Answer, Ask, Scene, answer, replies_of

HERE = Path(__file__).parent
POOL = 6000
"""Corpus lines per persona among which the baseline looks for the nearest."""

Speak = Callable[[Sequence[Message], int], str]
"""Takes a chat and a seed, returns a reply."""


@dataclass(frozen=True, slots=True)
class Line:
    """One held-out line with what its answer must hold."""

    who: Character
    text: str
    speaker: str
    panel: Panel
    before: tuple[tuple[str, str], ...]
    needs: tuple[tuple[str, ...], ...]
    never: tuple[str, ...]
    like: tuple[str, ...]

    def chat(self) -> list[Message]:
        """The prompt for the line."""
        history = [
            (self.panel, Turn(speaker=self.speaker, line=line, reply=reply))
            for line, reply in self.before
        ]
        return SHIPPED.speech(self.who.persona, history, self.panel, self.speaker, self.text)


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


def _character(key: str, row: dict[str, Any]) -> Character:
    facts = tuple(
        Fact(
            f["text"], f.get("said", f["text"]), frozenset(f["tags"]), tuple(f["subjects"]),
            tuple((ware, price) for ware, price in f.get("wares", ())),
        )
        for f in row["facts"]
    )  # fmt: skip
    persona = Persona(
        name=row["name"], trade=row["trade"], place=row["place"], temper=row["temper"],
        persona=row["persona"], knows=tuple(f.text for f in facts),
    )  # fmt: skip
    return Character(
        persona, row["about"], tone_of(row["temper"]), facts, row["at"],
        ("Bela Orr", "Tom Sedge", "Ina Fell", "Rurik Dane"), ("the well", "the market"), key, row["kind"],
    )  # fmt: skip


def heldout() -> list[Line]:
    """The lines of heldout_lines.toml, in file order."""
    stored = tomllib.loads((HERE / "heldout_lines.toml").read_text(encoding="utf-8"))
    people = {who.key: who for who in valley()}
    people |= {key: _character(key, row) for key, row in stored["persona"].items()}
    lines = []
    for row in stored["line"]:
        who = people[row["to"]]
        moment = row.get("panel", {})
        lines.append(
            Line(
                who,
                row["text"],
                row.get("speaker", "Traveller"),
                Panel(
                    time=moment.get("time", "afternoon"),
                    mood=moment.get("mood", "calm"),
                    place=who.at,
                    near=tuple(moment.get("near", ())),
                    trouble=tuple(moment.get("trouble", ())),
                ),
                tuple((line, reply) for line, reply in row.get("before", ())),
                tuple(tuple(group) for group in row.get("needs", ())),
                tuple(row.get("never", ())),
                tuple(row.get("like", ())),
            )
        )
    return lines


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


def llama(model: Path, temperature: float) -> Speak:
    """A speaker on llama.cpp."""
    from llama_cpp import Llama

    engine = Llama(str(model), n_ctx=1024, n_threads=1, verbose=False, seed=1)

    def speak(messages: Sequence[Message], seed: int) -> str:
        made: Any = engine.create_chat_completion(
            messages=cast(Any, list(messages)), max_tokens=96, temperature=temperature, top_p=0.95,
            top_k=40, seed=seed, repeat_penalty=1.0,
        )  # fmt: skip
        return str(made["choices"][0]["message"]["content"]).strip()

    return speak


def evaluate(model: Path, seeds: Iterable[int] = (1, 2, 3)) -> dict[str, Any]:
    """Both scores: the model greedy and at temperature 0.6, the baseline over the same seeds."""
    lines, seeds = heldout(), list(seeds)
    greedy = llama(model, 0.0)
    replies = [greedy(line.chat(), 1) for line in lines]
    warm = llama(model, 0.6)
    warm_marks = [mark(line, warm(line.chat(), seed)) for line in lines for seed in seeds]
    peer = [[nearest_template(line, seed) for seed in seeds] for line in lines]
    peer_marks = [
        mark(line, text) for line, texts in zip(lines, peer, strict=True) for text in texts
    ]
    return {
        "lines": len(lines),
        "model": shares([mark(line, text) for line, text in zip(lines, replies, strict=True)]),
        "model_at_0.6": shares(warm_marks),
        "nearest_template": shares(peer_marks),
        "replies": [
            {"to": line.who.persona.name, "line": line.text, "reply": text,
             "passed": mark(line, text).passed, "nearest": others[0]}
            for line, text, others in zip(lines, replies, peer, strict=True)
        ],
    }  # fmt: skip


def main() -> None:
    """Print the scores and the first twenty replies, unpicked; `--all` prints every one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    found = evaluate(args.model)
    for row in found["replies"] if args.all else found["replies"][:20]:
        print(
            f"{'ok' if row['passed'] else '--'} {row['to']}: {row['line']}\n     > {row['reply']}"
        )
        if args.all:
            print(f"     ~ {row['nearest']}")
    for name in ("model", "model_at_0.6", "nearest_template"):
        print(capital(name.replace("_", " ")), found[name])
    if args.json:
        args.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
