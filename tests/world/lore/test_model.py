"""Random puts, updates, deletes, merges, deaths and reopenings: the store is what a dict would be."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from direct_builder import DirectBuilder
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from world.lore.journal import FileJournal
from world.lore.vectors import Key, Meta, VectorOptions, VectorStore, Where

DIMS = 6
POOL = np.random.default_rng(3).standard_normal((40, DIMS)).astype(np.float32)
POOL /= np.linalg.norm(POOL, axis=1, keepdims=True)
OPTIONS = VectorOptions(tail_rows=1000, exact_rows=8, trees=2, effort=4)
KEYS = st.one_of(st.integers(-2, 12), st.sampled_from(["ada", "ben", "Ångström", "1"]))
PLACES = st.integers(0, len(POOL) - 1)
SOURCES = st.sampled_from(["", "note", "talk"])


class StoreAgainstDict(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="greenroom-vectors-"))
        self.store = self.open()
        self.model: dict[Key, tuple[int, Meta]] = {}

    def open(self) -> VectorStore:
        path = self.folder / "vectors"
        path.mkdir(exist_ok=True)
        return VectorStore(
            path,
            DIMS,
            options=OPTIONS,
            builder=DirectBuilder(),
            journal=FileJournal(path, part_bytes=200),
        )

    @rule(key=KEYS, place=PLACES, source=SOURCES, time=st.integers(-5, 5))
    def put(self, key: Key, place: int, source: str, time: int) -> None:
        self.store.put(key, POOL[place] * 3, Meta(source, "", time))
        self.model[key] = (place, Meta(source, "", time))

    @rule(key=KEYS)
    def delete(self, key: Key) -> None:
        assert self.store.delete(key) == (self.model.pop(key, None) is not None)

    @rule()
    def merge(self) -> None:
        assert self.store.merge(60), self.store.status()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = self.open()

    @rule()
    def die_and_reopen(self) -> None:
        """What a kill leaves is the files as they are."""
        copy = self.folder / "copy"
        shutil.copytree(self.folder / "vectors", copy)
        self.store.close()
        shutil.rmtree(self.folder / "vectors")
        copy.rename(self.folder / "vectors")
        self.store = self.open()

    @rule(place=PLACES, source=SOURCES, since=st.integers(-5, 5), k=st.integers(1, 30))
    def search_with_a_filter(self, place: int, source: str, since: int, k: int) -> None:
        where = Where(sources={source}, since=since)
        self.compare(POOL[place], k, where, {
            key: at for key, (at, meta) in self.model.items() if where.admits(meta)
        })  # fmt: skip

    @invariant()
    def everything_is_found(self) -> None:
        assert len(self.store) == len(self.model)
        self.compare(POOL[0], 50, None, {key: at for key, (at, _) in self.model.items()})

    @invariant()
    def attributes_and_vectors_are_kept(self) -> None:
        for key, (at, meta) in self.model.items():
            found = self.store.get(key)
            assert found is not None
            assert found[1] == meta
            np.testing.assert_allclose(found[0], POOL[at], atol=1e-6)

    def compare(
        self, query: np.ndarray, k: int, where: Where | None, passing: dict[Key, int]
    ) -> None:
        hits = self.store.search(query, k=k, where=where)
        assert len(hits) == min(k, len(passing)) == len({hit.key for hit in hits})
        for hit in hits:
            assert hit.score == pytest.approx(float(POOL[passing[hit.key]] @ query), abs=1e-5)
        assert [hit.score for hit in hits] == sorted((h.score for h in hits), reverse=True)
        if k >= len(passing):
            assert {hit.key for hit in hits} == set(passing)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)


TestStoreAgainstDict = StoreAgainstDict.TestCase
TestStoreAgainstDict.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
