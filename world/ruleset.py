"""What a world is made of, frozen: species, activities, considerations and the action vocabulary."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from foundation.strict import StrictModel
from world.compiled import MAX_COMMON
from world.effects import Outcome, Refusal
from world.errors import RulesetError

Ints = NDArray[np.int64]
Rows = NDArray[np.intp]

STEPPING: Final = 4
"""The version of how a step is lived by the rules: another one makes another world of the same journal."""
MAX_SPECIES: Final = 1024
MAX_CONSIDERATIONS: Final = 1024
MAX_NAME: Final = 32

TACTICS: Final = ("none", "focus", "flank", "surround", "hold", "protect", "retreat")
"""Group tactics; the column `tactic` holds the index."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a body can be busy with.

    `pace`: percent of its speed at which it walks there. `interval`: ticks until it reconsiders.
    hunger, fatigue, fear, mood: added every 100 ticks while it is there and at it, on top of the
    species' own drift. `strikes`: hits its target whenever it can; `chases`: follows it.
    """

    name: str
    pace: int = 60
    interval: int = 40
    hunger: int = 0
    fatigue: int = 0
    fear: int = 0
    mood: int = 0
    strikes: bool = False
    chases: bool = False


IDLE: Final = Activity("idle")
MOVE: Final = Activity("move", pace=100)
ATTACK: Final = Activity("attack", pace=100, interval=8, strikes=True, chases=True)
USE: Final = Activity("use")
TALK: Final = Activity("talk", interval=100, mood=20)
FLEE: Final = Activity("flee", pace=100, interval=12, fatigue=4)
REST: Final = Activity("rest", interval=100, fatigue=-24, fear=-40, mood=4)
WORK: Final = Activity("work", interval=120)
EAT: Final = Activity("eat", interval=60, hunger=-180, mood=10)
WANDER: Final = Activity("wander", pace=45, interval=80)
HUNT: Final = Activity("hunt", pace=70, interval=16, chases=False)
PATROL: Final = Activity("patrol", pace=55, interval=60)
GATHER: Final = Activity("gather", pace=55, interval=100, mood=12)
DOWNED: Final = Activity("downed", pace=0, interval=100, fatigue=-10)
DEAD: Final = Activity("dead", pace=0, interval=100)

CORE_ACTIVITIES: Final = (
    IDLE, MOVE, ATTACK, USE, TALK, FLEE, REST, WORK, EAT, WANDER, HUNT, PATROL, GATHER, DOWNED, DEAD,
)  # fmt: skip
"""Every ruleset's first activities, in this order; plugins' follow by name."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Where the considering rows go and whom they mean: int64 arrays of the rows' length.

    `target` holds entity ids, 0 for none. `pace` (percent of speed) overrides the activity's.
    """

    goal_x: Ints
    goal_y: Ints
    target: Ints
    pace: Ints | None = None


Score = Callable[[Any, Rows], Ints]
"""(view, rows) -> int64 0..1000 per row: how much each would like to; clipped to that range.

The view is a `world.view.View` here and below; it holds a ruleset, so its type can't be named.
"""

AimAt = Callable[[Any, Rows], Aim]
"""(view, rows) -> where to and whom."""


@dataclass(frozen=True, slots=True)
class Consideration:
    """A reason to act. Pure functions over columns: no loops, no floats, no chance but the view's."""

    name: str
    activity: Activity
    score: Score
    aim: AimAt


Handler = Callable[[Any, int, StrictModel], Outcome | Refusal]
"""(view, row of the actor, checked body) -> effects, or why not. Pure: it changes nothing itself."""


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """A word of the vocabulary that minds and clients may propose.

    `model` is at once the wire's check, the grammar of a local reply and the reference page.
    `needs_target`: the body's `target` must be a living entity within `reach` units (0: the
    actor's own reach). `cooldown` in ticks before the actor may use an action with a cooldown again.
    """

    name: str
    model: type[StrictModel]
    summary: str
    handler: Handler
    needs_target: bool = False
    reach: int = 0
    cooldown: int = 0


UseObject = Callable[[Any, int, int], Outcome | Refusal]
"""(view, row of the user, row of the object) -> effects, or why not."""


