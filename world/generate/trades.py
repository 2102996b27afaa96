"""What villagers do and how they are: the hand-written words of `villagers.toml`, checked."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from foundation.strict import StrictModel

Words = Annotated[tuple[str, ...], Field(min_length=1)]


class Trade(StrictModel):
    """A living: how common it is, at which kinds of place it is done, what there is to say of it.

    Who follows it is of `species` where the rules have that one, else an ordinary villager.
    `woman` tells a trade of women alone or of men alone; None is anyone's.
    """

    name: str
    weight: int = Field(gt=0)
    places: Words
    ways: Words
    facts: Words
    species: str = "villager"
    woman: bool | None = None


class _People(StrictModel):
    """The file as it is written."""

    tempers: Words
    quirks: Words
    secrets: Words
    bonds: Words
    trade: tuple[Trade, ...] = Field(min_length=1)


def _read(file: Path) -> _People:
    # JSON mode is what lets arrays be tuples while everything else stays strict.
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    return _People.model_validate_json(json.dumps(table))


_PEOPLE: Final = _read(Path(__file__).with_name("villagers.toml"))

TRADES: Final = _PEOPLE.trade
TEMPERS: Final = _PEOPLE.tempers
QUIRKS: Final = _PEOPLE.quirks
SECRETS: Final = _PEOPLE.secrets
BONDS: Final = _PEOPLE.bonds
"""How villagers of different households stand to each other; rivals and debtors feel less warmly."""
