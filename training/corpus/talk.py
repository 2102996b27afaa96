"""What is asked and what is answered: one exchange, from a character, a panel and what was said."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.prompts import Panel
from training.corpus.grammar import (
    capital,
    expand,
    is_whole,
    lowered,
    plural,
    sentences,
    with_article,
)
from training.corpus.people import Character, Fact, table

INTENTS: tuple[str, ...] = tuple(table("lines"))
_CHAT = table("chat")
"""Small talk's own replies, each list standing under the plan that is nearest to it."""

_TAGS = {
    "rumour": {"rumour", "danger", "custom", "trouble"},
    "danger": {"danger", "wolves", "vampires", "trouble"},
    "wolves": {"wolves"},
    "vampires": {"vampires"},
    "history": {"history"},
    "remedy": {"remedy"},
    "work": {"work"},
    "bed": {"bed"},
    "food": {"food"},
}
_DAYTIME = {"dawn": "morning", "early morning": "morning", "noon": "day", "midday": "day",
            "night": "evening", "dusk": "evening", "midnight": "evening"}  # fmt: skip
_REMARKS = {
    "dawn": "and the birds are barely up.", "early morning": "and the dew is still wet.",
    "morning": "and there is work to do.", "noon": "and I could eat.",
    "midday": "and the sun is high.", "afternoon": "and the day is getting old.",
    "dusk": "and the lamps are being lit.", "evening": "and it's time to bar the doors.",
    "night": "and honest folk are asleep.", "midnight": "and nobody should be out.",
}  # fmt: skip
_PEERS = {
    "dear": ("warm",), "child": ("pious", "rambling"), "friend": ("cheerful", "greedy"),
    "stranger": ("gruff", "stern", "dry", "worried", "nervous", "quiet", "bright"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ask:
    """A player's meaning: the intent, and what it is about (a subject or a ware) if anything."""

    intent: str
    subject: str = ""
    fact: Fact | None = None
    """The fact that answers it, when the asker's words point at one."""
    claim: str = ""
    """A whole statement that the asker makes or asks about; `subject` is then a piece of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was replied and the fact that was stated, if one was."""

    text: str
    fact: Fact | None = None
    plan: str = ""
    """The list that the reply was drawn from."""


@dataclass(slots=True)
class Scene:
    """Where an exchange takes place: who answers, when, to whom, and what was said before."""

    who: Character
    panel: Panel
    speaker: str
    named: bool
    """Whether `speaker` is a person's name, not a word like Traveller."""
    said: list[Answer] = field(default_factory=list)

    @property
    def daypart(self) -> str:
        """The first word group of the panel's time."""
        return self.panel.time.split(",")[0]


def line_slots(ask: Ask, scene: Scene) -> dict[str, str]:
    """The slots of a player's line."""
    ware = ask.subject if ask.subject.startswith(("a ", "an ")) else "a loaf"
    return {
        "first": scene.who.first,
        "place": scene.who.persona.place,
        "trade": scene.who.persona.trade,
        "speaker": scene.speaker,
        "x": ask.subject,
        "p": ask.subject,
        "bare": ask.subject.removeprefix("the "),
        "claim": ask.claim,
        "span": ask.subject,
        "ware": ware,
        "ware_bare": ware.split(" ", 1)[1],
        "wares": plural(ware),
        "task": "",
    }


def _peer(tone: str, kind: str, rng: random.Random, scene: Scene) -> str:
    if scene.named and rng.random() < 0.65:
        return scene.speaker
    if tone == "courtly":
        return "little one"
    if tone == "feral":
        return "two-legs"
    return kind


def reply_slots(ask: Ask, scene: Scene, rng: random.Random) -> dict[str, str]:
    """The slots of a reply, the temper's phrases among them."""
    who, panel = scene.who, scene.panel
    tones, replies = table("tones"), table("replies")
    tone = tones[who.tone]
    daypart = scene.daypart
    trade = who.persona.trade
    many = bool(panel.trouble) and panel.trouble[0].split()[0].endswith("s")
    there_is = "there are" if many else "there is"
    slots = {
        "name": who.persona.name,
        "trade": trade,
        "a_trade": with_article(trade),
        "the_trade": f"the {trade}",
        "trade_work": f"{with_article(trade)}'s work",
        "place": who.persona.place,
        "me_place": who.persona.place,
        "about": who.about,
        "speaker": scene.speaker,
        "daypart": daypart,
        "Daypart": capital(daypart),
        "time_remark": _REMARKS.get(daypart, "and time is passing."),
        "now_phrase": "tonight" if daypart in ("night", "midnight", "evening") else f"this {daypart}"
        if daypart in ("morning", "afternoon") else "now",
        "at": panel.place,
        "open": rng.choice(tone["open"]),
        "close": rng.choice(tone["close"]),
        "unknown": rng.choice(tone["unknown"]),
        "soft": tone["soft"],
        "x": ask.subject,
        "X": capital(ask.subject),
        "x_bare": ask.subject.removeprefix("the "),
        "there_is": there_is,
        "There_is": capital(there_is),
        "trouble": " and ".join(panel.trouble),
        "Trouble": capital(" and ".join(panel.trouble)),
    }  # fmt: skip
    if ask.subject.startswith(("a ", "an ")):
        slots |= {
            "ware": ask.subject,
            "Ware": capital(ask.subject),
            "ware_bare": plural(ask.subject),
            "wares": plural(ask.subject),
            "Wares": capital(plural(ask.subject)),
        }
        price = next((p for w, p in (ask.fact.wares if ask.fact else ()) if w == ask.subject), "")
        slots |= {"price": price, "Price": capital(price)}
    for kind in _PEERS:
        slots[f"speaker_or_{kind}"] = _peer(who.tone, kind, rng, scene)
    near = panel.near
    slots["near"] = (
        near[0] if len(near) == 1 else ", ".join(near[:-1]) + f" and {near[-1]}" if near else ""
    )
    moods = replies["mood"]
    slots["mood_line"] = rng.choice(moods.get(panel.mood, moods["neutral"]))
    mine = [ware for fact in who.facts for ware, _ in fact.wares]
    if mine:
        slots["mine"] = plural(rng.choice(mine))
    sky = next((word for word in replies["sky"] if word in panel.time), "none")
    slots["weather_line"] = rng.choice(replies["sky"][sky])
    return slots


def _known(scene: Scene, intent: str) -> list[Fact]:
    wanted = _TAGS[intent]
    found = [fact for fact in scene.who.facts if fact.tags & wanted]
    if intent == "wolves":
        found += [f for f in scene.who.facts if "wol" in f.text.lower() and f not in found]
    return found


def _near(scene: Scene, subject: str) -> bool:
    return any(
        subject.lower() in each.lower().split() or subject == each for each in scene.panel.near
    )


def _plan(ask: Ask, scene: Scene, rng: random.Random) -> tuple[str, Fact | None]:
    """Which reply list answers, and with which fact."""
    who, intent = scene.who, ask.intent
    if intent == "price":
        return ("price_known", ask.fact) if ask.fact else ("price_unknown", None)
    if intent == "buy":
        return ("buy_known", ask.fact) if ask.fact else ("price_unknown", None)
    if intent == "wares":
        priced = [fact for fact in who.facts if fact.wares]
        return ("fact", rng.choice(priced)) if priced else ("wares_none", None)
    if intent == "where" and ask.subject.lower() == scene.panel.place.lower():
        return "where_here", None
    if intent in ("where", "about"):
        if ask.fact:
            return ("fact_about" if rng.random() < 0.3 else "fact"), ask.fact
        return f"{intent}_unknown", None
    if intent == "hear_fact":
        return ("claim_known", ask.fact) if ask.fact else ("claim_unknown", None)
    if intent == "person":
        if ask.subject == who.first or ask.subject == who.persona.name:
            return "person_self", None
        if _near(scene, ask.subject):
            return "person_near", None
        if ask.fact:
            return ("fact_about" if rng.random() < 0.35 else "fact"), ask.fact
        return "person_unknown", None
    if intent in _TAGS:
        known = _known(scene, intent)
        if known:
            return "fact", rng.choice(known)
        if intent == "work" and (other := _known(scene, "danger")) and rng.random() < 0.6:
            return "work_trouble", rng.choice(other)
        return f"{intent}_none", None
    last = scene.said[-1] if scene.said else None
    if intent == "why":
        fresh = [f for f in who.facts if not f.wares and all(f is not s.fact for s in scene.said)]
        if last and last.fact and fresh and rng.random() < 0.5:
            return "more_fact", rng.choice(fresh)
        return ("why_fact", last.fact) if last and last.fact else ("why_plain", None)
    if intent in ("sure", "repeat"):
        return (f"{intent}_fact", last.fact) if last and last.fact else (f"{intent}_plain", None)
    if intent == "detail":
        return "fact", ask.fact
    if intent == "advice":
        known = _known(scene, "danger")
        return "advice", rng.choice(known) if known else None
    if intent == "who_near":
        return ["near_none", "near_some", "near_many"][min(2, len(scene.panel.near))], None
    if intent == "trouble":
        return ("trouble" if scene.panel.trouble else "trouble_none"), None
    if intent == "who_am_i":
        return ("who_am_i_known" if scene.named else "who_am_i_unknown"), None
    return intent, None


_OWN = ("greet", "farewell", "thanks", "threat", "insult", "compliment")
PLANS: tuple[str, ...] = tuple(dict.fromkeys([*table("replies"), *_OWN]))
"""Every list that a reply may be drawn from."""
_SMALL_TALK = frozenset(
    [
        "yes",
        "no",
        "sorry",
        "sure_plain",
        "why_plain",
        "repeat_plain",
        "say_new",
        "say_tired",
        "say_sad",
        "say_deed",
        "joke",
        "sing",
        "age",
        "likes",
        "gods",
        "king",
        "follow_me",
        "secret",
        "haggle",
        "love",
        "home",
        "weather",
        "how_are_you",
        "thanks",
        "compliment",
        "my_name",
        "time",
        "where_am_i",
    ]
)
_FOR_ALL = ("name", "who_near", "near_none", "near_some", "near_many", "fact", "fact_about",
            "about_unknown", "person_unknown", "person_near", "person_self", "where_here", "my_name", "trouble",
            "who_am_i_known", "who_am_i_unknown", "repeat_fact", "why_fact", "sure_fact",
            "more_fact", "trade", "fact_more", "time", "injection", "sure_plain", "yes",
            "no", "claim_known", "claim_unknown")  # fmt: skip


def _patterns(plan: str, scene: Scene, rng: random.Random) -> Sequence[str]:
    tone = table("tones")[scene.who.tone]
    if plan in _OWN:
        return list(tone[plan])
    if scene.who.kind != "villager" and plan not in _FOR_ALL:
        return list(tone["else"]) if rng.random() < 0.8 else list(tone["unknown"])
    return list(_CHAT[plan]["any"] if plan in _CHAT else table("replies")[plan]["any"])


def answer(ask: Ask, scene: Scene, rng: random.Random) -> Answer:
    """What this character says to that: one to three whole sentences."""
    plan, fact = _plan(ask, scene, rng)
    second: Fact | None = None
    if plan == "fact" and fact and ask.intent in ("rumour", "danger", "wolves", "vampires"):
        more = [f for f in _known(scene, ask.intent) if f is not fact]
        if more and rng.random() < 0.2:
            plan, second = "fact_more", rng.choice(more)
    for _ in range(24):
        slots = reply_slots(ask, scene, rng)
        if fact:
            slots |= {"fact": fact.said, "fact_low": lowered(fact.said)}
        if second:
            slots |= {"fact2": second.said, "fact2_low": lowered(second.said)}
        pattern = rng.choice(_patterns(plan, scene, rng))
        if ("{fact" in pattern and fact is None) or ("{mine" in pattern and "mine" not in slots):
            continue
        text = capital(expand(pattern, rng, slots))
        for odd, good in _DAYTIME.items():
            text = text.replace(f"Good {odd}", f"Good {good}")
        text = _ended(text, plan, slots, scene, rng)
        if is_whole(text) and sentences(text) <= 3:
            stated = fact if fact and fact.said.lower().rstrip(".") in text.lower() else None
            told = stated or (fact if plan in ("price_known", "buy_known") else None)
            return Answer(text, told, _CHAT[plan]["plan"] if plan in _CHAT else plan)
    return Answer("I have nothing to say to that.", None, "nonsense")


def _ended(text: str, plan: str, slots: dict[str, str], scene: Scene, rng: random.Random) -> str:
    if scene.who.kind != "villager" or sentences(text) > 2 or plan in ("trouble", "farewell"):
        return text
    endings = table("replies")["moment"]
    if plan in _SMALL_TALK or plan in _CHAT:
        if sentences(text) == 1 and rng.random() < 0.15 and not text.startswith(slots["soft"]):
            text = f"{slots['soft']} {text}"
        if sentences(text) <= 2 and text[-1] != "?" and rng.random() < 0.22:
            return text + " " + expand(rng.choice(endings["offer"]), rng, slots)
    if scene.panel.trouble and rng.random() < 0.15:
        return text + " " + expand(rng.choice(endings["trouble"]), rng, slots)
    if scene.daypart in ("night", "midnight") and rng.random() < 0.04:
        return text + " " + expand(rng.choice(endings["night"]), rng, slots)
    return text


def replies_of(scene: Scene, rng: random.Random) -> list[tuple[str, str]]:
    """Every kind of reply that this character has, each pattern a few times: (kind, text) pairs."""
    made: list[tuple[str, str]] = []
    kinds = [k for k in table("replies") if k not in ("moment", "mood", "sky")]
    for kind in [*kinds, *_OWN, *_CHAT]:
        ask = Ask(
            kind, "a chair" if kind.startswith(("price", "buy", "sell")) else "the north road"
        )
        for fact in scene.who.facts or (None,):
            for pattern in _patterns(kind, scene, rng):
                slots = reply_slots(ask, scene, rng) | {
                    "price": "two coppers",
                    "Price": "Two coppers",
                }
                if fact:
                    slots |= {"fact": fact.said, "fact_low": lowered(fact.said),
                              "fact2": fact.said, "fact2_low": lowered(fact.said)}  # fmt: skip
                elif "{fact" in pattern:
                    continue
                if "{mine" in pattern and "mine" not in slots:
                    continue
                named = _CHAT[kind]["plan"] if kind in _CHAT else kind
                made.append((named, capital(expand(pattern, rng, slots))))
    return made
