"""Who is told what after a step: reliable events by area of interest, and the state to send next."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack
import numpy as np
from numpy.typing import NDArray

from engine_bridge import near
from engine_bridge.feed import Batch, Feed
from engine_bridge.interest import NOBODY, View, delta, snapshot
from engine_bridge.sessions import Session

if TYPE_CHECKING:
    from world.events import Event

log = logging.getLogger("greenroom.bridge")

FOR_ALL: Final = frozenset({"time_of_day", "dam_broken"})
"""Kinds of events that everyone who watches hears, wherever they happen."""

CARRIED_APART: Final = frozenset({"tiles"})
"""Kinds that reach clients as messages of their own type."""


class Broadcast:
    """Tells sessions what they should know. For the bridge's thread alone.

    `give_way` waits while a step is due or under way; it is called before the work for each session.
    """

    def __init__(self, feed: Feed, quiet_ticks: int, give_way: Callable[[], None]) -> None:
        self._feed = feed
        self._quiet_ticks = quiet_ticks
        self._give_way = give_way
        self._shared: dict[int, tuple[View, View, dict[str, Any]]] = {}

    def publish(self, batch: Batch, sessions: Iterable[Session]) -> None:
        """Give each session its new view, its share of the events, and what its socket takes of the state."""
        self._shared.clear()
        news = _News.about(batch.events)
        for session in sessions:
            self._give_way()
            before = session.seen
            session.look(batch.view)
            if batch.whole:
                session.base = None
            if batch.loaded and batch.view.row(session.entity) is None:
                session.entity = 0
            if news.events:
                _tell(session, before, news)
            if session.interest is not None:
                for x, y, w, h, data in batch.tiles:
                    d = {"x": x, "y": y, "w": w, "h": h, "data": data}
                    session.reliable("tiles", d, len(data) + 64)
                if session.peer is not None:
                    session.peer.nudge()

    def state(self, session: Session) -> dict[str, Any] | None:
        """The next state message for a session's socket, None when it knows all there is.

        Calling it means that the message will be sent: the next one builds on it.
        """
        self._give_way()
        now, before = session.seen, session.base
        if session.interest is None or now is None:
            return None
        if before is None and self._not_drawn_yet(session):
            return None
        if before is None or before.epoch != now.epoch:
            session.base = now
            session.told_tick = now.tick
            body = snapshot(now, self._feed.names, self._feed.tile_bytes())
            return {"t": "snapshot", "d": body}
        if before is now:
            return None
        d = self._delta(session, before, now)
        session.base = now
        if len(d) == 1 and now.tick - session.told_tick < self._quiet_ticks:
            return None
        session.told_tick = now.tick
        return {"t": "delta", "d": d}

    def _not_drawn_yet(self, session: Session) -> bool:
        """Whether the body has just joined and no frame shows it: its snapshot would be empty."""
        view, interest = self._feed.view, session.interest
        if view is None or interest is None or interest.all or not session.entity:
            return False
        return view.row(session.entity) is None

    def _delta(self, session: Session, before: View, now: View) -> dict[str, Any]:
        feed = self._feed
        if session.interest is None or not session.interest.all:
            return delta(before, now, feed.names, feed.renamed)
        # Those who watch everything mostly hold the same state: one delta serves them all.
        known = self._shared.get(before.tick)
        if known is not None and known[0] is before and known[1] is now:
            return known[2]
        d = delta(before, now, feed.names, feed.renamed)
        self._shared[before.tick] = (before, now, d)
        return d


@dataclass(frozen=True, slots=True)
class _News:
    """A batch's events as they go out, [(event, body, size)]; whom each is about, and which of them all who watch hear.

    `of` has the places of those that concern an entity wherever it is.
    """

    events: list[tuple[Event, dict[str, Any], int]]
    actors: NDArray[np.uint64]
    targets: NDArray[np.uint64]
    for_all: NDArray[np.bool_]
    of: Mapping[int, set[int]]

    @classmethod
    def about(cls, events: Iterable[Event]) -> _News:
        out = [
            (event, *packed)
            for event in events
            if event.kind not in CARRIED_APART and (packed := _plain(event)) is not None
        ]
        of: dict[int, set[int]] = {}
        for place, (event, _, _) in enumerate(out):
            for entity in (event.entity, event.target, *event.data.get("heard_by", ())):
                of.setdefault(entity, set()).add(place)
        return cls(
            out,
            near.shut(np.array([event.entity for event, _, _ in out], dtype=np.uint64)),
            near.shut(np.array([event.target for event, _, _ in out], dtype=np.uint64)),
            np.array([event.entity == 0 or event.kind in FOR_ALL for event, _, _ in out], np.bool_),
            of,
        )


def _tell(session: Session, before: View | None, news: _News) -> None:
    """Give a session its share of the events."""
    told = near.witnessed(
        NOBODY if before is None else before.ids,
        NOBODY if session.seen is None else session.seen.ids,
        news.actors,
        news.targets,
    )
    if session.interest is not None:
        told |= news.for_all
    mine = session.entity
    for place in news.of.get(mine, ()) if mine else ():
        told[place] = True
    for place in told.nonzero()[0].tolist():
        event, d, size = news.events[place]
        session.reliable("event", d, size)
        if mine and event.kind == "despawned" and event.entity == mine:
            session.entity = 0


def _plain(event: Event) -> tuple[dict[str, Any], int] | None:
    """The body of an `event` message and its size; None, and a log line, if it can't be sent."""
    d = {
        "tick": event.tick,
        "kind": event.kind,
        "entity": event.entity,
        "target": max(0, event.target),
        "data": dict(event.data),
    }
    try:
        return d, len(msgpack.packb(d)) + 32
    except (TypeError, ValueError, OverflowError) as error:
        log.warning("event %s holds what can't be sent: %s", event.kind, error)
        return None
