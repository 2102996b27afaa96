"""Vector stores for the tests: small bounds, clustered vectors, an index built where the test runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from direct_builder import DirectBuilder

from world.lore.vectors import VectorOptions, VectorStore

DIMS = 16


def clustered(rows: int, dims: int, seed: int, clusters: int = 50) -> np.ndarray:
    """float32[rows, dims] of unit length, in clusters."""
    chance = np.random.default_rng(seed)
    centres = np.random.default_rng(1).standard_normal((clusters, dims))
    made = centres[chance.integers(0, clusters, rows)] + 0.5 * chance.standard_normal((rows, dims))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors() -> Callable[..., np.ndarray]:
    """(rows, dims=16, seed=0) -> clustered unit vectors."""
    return lambda rows, dims=DIMS, seed=0: clustered(rows, dims, seed)


@pytest.fixture
def open_store(tmp_path: Path) -> Iterator[Callable[..., VectorStore]]:
    """Opens the store of this test: merges only when asked to, and indexes all, unless told."""
    opened: list[VectorStore] = []

    def make(dims: int = DIMS, **more: Any) -> VectorStore:
        options = {"tail_rows": 10_000, "exact_rows": 0, "effort": 200}
        named = {k: more.pop(k) for k in tuple(more) if k in VectorOptions.__slots__}
        more.setdefault("builder", DirectBuilder())
        store = VectorStore(
            tmp_path / "vectors", dims, options=VectorOptions(**{**options, **named}), **more
        )
        opened.append(store)
        return store

    yield make
    for store in opened:
        store.close()
