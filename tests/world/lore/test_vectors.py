"""A vector store: found as soon as stored, exact about what changed and went, bounded, typed errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import numpy as np
import pytest

from foundation.errors import LimitError
from world.errors import StorageError, VectorError, WorldBusy
from world.lore.index import ChildBuilder, IndexJob
from world.lore.vectors import Meta, VectorStore, Where

ROOT = Path(__file__).parents[3]
Open = Callable[..., VectorStore]
Make = Callable[..., np.ndarray]


def test_a_vector_is_found_as_soon_as_it_is_stored(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(), vectors(50)
    for n, row in enumerate(rows):
        store.put(n, row)
        key, score = store.search(row, k=1)[0]
        assert key == n
        assert score == pytest.approx(1.0, abs=1e-5)


def test_a_vector_of_any_length_is_stored_as_a_direction(open_store: Open, vectors: Make) -> None:
    store, row = open_store(), vectors(1)[0]
    store.put("a", row * 700)
    assert store.search(row * 0.01, k=1)[0].score == pytest.approx(1.0, abs=1e-5)
    found = store.get("a")
    assert found is not None
    np.testing.assert_allclose(found[0], row, atol=1e-6)


def test_a_replaced_vector_is_found_where_it_is_now_and_nowhere_else(
    open_store: Open, vectors: Make
) -> None:
    store, rows = open_store(), vectors(300)
    store.put_many(range(200), rows[:200])
    assert store.merge(60)
    for n in range(50):
        store.put(n, rows[250 + n])
    assert len(store) == 200
    for n in range(50):
        assert store.search(rows[250 + n], k=1)[0].key == n
        assert all(hit.score < 0.9999 for hit in store.search(rows[n], k=5) if hit.key == n)
    assert store.merge(60)
    assert len({hit.key for hit in store.search(rows[0], k=200)}) == 200


def test_a_deleted_vector_is_never_found_again(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(), vectors(100)
    store.put_many(range(100), rows)
    assert store.merge(60)
    assert store.delete(7)
    assert not store.delete(7)
    assert 7 not in {hit.key for hit in store.search(rows[7], k=100)}
    assert store.merge(60)
    store.close()
    again = open_store()
    assert 7 not in {hit.key for hit in again.search(rows[7], k=100)}
    assert len(again) == 99


def test_a_store_opened_again_holds_what_it_held(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(), vectors(120)
    store.put_many([f"note:{n}" for n in range(80)], rows[:80], [Meta("note", "ada", 3)] * 80)
    assert store.merge(60)
    store.put_many(range(40), rows[80:], [Meta("talk", "ben", n) for n in range(40)])
    store.delete("note:3")
    before = store.search_many(rows, k=5)
    store.close()
    again = open_store()
    assert again.search_many(rows, k=5) == before
    found = again.get(39)
    assert found is not None
    assert found[1] == Meta("talk", "ben", 39)
    assert again.get("note:3") is None


def test_filters_still_fill_k(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(effort=150), vectors(2000)
    metas = [Meta(("talk", "note", "lore")[n % 3], f"npc:{n % 100}", n) for n in range(len(rows))]
    store.put_many(range(2000), rows, metas)
    assert store.merge(60)
    cosines = rows @ rows[0]
    for where, passing in (
        (Where(sources={"note"}), [n for n in range(2000) if n % 3 == 1]),
        (Where(holders={"npc:7"}), [n for n in range(2000) if n % 100 == 7]),
        (Where(holders={"npc:7", "npc:8"}), [n for n in range(2000) if n % 100 in (7, 8)]),
        (Where(since=1990, until=1993), [1990, 1991, 1992, 1993]),
        (Where(sources={"lore"}, since=1000), [n for n in range(1000, 2000) if n % 3 == 2]),
    ):
        hits = store.search(rows[0], k=20, where=where)
        assert len(hits) == min(20, len(passing))
        assert all(where.admits(metas[int(hit.key)]) for hit in hits)
        best = sorted((float(cosines[n]) for n in passing), reverse=True)[: len(hits)]
        got = [hit.score for hit in hits]
        assert np.mean(np.isclose(got, best, atol=1e-5)) >= 0.9
    assert store.search(rows[0], where=Where(sources={"dream"})) == []


def test_an_index_that_proposes_too_few_is_asked_again_until_k_are_found(
    open_store: Open, vectors: Make
) -> None:
    store, rows = open_store(effort=16, trees=1, links=4, beam=4), vectors(3000)
    # what may be found lies far from the query, where the index looks last
    far = rows @ rows[0] < 0.3
    store.put_many(range(3000), rows, [Meta("far" if one else "near") for one in far])
    assert store.merge(60)
    hits = store.search(rows[0], k=50, where=Where(sources={"far"}))
    assert int(store.status()["widened"]) > 0  # type: ignore[call-overload]
    assert len(hits) == 50
    assert all(far[int(hit.key)] for hit in hits)


def test_indexed_search_finds_nearly_all_that_exact_search_finds(
    open_store: Open, vectors: Make
) -> None:
    store, rows = open_store(dims=64, effort=300), vectors(5000, 64)
    store.put_many(range(5000), rows)
    assert store.merge(60)
    assert [one["indexed"] for one in store.status()["segments"]] == [True]  # type: ignore[attr-defined]
    queries = vectors(100, 64, 9)
    found = store.search_many(queries, k=10)
    true = np.argsort(-(queries @ rows.T), axis=1)[:, :10]
    recall = np.mean(
        [
            len({h.key for h in hits} & set(t)) / 10
            for hits, t in zip(found, true.tolist(), strict=True)
        ]
    )
    assert recall >= 0.95
    assert store.status()["exact_scans"] == 0


def test_inserts_are_seen_at_once_beside_an_indexed_segment(
    open_store: Open, vectors: Make
) -> None:
    store, rows = open_store(), vectors(600)
    store.put_many(range(500), rows[:500])
    assert store.merge(60)
    for n in range(500, 600):
        store.put(n, rows[n])
        assert store.search(rows[n], k=1)[0].key == n


def test_the_tail_is_merged_when_it_is_long(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(tail_rows=64), vectors(400)
    for n, row in enumerate(rows):
        store.put(n, row)
    assert store.merge(60)
    status = store.status()
    assert status["tail"] == 0
    assert len(store) == 400
    # sizes at least double from one to the next, so there are few
    assert len(status["segments"]) <= 4  # type: ignore[arg-type]
    assert {hit.key for hit in store.search(rows[0], k=400)} == set(range(400))


def test_changes_made_while_a_merge_runs_are_kept(open_store: Open, vectors: Make) -> None:
    rows = vectors(300)
    begun, go_on = threading.Event(), threading.Event()

    class Slow(ChildBuilder):
        def build(self, *args: object, **named: object) -> None:
            begun.set()
            assert go_on.wait(60)

    store = open_store(builder=Slow())
    store.put_many(range(200), rows[:200])
    done: list[bool] = []
    waiting = threading.Thread(target=lambda: done.append(store.merge(60)))
    waiting.start()
    assert begun.wait(60)
    assert store.status()["merging"]
    store.delete(5)
    store.put(6, rows[250])
    store.put(200, rows[200])
    go_on.set()
    waiting.join()
    assert done == [True]
    assert store.status()["index_error"]  # nothing was built: searched exactly
    keys = {hit.key for hit in store.search(rows[0], k=300)}
    assert keys == set(range(201)) - {5}
    assert store.search(rows[250], k=1)[0].key == 6
    store.close()
    again = open_store()
    assert {hit.key for hit in again.search(rows[0], k=300)} == keys
    assert again.search(rows[250], k=1)[0].key == 6


def test_an_index_is_built_in_a_child_process(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(builder=ChildBuilder()), vectors(500)
    store.put_many(range(500), rows)
    assert store.merge(120), store.status()
    status = store.status()
    assert status["index_error"] == ""
    assert [one["indexed"] for one in status["segments"]] == [True]  # type: ignore[attr-defined]
    assert store.search(rows[3], k=1)[0].key == 3


def test_a_build_ends_with_whoever_asked_for_it(tmp_path: Path, vectors: Make) -> None:
    (tmp_path / "vectors").write_bytes(vectors(20_000).tobytes())
    job = IndexJob(
        tmp_path / "vectors", 20_000, 16, 5_000, 4, tmp_path / "trees", tmp_path / "links"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "world.lore.index_child"],
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdin is not None
        child.stdin.write(json.dumps(job.plain()) + "\n")
        child.stdin.close()
        assert child.wait(60) == 3


def test_closing_ends_a_build_under_way(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(builder=ChildBuilder(), trees=1000), vectors(3000)
    store.put_many(range(3000), rows)
    threading.Thread(target=store.merge, args=(600,)).start()
    while not store.status()["merging"]:
        pass
    store.close()
    assert len(open_store()) == 3000


def test_a_full_tail_refuses_and_a_merge_mends_it(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(tail_limit=50), vectors(51)
    store.put_many(range(50), rows[:50])
    with pytest.raises(LimitError, match="wait to be merged") as refused:
        store.put(50, rows[50])
    assert refused.value.retryable
    assert store.delete(0), "what frees room is never refused"
    assert store.merge(60)
    store.put(50, rows[50])
    assert store.status()["refused"] == 1


def test_the_bound_on_vectors_refuses_new_keys_only(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(vectors=3), vectors(5)
    store.put_many(range(3), rows[:3])
    with pytest.raises(LimitError, match="as many as it may"):
        store.put(3, rows[3])
    store.put(2, rows[4])
    assert store.search(rows[4], k=1)[0].key == 2


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        (np.ones(15), "16 dimensions"),
        (np.ones((2, 16)), "one is asked for"),
        (np.full(16, np.nan), "NaN"),
        (np.full(16, np.inf), "NaN"),
        (np.full(16, 1e30), "past 1e18"),
        (np.zeros(16), "zero"),
        (["a"] * 16, "no vector"),
    ],
)
def test_a_vector_that_cannot_be_stored_is_refused_with_its_mend(
    open_store: Open, vector: object, told: str
) -> None:
    store = open_store()
    with pytest.raises(VectorError, match=told) as refused:
        store.put(1, vector)
    assert refused.value.hint
    assert len(store) == 0


@pytest.mark.parametrize("key", ["", "x" * 257, 1 << 63, True, 1.5, None, "\ud800"])
def test_a_key_that_cannot_be_stored_is_refused(
    open_store: Open, vectors: Make, key: object
) -> None:
    with pytest.raises(VectorError):
        open_store().put(key, vectors(1)[0])  # type: ignore[arg-type]


def test_a_filter_given_as_one_text_is_refused() -> None:
    with pytest.raises(VectorError, match="note"):
        Where(sources="note")


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_k_is_bounded(open_store: Open, vectors: Make, k: int) -> None:
    with pytest.raises(VectorError):
        open_store().search(vectors(1)[0], k=k)


def test_other_dimensions_than_the_folder_holds_are_refused(open_store: Open) -> None:
    open_store(dims=16).close()
    with pytest.raises(VectorError, match="16 dimensions, not 32"):
        open_store(dims=32)
    assert len(open_store(dims=16)) == 0, "the lock was let go"


def test_two_holders_of_one_folder_are_refused(open_store: Open, tmp_path: Path) -> None:
    open_store()
    with pytest.raises(WorldBusy):
        VectorStore(tmp_path / "vectors", 16)


def test_a_closed_store_says_so(open_store: Open, vectors: Make) -> None:
    store = open_store()
    store.close()
    store.close()
    with pytest.raises(StorageError, match="closed"):
        store.put(1, vectors(1)[0])
    with pytest.raises(StorageError, match="closed"):
        store.search(vectors(1)[0])


def test_an_empty_store_finds_nothing(open_store: Open, vectors: Make) -> None:
    store = open_store()
    assert store.search(vectors(1)[0]) == []
    assert store.merge(60)
    assert store.status()["segments"] == []


def test_searches_and_changes_from_several_threads_agree(open_store: Open, vectors: Make) -> None:
    store, rows = open_store(tail_rows=100), vectors(900)
    faults: list[str] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            hits = store.search(rows[0], k=20)
            if len({hit.key for hit in hits}) != len(hits):
                faults.append("a key was found twice")
            if any(abs(float(rows[0] @ rows[int(h.key)]) - h.score) > 1e-4 for h in hits):
                faults.append("a score is not its vector's")

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for one in lookers:
        one.start()
    for n, row in enumerate(rows):
        store.put(n, row)
        if n % 7 == 0:
            store.put(n, row)
    ended.set()
    for one in lookers:
        one.join()
    assert faults == []
    assert store.merge(60)
    assert len(store) == 900


class LmdbJournal:
    """A log in an LMDB environment that someone else opened."""

    def __init__(self, env: lmdb.Environment) -> None:
        self.env = env
        self.trimmed = 0

    def records(self, after: int) -> Iterator[tuple[int, bytes]]:
        with self.env.begin() as txn:
            for key, value in txn.cursor():
                if (serial := int.from_bytes(key, "big")) > after:
                    yield serial, bytes(value)

    def append(self, serial: int, payload: bytes) -> None:
        with self.env.begin(write=True) as txn:
            txn.put(serial.to_bytes(8, "big"), payload)

    def sync(self) -> int:
        self.env.sync(True)
        return 0

    def trim(self, serial: int) -> None:
        with self.env.begin(write=True) as txn:
            for key in [k for k, _ in txn.cursor() if int.from_bytes(k, "big") <= serial]:
                self.trimmed += txn.delete(key)

    def status(self) -> dict[str, object]:
        return {"kind": "lmdb"}

    def close(self) -> None:
        pass


def test_the_log_can_be_kept_in_another_s_database(
    open_store: Open, vectors: Make, tmp_path: Path
) -> None:
    rows = vectors(60)
    with lmdb.Environment(str(tmp_path / "world"), map_size=1 << 24) as env:
        journal = LmdbJournal(env)
        store = open_store(journal=journal)
        store.put_many(range(40), rows[:40])
        assert store.merge(60)
        assert journal.trimmed == 40
        store.put_many(range(40, 60), rows[40:])
        store.delete(3)
        store.close()
        again = open_store(journal=LmdbJournal(env))
        assert {hit.key for hit in again.search(rows[0], k=60)} == set(range(60)) - {3}
        again.close()
