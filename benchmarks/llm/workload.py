"""What is asked of every side: seeded personas, players' lines and arrivals, the same for all.

A prompt is a persona (the system message) and a player's line; its tokens are made once, by the
model's own template and tokenizer, and every side reads the same ids.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

PERSONA_TOKENS = 512
NEW_TOKENS = (32, 64)
REPLY_TOKENS = 32

Tokenise = Callable[[Sequence[tuple[str, str]]], list[int]]
"""(role, content) messages to the prompt's tokens, up to where the reply begins."""


def _listed(text: str) -> list[str]:
    return text.split(";" if ";" in text else None)


_NAMES = _listed(
    "Alda Bram Cora Dunstan Edda Finn Greta Hob Isolde Jory Kerra Leofric Mabel Ned Oswin Petra "
    "Quill Rowan Sable Tamsin Ulric Vera Wystan Yrsa"
)
_BYNAMES = _listed("Ashdown Barley Crowe Dale Ember Fletcher Gale Hollow Ivers Marsh Thorne Wick")
_TRADES = _listed(
    "baker smith miller innkeeper shepherd hunter weaver potter carpenter healer fisher tanner "
    "brewer guard priest minstrel"
)
_TEMPERS = _listed(
    "patient gruff cheerful wary proud gentle stubborn curious tired bold shy honest thrifty"
)
_THINGS = _listed(
    "the old mill;the north gate;the harvest;the wolves;the river ford;a lost ring;the tax;"
    "the new well;the winter wood;the market;the burnt barn;the bridge;the lord's hounds;"
    "a stolen cart;the church bell;the flood;the black horse;the herb garden"
)
_DEEDS = _listed(
    "watches over;argues about;dreams of;is afraid of;takes care of;knows every tale of;"
    "has worked for years near;lost a brother to;will not speak of;pays too much for;"
    "is proud of;remembers well;often walks past"
)
_TIMES = _listed(
    "every morning;at night;since the spring;when it rains;in the cold months;on market day;"
    "before the sun is up;now and then;as father did;with the other folk"
)
_OPENINGS = _listed(
    "Good day to you;Tell me true;I came a long way;Listen;They say in the village;Hear me out;"
    "I need your help;Do not be angry;One thing more;Before I go"
)
_QUESTIONS = _listed(
    "what do you know of {}?;who was seen near {} last night?;would you come with me to {}?;"
    "how much would you ask to look after {}?;why does nobody speak of {}?;"
    "is it true what they say about {}?;where should I begin with {}?"
)


def words() -> str:
    """Every word a prompt may hold, so that a made-up vocabulary can have tokens for them."""
    parts = [_NAMES, _BYNAMES, _TRADES, _TEMPERS, _THINGS, _DEEDS, _TIMES, _OPENINGS, _QUESTIONS]
    text = " ".join(word for part in parts for word in part) + " You are a an and by trade answer"
    return " ".join("".join(c if c.isalpha() else " " for c in text).split())


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question: `tokens` are what every side decodes, the first `prefix` of them the persona's."""

    npc: int
    persona: int
    system: str
    line: str
    tokens: tuple[int, ...]
    prefix: int

    @property
    def messages(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """(role, content), system and user."""
        return ("system", self.system), ("user", self.line)


def prompts(tokenise: Tokenise, *, npcs: int, personas: int, count: int, seed: int) -> list[Prompt]:
    """`count` prompts in the order of their asking: every NPC once before any of them again.

    NPC n has persona n modulo `personas`. A persona's part has `PERSONA_TOKENS` tokens or a few
    less, a line brings the prompt to between 32 and 64 more. Raises ValueError when a tokenizer
    can't be brought between those.
    """
    casts = [_persona(tokenise, persona, seed) for persona in range(personas)]
    rng = random.Random(f"lines {seed}")
    made: list[Prompt] = []
    while len(made) < count:
        for npc in rng.sample(range(npcs), npcs):
            system, prefix = casts[npc % personas]
            line, tokens = _line(tokenise, system, prefix, rng)
            made.append(Prompt(npc, npc % personas, system, line, tuple(tokens), prefix))
    return made[:count]


def floor(asked: Sequence[Prompt]) -> int:
    """The fewest prompt tokens that must be decoded: each token after the same tokens once.

    So each distinct prefix counts once and each tail once; and one token of every prompt, since its
    logits are needed, even where the whole prompt was read before.
    """
    rows = sorted(prompt.tokens for prompt in asked)
    if not rows:
        return 0
    return len(rows[0]) + sum(max(1, len(b) - common(a, b)) for a, b in pairwise(rows))


def common(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two prompts share from the start."""
    shared = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        shared += 1
    return shared


def poisson(count: int, rate: float, seed: int) -> list[float]:
    """`count` arrival times in seconds, with independent exponential gaps, `rate` a second."""
    rng = random.Random(f"arrivals {seed}")
    at = 0.0
    times = []
    for _ in range(count):
        at += rng.expovariate(1.0) / rate
        times.append(at)
    return times


def _persona(tokenise: Tokenise, persona: int, seed: int) -> tuple[str, int]:
    rng = random.Random(f"persona {seed} {persona}")
    # Another seed begins elsewhere in the list of names, so that its personas are other people.
    start = random.Random(f"names {seed}").randrange(len(_NAMES) * len(_BYNAMES))
    first, last = divmod(start + persona, len(_BYNAMES))
    name = f"{_NAMES[first % len(_NAMES)]} {_BYNAMES[last]}"
    text = [f"You are {name}, a {rng.choice(_TEMPERS)} {rng.choice(_TRADES)} by trade."]
    while len(text) < 120:
        text.append(
            f"{name.split()[0]} {rng.choice(_DEEDS)} {rng.choice(_THINGS)} {rng.choice(_TIMES)}."
        )
    pieces = " ".join(text).split()

    def size(count: int) -> int:
        system = " ".join(pieces[:count])
        ends = [tokenise((("system", system), ("user", line))) for line in ("a", "Zz")]
        return common(*ends)

    count = _most(len(pieces), PERSONA_TOKENS, size)
    return " ".join(pieces[:count]), size(count)


def _line(
    tokenise: Tokenise, system: str, prefix: int, rng: random.Random
) -> tuple[str, list[int]]:
    wanted = rng.randint(*NEW_TOKENS)
    text = [f"{rng.choice(_OPENINGS)}:"]
    while len(text) < 12:
        text.append(rng.choice(_QUESTIONS).format(rng.choice(_THINGS)).capitalize())
    pieces = " ".join(text).split()

    def tokens(count: int) -> list[int]:
        return tokenise((("system", system), ("user", " ".join(pieces[:count]))))

    count = _most(len(pieces), wanted, lambda count: len(tokens(count)) - prefix)
    while len(tokens(count)) - prefix < NEW_TOKENS[0] and count < len(pieces):
        count += 1
    found = tokens(count)
    if not NEW_TOKENS[0] <= len(found) - prefix <= NEW_TOKENS[1]:
        raise ValueError(f"a line has {len(found) - prefix} tokens instead of {wanted}")
    return " ".join(pieces[:count]), found


def _most(high: int, limit: int, size: Callable[[int], int]) -> int:
    """The largest count of 1 … `high` words whose size is within `limit`."""
    low = 1
    while low < high:
        middle = (low + high + 1) // 2
        if size(middle) <= limit:
            low = middle
        else:
            high = middle - 1
    return low
