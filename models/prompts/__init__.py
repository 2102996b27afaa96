"""What the local models are told: typed contexts in, chat messages out, the same bytes each time.

The templates beside this module are the one description of the house model's format: the
trainer writes its corpus with the book below, and the server asks with it. A system
message depends on nothing but the persona, so that its prefix can be decoded once and shared; it
begins with the layers that many personas have in common, the widest first, for the same reason.
Whatever comes from a player is data: `tame` takes out of it all that could end a quotation,
open a new turn or hide in the text.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final

from jinja2 import (
    ChoiceLoader,
    DictLoader,
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
)
from jinja2.sandbox import SandboxedEnvironment
from pydantic import AfterValidator, BeforeValidator, Field

from foundation.strict import StrictModel
from models.errors import PromptError
from models.request import Message

__all__ = [
    "MAX_HISTORY",
    "MAX_LAYER",
    "MAX_LAYERS",
    "MAX_LINE",
    "SHIPPED",
    "TEMPLATES",
    "Decision",
    "Orders",
    "OrdersSituation",
    "Panel",
    "Persona",
    "PromptBook",
    "Turn",
    "parse_choice",
    "tame",
]

logger = logging.getLogger(__name__)

MAX_LINE = 300
"""Characters of a player's line that reach a prompt; the rest is cut."""
MAX_HISTORY = 512
"""Earlier exchanges that reach a prompt, the newest ones. A request's window takes fewer: these have
32 tokens each in 16,384, with the moment that each was spoken in."""
MAX_LAYERS = 3
"""Layers before a persona: the world's, the species', the group's."""
MAX_LAYER = 1200
"""Characters of a layer: 300 tokens or so."""
_RENDERED = 16_384
"""Turns whose text is kept, since a conversation is told whole for every line of it."""

_QUOTES = str.maketrans(
    {'"': "'", "“": "'", "”": "'", "„": "'", "«": "'", "»": "'", "‘": "'", "’": "'", "`": "'"}
)
_BRACKETS = str.maketrans({"<": "(", ">": ")", "[": "(", "]": ")", "{": "(", "}": ")", "|": "/"})
_SPACES = re.compile(r"\s+")
_UNTAME = re.compile(r'["`<>\[\]{}|]|  ')
_PREPOSITIONS = ("at", "from", "to", "with", "near", "in", "on", "against", "for", "toward")


def tame(text: str, limit: int = MAX_LINE) -> str:
    """Return `text` as one line of plain characters, at most `limit` long.

    Compatibility forms are folded first, so that a full-width marker is seen as the marker it
    imitates. Control and invisible characters become spaces, double quotes become single, and
    the brackets and bars that chat templates build their markers from become round brackets
    and slashes.
    """
    if text.isascii() and text.isprintable() and not _UNTAME.search(text):
        # Nearly every text is so, and every text of a long conversation comes by here again.
        return text.strip()[:limit].rstrip()
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
Layer = Annotated[str, Field(max_length=MAX_LAYER), AfterValidator(lambda v: tame(v, MAX_LAYER))]
Layers = Annotated[
    tuple[Layer, ...],
    Field(max_length=MAX_LAYERS),
    AfterValidator(lambda layers: tuple(layer for layer in layers if layer)),
]
Short = Annotated[str, _tamed(48)]
Phrase = Annotated[str, _tamed(96)]
Speaker = Annotated[str, _tamed(48)]


class Persona(StrictModel):
    """Who speaks. A value over its bound is the designer's mistake and is refused.

    `layers` are told before the persona, to everyone of whom they are true in the same bytes: what
    all of its world know and how they are, then all of its species, then all of its group.
    """

    name: Label
    trade: Label
    place: Label
    temper: Label
    persona: Prose = ""
    knows: tuple[FactLine, ...] = Field(default=(), max_length=12)
    layers: Layers = ()


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


TEMPLATES: Final = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.j2")))
"""Names of the templates that a `PromptBook` may be given others for."""


