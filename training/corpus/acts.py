"""Decisions and battle orders for the corpus: situations drawn, answered by a teacher's plain rules."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from models.prompts import SHIPPED, Decision, Orders, OrdersSituation, Panel, parse_choice
from models.request import Message
from training.corpus.grammar import capital
from training.corpus.people import Character, draw_village, person_name, table

TACTICS = ("flank", "surround", "focus", "hold", "protect", "retreat")

_BRAVE = ("gruff", "stern", "cheerful", "feral", "courtly", "dry")
_THREATS = ("wolf", "wolves", "bear", "thieves", "fight", "knife", "vampire", "bandits", "goblins",
            "spiders", "rats", "boars", "dogs", "trolls", "ghouls", "snakes", "deserters")  # fmt: skip
_SPECIES = ("wolves", "vampires", "goblins", "bandits", "guards", "spiders", "trolls", "ghouls", "bears",
            "soldiers", "hunters", "wild dogs")  # fmt: skip
_GROUNDS = ("forest", "open field", "hills", "ruins", "bridge", "narrow pass", "gate", "marsh", "street",
            "snow", "river bank", "cave", "road", "meadow", "open")  # fmt: skip
_NARROW = ("bridge", "narrow pass", "gate", "cave", "street")
_COVER = ("forest", "hills", "ruins", "marsh")


def _threat(panel: Panel, rng: random.Random) -> str:
    """The thing to flee from, as a choice names it, or an empty string."""
    for trouble in panel.trouble:
        if any(word in trouble.split() for word in _THREATS):
            head = trouble
            for cut in (" nearby", " at ", " near ", " on ", " with ", " in "):
                head = head.split(cut)[0]
            return head
    return ""


def offered(who: Character, panel: Panel, rng: random.Random) -> list[str]:
    """Three to eight choices that the moment allows, in any order."""
    threat = _threat(panel, rng)
    choices = ["wait"]
    choices += rng.sample(
        [
            rng.choice(["work", f"work at {who.at}"]),
            rng.choice(["rest", f"rest at {who.at}", "rest at home"]),
            rng.choice(["eat", f"eat at {rng.choice(who.spots)}", "eat at home"]),
            f"{rng.choice(['move', 'go', 'walk'])} to {rng.choice(who.spots)}",
            f"use {rng.choice(['the well', 'the hearth', 'the shrine', 'the bell', 'the forge'])}",
        ],
        rng.choice([2, 3, 4, 4]),
    )
    if panel.near:
        choices.append(f"{rng.choice(['talk to', 'talk with'])} {rng.choice(panel.near)}")
    if threat:
        choices += [f"flee from {threat}", f"attack {threat}"]
        if rng.random() < 0.4:
            choices.append(f"hide in {rng.choice(who.spots)}")
        if panel.near and rng.random() < 0.4:
            choices.append(f"warn {rng.choice(panel.near)}")
    rng.shuffle(choices)
    return choices


def teach_decision(who: Character, panel: Panel, choices: Sequence[str]) -> Decision:
    """The act that plain sense would choose, with its reason."""
    parsed = [parse_choice(choice) for choice in choices]
    threat = bool(panel.trouble) and any(action in ("flee", "attack") for action, _ in parsed)
    late = panel.time.split(",")[0] in ("night", "midnight")
    wishes: list[tuple[str, str]] = []
    weak = panel.mood in ("hurt", "tired", "afraid", "scared", "hungry", "cold")
    if threat:
        if who.tone in _BRAVE and not weak:
            wishes.append(("attack", "I can fight {target}."))
        wishes += [
            ("flee", "I must get away from {target}."),
            ("hide", "I can hide in {target}."),
            ("attack", "There is no way out but to fight {target}."),
        ]
    by_mood = {
        "hungry": ("eat", "I am hungry."),
        "tired": ("rest", "I am tired."),
        "hurt": ("rest", "I am hurt and need rest."),
        "cold": ("rest", "I am cold and want a roof."),
        "afraid": ("hide", "I am afraid."),
        "lonely": ("talk", "I am lonely, and {target} is near."),
        "bored": ("talk", "I am bored, and {target} is near."),
    }
    if panel.mood in by_mood:
        wishes.append(by_mood[panel.mood])
    if late:
        wishes.append(("rest", "It is late and time to sleep."))
    elif panel.time.split(",")[0] in ("dawn", "early morning", "morning", "afternoon"):
        wishes.append(("work", f"It is {panel.time.split(',')[0]} and there is work to do."))
    elif panel.time.split(",")[0] in ("noon", "midday"):
        wishes.append(("eat", "It is noon and time to eat."))
    else:
        wishes.append(("talk", "The day's work is done, and {target} is near."))
        wishes.append(("rest", "The day's work is done."))
    wishes += [("work", "There is work to do."), ("rest", "There is nothing better to do."),
               ("wait", "I will see what happens.")]  # fmt: skip
    for wish, reason in wishes:
        for action, target in parsed:
            if action == wish:
                return Decision(
                    action=action, target=target, reason=reason.replace("{target}", target)[:80]
                )
    action, target = parsed[0]
    return Decision(action=action, target=target, reason="I will see what happens.")


def draw_decision(who: Character, panel: Panel, rng: random.Random) -> tuple[Message, ...]:
    """A chat that asks the character for its next act and has the teacher's answer."""
    if _threat(panel, rng) == "" and rng.random() < 0.35:
        trouble = rng.choice(["a wolf nearby", "wolves nearby", "a bear nearby", "a vampire nearby",
                              "bandits on the road", "a goblin nearby"])  # fmt: skip
        panel = panel.model_copy(update={"trouble": (trouble,)})
    choices = offered(who, panel, rng)
    said = teach_decision(who, panel, choices)
    reply: Message = {"role": "assistant", "content": said.model_dump_json()}
    return (*SHIPPED.decide(who.persona, panel, choices), reply)


