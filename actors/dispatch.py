"""The shared dispatcher: many actors on few threads, with priorities, timers and a blocking pool.

One worker thread runs the world. With no workers nothing runs but inside `pump`, on the caller,
which is what reproducible runs use.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import pykka

from actors.actor import (
    ActorDied,
    GreenActor,
    GreenFuture,
    Level,
    Recycle,
    here,
    receives,
    tell_first,
    use_default,
)
from actors.blocking import BlockingPool
from actors.errors import (
    ActorError,
    DispatcherClosed,
    MailboxFull,
    TooManyTimers,
    WouldDeadlock,
)
from actors.faults import Faults
from actors.inspection import MOST_ROWS, SORTS, Inspector, Sort
from actors.mailbox import Mailbox, create
from actors.metrics import KindSnapshot, KindStats, snapshot
from actors.runqueue import RETRY_S, RunQueues
from actors.timers import Timer, Timers
from actors.turns import Turns
from foundation.errors import UsageError

__all__ = [
    "ActorDied",
    "Dispatcher",
    "GreenActor",
    "GreenFuture",
    "Level",
    "default_dispatcher",
    "receives",
    "tell_first",
]

logger = logging.getLogger(__name__)

A = TypeVar("A", bound=GreenActor)

_numbers = itertools.count()


class Dispatcher:
    """Run queues, worker threads, timers and a blocking pool shared by many actors.

    `batch` messages at most make one actor's turn, which ends after the first that is handled past
    `slow_ms`; a handler that runs so long is named in the metrics. `clock` gives the timers' seconds.
    `workers=0` is the manual mode: everything, the pool's work too, runs inside `pump` on its caller,
    and turns end by their batch alone. `faults` go wrong on purpose.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        name: str = "dispatch",
        batch: int = 64,
        slow_ms: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        timers: int = 20_000,
        pool: int = 2,
        pool_limit: int = 64,
        faults: Faults | None = None,
    ) -> None:
        if workers < 0 or batch < 1 or (workers and pool < 1):
            raise UsageError(
                f"a dispatcher of {workers} workers, batches of {batch} and a pool of {pool} can't run",
                "workers from 0 on, batch and pool from 1 on",
            )
        self.name = f"{name}-{next(_numbers)}"
        self.clock = clock
        self.manual = workers == 0
        self.capacity = max(1, workers)
        self._timers = Timers(timers)
        self._queues = RunQueues(len(Level), self._timers, clock)
        self.ready: Callable[[Mailbox], None] = self._queues.push
        self._pool = BlockingPool(0 if self.manual else pool, pool_limit, self._bring)
        self._faults = faults
        self._closed = False
        self._pumping = threading.RLock()
        self._kinds: dict[str, KindStats] = {}
        self._mailboxes: dict[Mailbox, None] = {}
        self._inspector = Inspector(time.monotonic)
        self._looking = threading.Lock()
        self._turns = Turns(self._queues, self._mailboxes, batch, slow_ms, self.manual)
        self._threads = [
            threading.Thread(target=self._work, name=f"{self.name}.{n}", daemon=True)
            for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    # -- starting actors ---------------------------------------------------------------------

    def start(self, kind: type[A], *args: Any, **kwargs: Any) -> pykka.ActorRef[A]:
        """Start an actor of `kind` here, as `kind.start(*args, **kwargs)` does elsewhere."""
        return self.launch(lambda: kind(*args, **kwargs))

    def launch(
        self,
        factory: Callable[[], A],
        supervision: tuple[pykka.ActorRef[Any], str] | None = None,
        before: Callable[[pykka.ActorRef[A]], None] | None = None,
    ) -> pykka.ActorRef[A]:
        """Start the actor that `factory` makes; a supervisor, with its key for it, may watch it.

        `before` is called with the reference just before the actor starts.

        Raises:
            DispatcherClosed: nothing can be started any more.
        """
        outside, here.starting = here.starting, self
        try:
            actor = factory()
        finally:
            here.starting = outside
        actor._inbox().supervision = supervision
        if before is not None:
            before(actor.actor_ref)
        pykka.ActorRegistry.register(actor.actor_ref)
        logger.debug("Starting %s", actor)
        actor._start_actor_loop()
        return actor.actor_ref

    def revive(self, ref: pykka.ActorRef[Any], factory: Callable[[], GreenActor]) -> None:
        """Put a new instance behind a suspended actor's reference and mailbox, and go on.

        Raises:
            ActorError: the actor is not suspended, or the factory made another kind.
            Exception: whatever the factory raises; the actor stays suspended.
        """
        mailbox = ref.actor_inbox
        if not isinstance(mailbox, Mailbox) or not mailbox.suspended or mailbox.closed:
            raise ActorError(f"{ref} is not waiting for a restart")
        outside, here.starting = here.starting, self
        here.adopting = mailbox
        try:
            actor = factory()
        finally:
            here.adopting, here.starting = None, outside
        if actor.actor_inbox is not mailbox:
            kind = ref.actor_class.__name__
            raise ActorError(
                f"the factory for {ref} made no new {kind}", "make one of its class each time"
            )
        ref._actor_weakref = weakref.ref(actor)
        mailbox.actor = actor
        if self._faults is not None:
            self._faults.enter(mailbox)
        mailbox.begun = False
        mailbox.suspended = False
        mailbox.restarts += 1
        with mailbox.stats.lock:
            mailbox.stats.restarts += 1
        self._queues.push(mailbox)

    def recycle(self, ref: pykka.ActorRef[Any]) -> None:
        """Have a supervised actor suspended before its next message, and its supervisor told."""
        if ref.is_alive():
            tell_first(ref, Recycle())

    def abandon(self, ref: pykka.ActorRef[Any]) -> None:
        """End a suspended actor for good: who waits for its answers gets `ActorDeadError`."""
        mailbox = ref.actor_inbox
        if isinstance(mailbox, Mailbox) and mailbox.suspended and not mailbox.closed:
            mailbox.close()
            pykka.ActorRegistry.unregister(ref)
            ref.actor_stopped.set()
            self._turns.retire(mailbox)

    def is_down(self, ref: pykka.ActorRef[Any]) -> bool:
        """Whether an actor is dead or waits for a restart."""
        inbox = ref.actor_inbox
        return not ref.is_alive() or (isinstance(inbox, Mailbox) and inbox.suspended)

    def new_mailbox(self, kind: type[GreenActor]) -> Mailbox:
        """A mailbox for an actor of `kind`, held until the actor is admitted."""
        if self._closed:
            raise DispatcherClosed(f"{self.name} is closed")
        return create(self, kind.mailbox, kind.level, self._stats(kind.__name__))

    def admit(self, mailbox: Mailbox) -> None:
        """Take in a new actor and schedule its `on_start`."""
        if self._faults is not None:
            self._faults.enter(mailbox)
        self._mailboxes[mailbox] = None
        self._queues.push(mailbox)

    def _stats(self, kind: str) -> KindStats:
        return self._kinds.setdefault(kind, KindStats(kind))

    # -- messages later, work elsewhere --------------------------------------------------------

    def tell_after(
        self, delay_s: float, ref: pykka.ActorRef[Any], message: Any, *, vital: bool = False
    ) -> Timer:
        """Tell `ref` the message in `delay_s` seconds of the dispatcher's clock, at once if negative.

        `vital` is for what is few in itself and must come, a supervisor's restarts: no bound holds it up.

        Raises:
            TooManyTimers: as many are pending as may be.
            UsageError: `delay_s` is no time: not finite.
        """
        if not math.isfinite(delay_s):
            raise UsageError(f"a timer of {delay_s} seconds never rings", "give finite seconds")
        timer = self._timers.add(self.clock() + delay_s, ref, message, vital=vital)
        self._queues.wake()
        return timer

    def run_blocking(self, work: Callable[[], Any], ref: pykka.ActorRef[Any], tag: Any) -> None:
        """Run `work` on the blocking pool; `ref` is told `Finished` or `Failed` with `tag`.

        Raises:
            PoolFull: as much is waiting as may.
        """
        self._pool.submit(work, ref, tag)
        if self.manual:
            self._queues.wake()

    def _bring(self, ref: pykka.ActorRef[Any], outcome: Any) -> None:
        """Tell an actor what came of its blocking work; a full mailbox is tried again."""
        try:
            ref.tell(outcome)
        except MailboxFull:
            with contextlib.suppress(TooManyTimers):
                self.tell_after(RETRY_S, ref, outcome)
                return
            logger.error("An outcome for %s was lost: mailbox and timers are full", ref)
        except pykka.ActorDeadError:
            pass  # whoever asked has left; nobody else wants the result

    # -- scheduling ------------------------------------------------------------------------------

    def may_wait(self) -> bool:
        """Whether the calling thread may block until an actor here has made room.

        No dispatcher's own thread may: others' turns, and its timers, would wait with it.
        """
        return not self.manual and here.dispatcher is None

    def before_wait(
        self, future: GreenFuture[Any], mailbox: Mailbox, timeout: float | None
    ) -> None:
        """Refuse a wait that a handler must not do; in manual mode, run until it is over.

        Raises:
            WouldDeadlock: the caller is a handler of this dispatcher.
            pykka.Timeout: `timeout` seconds have passed in manual mode.
        """
        if here.dispatcher is self and here.mailbox is not None:
            raise WouldDeadlock(
                f"a handler of {here.mailbox.name} waits for {mailbox.name} on their own dispatcher",
                "tell it, and take the answer as a message",
            )
        if not self.manual:
            return
        deadline = None if timeout is None else time.monotonic() + timeout
        while not future.done():
            self.pump(future.done)
            left = None if deadline is None else deadline - time.monotonic()
            if future.done():
                return
            if left is not None and left <= 0:
                raise pykka.Timeout(f"{timeout} seconds")
            self.wait(left)

    def _work(self) -> None:
        here.dispatcher = self
        while True:
            try:
                mailbox = self._queues.pop()
                if mailbox is not None:
                    self._turns.run(mailbox)
                elif not self._rest():
                    return
            except Exception:
                # Whatever it was, the other actors live on this thread.
                logger.critical("%s met what no turn should let through:", self.name, exc_info=True)

    def _rest(self) -> bool:
        with self._queues.cond:
            if self._closed:
                return False
            self._queues.sleep(None)
        return True

    # -- manual mode -------------------------------------------------------------------------------

    def pump(self, until: Callable[[], bool] | None = None) -> int:
        """Run, on the caller, until nothing is left to do or `until()` holds.

        Returns:
            the number of messages handled.

        Raises:
            UsageError: the dispatcher has workers.
            WouldDeadlock: called from a handler.
        """
        if not self.manual:
            raise UsageError(f"{self.name} has worker threads", "make it with workers=0 to pump it")
        if here.mailbox is not None and here.dispatcher is self:
            raise WouldDeadlock(f"a handler of {here.mailbox.name} pumps its own dispatcher")
        handled = 0
        with self._pumping:
            outside, here.dispatcher = (here.dispatcher, here.mailbox), self
            here.mailbox = None
            try:
                while until is None or not until():
                    mailbox = self._queues.pop()
                    if mailbox is not None:
                        handled += self._turns.run(mailbox)
                        here.mailbox = None
                    elif not self._queues and not self._pool.run_one():
                        break
            finally:
                here.dispatcher, here.mailbox = outside
        return handled

    def wait(self, timeout: float | None) -> bool:
        """In manual mode, sleep until something can be pumped or `timeout` seconds pass."""
        with self._queues.cond:
            self._queues.sleep(timeout)
            return bool(self._queues)

    # -- the end, and what has been ------------------------------------------------------------------

    def stop_all(self, timeout: float = 10.0) -> int:
        """Stop this dispatcher's actors; each first finishes what it was told before.

        Returns:
            how many had not stopped after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        for mailbox in reversed(list(self._mailboxes)):
            if not mailbox.suspended and not mailbox.closed:
                mailbox.stop()
        while self._mailboxes and time.monotonic() < deadline:
            for mailbox in list(self._mailboxes):
                if mailbox.suspended and mailbox.ref is not None:
                    self.abandon(mailbox.ref)
            # Seldom among many: each look costs as much as there are actors.
            pause = max(0.002, len(self._mailboxes) * 2e-6)
            if not self.manual:
                time.sleep(pause)
            elif not self.pump():
                self.wait(0.02)
        return len(self._mailboxes)

    def close(self, timeout: float = 10.0) -> int:
        """Stop all actors and threads; returns how many actors had to be left.

        Raises:
            WouldDeadlock: called from a handler.
        """
        if here.dispatcher is self and here.mailbox is not None:
            raise WouldDeadlock(f"a handler of {here.mailbox.name} closes its own dispatcher")
        left = self.stop_all(timeout)
        self._closed = True
        self._timers.clear()
        self._pool.close()
        with self._queues.cond:
            self._queues.cond.notify_all()
        for thread in self._threads:
            thread.join(timeout=1.0)
        return left

    def __enter__(self) -> Dispatcher:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def dead_letters(self) -> int:
        """How many timed messages found their actor dead."""
        return self._queues.dead_letters

    @property
    def injected(self) -> dict[str, int]:
        """The faults injected so far, by kind; empty without a plan of faults."""
        return self._faults.by_kind() if self._faults is not None else {}

    @property
    def actors(self) -> int:
        """How many actors are alive here."""
        return len(self._mailboxes)

    def inspect(self, sort: Sort = "rate", limit: int = 50) -> dict[str, Any]:
        """The kinds of actors here, and the first `limit` actors by `sort`; see `Inspector.look`.

        Raises:
            UsageError: `sort` is none of `inspection.SORTS`, or `limit` not in 1 … `MOST_ROWS`.
        """
        if sort not in SORTS:
            raise UsageError(f"actors can't be sorted by {sort!r}", f"one of: {', '.join(SORTS)}")
        if not 1 <= limit <= MOST_ROWS:
            raise UsageError(f"{limit} rows are not told", f"between 1 and {MOST_ROWS:,}")
        kinds, mailboxes = list(self._kinds.values()), list(self._mailboxes)
        with self._looking:
            return self._inspector.look(mailboxes, kinds, snapshot(kinds, mailboxes), sort, limit)

    def metrics(self) -> dict[str, KindSnapshot]:
        """What each kind of actor has done so far, by class name."""
        return snapshot(list(self._kinds.values()), list(self._mailboxes))


_default: Dispatcher | None = None
_default_lock = threading.Lock()


def default_dispatcher() -> Dispatcher:
    """The process's dispatcher with one worker, made when first needed."""
    global _default
    with _default_lock:
        if _default is None or _default._closed:
            _default = Dispatcher(name="default")
        return _default


use_default(default_dispatcher)
