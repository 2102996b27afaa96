"""Whole conversations from a seed: who asks what in which words, with the noise of real typing."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from models.prompts import SHIPPED, Panel, Turn
from models.request import Message
from training.corpus.acts import ask_order, draw_decision, draw_field
from training.corpus.grammar import capital, expand, lowered, plural, with_article
from training.corpus.people import (
    Character,
    Fact,
    draw_character,
    drawn_thing,
    odd_word,
    person_name,
    table,
    valley,
)
from training.corpus.talk import INTENTS, Answer, Ask, Scene, answer, line_slots

VERSION = 3
"""Goes up with every change that changes what a seed writes."""

VALLEY_SHARE = 0.3
ACTS_SHARE = 0.12
HELD_OUT_PATTERNS = 0.03
"""Share of a line's patterns that only validation samples use."""

_OPENERS = ("hey, ", "excuse me, ", "so, ", "um, ", "tell me, ", "sir, ", "well, ", "oh, ", "please, ",
            "good day, ", "hello, ", "hi, ", "listen, ", "ok, ", "and ", "but ", "by the way, ", "quick question, ",
            "say, ", "hmm, ", "actually ", "pardon, ", "friend, ", "hello there, ", "just wondering, ", "sorry, ",
            "thanks, ", "one more thing, ", "I was wondering, ", "{first}, ", "hey {first}, ", "hello {first}, ")  # fmt: skip
_TAILS = (" please", ", please", " friend", ", friend", " mate", ", {first}", ", good {trade}", " by any chance",
          " I wonder", " exactly", " then", " really", " these days", " now", " lol", ", my friend", " pls",
          ", can you tell me", ", do you know", " I mean", " though", ", if I may ask", " anyway")  # fmt: skip
_CHATTY = frozenset(
    [
        "price",
        "buy",
        "wares",
        "bed",
        "food",
        "where",
        "about",
        "person",
        "rumour",
        "danger",
        "wolves",
        "vampires",
        "history",
        "remedy",
        "work",
        "hear_fact",
        "trade",
        "name",
        "how_are_you",
        "weather",
        "time",
        "where_am_i",
        "home",
        "who_near",
        "trouble",
        "joke",
        "secret",
        "advice",
        "detail",
        "sell",
    ]
)
_PREAMBLES = (
    "I've come a long way.", "I'm new here.", "Nice place you have.", "My friend told me to ask you.",
    "I'm in a hurry.", "It's cold out there.", "I don't want to bother you.", "You look like you know things.",
    "I only have a minute.", "It's been a long day.", "Let me ask you something.", "I have a question.",
    "Don't be afraid.", "I mean no harm.", "I've been on the road all day.", "Maybe you can help me.",
    "Sorry to disturb you.", "You're {first}, right?", "I heard you are the one to ask.", "No need to get up.",
    "Good to see you.", "I just came in from the rain.", "Never mind that.", "One thing bothers me.",
    "Everybody here seems busy.", "I hope you can tell me.", "Before I go:", "Ok next question.", "Right, so",
    "Thanks for that.", "Interesting.", "Good to know.", "I see.", "Hm, alright.", "Fair enough.", "Well then.",
    "That's good.", "Tell me this.", "Forget it.", "Anyway.", "Ah.", "Oh really.", "Listen to me.",
)  # fmt: skip
_AFTERWORDS = (
    "I'm in a hurry.", "I need to know.", "It's important.", "I have little time.", "Be honest.", "I can pay.",
    "Just asking.", "My friends want to know.", "Nobody will tell me.", "I was told you'd know.", "Please.",
    "Don't lie to me.", "I'm serious.", "It's for a friend.", "Help me out here.", "You must know.", "Hm?",
    "If you know.", "I'm curious.", "Quickly.",
)  # fmt: skip
_WEIGHTS = {
    "hear_fact": 13.0, "detail": 18.0,
    "about": 18.0, "person": 12.0, "price": 13.0, "buy": 8.0, "where": 10.0, "rumour": 6.0, "wolves": 4.0,
    "vampires": 4.0, "danger": 4.0, "name": 2.5, "trade": 2.5, "wares": 2.5, "greet": 2.0, "bed": 2.5,
    "food": 2.5, "work": 2.5, "remedy": 2.0, "history": 2.0, "injection": 2.5, "who_near": 1.6,
    "how_are_you": 2.0, "trouble": 1.5, "time": 1.5, "weather": 1.5, "advice": 1.5, "where_am_i": 1.5, "home": 1.5,
    "why": 0.0, "sure": 0.0, "repeat": 0.0, "farewell": 0.8, "haggle": 0.8,
}  # fmt: skip