@dataclass(frozen=True, slots=True)
class Species:
    """A kind of being or thing.

    speed in units a tick (256 units a tile), reach and perception in units; hunger and fatigue
    are added every 100 ticks. `hostile_to` and `diet` name species or factions. `essential`
    beings are knocked out instead of killed and recover at home. `birth_delay`: ticks after
    which a dead one is followed by another at its home (0: never). `shuns_floors`: does not go
    indoors after anyone. `brave`: stands its ground. `on_use`: what `use` does to this object.
    `common_knowledge`: what all of them know and how they are, MAX_COMMON characters at most, told to
    their minds before who each is; species that share a text share its reading.
    """

    name: str
    faction: str
    hp: int = 20
    attack: int = 0
    defence: int = 0
    speed: int = 40
    reach: int = 384
    perception: int = 3072
    diet: tuple[str, ...] = ()
    hostile_to: tuple[str, ...] = ()
    considerations: tuple[str, ...] = ()
    tactics: tuple[str, ...] = ()
    voice: str = ""
    reflex_lines: tuple[str, ...] = ()
    speaks: bool = False
    symbol: str = "?"
    colour: str = "#888888"
    hunger: int = 6
    fatigue: int = 6
    essential: bool = False
    birth_delay: int = 0
    shuns_floors: bool = False
    brave: bool = False
    alive: bool = True
    on_use: UseObject | None = None
    common_knowledge: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """A ruleset as arrays, indexed by species and activity codes.

    `relations` is bool[3, species, species]: `threatens`, `hostile` and `eats` one after the other.
    """

    hostile: NDArray[np.bool_]
    eats: NDArray[np.bool_]
    threatens: NDArray[np.bool_]
    relations: NDArray[np.bool_]
    uses: NDArray[np.bool_]
    faction: Ints
    hunger: Ints
    fatigue: Ints
    essential: NDArray[np.bool_]
    shuns_floors: NDArray[np.bool_]
    brave: NDArray[np.bool_]
    alive: NDArray[np.bool_]
    speaks: NDArray[np.bool_]
    act_hunger: Ints
    act_fatigue: Ints
    act_fear: Ints
    act_mood: Ints
    act_pace: Ints
    act_interval: Ints
    act_strikes: NDArray[np.bool_]
    act_chases: NDArray[np.bool_]
    consideration_activity: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Ruleset:
    """All rules of a world. Build it with `Ruleset.build`, which checks that the parts fit."""

    species: Mapping[str, Species]
    actions: Mapping[str, ActionSpec]
    considerations: tuple[Consideration, ...]
    activities: tuple[Activity, ...]
    version: str
    species_names: tuple[str, ...]
    faction_names: tuple[str, ...]
    activity_names: tuple[str, ...]
    species_code: Mapping[str, int]
    activity_code: Mapping[str, int]
    species_list: tuple[Species, ...]
    tables: Tables = field(repr=False)

    @classmethod
    def build(
        cls,
        species: Iterable[Species],
        actions: Iterable[ActionSpec],
        considerations: Iterable[Consideration],
        version: str = "0",
    ) -> Ruleset:
        """Put the parts together; order matters only for ties and codes.

        Raises RulesetError naming the part that is double, missing or out of bounds.
        """
        kinds = tuple(species)
        reasons = tuple(considerations)
        verbs = tuple(actions)
        for what, names, limit in (
            ("species", [s.name for s in kinds], MAX_SPECIES),
            ("action", [a.name for a in verbs], 256),
            ("consideration", [c.name for c in reasons], MAX_CONSIDERATIONS),
        ):
            _check_names(what, names, limit)
        known = {c.name for c in reasons}
        for s in kinds:
            _check_species(s, known)
        activities = _activities(reasons)
        factions = tuple(sorted({s.faction for s in kinds}))
        activity_code = {a.name: i for i, a in enumerate(activities)}
        return cls(
            species={s.name: s for s in kinds},
            actions={a.name: a for a in verbs},
            considerations=reasons,
            activities=activities,
            version=version,
            species_names=tuple(s.name for s in kinds),
            faction_names=factions,
            activity_names=tuple(a.name for a in activities),
            species_code={s.name: i for i, s in enumerate(kinds)},
            activity_code=activity_code,
            species_list=kinds,
            tables=_tables(kinds, reasons, activities, factions, activity_code),
        )

    def digest(self) -> str:
        """32 hex digits over every name and number of the rules, over `version` and `STEPPING`.

        What is only told to minds is no rule: a journal holds what they answered.
        """
        h = hashlib.blake2b(digest_size=16)
        h.update(repr((self.version, STEPPING)).encode())
        for s in self.species_list:
            numbers = [(f, getattr(s, f)) for f in s.__dataclass_fields__ if f not in _NO_RULES]
            h.update(repr((numbers, s.on_use is not None)).encode())
        for a in self.activities:
            h.update(repr(a).encode())
        for c in self.considerations:
            h.update(repr((c.name, c.activity.name)).encode())
        for name in sorted(self.actions):
            spec = self.actions[name]
            h.update(repr((name, spec.needs_target, spec.reach, spec.cooldown)).encode())
        return h.hexdigest()