class PromptBook:
    """Writes what minds are asked, from the shipped templates or others in their place.

    `overrides` maps names of TEMPLATES to Jinja text with the same variables. Each is tried on made-up
    values at once; one that still fails on real ones gives way to the shipped template, and the
    log says so.

    Raises:
        PromptError: an unknown name, a template that can't be read or that fails.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        for name in overrides or ():
            if name not in TEMPLATES:
                raise PromptError(
                    f"there is no prompt named {name!r}", f"the prompts are {', '.join(TEMPLATES)}"
                )
        self._own = _environment(overrides or {})
        self._shipped = _environment({}) if overrides else self._own
        self._failed: set[str] = set()
        self._told = lru_cache(_RENDERED)(self._tell)
        for name in overrides or ():
            try:
                self._own.get_template(f"{name}.j2").render(_EXAMPLE)
            except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
                raise PromptError(
                    f"the prompt {name!r} fails: {error}",
                    f"its variables are {', '.join(sorted(_EXAMPLE))}",
                ) from error

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the templates that failed on real values and gave way to the shipped ones."""
        return tuple(sorted(self._failed))

    def _render(self, name: str, **values: Any) -> str:
        try:
            text = self._own.get_template(f"{name}.j2").render(values)
        except Exception as error:
            # A plugin's template may raise anything that its values' methods raise.
            if self._own is self._shipped:
                raise
            if name not in self._failed:
                self._failed.add(name)
                logger.warning(
                    "the prompt %r of a plugin fails, the shipped one serves: %s", name, error
                )
            text = self._shipped.get_template(f"{name}.j2").render(values)
        return text.strip()

    def _system(self, persona: Persona) -> Message:
        content = self._render("npc_system", who=persona, layers=persona.layers)
        return {"role": "system", "content": content}

    def _said(self, panel: Panel, speaker: str, line: str) -> Message:
        return {"role": "user", "content": self._told(panel, speaker, line)}

    def _tell(self, panel: Panel, speaker: str, line: str) -> str:
        return self._render("npc_turn", panel=panel, speaker=tame(speaker, 48), line=tame(line))

    def speech(
        self,
        persona: Persona,
        history: Sequence[tuple[Panel, Turn]],
        panel: Panel,
        speaker: str,
        line: str,
    ) -> list[Message]:
        """Ask an NPC to answer `line`; earlier turns that were never answered are left out."""
        messages = [self._system(persona)]
        answered = [(then, turn) for then, turn in history if turn.reply]
        for then, turn in answered[-MAX_HISTORY:]:
            messages.append(self._said(then, turn.speaker, turn.line))
            messages.append({"role": "assistant", "content": turn.reply or ""})
        messages.append(self._said(panel, speaker, line))
        return messages

    def decide(self, persona: Persona, panel: Panel, choices: Sequence[str]) -> list[Message]:
        """Ask an NPC for its next act among `choices` (at most 12); the answer is a `Decision`."""
        offered = [tame(choice, 64) for choice in choices[:12]]
        content = self._render("decide_turn", panel=panel, choices=offered)
        return [self._system(persona), {"role": "user", "content": content}]

    def orders(
        self,
        group_name: str,
        species: str,
        count: int,
        tactics: Sequence[str],
        situation: OrdersSituation,
        layers: Sequence[str] = (),
    ) -> list[Message]:
        """Ask a group's leader for one of `tactics` (at most 12); the answer is an `Orders`.

        `layers` are told first, as a persona's are.
        """
        told = [tame(layer, MAX_LAYER) for layer in layers[:MAX_LAYERS]]
        system = self._render(
            "orders_system",
            layers=[layer for layer in told if layer],
            group=tame(group_name, 64),
            species=tame(species, 48),
            count=count,
            tactics=[tame(tactic, 32) for tactic in tactics[:12]],
        )
        turn = self._render("orders_turn", situation=situation)
        return [{"role": "system", "content": system}, {"role": "user", "content": turn}]

    def warm(self) -> None:
        """Compile every template, so that no first request pays for it."""
        for name in TEMPLATES:
            self._own.get_template(f"{name}.j2")


def _environment(overrides: Mapping[str, str]) -> Environment:
    own = DictLoader({f"{name}.j2": text for name, text in overrides.items()})
    return SandboxedEnvironment(
        loader=ChoiceLoader([own, FileSystemLoader(Path(__file__).parent)]),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


_EXAMPLE: Final[Mapping[str, Any]] = {
    "layers": ("Alderford lies in a valley.",),
    "who": Persona(name="Ada Finch", trade="smith", place="Alderford", temper="dry", knows=("A.",)),
    "panel": Panel(time="noon", mood="calm", place="the forge", near=("Bo",), trouble=("rain",)),
    "speaker": "Bo",
    "line": "hello",
    "choices": ["wait"],
    "group": "the pack",
    "species": "wolf",
    "count": 7,
    "tactics": ["hold"],
    "situation": OrdersSituation(foes=("Bo",), strong=("Bo",), ward="Ada"),
}
SHIPPED: Final = PromptBook()
"""The prompts that the house model was trained on."""


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
