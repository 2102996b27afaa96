"""A game day with kills of everything: nobody is stuck at its end. Run with `-m soak`."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from actors.actor import GreenActor
from actors.company import Company
from actors.npc import NpcActor
from models.scripted import ScriptedBackend

TICKS = 24_000


class Kill:
    """Fails whoever receives it."""


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_day_of_kills_leaves_nobody_stuck(
    company: Callable[..., Company], heard: Any, enter: Any, named: Any, monkeypatch: Any
) -> None:
    kinds = {GreenActor, *_below(GreenActor)}
    for kind in kinds:
        if "on_receive" in vars(kind):
            monkeypatch.setattr(kind, "on_receive", _fragile(kind.on_receive))
    chance = random.Random(1)
    backend = ScriptedBackend(lambda request: f"So it is, said {chance.random()}.")
    c = company(backend=backend, settings={"patience_s": 5.0})
    body = enter(c)
    listeners: list[Any] = []
    kills = 0

    def trouble(world: Any) -> None:
        nonlocal kills
        if world.tick % 40 == 0:
            everyone = [box.ref for box in list(c.dispatcher._mailboxes)]
            victim = chance.choice([ref for ref in everyone if ref is not c._boss])
            victim.tell(Kill())
            kills += 1
        if world.tick % 25 == 0:
            listeners.append(heard())
            npc = named(c, chance.choice(["Marta Kell", "Orla Finch"]))
            c.say(body, npc, f"What of tick {world.tick}?", listeners[-1])

    c.run_headless(TICKS, trouble)
    c.run_headless(20 * 90)
    assert all(listener.ends == 1 for listener in listeners)
    metrics = c.dispatcher.metrics()
    assert kills > 500
    assert sum(kind.restarts for kind in metrics.values()) > 300
    last = [heard(), heard()]
    for name, listener in zip(("Marta Kell", "Orla Finch"), last, strict=True):
        c.say(body, named(c, name), "Are you well?", listener)
    c.run_headless(c.settings.speak_ticks + 2)
    assert all(listener.ends == 1 for listener in last)
    assert not any(row["state"] != "alive" for row in c.inspect(limit=1000)["actors"])
    assert c.ledger.world.hash() == c.ledger.world.full_hash()
    assert metrics[NpcActor.__name__].alive == len(c.ledger.minds)
    backend.close()


def _below(kind: type) -> list[type]:
    return [each for sub in kind.__subclasses__() for each in (sub, *_below(sub))]


def _fragile(receive: Callable[..., Any]) -> Callable[..., Any]:
    def on_receive(self: GreenActor, message: Any) -> Any:
        if isinstance(message, Kill):
            raise RuntimeError("killed")
        return receive(self, message)

    return on_receive
