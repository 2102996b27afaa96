"""Turns and calls are found as soon as they are put, survive, and stay within their bounds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from world.errors import StorageError
from world.store import Store, TickRecord, WorldMeta

Opened = Callable[..., Store]
Record = Callable[..., TickRecord]


def texts(store: Store, npc: int, player: str, limit: int = 100) -> list[str]:
    return [turn["text"] for turn in store.turns(npc, player, limit)]


def test_turns_are_kept_by_pair_in_order(tmp_path: Path, opened: Opened) -> None:
    store = opened(tmp_path / "w")
    for n in range(30):
        store.put_turn(n % 3, "ann", {"text": f"a{n}"})
        store.put_turn(1, "bob", {"text": f"b{n}"})
    assert texts(store, 1, "ann", 4) == ["a19", "a22", "a25", "a28"]
    assert texts(store, 1, "bob", 2) == ["b28", "b29"]
    assert texts(store, 5, "ann") == []
    store.close()
    store = opened(tmp_path / "w")
    assert texts(store, 1, "ann", 4) == ["a19", "a22", "a25", "a28"]
    store.put_turn(1, "ann", {"text": "later"})
    assert texts(store, 1, "ann", 2) == ["a28", "later"]


def test_a_turn_is_found_before_it_is_synced_and_is_that_of_the_moment(
    tmp_path: Path, opened: Opened, record: Record
) -> None:
    store = opened(tmp_path / "w")
    entered, go = threading.Event(), threading.Event()

    def hold(tick: int) -> None:
        entered.set()
        assert go.wait(60)

    store.on_synced(hold)
    store.append(record(1))
    assert entered.wait(30)
    turn = {"text": "hello", "facts": ["a"]}
    store.put_turn(1, "ann", turn)
    turn["facts"] = ["a", "b"]
    assert store.turns(1, "ann") == [{"text": "hello", "facts": ["a"]}]
    assert store.reader.turns(1, "ann", 5) == []
    go.set()
    store.flush()
    assert store.turns(1, "ann") == [{"text": "hello", "facts": ["a"]}]
    assert [turn for _, turn in store.reader.turns(1, "ann", 5)] == store.turns(1, "ann")


def test_the_oldest_turns_of_a_pair_go_at_its_bound(tmp_path: Path, opened: Opened) -> None:
    store = opened(tmp_path / "w", turns_per_pair=5)
    for n in range(23):
        store.put_turn(1, "ann", {"text": str(n)})
    store.put_turn(1, "bob", {"text": "b"})
    store.flush()
    assert texts(store, 1, "ann") == ["18", "19", "20", "21", "22"]
    assert texts(store, 1, "bob") == ["b"]
    counts = store.reader.counts()
    assert (counts["conversations"], counts["turn_order"]) == (6, 6)


def test_the_oldest_turns_of_all_go_at_the_bound_of_the_world(
    tmp_path: Path, opened: Opened
) -> None:
    store = opened(tmp_path / "w", turns_total=10, turns_per_pair=4)
    for n in range(8):
        store.put_turn(n, "ann", {"text": f"a{n}"})
    for n in range(5):
        store.put_turn(3, "bob", {"text": f"b{n}"})
    store.flush()
    assert [texts(store, n, "ann") for n in range(8)] == [[], [], *([f"a{n}"] for n in range(2, 8))]
    assert texts(store, 3, "bob") == ["b1", "b2", "b3", "b4"]
    assert store.reader.counts()["conversations"] == 10


def test_pairs_are_counted(tmp_path: Path, opened: Opened) -> None:
    store = opened(tmp_path / "w")
    for npc, player in ((1, "ann"), (1, "annabel"), (2, "ann"), (1, "ann"), (1, "")):
        store.put_turn(npc, player, {"text": "x"})
    store.flush()
    assert store.reader.pairs() == 4


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    talks=st.lists(
        st.tuples(st.integers(0, 2**64 - 1) | st.integers(0, 2), st.text(max_size=20)),
        max_size=12,
    )
)
def test_no_pair_sees_another_pairs_turns(
    tmp_path_factory: pytest.TempPathFactory, talks: list[tuple[int, str]]
) -> None:
    path = tmp_path_factory.mktemp("talks")
    with Store.open(path, create=WorldMeta(scene="s", seed=1)) as store:
        said: dict[tuple[int, str], list[str]] = {}
        for n, (npc, player) in enumerate(talks):
            try:
                store.put_turn(npc, player, {"text": str(n)})
            except StorageError:
                assert len(player.encode("utf-8", "replace")) > 128
                continue
            said.setdefault((npc, player), []).append(str(n))
        for flushed in (False, True):
            if flushed:
                store.flush()
            for (npc, player), wanted in said.items():
                assert texts(store, npc, player) == wanted


@pytest.mark.parametrize(
    ("npc", "player", "turn"),
    [
        (-1, "ann", {"text": "x"}),
        (2**64, "ann", {"text": "x"}),
        (1, "a" * 129, {"text": "x"}),
        (1, "\ud800", {"text": "x"}),
        (1, "ann", {"text": "x" * 20_000}),
        (1, "ann", {"text": object()}),
    ],
)
def test_a_turn_that_cant_be_kept_is_refused(
    tmp_path: Path, opened: Opened, npc: int, player: str, turn: dict[str, object]
) -> None:
    store = opened(tmp_path / "w")
    with pytest.raises(StorageError):
        store.put_turn(npc, player, turn)
    store.put_turn(1, "ann", {"text": "fine"})
    assert texts(store, 1, "ann") == ["fine"]


def test_the_last_calls_are_kept_and_paged(tmp_path: Path, opened: Opened) -> None:
    store = opened(tmp_path / "w", calls_kept=20)
    for n in range(50):
        assert store.put_call({"prompt": f"p{n}", "tokens": n})
    store.flush()
    first = store.calls(limit=15)
    rest = store.calls(after=first[-1][0], limit=15)
    assert [call["tokens"] for _, call in first + rest] == list(range(30, 50))
    assert store.calls(after=rest[-1][0]) == []
    store.close()
    store = opened(tmp_path / "w")
    store.put_call({"prompt": "again", "tokens": 99})
    store.flush()
    assert store.calls(after=rest[-1][0])[0][1]["tokens"] == 99