_TOPIC = 0.4
"""Weight of each topic of chat.toml: there are many."""


@dataclass(frozen=True, slots=True)
class Hint:
    """What an answer is, beside its words: its plan and the line of the persona's that it tells."""

    plan: str
    line: str = ""
    """The line in the system prompt, "" when the answer tells none."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample: the chat, ending with the assistant's turn."""

    messages: tuple[Message, ...]
    kind: str
    """"speech", "decide" or "orders"."""
    hints: tuple[Hint, ...] = ()
    """What the trainer may know of each answer, in the order of the assistant's turns."""


def held_out(intent: str, pattern: str) -> bool:
    """Whether validation alone uses this phrasing: a fixed choice by its letters, none by luck."""
    checksum = sum((i + 7) * ord(c) for i, c in enumerate(intent + pattern))
    return checksum % 1000 < HELD_OUT_PATTERNS * 1000


def panel(who: Character, rng: random.Random) -> Panel:
    """A moment in which the character could be met."""
    t = table("tables")
    time = rng.choice(t["dayparts"] if rng.random() < 0.85 else t["dayparts_rare"])
    if rng.random() < 0.25:
        time += ", " + rng.choice(t["weathers"])
    near = rng.sample(who.neighbours, rng.choice([0, 0, 0, 1, 1, 1, 2, 3]))
    trouble: tuple[str, ...] = ()
    if rng.random() < 0.18:
        slots = {"spot": rng.choice(who.spots), "beast": rng.choice(t["beasts"])}
        trouble = (expand(rng.choice(t["troubles"]), rng, slots),)
    return Panel(
        time=time,
        mood=rng.choice(t["moods"]["words"]) if rng.random() < 0.7 else "calm",
        place=who.at if rng.random() < 0.75 else rng.choice(who.spots),
        near=tuple(near),
        trouble=trouble,
    )


def _shorter(subject: str, rng: random.Random) -> str:
    """The subject as a player may put it: whole, without its adjectives, or by one name."""
    words = subject.split()
    roll = rng.random()
    if words[0] == "the" and len(words) > 2 and "of" not in words:
        if roll < 0.25:
            return f"the {words[-1]}"
        if roll < 0.32:
            return words[-1]
        return subject
    if words[0][0].isupper() and len(words) == 2 and roll < 0.4:
        if words[0] in ("Castle", "Fort"):
            return "the castle" if roll < 0.2 else words[1]
        return words[1] if words[0] in table("tables")["titles"] else words[0]
    return subject


def _unknown(
    who: Character, pool: Sequence[str], rng: random.Random, here: Sequence[str] = ()
) -> str:
    for _ in range(20):
        subject = rng.choice(pool) if pool else person_name(rng)
        if not who.mentions(subject) and subject not in here:
            return subject
    return "Zebulon"


def _unknown_of(
    who: Character,
    draw: Callable[[random.Random], str],
    rng: random.Random,
    here: Sequence[str] = (),
) -> str:
    for _ in range(20):
        subject = draw(rng)
        if not who.mentions(subject) and subject not in here:
            return subject
    return "the Zebulon"


@cache
def _trade_wares() -> tuple[str, ...]:
    return tuple(ware for trade in table("tables")["trade"] for ware in trade["wares"])


def odd_ware(rng: random.Random) -> str:
    """Something that somebody may want to buy or sell, now and then of a kind nobody knows."""
    roll = rng.random()
    if roll < 0.4:
        return rng.choice(_trade_wares())
    if roll < 0.85:
        return str(rng.choice(table("tables")["odd_wares"]))
    return with_article(odd_word(rng))


