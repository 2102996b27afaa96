"""Makers of small worlds on a real disk, for the tests of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foundation.errors import GreenroomError
from world.store import Store, StoreOptions, TickRecord, WorldMeta


@pytest.fixture
def meta() -> WorldMeta:
    return WorldMeta(
        scene="valley",
        seed=7,
        npcs=40,
        ruleset_digest="aa55",
        engine_version="0.1.0",
        mod_versions={"wolves": "1.0"},
    )


@pytest.fixture
def record() -> Callable[..., TickRecord]:
    """Tick → its record; the same tick has always the same."""

    def make(tick: int, epoch: int = 1, size: int = 0) -> TickRecord:
        return TickRecord(
            tick=tick,
            epoch=epoch,
            hash=(tick * 0x9E3779B97F4A7C15) % 2**64,
            inputs=(["move", tick % 50 + 1, "player:ann", tick, {"x": tick, "y": -tick}],),
            events=([tick, "moved_in", tick % 50 + 1, 0, {"place": "mill", "pad": b"." * size}],),
        )

    return make


@pytest.fixture
def state() -> Callable[[int], dict[str, Any]]:
    """Tick → a state of that tick."""

    def make(tick: int) -> dict[str, Any]:
        return {
            "tick": tick,
            "tiles": np.full((12, 9), tick % 15, dtype=np.uint8),
            "rows": {"x": np.arange(tick % 40 + 1, dtype=np.int32) * tick},
            "names": [[tick, "Ann"]],
        }

    return make


@pytest.fixture
def opened(meta: WorldMeta) -> Iterator[Callable[..., Store]]:
    """Opens (or makes) a store; what is still open at the end is closed."""
    stores: list[Store] = []

    def make(path: Path, **bounds: Any) -> Store:
        store = Store.open(path, create=meta, options=StoreOptions(**bounds))
        stores.append(store)
        return store

    yield make
    for store in stores:
        try:
            store.close()
        except GreenroomError:
            assert store.error is not None  # a test made it fail on purpose