def _check_names(what: str, names: list[str], limit: int) -> None:
    if len(names) > limit:
        raise RulesetError(f"{len(names)} {what} entries, at most {limit} fit")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isidentifier():
            raise RulesetError(
                f"{what} name {name!r} is unfit",
                f"use letters, digits and _ only, at most {MAX_NAME} of them",
            )
        if name in seen:
            raise RulesetError(f"{what} {name!r} is defined twice", "rename one of the two")
        seen.add(name)


_NO_RULES: Final = ("on_use", "common_knowledge")
_BOUNDS: Final = {
    "hp": (1, 1_000_000),
    "attack": (0, 100_000),
    "defence": (0, 100_000),
    "speed": (0, 512),
    "reach": (0, 65_536),
    "perception": (0, 65_536),
    "hunger": (-1000, 1000),
    "fatigue": (-1000, 1000),
    "birth_delay": (0, 2**31),
}


def _check_species(s: Species, known: set[str]) -> None:
    for name, (low, high) in _BOUNDS.items():
        value = getattr(s, name)
        if type(value) is not int or not low <= value <= high:
            raise RulesetError(
                f"species {s.name!r}: {name} is {value!r}", f"a whole number {low}..{high}"
            )
    told = s.common_knowledge
    if not isinstance(told, str) or len(told) > MAX_COMMON:
        found = f"{len(told)} characters long" if isinstance(told, str) else repr(told)[:60]
        raise RulesetError(
            f"species {s.name!r}: common_knowledge is {found}", f"text of at most {MAX_COMMON}"
        )
    for name in s.considerations:
        if name not in known:
            raise RulesetError(
                f"species {s.name!r} uses the consideration {name!r}, which nobody defines",
                "define it in a plugin, or take it out",
            )
    for name in s.tactics:
        if name not in TACTICS:
            raise RulesetError(
                f"species {s.name!r} knows the tactic {name!r}, which does not exist",
                f"one of {', '.join(TACTICS)}",
            )


def _activities(reasons: tuple[Consideration, ...]) -> tuple[Activity, ...]:
    found = {a.name: a for a in CORE_ACTIVITIES}
    extra: dict[str, Activity] = {}
    for c in reasons:
        a = c.activity
        other = found.get(a.name) or extra.get(a.name)
        if other is not None and other != a:
            raise RulesetError(f"activity {a.name!r} is defined in two ways", "rename one of them")
        if other is None:
            extra[a.name] = a
    _check_names("activity", [*found, *extra], 1024)
    for a in extra.values():
        if not (0 <= a.pace <= 400 and 1 <= a.interval <= 100_000):
            raise RulesetError(f"activity {a.name!r}: pace or interval out of bounds")
    return (*CORE_ACTIVITIES, *(extra[name] for name in sorted(extra)))


def _tables(
    kinds: tuple[Species, ...],
    reasons: tuple[Consideration, ...],
    activities: tuple[Activity, ...],
    factions: tuple[str, ...],
    activity_code: Mapping[str, int],
) -> Tables:
    n = len(kinds)
    hostile = np.zeros((n, n), dtype=np.bool_)
    eats = np.zeros((n, n), dtype=np.bool_)
    for i, a in enumerate(kinds):
        for j, b in enumerate(kinds):
            if b.alive:
                hostile[i, j] = b.name in a.hostile_to or b.faction in a.hostile_to
                eats[i, j] = b.name in a.diet or b.faction in a.diet
    uses = np.zeros((n, len(reasons)), dtype=np.bool_)
    for i, s in enumerate(kinds):
        for k, c in enumerate(reasons):
            uses[i, k] = c.name in s.considerations

    def ints(values: Iterable[int]) -> Ints:
        return np.fromiter(values, dtype=np.int64)

    def bools(values: Iterable[bool]) -> NDArray[np.bool_]:
        return np.fromiter(values, dtype=np.bool_)

    threatens = hostile.T | eats.T
    return Tables(
        hostile=hostile,
        eats=eats,
        threatens=threatens,
        relations=np.stack((threatens, hostile, eats)),
        uses=uses,
        faction=ints(factions.index(s.faction) for s in kinds),
        hunger=ints(s.hunger for s in kinds),
        fatigue=ints(s.fatigue for s in kinds),
        essential=bools(s.essential for s in kinds),
        shuns_floors=bools(s.shuns_floors for s in kinds),
        brave=bools(s.brave for s in kinds),
        alive=bools(s.alive for s in kinds),
        speaks=bools(s.speaks for s in kinds),
        act_hunger=ints(a.hunger for a in activities),
        act_fatigue=ints(a.fatigue for a in activities),
        act_fear=ints(a.fear for a in activities),
        act_mood=ints(a.mood for a in activities),
        act_pace=ints(a.pace for a in activities),
        act_interval=ints(a.interval for a in activities),
        act_strikes=bools(a.strikes for a in activities),
        act_chases=bools(a.chases for a in activities),
        consideration_activity=ints(activity_code[c.activity.name] for c in reasons),
    )
