"""What the local models are told: typed contexts in, chat messages out, the same bytes each time.

The templates beside this module are the one description of the house model's format: the
trainer writes its corpus with the functions below, and the server asks with them. A system
message depends on nothing but the persona, so that its prefix can be decoded once and shared.
Whatever comes from a player is data: `tame` takes out of it all that could end a quotation,
open a new turn or hide in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import AfterValidator, BeforeValidator, Field

from foundation.strict import StrictModel
from models.request import Message

__all__ = [
    "MAX_HISTORY",
    "MAX_LINE",
    "Decision",
    "Orders",
    "OrdersSituation",
    "Panel",
    "Persona",
    "Turn",
    "decide",
    "orders",
    "parse_choice",
    "speech",
    "tame",
]

MAX_LINE = 300
"""Characters of a player's line that reach a prompt; the rest is cut."""
MAX_HISTORY = 6
"""Earlier exchanges that reach a prompt, the newest ones."""

_QUOTES = str.maketrans(
    {'"': "'", "“": "'", "”": "'", "„": "'", "«": "'", "»": "'", "‘": "'", "’": "'", "`": "'"}
)
_BRACKETS = str.maketrans({"<": "(", ">": ")", "[": "(", "]": ")", "{": "(", "}": ")", "|": "/"})
_SPACES = re.compile(r"\s+")
_PREPOSITIONS = ("at", "from", "to", "with", "near", "in", "on", "against", "for", "toward")


def tame(text: str, limit: int = MAX_LINE) -> str:
    """Return `text` as one line of plain characters, at most `limit` long.

    Compatibility forms are folded first, so that a full-width marker is seen as the marker it
    imitates. Control and invisible characters become spaces, double quotes become single, and
    the brackets and bars that chat templates build their markers from become round brackets
    and slashes.
    """
    folded = unicodedata.normalize("NFKC", text[: 4 * limit])
    visible = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in folded)
    plain = visible.translate(_QUOTES).translate(_BRACKETS)
    return _SPACES.sub(" ", plain).strip()[:limit].rstrip()


def _tamed(limit: int) -> BeforeValidator:
    return BeforeValidator(lambda value: tame(value, limit) if isinstance(value, str) else value)


def _head(count: int) -> BeforeValidator:
    return BeforeValidator(
        lambda value: tuple(value)[:count] if isinstance(value, (list, tuple)) else value
    )


def _one_line(value: str) -> str:
    cleaned = tame(value, len(value))
    if not cleaned:
        raise ValueError("must not be blank")
    return cleaned


Label = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_one_line)]
Prose = Annotated[str, Field(max_length=480), AfterValidator(lambda v: tame(v, 480))]
FactLine = Annotated[str, Field(min_length=1, max_length=240), AfterValidator(_one_line)]
Short = Annotated[str, _tamed(48)]
Phrase = Annotated[str, _tamed(96)]
Speaker = Annotated[str, _tamed(48)]


class Persona(StrictModel):
    """Who speaks. A value over its bound is the designer's mistake and is refused."""

    name: Label
    trade: Label
    place: Label
    temper: Label
    persona: Prose = ""
    knows: tuple[FactLine, ...] = Field(default=(), max_length=12)


class Panel(StrictModel):
    """The moment: what is over its bound is cut, since a crowd must not silence anyone."""

    time: Short
    mood: Short
    place: Short
    near: Annotated[tuple[Short, ...], _head(6)] = ()
    trouble: Annotated[tuple[Phrase, ...], _head(3)] = ()


class Turn(StrictModel):
    """An earlier exchange: what was said to the NPC, and its answer if it gave one."""

    speaker: Speaker
    line: Annotated[str, _tamed(MAX_LINE)]
    reply: Annotated[str, _tamed(480)] | None = None


class OrdersSituation(StrictModel):
    """What a group's leader sees: foes by name, which are strong, whom to guard, own wounded."""

    foes: Annotated[tuple[Short, ...], _head(6)] = ()
    strong: Annotated[tuple[Short, ...], _head(6)] = ()
    ward: Short = ""
    wounded: int = Field(default=0, ge=0, le=999)
    ground: Short = "open"


class Decision(StrictModel):
    """An NPC's next act; `action` is one of the verbs offered, `target` a name offered or "none"."""

    action: str = Field(min_length=1, max_length=32)
    target: str = Field(min_length=1, max_length=48)
    reason: str = Field(max_length=80)


class Orders(StrictModel):
    """One order to a group; `tactic` is one of those offered, `focus` a foe, the ward or "none"."""

    tactic: str = Field(min_length=1, max_length=32)
    focus: str = Field(min_length=1, max_length=48)
    reason: str = Field(max_length=80)


_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    autoescape=False,
    trim_blocks=True,
    lstrip_blocks=True,
)
_NPC_SYSTEM = _templates.get_template("npc_system.j2")
_NPC_TURN = _templates.get_template("npc_turn.j2")
_DECIDE_TURN = _templates.get_template("decide_turn.j2")
_ORDERS_SYSTEM = _templates.get_template("orders_system.j2")
_ORDERS_TURN = _templates.get_template("orders_turn.j2")


def _system(persona: Persona) -> Message:
    return {"role": "system", "content": _NPC_SYSTEM.render(who=persona).strip()}


def _said(panel: Panel, speaker: str, line: str) -> Message:
    content = _NPC_TURN.render(panel=panel, speaker=tame(speaker, 48), line=tame(line))
    return {"role": "user", "content": content.strip()}


def speech(
    persona: Persona,
    history: Sequence[tuple[Panel, Turn]],
    panel: Panel,
    speaker: str,
    line: str,
) -> list[Message]:
    """Ask an NPC to answer `line`; earlier turns that were never answered are left out."""
    messages = [_system(persona)]
    answered = [(then, turn) for then, turn in history if turn.reply]
    for then, turn in answered[-MAX_HISTORY:]:
        messages.append(_said(then, turn.speaker, turn.line))
        messages.append({"role": "assistant", "content": turn.reply or ""})
    messages.append(_said(panel, speaker, line))
    return messages


def decide(persona: Persona, panel: Panel, choices: Sequence[str]) -> list[Message]:
    """Ask an NPC for its next act among `choices` (at most 12); the answer is a `Decision`."""
    offered = [tame(choice, 64) for choice in choices[:12]]
    content = _DECIDE_TURN.render(panel=panel, choices=offered).strip()
    return [_system(persona), {"role": "user", "content": content}]


def orders(
    group_name: str,
    species: str,
    count: int,
    tactics: Sequence[str],
    situation: OrdersSituation,
) -> list[Message]:
    """Ask a group's leader for one of `tactics` (at most 12); the answer is an `Orders`."""
    system = _ORDERS_SYSTEM.render(
        group=tame(group_name, 64),
        species=tame(species, 48),
        count=count,
        tactics=[tame(tactic, 32) for tactic in tactics[:12]],
    )
    turn = _ORDERS_TURN.render(situation=situation)
    return [
        {"role": "system", "content": system.strip()},
        {"role": "user", "content": turn.strip()},
    ]


def parse_choice(choice: str) -> tuple[str, str]:
    """Split a choice into the action and target that a `Decision` names it by.

    >>> parse_choice("eat at the Lantern")
    ('eat', 'the Lantern')
    >>> parse_choice("rest")
    ('rest', 'none')
    """
    action, _, rest = tame(choice, 64).partition(" ")
    first, _, after = rest.partition(" ")
    target = after if first in _PREPOSITIONS and after else rest
    return action, target or "none"
