"""A fake stage (no world, no actors) and small helpers that the bridge's tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bridge_fakes import FakeStage

from engine_bridge.server import Bridge
from engine_bridge.settings import BridgeSettings


@pytest.fixture
def stage() -> Iterator[FakeStage]:
    made = FakeStage()
    yield made
    made.close()


class Bridges:
    """Starts bridges and stops them when the test ends."""

    def __init__(self) -> None:
        self._running: list[Bridge] = []

    def __call__(self, stage: FakeStage, **settings: object) -> Bridge:
        given = {"port": 0, "http_port": None, "close_s": 2.0, **settings}
        bridge = Bridge(stage, BridgeSettings.model_validate(given))
        bridge.start()
        self._running.append(bridge)
        return bridge

    def stop(self) -> None:
        for bridge in self._running:
            bridge.stop()


@pytest.fixture
def bridges() -> Iterator[Bridges]:
    made = Bridges()
    yield made
    made.stop()
