"""Blocking work comes back, whatever becomes of mailboxes and of the pool's own threads."""

from __future__ import annotations

import threading
from typing import Any

import pykka

from actors.blocking import Finished
from actors.dispatch import Dispatcher, GreenActor
from actors.mailbox import MailboxSpec

WAIT = 20.0


class Asker(GreenActor):
    mailbox = MailboxSpec(limit=2)

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.wanted = wanted
        self.got: list[int] = []
        self.all = threading.Event()
        self.gate = threading.Event()
        self.held = threading.Event()

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Finished):
            self.got.append(message.value)
            if len(self.got) == self.wanted:
                self.all.set()
        elif message == "hold":
            self.held.set()
            self.gate.wait(WAIT)


def test_what_finds_the_askers_mailbox_full_comes_again_and_costs_no_thread() -> None:
    with Dispatcher(workers=1, pool=2) as dispatcher:
        ref = dispatcher.start(Asker, 12)
        actor = ref._actor_weakref()
        assert actor is not None
        ref.tell("hold")
        assert actor.held.wait(WAIT)
        ref.tell("more")
        ref.tell("and more")
        outcomes = [threading.Event() for _ in range(6)]
        for number, done in enumerate(outcomes):
            dispatcher.run_blocking(_numbered(number, done), ref, number)
        assert all(done.wait(WAIT) for done in outcomes)
        actor.gate.set()
        for number in range(6, 12):
            dispatcher.run_blocking(_numbered(number, threading.Event()), ref, number)
        assert actor.all.wait(WAIT)
        assert sorted(actor.got) == list(range(12))


def test_stopping_every_pykka_actor_leaves_a_pool_that_still_works() -> None:
    with Dispatcher(workers=1, pool=2) as dispatcher:
        for _round in range(3):
            ref = dispatcher.start(Asker, 4)
            actor = ref._actor_weakref()
            assert actor is not None
            # One at a time, for the mailbox's bound is none of this test's.
            for number in range(4):
                done = threading.Event()
                dispatcher.run_blocking(_numbered(number, done), ref, number)
                assert done.wait(WAIT)
            assert actor.all.wait(WAIT)
            pykka.ActorRegistry.stop_all(timeout=WAIT)


def test_work_that_waits_while_its_thread_is_stopped_is_done_by_another() -> None:
    with Dispatcher(workers=1, pool=1) as dispatcher:
        ref = dispatcher.start(Asker, 2)
        actor = ref._actor_weakref()
        assert actor is not None
        begun, gate = threading.Event(), threading.Event()

        def first() -> int:
            (worker,) = pykka.ActorRegistry.get_by_class_name("_Worker")
            worker.stop(block=False)
            begun.set()
            gate.wait(WAIT)
            return 1

        dispatcher.run_blocking(first, ref, "first")
        assert begun.wait(WAIT)
        gate.set()
        dispatcher.run_blocking(lambda: 2, ref, "second")
        assert actor.all.wait(WAIT)
        assert sorted(actor.got) == [1, 2]


def _numbered(number: int, done: threading.Event) -> Any:
    def work() -> int:
        done.set()
        return number

    return work
