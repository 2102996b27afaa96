"""Out of order, off stage: while a headless run waits for answers, those who don't depend on them are asked on.

A run's ticks close in order, each when the last answer that is due in it has come; that alone decides what
becomes of the world. But while it waits, a fork of the world is lived on without the missing answers, and who
would be asked something there is asked at once (`models.ahead`). Where the run then comes to the same question,
byte for byte, the answer is there or under way; where it comes to another one, because a missing answer did
change that being's moment, it asks anew and the call was in vain. So NPCs wait for one another's calls only
where one was in fact influenced by the other, and the world is that of a run in lock-step, bit for bit, for replies
that are a pure function of the request.

After AI Metropolis (arXiv 2411.03519), which lets agents go ahead by a rule of distance, speed and perception; here
the request itself is compared, since it holds all that a mind perceives, and a rule only keeps calls from being made in vain:
who is near one whose answer is missing, near enough to be told of it, isn't asked ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from actors.attention import Attention, Question
from actors.battlefield import distances_to_players
from actors.choices import Choice
from actors.deciding import Asking, chosen
from actors.ledger import Ledger
from models.ahead import AskingAhead, Key
from world.inputs import Input
from world.world import StepResult, World

__all__ = ["Foresight"]

SLOTS: Final = 64
"""Calls under way ahead of their time; with as many nobody is asked further ahead."""

FEW: Final = 16
"""With as many under way a fork that went another way than the world is not made anew: that costs more than it brings."""


@dataclass(slots=True)
class _Pending:
    """A question asked in the fork; `answered` when its answer is among what is due."""

    entity: int
    due: int
    key: Key = None
    choices: Sequence[Choice] = ()
    answered: bool = False


class Foresight:
    """Looks up to `ticks` ahead of a ledger's world. Used on the dispatcher's thread only.

    `asking(entity)` says how one is asked, None for who can't be.
    """

    def __init__(
        self,
        ledger: Ledger,
        asking: Callable[[int], Asking | None],
        backend: AskingAhead,
        ticks: int,
    ) -> None:
        self._ledger, self._asking, self._backend, self._ticks = ledger, asking, backend, ticks
        self._fork: _Fork | None = None
        self.forks = self.steps = 0

    def status(self) -> dict[str, int]:
        """Calls asked ahead, claimed and in vain, forks made and steps lived in them."""
        counts = self._backend.counts()
        return {**counts, "forks": self.forks, "steps": self.steps}

    def look(self, stop: Callable[[], bool]) -> None:
        """Live the fork on and ask, until `stop()` or as far as it goes."""
        ledger, backend = self._ledger, self._backend
        now = ledger.world.tick
        backend.forget(now)
        fork = self._fork
        while backend.under_way < SLOTS and not backend.full and not stop():
            behind = fork is None or fork.world.tick < now
            if fork is None or behind or (backend.under_way < FEW and fork.stale(ledger.world)):
                fork = self._fork = _Fork(ledger, self._asking, backend)
                self.forks += 1
            if fork.world.tick >= now + self._ticks:
                return
            fork.step()
            self.steps += 1


class _Fork:
    """One guess at how the world goes on: nobody does anything by an answer that has not come."""

    def __init__(
        self, ledger: Ledger, asking: Callable[[int], Asking | None], backend: AskingAhead
    ) -> None:
        self.world: World = ledger.world.fork()
        self._ledger, self._asking, self._backend = ledger, asking, backend
        self._attention: Attention = ledger.attention.copy()
        self._missing: list[Question] = []
        self._pending: list[_Pending] = []
        for question in ledger.questions.open():
            if question.kind == "decision":
                self._pending.append(
                    _Pending(question.entity, question.due, answered=question.answered)
                )
                if not question.answered:
                    self._missing.append(question)
        self._due: dict[int, list[Input]] = ledger.desk.proposals()
        self._blind: list[Key] = []
        self._unsure: set[int] = set()
        self._hashes: dict[int, int] = {self.world.tick: self.world.hash()}
        self._n = 0

    def stale(self, truth: World) -> bool:
        """Whether the truth went another way, or an answer has come that was missing here."""
        if self._hashes.get(truth.tick) != truth.hash():
            return True
        if any(question.answered for question in self._missing):
            return True
        return any(self._backend.reply(key) is not None for key in self._blind)

    def step(self) -> None:
        """Live a tick, and ask whom it makes think."""
        tick = self.world.tick + 1
        inputs = self._due.pop(0, []) + self._due.pop(tick, []) + self._answers(tick)
        result = self.world.step(inputs)
        self._hashes[tick] = result.hash
        self._think(result)

    def _answers(self, tick: int) -> list[Input]:
        """What those do whose answers are due; who has none acts by reflex, and is asked no more here."""
        found = []
        for asked in [p for p in self._pending if p.due <= tick]:
            self._pending.remove(asked)
            if asked.answered:
                continue
            reply = self._backend.reply(asked.key) if asked.key is not None else None
            if reply is None:
                self._unsure.add(asked.entity)
                if asked.key is not None:
                    self._blind.append(asked.key)
                continue
            choice = chosen(reply, asked.choices)
            if choice is not None:
                self._n += 1
                proposer = f"npc:{asked.entity}"
                body = dict(choice.body)
                found.append(Input(choice.kind, asked.entity, proposer, self._n, body))
        return found

    def _think(self, result: StepResult) -> None:
        """As the director does it (see prompter.py), for decisions."""
        ledger, world, settings = self._ledger, self.world, self._ledger.settings
        self._attention.notice(result.events, ledger.minds)
        free = min(settings.decisions - len(self._pending), settings.percepts_a_tick)
        for entity, _ in self._attention.pick(
            free, world.tick, lambda entities: distances_to_players(world, entities)
        ):
            situation, asking = world.situation(entity), self._asking(entity)
            if situation is None or not situation.alive or situation.downed:
                continue
            if any(asked.entity == entity for asked in self._pending):
                continue
            asked = _Pending(entity, world.tick + settings.think_ticks)
            self._pending.append(asked)
            if entity in self._unsure or asking is None:
                continue
            if any(near.id in self._unsure for near in situation.near):
                # Whoever is told of one whose answer is missing may well be told otherwise.
                continue
            asked.choices = asking.choices(situation)
            if asked.choices:
                request = asking.request(situation, asked.choices, world.epoch)
                asked.key = self._backend.ask(request, world.tick)
