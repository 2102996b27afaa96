"""Who is asked to think: bounded questions in flight, and the order in which minds get them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final, Literal

from actors.conversation import SpeechStream
from actors.timers import Timer
from world import maths
from world.events import Event
from world.maths import Purpose

__all__ = ["Attention", "Kind", "Question", "Questions"]

Kind = Literal["speech", "decision", "plan", "flood"]

_URGENCY: Final = {"attacked": 0, "threat": 0, "recovered": 1, "calm": 1, "time_of_day": 2}
_MEANT: Final = {"attacked": "target"}
"""Whose situation the event changes, when it is not its `entity`."""
_STALE: Final = 200
"""Ticks after which an event is nothing to think about any more."""


@dataclass(slots=True)
class Question:
    """Something asked of an actor. `due` is the tick that a headless run admits the answer in."""

    token: int
    kind: Kind
    entity: int
    asked: int
    due: int
    stream: SpeechStream | None = None
    timer: Timer | None = None
    answered: bool = False


class Questions:
    """The questions in flight, by token."""

    def __init__(self) -> None:
        self._open: dict[int, Question] = {}
        self._last = 0
        self.counts: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def ask(
        self, kind: Kind, entity: int, tick: int, ticks: int, stream: SpeechStream | None = None
    ) -> Question:
        """Open a question, due `ticks` after `tick`."""
        self._last += 1
        question = Question(self._last, kind, entity, tick, tick + ticks, stream)
        self._open[question.token] = question
        self.counts[f"{kind}_asked"] += 1
        return question

    def open(self) -> list[Question]:
        """All of them, in the order asked."""
        return list(self._open.values())

    def get(self, token: int) -> Question | None:
        """The open question of this token."""
        return self._open.get(token)

    def close(self, token: int) -> Question | None:
        """Close a question; None if it was closed before."""
        question = self._open.pop(token, None)
        if question is not None and question.timer is not None:
            question.timer.cancel()
        return question

    def busy(self, kind: Kind) -> int:
        """How many of a kind are open."""
        return sum(question.kind == kind for question in self._open.values())

    def asked(self, kind: Kind) -> set[int]:
        """The entities that one of a kind is open with."""
        return {question.entity for question in self._open.values() if question.kind == kind}

    def of(self, kind: Kind, entity: int) -> int:
        """How many of a kind are open with one entity."""
        return sum(q.kind == kind and q.entity == entity for q in self._open.values())

    def waited_for(self, tick: int) -> list[Question]:
        """Those without an answer that a headless run needs before it can live `tick`."""
        return [q for q in self._open.values() if q.due <= tick and not q.answered]

    def close_answered(self, tick: int) -> None:
        """Close the answered ones that are due: until then they count as in flight."""
        for token in [q.token for q in self._open.values() if q.answered and q.due <= tick]:
            self.close(token)

    def close_all(self) -> list[Question]:
        """Close all, as at the end of an epoch."""
        return [q for token in list(self._open) if (q := self.close(token)) is not None]


class Attention:
    """Minds whose situation has changed and who have not been asked yet, at most `limit`.

    To a new part of the day each mind turns at a moment of its own, drawn by `seed`, within
    `spread` ticks: nobody's model is asked by a whole village in one tick.
    """

    def __init__(self, limit: int, seed: int = 0, spread: int = 0) -> None:
        self._limit = limit
        self._seed = seed
        self._spread = spread
        self._waiting: dict[int, tuple[int, Event, int]] = {}
        """By entity: how urgent, what, and from which tick on it may be picked."""
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def copy(self, minds: Collection[int] | None = None) -> Attention:
        """One that goes its own way from here, with all minds or these."""
        other = Attention(self._limit, self._seed, self._spread)
        other._waiting = {e: w for e, w in self._waiting.items() if minds is None or e in minds}
        return other

    def notice(self, events: Iterable[Event], minds: Collection[int]) -> None:
        """Note whom the events concern; a more urgent event takes a lesser one's place."""
        for event in events:
            urgency = _URGENCY.get(event.kind)
            if urgency is None:
                continue
            if event.kind == "time_of_day":
                concerned: Iterable[int] = minds
            else:
                entity = event.target if _MEANT.get(event.kind) == "target" else event.entity
                concerned = (entity,) if entity in minds else ()
            for entity in concerned:
                known = self._waiting.get(entity)
                if known is not None and known[0] < urgency:
                    continue
                if known is None and len(self._waiting) >= self._limit:
                    self.dropped += 1
                    continue
                self._waiting[entity] = (urgency, event, event.tick + self._later(entity, event))

    def _later(self, entity: int, event: Event) -> int:
        if event.kind != "time_of_day" or not self._spread:
            return 0
        return maths.keyed(self._seed, entity, event.tick, Purpose.TURN) % self._spread

    def pick(
        self, most: int, tick: int, distance: Callable[[list[int]], list[int]]
    ) -> list[tuple[int, Event]]:
        """Take out the `most` first: by urgency, then nearness to players, then id.

        `distance` gives each entity's distance to the nearest player; what is stale is let go.
        """
        for entity in [e for e, (*_, ready) in self._waiting.items() if ready < tick - _STALE]:
            del self._waiting[entity]
            self.dropped += 1
        if most <= 0:
            return []
        entities = [e for e, (*_, ready) in self._waiting.items() if ready <= tick]
        if not entities:
            return []
        away = dict(zip(entities, distance(entities), strict=True))
        entities.sort(key=lambda e: (self._waiting[e][0], away[e], e))
        return [(e, self._waiting.pop(e)[1]) for e in entities[:most]]

    def clear(self) -> None:
        """Let go of all, as when another state was loaded."""
        self._waiting.clear()

    def forget(self, entity: int) -> None:
        """Let go of an entity that has left."""
        self._waiting.pop(entity, None)
