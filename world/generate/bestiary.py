"""Monsters from a seed: what a beast of a kind, a land and a grade can do, before anyone names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from foundation.strict import StrictModel
from world.generate.draw import Draw
from world.generate.names import beast_name

MOST = 32
"""Monsters in one request."""

Grade = Literal["young", "grown", "veteran", "elder"]
Word = Annotated[str, Field(min_length=1, max_length=32)]
Thousandths = Annotated[int, Field(ge=0, le=1000)]


class MonsterBase(StrictModel):
    """A monster's body and bent, made from numbers alone.

    `speed` is in units a tick (256 units to a tile), `reach` and `perception` in units; `courage`,
    `cunning` and `hunger` in thousandths.
    """

    index: Annotated[int, Field(ge=0, lt=MOST)]
    monster_type: Word
    biome: Word
    grade: Grade
    byname: Annotated[str, Field(min_length=1, max_length=64)]
    hp: Annotated[int, Field(ge=1, le=10_000)]
    attack: Annotated[int, Field(ge=0, le=1_000)]
    defence: Annotated[int, Field(ge=0, le=1_000)]
    speed: Annotated[int, Field(ge=1, le=256)]
    reach: Annotated[int, Field(ge=64, le=4_096)]
    perception: Annotated[int, Field(ge=256, le=16_384)]
    courage: Thousandths
    cunning: Thousandths
    hunger: Thousandths
    temper: Annotated[tuple[Word, ...], Field(min_length=1, max_length=4)]


@dataclass(frozen=True, slots=True)
class _Kind:
    hp: int
    attack: int
    defence: int
    speed: int
    reach: int
    perception: int
    courage: int
    cunning: int
    tempers: tuple[str, ...]


_KINDS: dict[str, _Kind] = {
    "wolf": _Kind(60, 12, 4, 42, 320, 3_600, 520, 560, ("loyal", "patient", "wary", "ravenous")),
    "vampire": _Kind(140, 22, 9, 40, 340, 4_200, 700, 860, ("cold", "courtly", "proud", "bitter")),
    "bear": _Kind(180, 26, 12, 30, 400, 2_600, 780, 320, ("drowsy", "jealous", "greedy", "gruff")),
    "boar": _Kind(90, 16, 9, 36, 300, 1_900, 840, 200, ("stubborn", "furious", "rooting")),
    "spider": _Kind(40, 14, 3, 38, 300, 2_300, 420, 640, ("patient", "silent", "cruel")),
    "rat": _Kind(14, 4, 1, 34, 260, 1_600, 240, 480, ("skittish", "teeming", "greedy")),
    "bat": _Kind(12, 3, 1, 52, 260, 3_000, 260, 300, ("restless", "blind", "shrill")),
    "goblin": _Kind(44, 10, 5, 32, 340, 2_400, 380, 620, ("spiteful", "giddy", "cowardly", "sly")),
    "bandit": _Kind(80, 14, 7, 30, 360, 2_800, 500, 700, ("desperate", "greedy", "sly", "weary")),
    "troll": _Kind(320, 34, 16, 24, 460, 2_000, 860, 140, ("slow", "ravenous", "sullen")),
    "ogre": _Kind(260, 30, 12, 26, 460, 2_000, 800, 180, ("boastful", "ravenous", "sullen")),
    "skeleton": _Kind(56, 11, 8, 26, 360, 2_200, 1000, 120, ("dutiful", "silent", "unresting")),
    "ghost": _Kind(70, 12, 18, 34, 320, 3_200, 900, 520, ("mournful", "forgetful", "bitter")),
    "wraith": _Kind(110, 20, 14, 38, 340, 3_800, 900, 680, ("hateful", "silent", "cold")),
    "serpent": _Kind(50, 16, 4, 34, 360, 1_800, 460, 420, ("patient", "coiled", "cold")),
    "harpy": _Kind(66, 13, 4, 50, 340, 4_400, 480, 440, ("shrill", "spiteful", "vain")),
    "dragon": _Kind(
        900, 70, 40, 44, 1_024, 8_000, 940, 900, ("proud", "greedy", "ancient", "cruel")
    ),
    "deer": _Kind(36, 3, 2, 48, 260, 3_600, 120, 300, ("shy", "alert", "gentle")),
}

_UNKNOWN_TEMPERS: tuple[str, ...] = (
    "wary",
    "bold",
    "patient",
    "spiteful",
    "curious",
    "sullen",
    "ravenous",
    "silent",
)

_LANDS: dict[str, tuple[str, ...]] = {
    "valley": ("bold", "roaming", "village-wise"),
    "forest": ("lurking", "quiet"),
    "plains": ("swift", "far-sighted"),
    "hills": ("sure-footed", "wary"),
    "mountains": ("hardy", "solitary"),
    "marsh": ("mud-hidden", "fevered"),
    "cave": ("blind-eyed", "echo-wise"),
}

_GRADES: tuple[tuple[Grade, int], ...] = (
    ("young", 300),
    ("grown", 450),
    ("veteran", 190),
    ("elder", 60),
)

_GRADE_PERCENT: dict[Grade, int] = {"young": 70, "grown": 100, "veteran": 130, "elder": 165}


def _kind_of(monster_type: str) -> _Kind:
    """Return the known kind, or for one that only a mod knows a plausible body drawn from its name."""
    known = _KINDS.get(monster_type)
    if known is not None:
        return known
    draw = Draw(0, "unknown monster", monster_type)
    hp = draw.between(20, 220)
    return _Kind(
        hp=hp,
        attack=4 + hp // 10 + draw.below(6),
        defence=1 + hp // 20 + draw.below(4),
        speed=draw.between(24, 48),
        reach=draw.between(260, 460),
        perception=draw.between(1_600, 4_200),
        courage=draw.between(200, 900),
        cunning=draw.between(100, 900),
        tempers=draw.some(_UNKNOWN_TEMPERS, 3),
    )


def monster(index: int, monster_type: str, biome: str, size: int, seed: int) -> MonsterBase:
    """Return one monster; a pure function of its arguments, whichever others are made.

    `size` is the edge of its land in tiles: beasts of wide lands see farther.
    """
    kind = _kind_of(monster_type)
    draw = Draw(seed, "monster", monster_type, biome, size, index)
    grade = draw.weighted(_GRADES)
    percent = _GRADE_PERCENT[grade]

    def vary(value: int, low: int, high: int, scale: int = 100) -> int:
        return min(max(value * scale * draw.between(85, 115) // 10_000, low), high)

    land = _LANDS.get(biome, ())
    temper = list(draw.some(kind.tempers, 2))
    if land:
        temper.append(draw.pick(land))
    if grade == "elder":
        temper.append("scarred")
    return MonsterBase(
        index=index,
        monster_type=monster_type,
        biome=biome,
        grade=grade,
        byname=beast_name(draw),
        hp=vary(kind.hp, 1, 10_000, percent),
        attack=vary(kind.attack, 0, 1_000, percent),
        defence=vary(kind.defence, 0, 1_000, percent),
        speed=vary(kind.speed, 1, 256),
        reach=vary(kind.reach, 64, 4_096),
        perception=vary(kind.perception, 256, 16_384, 80 + min(size, 160) // 4),
        courage=vary(kind.courage, 0, 1_000, 70 if grade == "young" else 100),
        cunning=vary(kind.cunning, 0, 1_000, percent),
        hunger=draw.below(800),
        temper=tuple(temper),
    )


def how_many(size: int) -> int:
    """Return how many monsters a land of `size` tiles' edge feeds, 1..MOST."""
    return min(MOST, max(1, size // 16))


def known_types() -> tuple[str, ...]:
    """Return the kinds whose bodies are written down; others are drawn from their names."""
    return tuple(_KINDS)
