"""Faults on purpose, by seed: crashes, delays, lost replies and full mailboxes, for tests.

Whether a message is hit is a pure function of (seed, actor, kind of message, its number, fault), so
that the same plan hits the same messages of a run that is itself repeatable: a headless one whose
backend answers inside `submit`. Without a plan no message costs anything: what can fail is put in
when an actor starts.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from actors.blocking import Failed, Finished
from actors.errors import InjectedFault, TooManyTimers
from actors.mailbox import Mailbox
from actors.messages import (
    Answer,
    Battle,
    DamBroken,
    GroupPercept,
    Hear,
    Join,
    Leave,
    ModelDone,
    ModelFailed,
    Obey,
    Percept,
    Propose,
    Say,
)
from world.maths import below_int, keyed, mix

__all__ = ["Fault", "FaultPlan", "Faults", "Injected", "Rates"]

KEPT: Final = 1000

REPLIES: Final[frozenset[type]] = frozenset(
    {Answer, Failed, Finished, ModelDone, ModelFailed, Obey}
)
"""What may be lost: somebody waits for it, with a limit."""
LATE: Final[frozenset[type]] = REPLIES | {Battle, DamBroken, GroupPercept, Hear, Percept, Propose}
"""What may be delayed."""
REFUSED: Final[frozenset[type]] = (LATE | {Join, Leave, Say}) - {Failed, Finished}
"""What may find a full mailbox: whoever tells it knows what to do then."""


class Fault(IntEnum):
    """What goes wrong; the value is the purpose of its draws."""

    CRASH = 1
    DELAY = 2
    LOST = 3
    FULL = 4

    @property
    def label(self) -> str:
        """Its name in counts and reports."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Rates:
    """How often each fault hits, as a share (0..1) of the messages that it can hit.

    A crash hits any message and any start; a delay, a loss and a full mailbox only messages whose
    teller must cope with it.
    """

    crash: float = 0.0
    delay: float = 0.0
    lost: float = 0.0
    full: float = 0.0

    def of(self, fault: Fault) -> float:
        """The rate of one fault."""
        return float(getattr(self, fault.label))


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What is to go wrong.

    `kinds` gives rates of their own to kinds of actors, by class name. A delay is of 1 to
    `delay_ticks` ticks of 1/20 s, on the dispatcher's clock. Messages of other types than the
    built-in actors' can be named: `replies` may be lost and delayed.
    """

    seed: int
    rates: Rates = Rates()
    kinds: Mapping[str, Rates] = field(default_factory=dict)
    delay_ticks: int = 40
    replies: frozenset[type] = frozenset()

    @classmethod
    def for_company(cls, seed: int, rate: float) -> FaultPlan:
        """Every fault at `rate` for minds, groups, builders and coordinator.

        Who steps the world fails fifty times more seldom, since all wait for it; who restarts others only crashes.
        """
        calm = Rates(rate / 50, rate, rate, rate)
        kinds = {"Director": calm, "Supervisor": Rates(crash=rate)}
        return cls(seed, Rates(rate, rate, rate, rate), kinds=kinds)


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault: which, of which actor (its supervisor's key), on its `number`-th of these messages."""

    fault: str
    key: str
    kind: str
    message: str
    number: int