def _unheard(rng: random.Random) -> str:
    roll = rng.random()
    t = table("tables")
    if roll < 0.4:
        return str(rng.choice(t["other_words"]))
    if roll < 0.65:
        return f"the {drawn_thing(rng)}"
    if roll < 0.8:
        return f"the {odd_word(rng)}"
    word = capital(odd_word(rng))
    return expand(rng.choice(t["odd_subjects"]), rng, {"w": word})


def _unheard_place(rng: random.Random) -> str:
    t = table("tables")
    if rng.random() < 0.7:
        return str(rng.choice([*t["other_places"], *t["spots"]]))
    return expand(rng.choice(t["odd_places"]), rng, {"w": capital(odd_word(rng))})


@cache
def _details() -> tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]:
    return tuple(
        (re.compile(row["fact"]), tuple(row["asks"])) for row in table("details")["detail"]
    )


def _asks_of(text: str) -> tuple[tuple[str, dict[str, str]], ...]:
    found = [
        (asks, seen.groupdict("")) for shape, asks in _details() if (seen := shape.search(text))
    ]
    return tuple((ask, slots) for asks, slots in found for ask in asks)


_THINGS = frozenset("bchinsw")
"""Groups of details.toml that stand at the head of a fact and are no people's names."""


def _draw_detail(scene: Scene, rng: random.Random) -> Ask:
    """A question about a number or another detail of a fact; about a fact when none has any."""
    able = [fact for fact in scene.who.facts if _asks_of(fact.text)]
    if not able:
        return _draw_subject("about", scene, rng)
    fact: Fact = rng.choice(able)
    pattern, slots = rng.choice(_asks_of(fact.text))
    slots = {key: lowered(value) if key in _THINGS else value for key, value in slots.items()}
    slots["place"] = scene.who.persona.place
    return Ask("detail", "", fact, expand(pattern, rng, slots))


def draw_ask(intent: str, scene: Scene, rng: random.Random) -> Ask:
    """What exactly is asked with this intent: of a fact that is known, or of something unknown."""
    who = scene.who
    if intent in ("price", "buy"):
        priced = [(fact, ware) for fact in who.facts for ware, _ in fact.wares]
        if priced and rng.random() < 0.85:
            fact, ware = rng.choice(priced)
            return Ask(intent, ware, fact)
        known = {ware for _, ware in priced}
        for _ in range(20):
            ware = odd_ware(rng)
            if ware not in known and not any(plural(ware) == plural(k) for k in known):
                return Ask(intent, ware)
    if intent == "hear_fact":
        return _draw_claim(who, rng)
    if intent == "detail":
        return _draw_detail(scene, rng)
    if intent == "sell":
        return Ask(intent, odd_ware(rng))
    if intent in ("about", "where", "person"):
        return _draw_subject(intent, scene, rng)
    return Ask(intent)


_SMALL = frozenset(["a", "an", "the", "of", "and", "to", "in", "on", "at", "is", "are", "was", "were", "has", "have", "by", "for", "from", "with", "will", "be", "as", "it", "not", "no", "its", "his", "her", "my", "your", "this", "that", "than", "more", "too"])  # fmt: skip
_YOURS = (("I am", "you are"), ("I have", "you have"), (" me ", " you "), ("My ", "your "),
          (" my ", " your "), ("I ", "you "), (" me.", " you."))  # fmt: skip


def _draw_claim(who: Character, rng: random.Random) -> Ask:
    known = bool(who.facts) and rng.random() < 0.88
    fact = rng.choice(
        who.facts if known else draw_character(rng).facts or who.facts or valley()[0].facts
    )
    known = fact.text in who.persona.knows
    claim = fact.said
    if fact.said != fact.text:
        for mine, yours in _YOURS:
            claim = claim.replace(mine, yours)
    claim = lowered(claim).rstrip(".")
    words = claim.replace(",", "").split()
    span: list[str] = []
    for _ in range(8):
        size = rng.randint(2, 5)
        start = rng.randrange(max(1, len(words) - size + 1))
        span = words[start : start + size]
        while span and span[-1] in _SMALL:
            span.pop()
        while span and span[0] in _SMALL - {"the", "a", "an", "no"}:
            span.pop(0)
        if any(len(word) > 3 for word in span):
            break
    return Ask("hear_fact", " ".join(span or words), fact if known else None, claim)


