"""What a group may be ordered right now: the tactics it knows, each with whom it can be aimed at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from actors.fighters import GroupView
from actors.plans import OrdersReply
from models.narrow import NONE, narrowed
from models.prompts import Orders, OrdersSituation

__all__ = ["aims", "focus_said", "orders_to", "seen_by"]

MAX_TACTICS: Final = 12
"""Tactics that a prompt tells of."""
_AIMED: Final = frozenset({"focus", "flank", "surround"})
"""Tactics that go for somebody: where foes are in sight, one of them has to be named."""
_GUARDS: Final = "protect"


def seen_by(view: GroupView) -> OrdersSituation:
    """What the group's leader is told of the field."""
    strongest = max(member.attack for member in view.members)
    leader = next((m.name for m in view.members if m.id == view.leader), "")
    return OrdersSituation(
        foes=tuple(foe.name for foe in view.foes),
        strong=tuple(foe.name for foe in view.foes if foe.attack * 2 > strongest),
        ward=leader if len(view.members) > 1 else "",
        wounded=sum(m.hp * 2 < m.max_hp for m in view.members),
        ground=view.ground,
    )


def orders_to(view: GroupView, seen: OrdersSituation) -> type[OrdersReply] | None:
    """The reply that may name a tactic of the group with a foe it was told of, its ward, or "none".

    None for a group without tactics: there is nothing to order.
    """
    offered = aims(view.tactics[:MAX_TACTICS], _foes(view, seen), seen.ward)
    return narrowed(OrdersReply, ("tactic", "focus"), offered) if offered else None


def aims(tactics: Iterable[str], foes: Iterable[str], ward: str) -> set[tuple[str, str]]:
    """What may be ordered: each tactic with a foe, with the ward to be protected, or with "none"."""
    named = set(foes)
    offered: set[tuple[str, str]] = set()
    for tactic in tactics:
        whom = set(named)
        if not named or tactic not in _AIMED:
            whom.add(NONE)
        if tactic == _GUARDS and ward:
            whom.add(ward)
        offered |= {(tactic, aim) for aim in whom}
    return offered


def focus_said(view: GroupView, seen: OrdersSituation, said: Orders, by_rule: int) -> int:
    """The foe that an order names; 0 for "none", each then taking the nearest.

    One to guard is no foe: whom to go for meanwhile stays the rules' choice, as it does for a name
    that nobody was told of.
    """
    wanted = said.focus.strip().lower()
    if said.tactic == _GUARDS and wanted == seen.ward.lower():
        return by_rule
    if wanted == NONE:
        return 0
    foes = _foes(view, seen)
    ids = {name.lower(): foe for name, foe in reversed(foes.items())}
    return foes.get(said.focus, ids.get(wanted, by_rule))


def _foes(view: GroupView, seen: OrdersSituation) -> dict[str, int]:
    """The foes told of by the names they were told by; of namesakes the nearest."""
    found: dict[str, int] = {}
    for name, foe in zip(seen.foes, view.foes, strict=False):
        if name and name.lower() != NONE:
            found.setdefault(name, foe.id)
    return found
