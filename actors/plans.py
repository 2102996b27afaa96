"""What a battle's coordination comes to: orders for the group, an intent for each monster."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from actors.fighters import Fighter, GroupView
from foundation.strict import StrictModel
from models.prompts import Orders
from world.maths import TILE

__all__ = [
    "BattleExecutionPlan",
    "MonsterIntent",
    "OrdersReply",
    "focus_of",
    "intent_of",
    "intents",
    "tactic_by_rule",
]

Intent = Literal["attack", "approach", "flee", "guard", "hold"]

WEAK: Final = 350
"""A fighter with fewer thousandths of its health than this saves itself."""


class OrdersReply(Orders):
    """`Orders` in plain letters: its longest reply is short."""

    tactic: str = Field(min_length=1, max_length=24, pattern=r"^[A-Za-z _-]*$")
    focus: str = Field(min_length=1, max_length=48, pattern=r"^[A-Za-z0-9 ',-]*$")
    reason: str = Field(max_length=60, pattern=r"^[A-Za-z0-9 \.',;-]*$")


class MonsterIntent(StrictModel):
    """What one monster means to do; `source` is "rules" or the model that decided."""

    entity: Annotated[int, Field(ge=1, lt=2**48)]
    act: Intent
    target: Annotated[int, Field(ge=0, lt=2**48)] = 0
    source: Annotated[str, Field(min_length=1, max_length=80)] = "rules"


class BattleExecutionPlan(StrictModel):
    """Each monster's own intent and what holds them together, in force from tick `start` to `end`."""

    group: Annotated[int, Field(ge=1, lt=2**31)]
    epoch: Annotated[int, Field(ge=0)]
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]
    tactic: Annotated[str, Field(min_length=1, max_length=32)]
    focus: Annotated[int, Field(ge=0, lt=2**48)] = 0
    intents: Annotated[tuple[MonsterIntent, ...], Field(max_length=64)] = ()
    source: Annotated[str, Field(min_length=1, max_length=80)] = "rules"
    reason: Annotated[str, Field(max_length=160)] = ""


def _health(fighter: Fighter) -> int:
    return fighter.hp * 1000 // max(1, fighter.max_hp)


def _strength(fighters: tuple[Fighter, ...]) -> int:
    return sum(f.hp * (f.attack + f.defence // 2 + 1) for f in fighters)


def focus_of(view: GroupView) -> int:
    """The foe to go for: the one soonest down, the nearer of equals; 0 without foes."""
    if not view.foes:
        return 0
    fighting = [foe for foe in view.foes if foe.attack > 0] or list(view.foes)
    return min(fighting[:8], key=lambda foe: foe.hp + foe.defence).id


def tactic_by_rule(view: GroupView) -> tuple[str, str]:
    """A tactic that the species knows and the reason for it; "none" where nothing fits.

    Outmatched or mostly wounded groups retreat; a hurt leader is protected; one strong foe is
    surrounded, or set upon by all; several foes are taken in the flank; on a bridge or indoors, where
    nobody can be surrounded, the group holds.
    """
    if not view.foes:
        return "none", "no foe in sight"
    ours, theirs = _strength(view.members), _strength(view.foes)
    wounded = sum(_health(member) < WEAK for member in view.members)
    strongest = max(foe.hp * (foe.attack + 1) for foe in view.foes)
    leader = next((m for m in view.members if m.id == view.leader), None)
    narrow = view.ground in ("bridge", "indoors")
    wishes: list[tuple[bool, str, str]] = [
        (2 * wounded >= len(view.members), "retreat", "half of us are wounded"),
        (theirs > 2 * ours, "retreat", "they are twice as strong"),
        (
            leader is not None and len(view.members) > 1 and _health(leader) < 500,
            "protect",
            "our leader is hurt",
        ),
        (narrow, "hold", "nobody can get around us here"),
        (
            len(view.foes) == 1 and len(view.members) >= 3,
            "surround",
            "one foe against many of us",
        ),
        (
            len(view.foes) > 1 and 2 * strongest > theirs,
            "focus",
            "one of them is worth the others",
        ),
        (len(view.foes) > 1 and len(view.members) >= 3, "flank", "several foes, room around them"),
        (True, "focus", "together on one"),
    ]
    for holds, tactic, reason in wishes:
        if holds and tactic in view.tactics:
            return tactic, reason
    return "none", "no tactic of theirs fits"


def intent_of(member: Fighter, view: GroupView, tactic: str, focus: int) -> MonsterIntent:
    """What one member makes of the moment: the weak save themselves, others follow the tactic."""
    foes = {foe.id: foe for foe in view.foes}
    target = foes.get(focus) or (view.foes[0] if view.foes else None)
    if target is None:
        return MonsterIntent(entity=member.id, act="hold")
    if tactic == "retreat" or (_health(member) < WEAK and member.id != view.leader):
        return MonsterIntent(entity=member.id, act="flee", target=target.id)
    if tactic == "protect" and member.id != view.leader:
        return MonsterIntent(entity=member.id, act="guard", target=view.leader)
    if tactic == "hold":
        return MonsterIntent(entity=member.id, act="hold", target=target.id)
    d2 = (member.x - target.x) ** 2 + (member.y - target.y) ** 2
    act: Intent = "attack" if d2 <= (3 * TILE) ** 2 else "approach"
    return MonsterIntent(entity=member.id, act=act, target=target.id)


def intents(view: GroupView, tactic: str, focus: int) -> tuple[MonsterIntent, ...]:
    """Every member's own intent."""
    return tuple(intent_of(member, view, tactic, focus) for member in view.members)
