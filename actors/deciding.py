"""What an NPC is asked when its situation has changed: the same bytes for the same moment, whoever asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.choices import Choice, match, options, reply_to
from actors.lines import panel_of
from models.grammar import longest_tokens
from models.prompts import Decision, Persona, PromptBook
from models.request import ModelRequest, Priority, Reply
from world.frame import Situation
from world.ruleset import Species

__all__ = ["Asking", "chosen", "request_seed"]


def request_seed(entity: int, tick: int) -> int:
    """The seed of what an entity is asked at a tick."""
    return (entity * 0x9E3779B1 + tick * 0x85EBCA6B) & 0x7FFFFFFF


@dataclass(frozen=True, slots=True)
class Asking:
    """How one NPC is asked for a decision. `limit_s` is the time that its model has."""

    entity: int
    species: Species
    persona: Persona
    prompts: PromptBook
    actions: Sequence[str]
    limit_s: float

    def choices(self, situation: Situation) -> tuple[Choice, ...]:
        """What it may do; nothing is asked when that is nothing."""
        return options(situation, self.actions, fights=self.species.attack > 0)

    def request(self, situation: Situation, choices: Sequence[Choice], epoch: int) -> ModelRequest:
        """The request for a choice among these."""
        schema = reply_to(choices)
        return ModelRequest(
            messages=self.prompts.decide(
                self.persona, panel_of(situation), [choice.text for choice in choices]
            ),
            purpose="decide",
            max_tokens=longest_tokens(schema),
            temperature=0.3,
            seed=request_seed(self.entity, situation.tick),
            schema=schema,
            priority=Priority.BATTLE if situation.threat else Priority.NEAR,
            deadline_s=self.limit_s,
            epoch=epoch,
            asker=f"npc:{self.entity}",
            adapter=self.species.name,
        )


def chosen(reply: Reply, choices: Sequence[Choice]) -> Choice | None:
    """The choice that a reply names, if any."""
    return match(reply.parsed, choices) if isinstance(reply.parsed, Decision) else None
