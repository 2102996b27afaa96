"""What an NPC may choose from in a situation, worded for a model and typed for the world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import Field

from models.narrow import narrowed
from models.prompts import Decision, parse_choice, tame
from world.frame import Situation

__all__ = ["Choice", "DecisionReply", "match", "options", "reply_to"]

MAX_CHOICES: Final = 12
_CLOSE: Final = 12 * 256
"""Nobody farther than this, in units, is offered to be fled from or fought."""


class DecisionReply(Decision):
    """A `Decision` in plain letters: its longest reply is short, so that long personas leave room.

    What a mind is asked for is this, narrowed to the choices of the moment (see `reply_to`).
    """

    action: str = Field(min_length=1, max_length=24, pattern=r"^[A-Za-z _-]*$")
    target: str = Field(min_length=1, max_length=48, pattern=r"^[A-Za-z0-9 ',-]*$")
    reason: str = Field(max_length=60, pattern=r"^[A-Za-z0-9 \.',;-]*$")


@dataclass(frozen=True, slots=True)
class Choice:
    """One act offered: its wording, and the kind and body of the proposal it stands for."""

    text: str
    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)


def options(situation: Situation, actions: Sequence[str], *, fights: bool) -> tuple[Choice, ...]:
    """The acts open in this situation, dangers first; only those in the vocabulary `actions`."""
    found: list[Choice] = []
    for near in situation.near:
        if not near.hostile or near.down or near.distance > _CLOSE or len(found) >= 6:
            continue
        who = _named(near.name, near.species)
        found.append(Choice(f"flee from {who}", "flee", {"from_": near.id}))
        if fights:
            found.append(Choice(f"attack {who}", "attack", {"target": near.id}))
    place = f" at {situation.place}" if situation.place else ""
    found += [
        Choice("work", "work"),
        Choice("rest", "rest"),
        Choice(f"eat{place}", "eat"),
        Choice("wait", "wait"),
    ]
    known = [choice for choice in found if choice.kind in actions]
    unique = {tame(choice.text, 64): choice for choice in reversed(known)}
    return tuple(reversed(list(unique.values())))[:MAX_CHOICES]


def reply_to(choices: Sequence[Choice]) -> type[DecisionReply]:
    """The reply that may name one of these acts with its own target, or "none" where it has none.

    Raises ValueError without choices.
    """
    pairs = (parse_choice(choice.text) for choice in choices)
    return narrowed(DecisionReply, ("action", "target"), pairs)


def match(decision: Decision, choices: Sequence[Choice]) -> Choice | None:
    """The choice that a decision names: by verb and target, or by a verb that only one choice has.

    A reply that kept to `reply_to` names one exactly; the rest is for whoever was not asked so.
    """
    for choice in choices:
        if parse_choice(choice.text) == (decision.action, decision.target):
            return choice
    action, target = decision.action.strip().lower(), decision.target.strip().lower()
    verbs = []
    for choice in choices:
        verb, whom = parse_choice(choice.text)
        if verb.lower() != action:
            continue
        if whom.lower() == target:
            return choice
        verbs.append(choice)
    return verbs[0] if len(verbs) == 1 else None


def _named(name: str, species: str) -> str:
    if name != species:
        return name
    return f"an {name}" if name[:1] in "aeiou" else f"a {name}"
