"""Answers that take long: what the stage says or makes, piece by piece, reaches who asked for it.

The listeners here are called on the bridge's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine_bridge import messages as m
from engine_bridge.feed import Feed
from engine_bridge.in_flight import InFlight
from engine_bridge.sessions import Session, Work


class SpokenAnswer:
    """Hears the answer to a line. `clock` reads monotonic seconds, the feed tells the tick."""

    def __init__(
        self,
        in_flight: InFlight,
        session: Session,
        work: Work,
        feed: Feed,
        clock: Callable[[], float],
    ) -> None:
        self._in_flight = in_flight
        self._session = session
        self._work = work
        self._feed = feed
        self._clock = clock

    def on_text(self, text: str) -> None:
        self._in_flight.spoken(self._work, text)

    def on_done(self, text: str, source: str, reply: object | None) -> None:
        """The answer is whole. One that was not streamed comes as a single piece all the same."""
        work = self._work
        if not work.text:
            self._in_flight.spoken(work, text)
        now = self._clock()
        first = work.first_at if work.first_at is not None else now
        done = m.Done(
            text=text,
            source=source,
            tick=self._feed.tick,
            first_token_ms=max(0, round((first - work.started) * 1000)),
            total_ms=max(0, round((now - work.started) * 1000)),
        )
        self._in_flight.finish(self._session, work, "done", done)

    def on_rejected(self, code: str, reason: str) -> None:
        self._in_flight.fail(self._session, self._work, code, reason)


class MadeContent:
    """Hears how a content request fares."""

    def __init__(self, in_flight: InFlight, session: Session, work: Work) -> None:
        self._in_flight = in_flight
        self._session = session
        self._work = work

    def on_progress(self, node: str, state: str, done: int, total: int) -> None:
        progress = m.Progress(node=node, state=state, done=done, total=total)
        self._in_flight.progressed(self._work, progress)

    def on_done(self, response: Mapping[str, Any]) -> None:
        self._in_flight.settle(self._session, self._work, "content", dict(response))

    def on_rejected(self, code: str, reason: str) -> None:
        self._in_flight.fail(self._session, self._work, code, reason)
