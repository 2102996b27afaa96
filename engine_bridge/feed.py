"""The world as the bridge knows it: frames handed over by the world's thread, merged and kept whole.

`Feed` stands between two threads. The world's thread leaves frames in it and goes on; the bridge's
thread collects what came, the newest state and every event. A bridge that falls behind loses state
it no longer needs and, past a bound, the oldest events: counted, and mended by whole snapshots.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine_bridge.interest import View, view_of
from engine_bridge.stage import Cancel, Stage

if TYPE_CHECKING:
    from world.events import Event
    from world.frame import Frame, TileChange

MAX_WAITING = 20_000
"""Events and tile changes that may wait for the bridge's thread."""


@dataclass(frozen=True, slots=True)
class _Changes:
    """What a frame changes that the next frame doesn't repeat."""

    tick: int
    events: tuple[Event, ...]
    tiles: tuple[TileChange, ...]
    names: Mapping[int, str]

    def weight(self) -> int:
        return 1 + len(self.events) + len(self.tiles) + len(self.names)


@dataclass(frozen=True, slots=True)
class Batch:
    """What came since the last collection: the newest view, all events and tile changes in order.

    `whole`: what clients were sent before is void; they need snapshots. `loaded`: it is another
    epoch's world, in which those who were there may be missing.
    """

    view: View
    events: tuple[Event, ...]
    tiles: tuple[TileChange, ...]
    whole: bool
    loaded: bool


@dataclass(slots=True)
class _Inbox:
    newest: Frame | None = None
    full: Frame | None = None
    changes: deque[_Changes] = field(default_factory=deque)
    weight: int = 0
    overflowed: bool = False
    awake: bool = False


class Feed:
    """`wake` is called on the world's thread when something waits; it must only hand over.

    All else is for the bridge's thread. `view`, `names` and `tiles` hold the newest collected
    state; `view` is None until the first full frame came.
    """

    def __init__(self, stage: Stage, wake: Callable[[], None]) -> None:
        self._stage = stage
        self._wake = wake
        self._lock = threading.Lock()
        self._inbox = _Inbox()
        self._cancel: Cancel | None = None
        self._asked_full = False
        self._tile_bytes: bytes | None = None
        self.view: View | None = None
        self.tick = 0
        self.epoch = 0
        self.names: dict[int, str] = {}
        self.renamed: dict[int, int] = {}
        self.tiles: NDArray[np.uint8] = np.zeros((0, 0), dtype=np.uint8)
        self.dropped = 0

    def start(self) -> None:
        """Subscribe and ask for the first full frame."""
        self._cancel = self._stage.subscribe(self._put)
        self._ask_full()

    def stop(self) -> None:
        """Take no more frames."""
        if self._cancel is not None:
            self._cancel()
            self._cancel = None

    def tile_bytes(self) -> bytes:
        """The map's tiles, row by row."""
        if self._tile_bytes is None:
            self._tile_bytes = self.tiles.tobytes()
        return self._tile_bytes

    def collect(self) -> Batch | None:
        """Everything that waits, applied and merged; None when there is nothing to show yet."""
        with self._lock:
            inbox, self._inbox = self._inbox, _Inbox()
        frame, full = inbox.newest, inbox.full
        loaded = False
        if full is not None:
            loaded = self.view is not None and full.epoch != self.epoch
            self._take_full(full)
            if frame is None or (frame.epoch, frame.tick) < (full.epoch, full.tick):
                frame = full
        if inbox.overflowed:
            self._ask_full()
        if frame is None:
            return None
        if self.view is None or frame.epoch != self.epoch:
            # Changes alone don't make a world: wait for the full frame, keeping what it may lack.
            self._ask_full()
            self._put_back(inbox)
            return None
        events: list[Event] = []
        tiles: list[TileChange] = []
        for changes in inbox.changes:
            events.extend(changes.events)
            if full is None or changes.tick > full.tick:
                tiles.extend(changes.tiles)
                self._rename(changes)
        for change in tiles:
            self._patch(change)
        self.view = view_of(frame)
        self.tick = frame.tick
        self._forget_names()
        return Batch(self.view, tuple(events), tuple(tiles), full is not None, loaded)

    def _put(self, frame: Frame) -> None:
        changes = _Changes(frame.tick, frame.events, frame.tile_changes, frame.names_changed)
        with self._lock:
            inbox = self._inbox
            if inbox.newest is not None and inbox.newest.epoch != frame.epoch:
                inbox.changes.clear()
                inbox.weight = 0
            inbox.newest = frame
            inbox.changes.append(changes)
            inbox.weight += changes.weight()
            self._trim(inbox)
            awake, inbox.awake = inbox.awake, True
        if not awake:
            self._wake()

    def _put_full(self, frame: Frame) -> None:
        with self._lock:
            self._inbox.full = frame
            awake, self._inbox.awake = self._inbox.awake, True
        if not awake:
            self._wake()

    def _put_back(self, taken: _Inbox) -> None:
        with self._lock:
            inbox = self._inbox
            if inbox.newest is None:
                inbox.newest = taken.newest
            inbox.changes.extendleft(reversed(taken.changes))
            inbox.weight += taken.weight
            self._trim(inbox)

    def _trim(self, inbox: _Inbox) -> None:
        while inbox.weight > MAX_WAITING and len(inbox.changes) > 1:
            lost = inbox.changes.popleft()
            inbox.weight -= lost.weight()
            inbox.overflowed = True
            self.dropped += len(lost.events) + len(lost.tiles)

    def _ask_full(self) -> None:
        if not self._asked_full:
            self._asked_full = True
            self._stage.full_frame(self._put_full)

    def _take_full(self, frame: Frame) -> None:
        self._asked_full = False
        self.names = dict(frame.names_changed)
        self.renamed = {}
        height = max((y + h for _, y, _, h, _ in frame.tile_changes), default=0)
        width = max((x + w for x, _, w, _, _ in frame.tile_changes), default=0)
        self.tiles = np.zeros((height, width), dtype=np.uint8)
        for change in frame.tile_changes:
            self._patch(change)
        self.epoch = frame.epoch
        self.view = view_of(frame)

    def _patch(self, change: TileChange) -> None:
        x, y, w, h, data = change
        self.tiles[y : y + h, x : x + w] = np.frombuffer(data, dtype=np.uint8).reshape(h, w)
        self._tile_bytes = None

    def _rename(self, changes: _Changes) -> None:
        for entity, name in changes.names.items():
            if entity in self.names and self.names[entity] != name:
                self.renamed[entity] = changes.tick
            self.names[entity] = name

    def _forget_names(self) -> None:
        """Names of the gone are dropped once they are half of all, so that churn can't pile up."""
        assert self.view is not None
        if len(self.names) <= 64 + 2 * len(self.view):
            return
        here = set(self.view.ids.tolist())
        self.names = {entity: name for entity, name in self.names.items() if entity in here}
        self.renamed = {entity: tick for entity, tick in self.renamed.items() if entity in here}