def _is_name(subject: str) -> bool:
    return subject[:1].isupper() and not subject.startswith(("Castle", "Fort"))


def _draw_subject(intent: str, scene: Scene, rng: random.Random) -> Ask:
    who = scene.who
    people = [(f, s) for f in who.facts for s in f.subjects if _person(f, s)]
    things = [(f, s) for f in who.facts for s in f.subjects if not _person(f, s)]
    if intent == "person":
        roll = rng.random()
        if roll < 0.05:
            return Ask(intent, who.first)
        if roll < 0.12 and scene.panel.near:
            return Ask(intent, rng.choice(scene.panel.near))
        if people and roll < 0.82:
            fact, subject = rng.choice(people)
            return Ask(intent, _shorter(subject, rng), fact)
        strangers = [each for each in who.neighbours if each not in scene.panel.near]
        pool = strangers if rng.random() < 0.3 else []
        return Ask(intent, _shorter(_unknown(who, pool, rng), rng))
    if intent == "where":
        if rng.random() < 0.08:
            return Ask(intent, scene.panel.place)
        placed = [(f, s) for f, s in things if "where" in f.tags]
        if placed and rng.random() < 0.8:
            fact, subject = rng.choice(placed)
            return Ask(intent, _shorter(subject, rng), fact)
        return Ask(intent, _unknown_of(who, _unheard_place, rng, [scene.panel.place]))
    if things and rng.random() < 0.88:
        fact, subject = rng.choice(things)
        return Ask(intent, _shorter(subject, rng), fact)
    return Ask(intent, _unknown_of(who, _unheard, rng))


def _person(fact: object, subject: str) -> bool:
    return (
        _is_name(subject)
        and any(w[0].isupper() for w in subject.split())
        and not any(
            word in subject
            for word in (
                "Castle",
                "Keep",
                "Abbey",
                "Fort",
                "Forest",
                "Hollow",
                "Grove",
                "wood",
                "the ",
            )
        )
    )


def phrase(ask: Ask, scene: Scene, rng: random.Random, *, validation: bool) -> str:
    """The ask in a player's words, typing noise included."""
    rows = table("lines")[ask.intent]
    patterns = [p for p in rows["lines"] if held_out(ask.intent, p) == validation]
    slots = line_slots(ask, scene)
    if "task" in rows:
        slots["task"] = rng.choice(rows["task"])
    text = expand(rng.choice(patterns or rows["lines"]), rng, slots)
    return noisy(text, ask, scene, rng)


def noisy(text: str, ask: Ask, scene: Scene, rng: random.Random) -> str:
    """Openers, tails, missing capitals and full stops, and slips of the finger."""
    slots = {"first": scene.who.first, "trade": scene.who.persona.trade}
    chatty = ask.intent in _CHATTY or ask.intent.startswith("ask_")
    if chatty and rng.random() < 0.22:
        text = expand(rng.choice(_OPENERS), rng, slots) + " " + text
    if chatty and rng.random() < 0.14:
        end = text[-1] if text[-1] in "?!." else ""
        text = text.rstrip("?!.") + expand("x" + rng.choice(_TAILS), rng, slots)[1:] + end
    if chatty and rng.random() < 0.1:
        text = expand(rng.choice(_PREAMBLES), rng, slots) + " " + capital(text)
    if chatty and rng.random() < 0.05:
        end = "" if text[-1] in "?!." else rng.choice("..,?")
        text += end + " " + rng.choice(_AFTERWORDS)
    if rng.random() < 0.12:
        text = _slip(text, ask.subject, rng)
    roll = rng.random()
    if roll < 0.25:
        text = text.lower()
    elif roll < 0.8:
        text = capital(text)
    roll = rng.random()
    if roll < 0.33:
        text = text.rstrip("?.!") or text
    elif roll < 0.5 and text[-1].isalnum():
        text += rng.choice([".", "!", ".", "..."])
    if rng.random() < 0.12:
        text = text.replace("'", "")
    return text


