"""The first line of a conversation: whether a cache may answer it, and what the answer hangs on.

Whoever speaks to an NPC for the first time is a name to it and nothing more, so that what it answered
another stranger in the same moment is an answer here too. A name that it knows, or that someone near
bears, is part of the scope; an answer that says the name is kept from others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from models.cached import mentions
from models.prompts import Panel, Persona, PromptBook, Turn, tame

__all__ = ["Opening", "opening"]

_WORDS = re.compile(r"\w+(?:'\w+)*")
_NEGATION = re.compile(
    r"no|not|never|none|nobody|nothing|nowhere|neither|nor|without|cannot|.+n't|cant|dont|wont|isnt"
)
_NUMBER = re.compile(
    r".*\d.*|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|fif|six|seven|eigh|nine)"
    r"teen|twenty|thirty|forty|fifty|hundred|thousand|half|twice|first|second|third|last|more|less"
)


@dataclass(frozen=True, slots=True)
class Opening:
    """`ModelRequest`'s `cache_scope`, `cache_question` and `cache_unless`."""

    scope: str = ""
    question: str = ""
    unless: tuple[str, ...] = ()


def opening(
    prompts: PromptBook,
    entity: int,
    persona: Persona,
    history: Sequence[tuple[Panel, Turn]],
    panel: Panel,
    speaker: str,
    line: str,
) -> Opening:
    """How a cache may answer `line`; the scope is "" once a turn was answered.

    The scope holds the NPC and a digest of its prompt without speaker and line: all that it knows, its
    state, who is near (in whatever order) and the templates' own words. The epoch is not in it: an
    answer follows from the prompt alone, and each start of a server begins a new epoch.
    """
    if any(turn.reply for _, turn in history):
        return Opening()
    name, said = tame(speaker, 48), tame(line)
    near = list(panel.near)
    if name in near:
        near.remove(name)
    moment = panel.model_copy(update={"near": tuple(sorted(near))})
    prompt = json.dumps(prompts.speech(persona, (), moment, "", ""), ensure_ascii=False)
    words = tuple(_WORDS.findall(name)) or (name,)
    known = name if mentions(prompt, words) else ""
    digest = hashlib.blake2b(
        json.dumps([prompt, known, _telling(said)]).encode(), digest_size=16
    ).hexdigest()
    return Opening(f"npc:{entity}|{digest}", said, words)


def _telling(line: str) -> list[str]:
    """Words that turn a line's meaning and hardly move its vector: numbers, negations, names."""
    found: list[str] = []
    begins = True
    end = 0
    for match in _WORDS.finditer(line):
        begins = begins or bool(re.search(r"[.!?:]", line[end : match.start()]))
        word, low, end = match[0], match[0].lower(), match.end()
        if _NEGATION.fullmatch(low):
            found.append("not")
        elif _NUMBER.fullmatch(low):
            found.append(low)
        elif word[0].isupper() and not begins and low != "i" and not low.startswith("i'"):
            found.append(low.removesuffix("'s"))
        begins = False
    return sorted(found)
