"""The hundred held-out lines: what players really type, to whom, and what an answer must hold."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models.prompts import SHIPPED, Panel, Persona, Turn
from models.request import Message
from training.corpus.people import Character, Fact, tone_of, valley

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Line:
    """One held-out line with what its answer must hold."""

    topic: str
    who: Character
    text: str
    speaker: str
    panel: Panel
    before: tuple[tuple[str, str], ...]
    needs: tuple[tuple[str, ...], ...]
    never: tuple[str, ...]
    like: tuple[str, ...]

    @property
    def to_a_stranger(self) -> bool:
        """Whether the one who is asked is a person of the examination, whom no corpus ever drew."""
        return self.who.key not in _valley_keys()

    def chat(self) -> list[Message]:
        """The prompt for the line."""
        history = [
            (self.panel, Turn(speaker=self.speaker, line=line, reply=reply))
            for line, reply in self.before
        ]
        return SHIPPED.speech(self.who.persona, history, self.panel, self.speaker, self.text)


@cache
def _valley_keys() -> frozenset[str]:
    return frozenset(who.key for who in valley())


def _character(key: str, row: dict[str, Any]) -> Character:
    facts = tuple(
        Fact(
            f["text"], f.get("said", f["text"]), frozenset(f["tags"]), tuple(f["subjects"]),
            tuple((ware, price) for ware, price in f.get("wares", ())),
        )
        for f in row["facts"]
    )  # fmt: skip
    persona = Persona(
        name=row["name"], trade=row["trade"], place=row["place"], temper=row["temper"],
        persona=row["persona"], knows=tuple(f.text for f in facts),
    )  # fmt: skip
    return Character(
        persona, row["about"], tone_of(row["temper"]), facts, row["at"],
        ("Bela Orr", "Tom Sedge", "Ina Fell", "Rurik Dane"), ("the well", "the market"), key, row["kind"],
    )  # fmt: skip


@cache
def heldout() -> tuple[Line, ...]:
    """The lines of heldout_lines.toml, in file order."""
    stored = tomllib.loads((HERE / "heldout_lines.toml").read_text(encoding="utf-8"))
    people = {who.key: who for who in valley()}
    people |= {key: _character(key, row) for key, row in stored["persona"].items()}
    lines = []
    for row in stored["line"]:
        who = people[row["to"]]
        moment = row.get("panel", {})
        lines.append(
            Line(
                row["topic"],
                who,
                row["text"],
                row.get("speaker", "Traveller"),
                Panel(
                    time=moment.get("time", "afternoon"),
                    mood=moment.get("mood", "calm"),
                    place=who.at,
                    near=tuple(moment.get("near", ())),
                    trouble=tuple(moment.get("trouble", ())),
                ),
                tuple((line, reply) for line, reply in row.get("before", ())),
                tuple(tuple(group) for group in row.get("needs", ())),
                tuple(row.get("never", ())),
                tuple(row.get("like", ())),
            )
        )
    return tuple(lines)
