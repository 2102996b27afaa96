"""Between two threads: frames are merged, nothing that matters is lost, and losses are mended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from bridge_fakes import HEIGHT, WIDTH, make_frame

from engine_bridge import feed as feed_module
from engine_bridge.feed import Feed
from world.events import Event
from world.frame import Frame


class Source:
    """The two calls of a stage that a feed uses, in the test's hands."""

    def __init__(self) -> None:
        self.put: Callable[[Frame], None] | None = None
        self.asked: list[Callable[[Frame], None]] = []

    def subscribe(self, on_frame: Callable[[Frame], None]) -> Callable[[], None]:
        self.put = on_frame
        return self._stop

    def _stop(self) -> None:
        self.put = None

    def full_frame(self, on_frame: Callable[[Frame], None]) -> None:
        self.asked.append(on_frame)


def whole(tick: int, epoch: int = 1, tile: int = 0, **names: str) -> Frame:
    tiles = [(0, 0, WIDTH, HEIGHT, bytes([tile]) * (WIDTH * HEIGHT))]
    given = {int(key[1:]): name for key, name in names.items()}
    return make_frame({1: {"hp": tick}}, tick=tick, epoch=epoch, tiles=tiles, names=given)


def frame(tick: int, **changes: Any) -> Frame:
    return make_frame({1: {"hp": tick}}, tick=tick, **changes)


def happened(tick: int) -> Event:
    return Event(tick, "ate", 1)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def feed(source: Source) -> Feed:
    made = Feed(source, lambda: None)  # type: ignore[arg-type]
    made.start()
    return made


def test_nothing_is_shown_before_the_first_full_frame(source: Source, feed: Feed) -> None:
    assert source.put is not None
    source.put(frame(5, events=[happened(5)]))
    assert feed.collect() is None
    assert len(source.asked) == 1
    source.asked[0](whole(5))
    batch = feed.collect()
    assert batch is not None
    assert batch.whole
    assert not batch.loaded
    assert [event.tick for event in batch.events] == [5]


def started(source: Source, feed: Feed, tick: int = 0, **names: str) -> Callable[[Frame], None]:
    source.asked.pop()(whole(tick, **names))
    assert feed.collect() is not None
    assert source.put is not None
    return source.put


def test_frames_that_wait_together_give_the_newest_state_and_every_event(
    source: Source, feed: Feed
) -> None:
    put = started(source, feed)
    for tick in (1, 2, 3):
        put(frame(tick, events=[happened(tick)], tiles=[(tick, 0, 1, 1, b"\x07")]))
    batch = feed.collect()
    assert batch is not None
    assert batch.view.tick == 3
    assert batch.view.columns["hp"].tolist() == [3]
    assert [event.tick for event in batch.events] == [1, 2, 3]
    assert feed.tiles[0, :5].tolist() == [0, 7, 7, 7, 0]
    assert feed.collect() is None


def test_the_worlds_thread_wakes_the_bridge_once_for_what_waits_together(source: Source) -> None:
    woken: list[int] = []
    feed = Feed(source, lambda: woken.append(1))  # type: ignore[arg-type]
    feed.start()
    source.asked[0](whole(0))
    assert source.put is not None
    source.put(frame(1))
    source.put(frame(2))
    assert len(woken) == 1
    feed.collect()
    source.put(frame(3))
    assert len(woken) == 2


def test_tile_changes_older_than_the_full_frame_do_not_undo_it(source: Source, feed: Feed) -> None:
    assert source.put is not None
    source.put(frame(1, tiles=[(0, 0, 1, 1, b"\x01")]))
    source.put(frame(3, tiles=[(1, 0, 1, 1, b"\x03")]))
    source.asked[0](whole(2, tile=9))
    batch = feed.collect()
    assert batch is not None
    assert batch.view.tick == 3
    assert feed.tiles[0, :3].tolist() == [9, 3, 9]


def test_names_are_kept_and_their_changes_noted(source: Source, feed: Feed) -> None:
    put = started(source, feed, _1="Ann")
    put(frame(4, names={1: "Anna", 2: "Ben"}))
    feed.collect()
    assert feed.names == {1: "Anna", 2: "Ben"}
    assert feed.renamed == {1: 4}


def test_names_of_the_gone_do_not_pile_up(source: Source, feed: Feed) -> None:
    put = started(source, feed, _1="Ann")
    for tick in range(1, 300):
        put(frame(tick, names={1000 + tick: "passer-by"}))
        feed.collect()
    assert len(feed.names) <= 67
    assert feed.names[1] == "Ann"


def test_another_epoch_waits_for_its_own_full_frame(source: Source, feed: Feed) -> None:
    put = started(source, feed, tick=50, _1="Ann")
    put(frame(10, epoch=2, events=[happened(10)]))
    assert feed.collect() is None
    source.asked.pop()(whole(10, epoch=2, tile=4, _1="Cid"))
    batch = feed.collect()
    assert batch is not None
    assert batch.loaded
    assert batch.whole
    assert batch.view.tick == 10
    assert feed.names == {1: "Cid"}
    assert int(feed.tiles[0, 0]) == 4


def test_a_bridge_far_behind_loses_the_oldest_events_counts_them_and_asks_for_the_whole(
    source: Source, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "MAX_WAITING", 20)
    put = started(source, feed)
    for tick in range(1, 31):
        put(frame(tick, events=[happened(tick)]))
    batch = feed.collect()
    assert batch is not None
    assert feed.dropped == 20
    assert [event.tick for event in batch.events] == list(range(21, 31))
    assert len(source.asked) == 1
    source.asked.pop()(whole(30, tile=5))
    mended = feed.collect()
    assert mended is not None
    assert mended.whole
    assert bool(np.all(feed.tiles == 5))


def test_after_stop_no_frame_is_taken(source: Source, feed: Feed) -> None:
    feed.stop()
    assert source.put is None
