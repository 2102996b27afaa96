"""Which turns of a conversation an NPC would rather keep when not all fit, by plain rules.

Read from the words alone, so that the same turn always weighs the same. English, like the reflexes.

| importance | turns that |
|---|---|
| 3 | bind or hurt: a promise, a bargain or debt, a threat, a gift, harm done or told of |
| 2 | tell the NPC a name: the speaker's own, or somebody's or some place's |
| 1 | say anything else |
| 0 | are manners alone: greetings, thanks, farewells, a yes or no |

A bond counts whoever of the two spoke it. Names count in what the NPC was told, not in what it
answered: what it knows by itself stands in its persona, which is never left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from models.prompts import Panel, Turn

__all__ = ["BINDING", "MANNERS", "NAMING", "TALK", "importance", "weights"]

BINDING: Final = 3
NAMING: Final = 2
TALK: Final = 1
MANNERS: Final = 0

_NUMBER: Final = r"(?:\d+|an?|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|fifty|hundred)"
_PROMISE: Final = (
    r"promis(?:e|es|ed|ing)|swear|swore|sworn|oath|vow(?:ed)?|my word|word of honou?r|trust me|rely on me|"
    r"i(?:'ll| will| shall) (?:not |never )?(?:help|bring|come back|return|find|fetch|keep|tell no|meet)"
)
_BARGAIN: Final = (
    r"bargain|(?:a|it's a|no) deal|agreed|shake on|i(?:'ll| will) (?:take|buy|pay|sell|trade)|sold|bought|"
    r"ow(?:e|es|ed)|debts?|lend|lent|borrow(?:ed)?|hire[ds]?|in (?:exchange|return) for|"
    rf"(?:give|offer|pay|paid)\b[\w' ]{{0,24}}\b{_NUMBER} (?:coppers?|silver|gold|coins?)"
)
_THREAT: Final = (
    r"or else|threat(?:en|ens|ened|s)?|beware|i warn you|last warning|(?:you'll|you will) (?:pay|die|regret|be sorry)|"
    r"i(?:'ll| will| shall) (?:kill|hurt|burn|gut|hang|break|cut|end|rob|have your)|kill you|burn (?:it|you|this)"
)
_GIFT: Final = (
    r"gifts?|present for|take this|have this|this is for you|here(?:'s| is| are)\b[\w' ]{0,24}\bfor you|"
    r"(?:i )?brought you|gave (?:me|you)|given (?:me|you)|keep the change"
)
_HARM: Final = (
    r"kill(?:ed|s|ing)?|murder(?:ed|er|s)?|wound(?:ed|s)?|bleed(?:s|ing)?|bled|stabbed|bitten|struck|attacked|"
    r"died|dead|dying|robbed|stole|stolen|burned down|burnt"
)
_BINDS: Final = re.compile(
    rf"\b(?:{_PROMISE}|{_BARGAIN}|{_THREAT}|{_GIFT}|{_HARM})\b", re.IGNORECASE
)
_INTRODUCES: Final = re.compile(
    r"\b(?i:my name|call me|i(?:'m| am) (?:called|known as))\b|\b[Ii](?:'m| am) [A-Z][a-z]"
)
_NAME: Final = re.compile(r"(?<!^)(?<![.!?:] )\b[A-Z][a-z]+")
"""A word with a capital that begins no sentence."""
_WORD: Final = re.compile(r"[\w']+")
"""Of any script: what isn't known for manners is talk."""
_MANNERS: Final = frozenset(
    _WORD.findall("""hello hi hey hail greetings greeting welcome good day morning evening afternoon night well met bye goodbye
    farewell later see you soon again thanks thank many much so very please sorry pardon excuse me yes no aye nay ok
    okay sure fine indeed right oh ah hm hmm how are do is it going nice lovely weather today the a to my friend sir
    madam lady master take care and i am i'm there then now""")
)


def importance(turn: Turn, panel: Panel, own: str = "") -> int:
    """How much a turn weighs, 0 to 3.

    `panel` is the moment in which it was spoken, `own` the NPC's name, which tells it nothing.
    """
    return _judged(turn.line, turn.reply or "", panel.mood == "hurt", own)


def weights(history: Iterable[tuple[Panel, Turn]], own: str = "") -> tuple[int, ...]:
    """`ModelRequest.importance` of a speech prompt: its system message, turns by two, the new line.

    `history` holds answered turns only, as they stand in the prompt. The first and the last count
    for nothing there: they always stay.
    """
    turns = [importance(turn, panel, own) for panel, turn in history]
    return (0, *(each for weight in turns for each in (weight, weight)), 0)


@lru_cache(maxsize=8192)
def _judged(line: str, reply: str, hurt: bool, own: str) -> int:
    if hurt or _BINDS.search(line) or _BINDS.search(reply):
        return BINDING
    names = frozenset(own.split())
    if _INTRODUCES.search(line) or not names.issuperset(_NAME.findall(line)):
        return NAMING
    spoken = set(_WORD.findall(line.lower()))
    if spoken <= _MANNERS | frozenset(_WORD.findall(own.lower())):
        return MANNERS
    return TALK
