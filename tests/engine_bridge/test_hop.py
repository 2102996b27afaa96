"""Whatever thread the stage answers on, the bridge hears it on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from bridge_fakes import FakeOutcome, FakeStage

from engine_bridge.hop import HoppingStage
from models.request import NO_PREFERENCE
from world.inputs import Input


class Recorder:
    """Listens to speech and content, and keeps what it was told."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_text(self, text: str) -> None:
        self.heard.append((text,))

    def on_progress(self, node: str, state: str, done: int, total: int) -> None:
        self.heard.append((node, state, done, total))

    def on_done(self, *told: Any) -> None:
        self.heard.append(told)

    def on_rejected(self, code: str, reason: str) -> None:
        self.heard.append((code, reason))


class Bridge:
    """A bridge's thread that runs what was hopped to it when the test says so."""

    def __init__(self, stage: FakeStage) -> None:
        self.waiting: list[Callable[[], None]] = []
        self.stage = HoppingStage(stage, self.hop)

    def hop(self, function: Callable[..., None], *args: object) -> None:
        self.waiting.append(lambda: function(*args))

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


ASKED: Mapping[str, Callable[[HoppingStage, Callable[[Any], None]], None]] = {
    "join": lambda stage, told: stage.join("Ann", told),
    "leave": lambda stage, told: stage.leave(100, told),
    "propose": lambda stage, told: stage.propose(Input("wait", 100, "client:s", 1, {}), told),
    "situation": lambda stage, told: stage.situation(100, told),
}


@pytest.mark.parametrize("asked", ASKED)
def test_an_outcome_is_told_on_the_bridges_thread_alone(stage: FakeStage, asked: str) -> None:
    bridge, told = Bridge(stage), list[FakeOutcome]()
    ASKED[asked](bridge.stage, told.append)
    stage.close()
    assert told == []
    bridge.run()
    assert len(told) == 1


def test_speech_keeps_its_order_on_the_way(stage: FakeStage) -> None:
    bridge, listener = Bridge(stage), Recorder()
    cancel = bridge.stage.say(1, 100, "Good day", listener, NO_PREFERENCE)
    stage.answer(stage.lines[0], "Well ", "met.", source="house 1")
    stage.close()
    assert listener.heard == []
    bridge.run()
    assert listener.heard == [("Well ",), ("met.",), ("Well met.", "house 1", None)]
    cancel()
    assert stage.lines[0].cancelled


def test_a_refused_line_is_told_on_the_bridges_thread(stage: FakeStage) -> None:
    bridge, listener = Bridge(stage), Recorder()
    bridge.stage.say(1, 9, "Anybody?", listener, NO_PREFERENCE)
    stage.close()
    assert listener.heard == []
    bridge.run()
    assert listener.heard == [("no_such_entity", "there is no 9")]


def test_contents_progress_and_end_are_told_on_the_bridges_thread(stage: FakeStage) -> None:
    bridge, listener = Bridge(stage), Recorder()
    bridge.stage.content({"kind": "quest"}, listener)
    ((_, brought),) = stage.contents
    brought.on_progress("draft", "started", 0, 2)
    brought.on_done({"quests": []})
    brought.on_rejected("busy", "too much is waiting")
    assert listener.heard == []
    bridge.run()
    assert listener.heard == [
        ("draft", "started", 0, 2),
        ({"quests": []},),
        ("busy", "too much is waiting"),
    ]
