"""Out of order, off stage: while a headless run waits for answers, those who don't depend on them are asked on.

A run's ticks close in order, each when the last answer that is due in it has come; that alone decides what
becomes of the world. But while it waits, understudies live its parts ahead (understudy.py): parts by distance, speed
and perception, so that none can influence another one soon (world/influence.py). Each waits for the answers of its own people only,
asks at once (models/ahead.py) whom it makes think, and lives on by what they answer. Where the run then comes to the same question, byte for
byte, the answer is there or under way; where it comes to another one, it asks anew and the call was in vain. So the
parts are a guess at what is worth asking, and the world is that of a run in lock-step, bit for bit, for replies
that are a pure function of the request.

While the server has room left (`ahead_room`), a bold understudy goes on past the answers that its part waits for, and asks whom they
don't seem to concern: within a part, too, few influence one another. Its calls may be in vain, so a server whose steps grow
with their rows is given few of them.

After AI Metropolis (arXiv 2411.03519), whose clusters the parts are. An understudy that the run left behind, or that finds
itself elsewhere than the run, is dismissed; the parts are looked for anew then.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from actors.deciding import Asking
from actors.ledger import Ledger
from actors.monster_group import GroupMind
from actors.planning import Planner
from actors.understudy import Stage, Understudy
from models.ahead import AskingAhead
from world import influence
from world.entities import NEVER, Ints
from world.world import World

__all__ = ["Foresight"]

SLOTS: Final = 64
"""Calls under way ahead of their time; with as many nobody is asked further ahead."""

APART: Final = 20
"""Ticks for which parts have to be apart, at the least, when they are looked for."""


class Foresight:
    """Looks up to `ticks` ahead of a ledger's world. Used on the dispatcher's thread only.

    `asking(entity)` says how one is asked, None for who can't be; `planner` and `groups` are those of groups' plans.
    """

    def __init__(
        self,
        ledger: Ledger,
        asking: Callable[[int], Asking | None],
        planner: Planner,
        groups: dict[int, GroupMind],
        backend: AskingAhead,
        ticks: int,
    ) -> None:
        self._stage = Stage(ledger, asking, planner, groups, backend)
        self._ledger, self._backend, self._ticks = ledger, backend, ticks
        self._parts: list[Understudy] = []
        self._bold: dict[int, Understudy] = {}
        self._tick = -1
        self._number = 0
        self.forks = self.steps = self.bold_steps = 0

    def status(self) -> dict[str, int]:
        """Calls asked ahead, claimed and in vain; understudies there were, and the ticks that they lived."""
        counts = self._backend.counts()
        return {
            **counts,
            "forks": self.forks,
            "steps": self.steps,
            "bold_steps": self.bold_steps,
            "parts": len(self._parts),
        }

    def look(self, stop: Callable[[], bool], last: int) -> None:
        """Live the parts on and ask, until `stop()` or as far as it goes, at most to the tick `last`."""
        ledger, backend = self._ledger, self._backend
        now = ledger.world.tick
        backend.forget(now)
        end = min(now + self._ticks, last)
        if now != self._tick:
            self._tick = now
            self._look_about()
        moved: set[int] = set()
        while backend.under_way < SLOTS and not backend.full and not stop():
            part = self._next(end)
            if part is None:
                break
            moved.add(part.number)
            part.step()
            self.steps += 1
            self.bold_steps += part.bold
        for part in (*self._parts, *self._bold.values()):
            # One that went on without an answer which has come by now knows less than those it would overrule.
            if part.number in moved and not part.outdone:
                sure = part.minds - part.unsure
                askers = {f"npc:{entity}" for entity in sure}
                backend.sweep(part.began, part.world.tick, {part.number, part.of}, askers)

    def _look_about(self) -> None:
        """Dismiss who went astray, and look for the parts of the rest anew."""
        truth = self._ledger.world
        good = [part for part in self._parts if not part.astray(truth)]
        if len(good) == len(self._parts) and good:
            return
        minds = self._ledger.minds.keys()
        apart = [(set(entities.tolist()) & minds, entities) for entities in self._apart(truth)]
        while True:
            covered = set[int]().union(*(part.minds for part in good))
            torn = [ids for ids, _ in apart if ids & covered and not ids <= covered]
            whole = [part for part in good if not any(part.minds & ids for ids in torn)]
            if len(whole) == len(good):
                break
            good = whole
        self._parts = good
        for ids, entities in apart:
            if not ids <= covered:
                self.forks += 1
                self._number += 1
                self._parts.append(Understudy(self._stage, entities, self._number))
        numbers = {part.number for part in self._parts}
        self._bold = {number: bold for number, bold in self._bold.items() if number in numbers}

    def _apart(self, truth: World) -> list[Ints]:
        """The parts; all in one where something joins them: a limit on what may be asked at once, or players' nearness."""
        settings = self._ledger.settings
        if (
            min(settings.decisions, settings.percepts_a_tick) < len(self._ledger.minds)
            or truth.detail_tiles
        ):
            columns = truth.columns
            return [np.sort(columns.id[columns.live_rows()])]
        return influence.parts(truth, APART)

    def _next(self, end: int) -> Understudy | None:
        """Who is to live a tick: of those who wait for nothing the one that is least ahead, else a bold one."""
        free = [part for part in self._parts if part.world.tick < end and not part.waits]
        if free:
            return min(free, key=lambda part: (part.world.tick, part.number))
        if self._backend.under_way >= self._ledger.settings.ahead_room:
            return None
        behind = [part for part in self._parts if self._reached(part) < end]
        if not behind:
            return None
        # All parts evenly, so that what is asked boldly is what is wanted soonest.
        part = min(behind, key=lambda part: (self._reached(part), part.number))
        if self._reached(part) == part.world.tick:
            self.forks += 1
            self._number += 1
            self._bold[part.number] = part.go_on_boldly(self._number)
        return self._bold[part.number]

    def _reached(self, part: Understudy) -> int:
        """How far its bold one has come, or itself where it has none of use; NEVER where there is nobody left to ask."""
        bold = self._bold.get(part.number)
        if bold is None or bold.outdone:
            return part.world.tick
        return NEVER if bold.clueless else max(part.world.tick, bold.world.tick)
