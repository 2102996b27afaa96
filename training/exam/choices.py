"""Acts and orders to choose, drawn for people and moments that training never drew, with the teacher's choice."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from actors.choices import DecisionReply
from actors.orders import aims
from actors.plans import OrdersReply
from models.narrow import narrowed
from models.prompts import Decision, Orders, parse_choice
from models.request import Message
from training.corpus.acts import ask_order, draw_decision, draw_field
from training.corpus.people import draw_character
from training.corpus.sample import VALIDATION_SEED, panel

Kind = Literal["acts", "orders"]
_SEED = 20_261


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, the reply as a mind would be asked for it in that moment, and the teacher's choice."""

    kind: Kind
    messages: tuple[Message, ...]
    schema: type[BaseModel]
    taught: tuple[str, str]

    def agrees(self, reply: object) -> bool:
        """Whether a parsed reply names what the teacher named, in both fields."""
        first, second = ("action", "target") if self.kind == "acts" else ("tactic", "focus")
        return (getattr(reply, first, None), getattr(reply, second, None)) == self.taught


def questions(count: int) -> Iterator[Question]:
    """`count` acts and then `count` orders, the same each time."""
    rng = random.Random(VALIDATION_SEED + _SEED)
    for _ in range(count):
        who = draw_character(rng)
        *asked, answer = draw_decision(who, panel(who, rng), rng)
        act = Decision.model_validate_json(answer["content"])
        _, _, told = asked[-1]["content"].partition("Choices: ")
        pairs = [parse_choice(choice) for choice in told.rstrip(".").split(", ")]
        schema = narrowed(DecisionReply, ("action", "target"), pairs)
        yield Question("acts", tuple(asked), schema, (act.action, act.target))
    for _ in range(count):
        field = draw_field(rng)
        *asked, answer = ask_order(field)
        order = Orders.model_validate_json(answer["content"])
        offered = aims(field.tactics, field.seen.foes, field.seen.ward)
        reply = narrowed(OrdersReply, ("tactic", "focus"), offered)
        yield Question("orders", tuple(asked), reply, (order.tactic, order.focus))
