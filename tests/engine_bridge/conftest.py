"""A fake stage (no world, no actors) and small helpers that the bridge's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
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