class Faults:
    """A plan at work in one dispatcher, and what it has done.

    Only supervised actors are hit: a crash of another would end it for good.
    """

    def __init__(self, plan: FaultPlan) -> None:
        self.plan = plan
        self.counts: Counter[tuple[str, str]] = Counter()
        """(fault, kind of actor) -> how many."""
        self.last: deque[Injected] = deque(maxlen=KEPT)
        self._numbers: Counter[tuple[str, str, Fault]] = Counter()
        self._hashes: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()
        self._flooded: dict[type[Mailbox], type[Mailbox]] = {}
        self._off = False
        self._lost = REPLIES | plan.replies
        self._late = LATE | plan.replies

    def stop(self) -> None:
        """Inject nothing more."""
        self._off = True

    def by_kind(self) -> dict[str, int]:
        """How many of each fault."""
        with self._lock:
            totals: Counter[str] = Counter()
            for (fault, _), count in self.counts.items():
                totals[fault] += count
        return dict(sorted(totals.items()))

    def enter(self, mailbox: Mailbox) -> None:
        """Let a starting or restarting actor fail as planned."""
        actor = mailbox.actor
        if mailbox.supervision is None or actor is None:
            return
        key = mailbox.supervision[1]
        rates = self.plan.kinds.get(type(actor).__name__, self.plan.rates)
        if rates.full:
            mailbox.__class__ = self._floods(type(mailbox))
            # So that each message is looked at.
            mailbox.room = 0
        if not (rates.crash or rates.delay or rates.lost):
            return
        actor.on_start = self._starts(key, mailbox, actor.on_start)
        actor.on_receive = self._receives(key, mailbox, actor.on_receive)

    def hits(self, fault: Fault, key: str, kind: str, message: str) -> int:
        """A draw for the next such message: 0 for none, else a random word to shape the fault by."""
        rate = self.plan.kinds.get(kind, self.plan.rates).of(fault)
        if not rate or self._off:
            return 0
        with self._lock:
            self._numbers[key, message, fault] += 1
            number = self._numbers[key, message, fault]
        whom = self._hashes.get((key, message))
        if whom is None:
            told = hashlib.blake2b(f"{key}|{message}".encode(), digest_size=8).digest()
            whom = self._hashes[key, message] = int.from_bytes(told, "big")
        word = keyed(self.plan.seed, whom, number, 1000 + fault)
        if word >> 32 >= int(rate * 2**32):
            return 0
        with self._lock:
            self.counts[fault.label, kind] += 1
            self.last.append(Injected(fault.label, key, kind, message, number))
        return mix(word) | 1

    def _starts(self, key: str, mailbox: Mailbox, start: Callable[[], None]) -> Callable[[], None]:
        kind = mailbox.stats.kind

        def on_start() -> None:
            if self.hits(Fault.CRASH, key, kind, "on_start"):
                raise InjectedFault(f"{key} was to fail when it starts")
            start()

        return on_start

    def _receives(
        self, key: str, mailbox: Mailbox, receive: Callable[[Any], Any]
    ) -> Callable[[Any], Any]:
        kind, dispatcher, ref = mailbox.stats.kind, mailbox.dispatcher, mailbox.ref

        def on_receive(message: Any) -> Any:
            name = type(message).__name__
            if type(message) in self._lost and self.hits(Fault.LOST, key, kind, name):
                return None
            if type(message) in self._late and ref is not None:
                word = self.hits(Fault.DELAY, key, kind, name)
                if word:
                    ticks = 1 + below_int(word, self.plan.delay_ticks)
                    try:
                        dispatcher.tell_after(ticks / 20, ref, message)
                    except TooManyTimers:
                        return receive(message)
                    return None
            word = self.hits(Fault.CRASH, key, kind, name)
            if not word:
                return receive(message)
            if word >> 63:
                # Half of them fail when their work is done: worse, since it has had effects.
                receive(message)
            raise InjectedFault(f"{key} was to fail on its {name}")

        return on_receive

    def _floods(self, kind: type[Mailbox]) -> type[Mailbox]:
        """The same kind of mailbox, full at times."""
        if kind in self._flooded.values():
            return kind
        if kind not in self._flooded:
            faults = self

            def put_item(mailbox: Mailbox, item: Any) -> None:
                supervision = mailbox.supervision
                # What is asked lies in an envelope, whose type is none of these.
                if supervision is not None and type(item) in REFUSED:
                    name = type(item).__name__
                    if faults.hits(Fault.FULL, supervision[1], mailbox.stats.kind, name):
                        mailbox._refuse()
                kind.put_item(mailbox, item)

            body = {"__slots__": (), "put_item": put_item, "__doc__": kind.__doc__}
            self._flooded[kind] = type(f"Flooded{kind.__name__}", (kind,), body)
        return self._flooded[kind]
