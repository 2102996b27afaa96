"""What is asked for a group's plan, and what it comes to: the same for the same field, whoever asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from actors.choices import Choice, match, reply_to
from actors.fighters import Fighter, GroupView
from actors.orders import focus_said, orders_to, seen_by
from actors.plans import (
    BattleExecutionPlan,
    MonsterIntent,
    OrdersReply,
    focus_of,
    intents,
    tactic_by_rule,
)
from actors.settings import CompanySettings
from models.grammar import longest_tokens
from models.prompts import Decision, Orders, OrdersSituation, Panel, Persona, PromptBook
from models.request import ModelRequest, Priority

__all__ = ["Asked", "Planner"]

MAX_THINKERS: Final = 8
"""Members of one group who are asked each for themselves."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request for a plan: for the group's orders, or for what one `member` of it chooses."""

    request: ModelRequest
    member: Fighter | None = None
    choices: tuple[Choice, ...] = ()


class Planner:
    """Asks for plans and makes them. `personas` by member and `layers` by group are read when it does."""

    def __init__(
        self,
        personas: Mapping[int, Persona],
        layers: Mapping[int, tuple[str, ...]],
        prompts: PromptBook,
        settings: CompanySettings,
        headless: bool,
    ) -> None:
        self._personas, self._layers = personas, layers
        self._prompts, self._settings, self._headless = prompts, settings, headless

    def asks(self, view: GroupView, limit: float) -> list[Asked]:
        """The requests: the orders' first; none for a group without tactics. `limit` is the seconds each has."""
        seen = seen_by(view)
        orders = orders_to(view, seen)
        if orders is None:
            return []
        asked = [Asked(self._orders_request(view, seen, orders, limit))]
        for member in view.members:
            persona = self._personas.get(member.id)
            if persona is not None and len(asked) <= MAX_THINKERS:
                choices = _choices(view, member)
                request = self._intent_request(view, member, persona, choices, limit)
                asked.append(Asked(request, member, choices))
        return asked

    def plan(
        self, view: GroupView, heard: Iterable[tuple[Asked, object, str]]
    ) -> tuple[BattleExecutionPlan, bool, int]:
        """The plan that the answers make, whether its tactic is a model's, and how many intents are.

        `heard` are (what was asked, the parsed answer or None, its source); what nobody said, rules say.
        """
        said, source, thought = None, "rules", {}
        for asked, parsed, by in heard:
            if isinstance(parsed, Orders):
                said, source = parsed, by
            elif isinstance(parsed, Decision) and asked.member is not None:
                choice = match(parsed, asked.choices)
                if choice is not None:
                    thought[asked.member.id] = _intent(asked.member, choice, by)
        tactic, reason = tactic_by_rule(view)
        focus = focus_of(view)
        by_model = said is not None and said.tactic in view.tactics
        if said is not None and by_model:
            tactic, reason = said.tactic, said.reason
            focus = focus_said(view, seen_by(view), said, focus)
        start = view.tick + (self._settings.plan_ticks if self._headless else 0)
        plan = BattleExecutionPlan(
            group=view.group,
            epoch=view.epoch,
            start=start,
            end=start + self._settings.obey_ticks,
            tactic=tactic,
            focus=focus,
            intents=tuple(thought.get(own.entity, own) for own in intents(view, tactic, focus)),
            source=(source if by_model else "rules")[:80],
            reason=reason[:160],
        )
        return plan, by_model, len(thought)

    def _orders_request(
        self, view: GroupView, seen: OrdersSituation, reply: type[OrdersReply], limit: float
    ) -> ModelRequest:
        return ModelRequest(
            messages=self._prompts.orders(
                view.name,
                view.species,
                len(view.members),
                view.tactics,
                seen,
                self._layers.get(view.group, ()),
            ),
            purpose="plan",
            max_tokens=longest_tokens(reply),
            temperature=0.3,
            seed=(view.group * 0x9E3779B1 + view.tick) & 0x7FFFFFFF,
            schema=reply,
            priority=Priority.BATTLE,
            deadline_s=limit,
            epoch=view.epoch,
            asker="coordinator",
            # The built-in adapters are trained on what their kind says and does, never on orders
            # (training/adapt.py), which the bare model has learnt.
            adapter="",
        )

    def _intent_request(
        self,
        view: GroupView,
        member: Fighter,
        persona: Persona,
        choices: tuple[Choice, ...],
        limit: float,
    ) -> ModelRequest:
        hurt = member.hp * 2 < member.max_hp
        panel = Panel(
            time="night",
            mood="hurt" if hurt else "wary",
            place=view.ground,
            near=tuple(foe.name for foe in view.foes),
            trouble=(f"a fight with {view.foes[0].name}",) if view.foes else (),
        )
        reply = reply_to(choices)
        return ModelRequest(
            messages=self._prompts.decide(persona, panel, [choice.text for choice in choices]),
            purpose="decide",
            max_tokens=longest_tokens(reply),
            temperature=0.3,
            seed=(member.id * 0x85EBCA6B + view.tick) & 0x7FFFFFFF,
            schema=reply,
            priority=Priority.BATTLE,
            deadline_s=limit,
            epoch=view.epoch,
            asker=f"group:{view.group}",
            adapter=member.species,
        )


def _choices(view: GroupView, member: Fighter) -> tuple[Choice, ...]:
    found = [Choice("wait", "wait")]
    for foe in view.foes[:4]:
        if member.attack > 0:
            found.append(Choice(f"attack {foe.name}", "attack", {"target": foe.id}))
        found.append(Choice(f"flee from {foe.name}", "flee", {"from_": foe.id}))
    return tuple(found)


def _intent(member: Fighter, choice: Choice, source: str) -> MonsterIntent:
    if choice.kind == "attack":
        target = int(choice.body["target"])
        return MonsterIntent(entity=member.id, act="attack", target=target, source=source[:80])
    if choice.kind == "flee":
        target = int(choice.body["from_"])
        return MonsterIntent(entity=member.id, act="flee", target=target, source=source[:80])
    return MonsterIntent(entity=member.id, act="hold", source=source[:80])
