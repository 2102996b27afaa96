"""Notices minds that are stuck or repeat themselves, and says who is to be reset, and why.

Bodies are looked at by `world.stuck`, every so many ticks; here, too, what minds propose is
followed: the same refused thing again and again, the same line again and again. A reset is an
input like any other, so that it is journalled and a replay makes it again.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Final

import structlog

from world.inputs import Input
from world.stuck import LOOK_EVERY, Stuck
from world.world import StepResult, World

__all__ = ["REFUSED", "REPEATED", "Watch"]

log = structlog.get_logger("greenroom")

REFUSED: Final = 3
"""The same proposal, refused for the same reason so many times in a row, is no mistake any more."""
REPEATED: Final = 4
"""The same words said so many times in a row are no answer any more."""
PAUSE: Final = 600
"""Ticks for which one that was reset is left to itself."""
FOLLOWED: Final = 4096
KEPT: Final = 200
_CARRIED: Final = ("rooted",)
_OF_PLACE: Final = ("held", "rooted")


@dataclass(slots=True)
class _Habit:
    """What a mind did last, and how often in a row."""

    refused: object = None
    refusals: int = 0
    said: str = ""
    sayings: int = 0


@dataclass(frozen=True, slots=True)
class ResetNote:
    """One reset that was proposed."""

    tick: int
    entity: int
    reason: str
    home: bool


class Watch:
    """What outlives the director's restarts: who is followed, and what was reset.

    `counts` has a number for each reason; `last` the latest resets, oldest first.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: deque[ResetNote] = deque(maxlen=KEPT)
        self._n = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew, as with another world; what was counted stays."""
        self._stuck = Stuck()
        self._habits: OrderedDict[int, _Habit] = OrderedDict()
        self._reset: OrderedDict[int, tuple[int, bool]] = OrderedDict()

    def after(self, world: World, result: StepResult) -> list[Input]:
        """The resets to propose after a step."""
        odd = self._follow(result)
        if result.tick % LOOK_EVERY == 0:
            odd += [(one.entity, one.reason) for one in self._stuck.look(world.view())]
        return [made for entity, reason in odd if (made := self._make(world, entity, reason))]

    def _follow(self, result: StepResult) -> list[tuple[int, str]]:
        odd: list[tuple[int, str]] = []
        for refused in result.rejections:
            one = refused.input
            if isinstance(one.proposer, str) and one.proposer.startswith("npc:"):
                habit = self._habit(one.entity)
                what = (one.kind, refused.code, repr(sorted(one.body.items()))[:400])
                habit.refusals = habit.refusals + 1 if habit.refused == what else 1
                habit.refused = what
                if habit.refusals >= REFUSED:
                    habit.refusals = 0
                    odd.append((one.entity, "refused"))
        for one in result.inputs:
            if not one.proposer.startswith("npc:"):
                continue
            habit = self._habit(one.entity)
            if one.kind != "say":
                habit.refused, habit.refusals = None, 0
                continue
            words = " ".join(str(one.body.get("text", "")).casefold().split())
            habit.sayings = habit.sayings + 1 if habit.said == words else 1
            habit.said = words
            if habit.sayings >= REPEATED:
                habit.sayings = 0
                odd.append((one.entity, "repeating"))
        return odd

    def _habit(self, entity: int) -> _Habit:
        habit = self._habits.pop(entity, None) or _Habit()
        self._habits[entity] = habit
        if len(self._habits) > FOLLOWED:
            self._habits.popitem(last=False)
        return habit

    def _make(self, world: World, entity: int, reason: str) -> Input | None:
        tick, place = world.tick, reason in _OF_PLACE
        before = self._reset.pop(entity, None)
        if before is not None and tick - before[0] < PAUSE:
            self._reset[entity] = before
            return None
        again = before is not None and before[1] and tick - before[0] < world.day_ticks
        home = reason in _CARRIED or (place and again)
        self._reset[entity] = (tick, place)
        if len(self._reset) > FOLLOWED:
            self._reset.popitem(last=False)
        self._n += 1
        self.counts[reason] += 1
        self.last.append(ResetNote(tick, entity, reason, home))
        name = world.view().name(entity)
        log.warning("mind reset", entity=entity, name=name, reason=reason, home=home, tick=tick)
        body: dict[str, Any] = {"reason": reason, "home": home}
        return Input("reset", entity, "director:watch", self._n, body)
