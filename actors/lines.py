"""What an NPC says without a model, and what a model's line must be before anyone hears it whole."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from models.prompts import Panel, Persona, tame
from world.compiled import PersonaCard
from world.frame import Situation
from world.ruleset import Species

__all__ = [
    "MAX_LINE",
    "Checked",
    "check",
    "panel_of",
    "persona_of",
    "reflex_line",
    "whole_sentences",
]

MAX_LINE: Final = 400
"""Characters of a spoken line."""

_SENTENCE_END = re.compile(r"[.!?…]+[\"')]*(?=\s|$)")
_MARKER = re.compile(r"<\|[^|>]*\|?>?|</?s>|\[/?INST\]|\b(?:im_start|im_end)\b", re.IGNORECASE)
_LEAK = re.compile(
    r"\b(?:as|i am|i'm) an? (?:ai|artificial intelligence|language model|assistant|chatbot)\b"
    r"|\blanguage model\b|\bsystem prompt\b|\bmy instructions\b|\bOpenAI\b|\bAnthropic\b",
    re.IGNORECASE,
)
_SPEAKER = re.compile(r"^\s*(?:user|assistant|system)\s*:\s*", re.IGNORECASE)
_SELF = re.compile(r"\b(?:she|he|her|his|him|hers)\b", re.IGNORECASE)
_WORD = re.compile(r"[a-z']+")
_GREETING = frozenset(
    {"hello", "hi", "hey", "greetings", "morning", "evening", "afternoon", "hail", "welcome"}
)
_FAREWELL = frozenset({"bye", "goodbye", "farewell", "later"})
_THANKS = frozenset({"thanks", "thank", "cheers"})
_WHO = frozenset({"who", "name", "trade", "yourself"})
_COMMON = frozenset(
    [
        "about",
        "after",
        "again",
        "also",
        "been",
        "before",
        "does",
        "down",
        "from",
        "have",
        "here",
        "into",
        "just",
        "know",
        "like",
        "more",
        "much",
        "nobody",
        "once",
        "only",
        "over",
        "some",
        "tell",
        "than",
        "that",
        "them",
        "then",
        "there",
        "they",
        "this",
        "what",
        "when",
        "where",
        "which",
        "will",
        "with",
        "would",
        "your",
        "you're",
        "could",
        "should",
        "every",
        "everyone",
        "anyone",
        "something",
        "anything",
    ]
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A model's line after checking: `text` is "" when nothing of it can be said; `fault` says why."""

    text: str
    fault: str = ""


def whole_sentences(text: str, limit: int = MAX_LINE) -> str:
    """The longest start of `text` within `limit` that ends with a sentence; "" when none does."""
    ends = [match.end() for match in _SENTENCE_END.finditer(text[:limit])]
    return text[: ends[-1]].strip() if ends else ""


def check(text: str, before: str | None, *, whole: bool = True) -> Checked:
    """Check a model's line as a client's would be.

    `before` is the NPC's last answer to the same speaker. `whole` says that the model finished;
    if it did not, only whole sentences count. Template markers end the line, what breaks character
    spoils it, and so does repeating the last answer word for word.
    """
    line = _SPEAKER.sub("", text)
    marker = _MARKER.search(line)
    fault = ""
    if marker:
        line, fault, whole = line[: marker.start()], "marker", False
    line = tame(line, len(line)).strip()
    if len(line) >= 2 and line[0] == line[-1] == "'":
        line = line[1:-1].strip()
    if _LEAK.search(line):
        return Checked("", "character")
    if len(line) > MAX_LINE:
        line, fault = whole_sentences(line), "length"
    elif not whole:
        line, fault = whole_sentences(line), fault or "cut"
    if not any(c.isalnum() for c in line):
        return Checked("", fault or "empty")
    if before is not None and _same(line, before):
        return Checked("", "repeated")
    return Checked(line, fault)


def _same(one: str, other: str) -> bool:
    return " ".join(_WORD.findall(one.lower())) == " ".join(_WORD.findall(other.lower()))


def persona_of(card: PersonaCard, layers: tuple[str, ...] = ()) -> Persona:
    """The prompt's persona: what a card says but its secret, after what others of its kind know too."""
    return Persona(
        name=card.name,
        trade=card.trade,
        place=card.place,
        temper=card.temper,
        persona=card.persona,
        knows=card.knows[:12],
        layers=layers,
    )


def panel_of(situation: Situation) -> Panel:
    """The prompt's panel of the moment."""
    return Panel(
        time=situation.time,
        mood=situation.mood,
        place=situation.place,
        near=tuple(near.name for near in situation.near),
        trouble=situation.trouble,
    )


def reflex_line(
    card: PersonaCard | None,
    species: Species,
    situation: Situation,
    text: str,
    before: str | None,
) -> str:
    """An answer without a model, a pure function of what is given.

    A fact that the card may tell anyone and that shares a telling word with the player's line comes
    first, then manners, then the species' own lines; never the last answer once more if another
    is left.
    """
    words = _WORD.findall(text.lower())
    options = [*_facts(card, words), *_manners(card, situation, frozenset(words))]
    chance = int.from_bytes(
        hashlib.blake2b(f"{situation.entity} {text}".encode(), digest_size=4).digest(), "big"
    )
    lines = species.reflex_lines or _PLAIN
    start = chance % len(lines)
    options += [*lines[start:], *lines[:start]]
    for option in options:
        line = option.strip()[:MAX_LINE]
        if line and (before is None or not _same(line, before)):
            return line
    return options[-1].strip()[:MAX_LINE] or "..."


_PLAIN: Final = ("Hm.", "I've nothing to say to that.", "Ask me another time.")


def _facts(card: PersonaCard | None, words: list[str]) -> list[str]:
    if card is None:
        return []
    asked = {_stem(word) for word in words if len(word) > 3 and word not in _COMMON}
    scored = []
    for index, fact in enumerate(card.knows):
        if _SELF.search(fact):
            continue  # written about the speaker; it would sound odd from their own mouth
        shared = asked & {_stem(word) for word in _WORD.findall(fact.lower()) if len(word) > 3}
        if shared:
            scored.append((-len(shared), index, fact))
    return [fact for _, _, fact in sorted(scored)]


def _stem(word: str) -> str:
    word = word.removesuffix("'s")
    for ending in ("ing", "es", "s", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word.removesuffix(ending)
    return word


def _manners(card: PersonaCard | None, situation: Situation, words: frozenset[str]) -> list[str]:
    found: list[str] = []
    if situation.threat:
        found.append("Not now! Look behind you!")
    if card is not None and words & _WHO:
        found.append(f"I'm {card.name}, the {card.trade}.")
    if words & _THANKS:
        found.append("You're welcome.")
    if words & _FAREWELL:
        found.append("Farewell, then.")
    if words & _GREETING:
        part = "evening" if situation.time in ("evening", "night") else "day"
        found.append(f"Good {part} to you.")
    return found