def _slip(text: str, keep: str, rng: random.Random) -> str:
    words = text.split(" ")
    able = [i for i, w in enumerate(words) if len(w) > 4 and w.isalpha() and w not in keep]
    if not able:
        return text
    i = rng.choice(able)
    word = words[i]
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        word = word[:at] + word[at + 1 :]
    elif kind == 1:
        word = word[:at] + word[at] + word[at:]
    else:
        word = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    words[i] = word
    return " ".join(words)


@cache
def _weights() -> tuple[float, ...]:
    topics = table("chat")
    return tuple(_WEIGHTS.get(i, _TOPIC if i in topics else 1.0) for i in INTENTS)


def _next_intent(scene: Scene, rng: random.Random) -> str:
    last = scene.said[-1] if scene.said else None
    roll = rng.random()
    if not scene.said and roll < 0.15:
        return "greet"
    if last and last.fact and roll < 0.15:
        return rng.choice(["why", "why", "sure", "repeat", "thanks"])
    if last and last.fact and last.fact.wares and roll < 0.22:
        return "haggle"
    if last and roll < 0.2:
        return rng.choice(["why", "sure", "repeat", "yes", "no", "thanks", "sorry"])
    return rng.choices(INTENTS, _weights())[0]


def _next_ask(scene: Scene, rng: random.Random) -> Ask:
    """What is asked next, three times out of four nothing that this person knows nothing of."""
    for _ in range(3):
        intent = _next_intent(scene, rng)
        if intent == "my_name" and not scene.named:
            intent = "greet"
        ask = draw_ask(intent, scene, rng)
        if ask.fact or intent not in _OF_SOMETHING or rng.random() < 0.35:
            break
    return ask


_OF_SOMETHING = frozenset(["price", "buy", "where", "about", "person", "hear_fact"])


def draw_speech(who: Character, rng: random.Random, *, turns: int, validation: bool) -> Sample:
    """A conversation of that many exchanges with one character."""
    named = rng.random() < 0.65
    words = table("tables")["speakers"]
    speaker = person_name(rng) if named else rng.choice(words)
    if named and rng.random() < 0.5:
        speaker = (
            speaker.split()[-1]
            if speaker.split()[0] in table("tables")["titles"]
            else speaker.split()[0]
        )
    now = panel(who, rng)
    scene = Scene(who, now, speaker, named)
    history: list[tuple[Panel, Turn]] = []
    hints: list[Hint] = []
    for n in range(turns):
        if n and rng.random() < 0.12:
            now = panel(who, rng)
            scene.panel = now
        ask = _next_ask(scene, rng)
        line = phrase(ask, scene, rng, validation=validation)
        said: Answer = answer(ask, scene, rng)
        history.append((now, Turn(speaker=speaker, line=line, reply=said.text)))
        scene.said.append(said)
        hints.append(Hint(said.plan, said.fact.text if said.fact else ""))
        if ask.intent == "farewell":
            break
    *before, (then, final) = history
    messages = SHIPPED.speech(who.persona, before, then, final.speaker, final.line)
    reply: Message = {"role": "assistant", "content": final.reply or ""}
    return Sample((*messages, reply), "speech", tuple(hints))


VALIDATION_SEED = 1_000_003


def samples(seed: int, *, validation: bool = False, kind: str | None = None) -> Iterator[Sample]:
    """An endless stream of samples: the same for the same seed.

    Validation draws its people from a seed of their own and its lines from held-out phrasings.
    `kind` lets only villagers, vampires or wolves speak, and nobody give orders.
    """
    rng = random.Random(seed + VALIDATION_SEED if validation else seed)
    twelve = valley()
    while True:
        roll = rng.random()
        if kind is None and roll < ACTS_SHARE / 2:
            yield Sample(ask_order(draw_field(rng)), "orders")
            continue
        at_home = rng.random() < VALLEY_SHARE and not validation and kind in (None, "villager")
        who = rng.choice(twelve) if at_home else draw_character(rng, kind)
        if roll < ACTS_SHARE:
            yield Sample(draw_decision(who, panel(who, rng), rng), "decide")
            continue
        turns = rng.choice([2, 5, 6, 7, 7, 7])
        yield draw_speech(who, rng, turns=turns, validation=validation)
