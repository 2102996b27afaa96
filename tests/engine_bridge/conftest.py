"""A fake stage (no world, no actors) and small helpers that the bridge's tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bridge_fakes import Bridges, FakeStage
from bridge_hall import Hall, NowStage


@pytest.fixture
def stage() -> Iterator[FakeStage]:
    made = FakeStage()
    yield made
    made.close()


@pytest.fixture
def bridges() -> Iterator[Bridges]:
    made = Bridges()
    yield made
    made.stop()


@pytest.fixture
def hall() -> Hall:
    return Hall(NowStage())