def teach_order(count: int, tactics: Sequence[str], seen: OrdersSituation) -> Orders:
    """The order that a cautious leader would give."""
    first = seen.foes[0] if seen.foes else "none"
    strong = seen.strong[0] if seen.strong else first
    wishes: list[tuple[str, str, str]] = []
    if not seen.foes:
        wishes.append(("hold", "none", "No foe is in sight."))
    elif seen.wounded * 2 >= count:
        wishes += [("retreat", "none", "Too many of us are wounded."),
                   ("hold", "none", "Too many of us are wounded.")]  # fmt: skip
    elif seen.ward:
        wishes += [("protect", seen.ward, f"{capital(seen.ward)} must be kept safe.")]
    elif len(seen.foes) > count:
        wishes += [("hold", "none", "They are more, but the way is narrow.")] if seen.ground in _NARROW \
            else [("retreat", "none", "They are more than we are.")]  # fmt: skip
    elif len(seen.foes) == 1 and seen.strong:
        wishes += [("surround", strong, f"{strong} is strong but alone.")]
    elif len(seen.foes) == 1:
        wishes += [("focus", first, f"{first} is alone.")]
    elif seen.ground in _COVER:
        wishes += [("flank", strong, f"The {seen.ground} hides us from {strong}.")]
    elif seen.ground in _NARROW:
        wishes += [("hold", strong, f"The {seen.ground} is narrow, so let them come.")]
    elif seen.strong:
        wishes += [("focus", strong, f"{strong} is the strongest.")]
    else:
        wishes += [("surround", first, "We are many and the ground is open.")]
    wishes += [("focus", strong, f"{strong} must fall first."), ("hold", "none", "We wait."),
               ("retreat", "none", "There is nothing to win here.")]  # fmt: skip
    for tactic, focus, reason in wishes:
        if tactic in tactics:
            return Orders(tactic=tactic, focus=focus, reason=reason[:80])
    return Orders(tactic=tactics[0], focus=strong, reason="We have no better way.")


@dataclass(frozen=True, slots=True)
class Field:
    """A group before its foes: whom its leader leads, the tactics they know, what is seen."""

    group: str
    species: str
    count: int
    tactics: tuple[str, ...]
    seen: OrdersSituation


def draw_field(rng: random.Random) -> Field:
    """A group of a newly drawn village and what it meets."""
    village = draw_village(rng)
    species = rng.choice(_SPECIES)
    count = rng.randint(2, 14)
    tactics = list(TACTICS) if rng.random() < 0.6 else rng.sample(TACTICS, rng.randint(3, 6))
    foes = [
        person_name(rng) if rng.random() < 0.75 else rng.choice(["a guard", "a hunter", "a traveller",
                                                                 "a wolf", "a knight", "a bear"])
        for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3, 4, 5]))
    ]  # fmt: skip
    foes = list(dict.fromkeys(foes))
    strong = [foe for foe in foes if rng.random() < 0.3][:1]
    wounded = rng.randint(0, count) if rng.random() < 0.5 else rng.randint(0, 1)
    ward = ""
    if rng.random() < 0.2:
        ward = rng.choice(
            ["the pups", "the wounded", "the children", person_name(rng), "the old leader"]
        )
    seen = OrdersSituation(
        foes=tuple(foes),
        strong=tuple(strong),
        ward=ward,
        wounded=wounded,
        ground=rng.choice(_GROUNDS),
    )
    group = rng.choice([
        f"the {rng.choice(table('tables')['packs'])} pack", f"the {village.name} watch",
        f"the {capital(species)} of {village.forest}", f"the coven of {village.castle}",
    ])  # fmt: skip
    return Field(group, species, count, tuple(tactics), seen)


def ask_order(field: Field) -> tuple[Message, ...]:
    """A chat that asks a group's leader for an order and has the teacher's answer."""
    said = teach_order(field.count, field.tactics, field.seen)
    reply: Message = {"role": "assistant", "content": said.model_dump_json()}
    asked = SHIPPED.orders(field.group, field.species, field.count, field.tactics, field.seen)
    return (*asked, reply)
