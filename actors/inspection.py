"""A debugger's view of a dispatcher: its kinds of actors, and the busiest of its actors, row by row."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, Literal, get_args

from actors.mailbox import Mailbox
from actors.metrics import KindSnapshot, KindStats

__all__ = ["MOST_ROWS", "SORTS", "Inspector", "Sort"]

Sort = Literal["rate", "mailbox", "mailbox_max", "handled", "longest", "restarts", "name"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)
MOST_ROWS: Final = 1_000
"""Rows told at once at the most; a page of a hundred thousand serves nobody."""

_SHORTEST_S: Final = 0.2
"""Looks that follow closer than this share a span, so that a rate is never of a few messages."""


class Inspector:
    """Tells rows of plain values. A rate is over the time since an earlier look, or since the start.

    One look at a time; the dispatcher's workers go on meanwhile.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = clock()

    def look(
        self,
        mailboxes: Collection[Mailbox],
        kinds: Iterable[KindStats],
        snapshots: dict[str, KindSnapshot],
        sort: Sort,
        limit: int,
    ) -> dict[str, Any]:
        """{over_s, alive, kinds: [row a kind], actors: [row an actor, the first `limit` by `sort`]}.

        Numbers are sorted from the largest, and names settle what is equal. Times are in
        milliseconds, rates in messages a second over the last `over_s` seconds.
        """
        now = self._clock()
        over = max(now - self._since, 1e-9)
        if by := _KEYS.get(sort):
            shown = heapq.nsmallest(limit, mailboxes, key=lambda box: (-by(box), _name(box)))
        else:
            shown = heapq.nsmallest(limit, mailboxes, key=_name)
        stats = list(kinds)
        answer = {
            "over_s": round(over, 3),
            "alive": len(mailboxes),
            "kinds": [
                _kind_row(snapshots[kind.kind], kind, over)
                for kind in sorted(stats, key=lambda kind: kind.kind)
                if kind.kind in snapshots
            ],
            "actors": [_actor_row(box, over) for box in shown],
        }
        if over >= _SHORTEST_S:
            self._since = now
            for box in mailboxes:
                box.looked = box.handled
            for kind in stats:
                if kind.kind in snapshots:
                    kind.looked = snapshots[kind.kind].handled
        return answer


def _name(box: Mailbox) -> str:
    return box.supervision[1] if box.supervision is not None else box.name


_KEYS: Final[dict[str, Callable[[Mailbox], int]]] = {
    "rate": lambda box: box.handled - box.looked,
    "mailbox": len,
    "mailbox_max": lambda box: max(box.high, len(box)),
    "handled": lambda box: box.handled,
    "longest": lambda box: box.longest_ns,
    "restarts": lambda box: box.restarts,
}


def _actor_row(box: Mailbox, over: float) -> dict[str, Any]:
    state = "waiting for restart" if box.suspended else "alive"
    return {
        "name": _name(box),
        "kind": box.stats.kind,
        "state": "stopping" if box.closed else state,
        "mailbox": len(box),
        "mailbox_max": max(box.high, len(box)),
        "handled": box.handled,
        "rate": round((box.handled - box.looked) / over, 1),
        "longest_ms": round(box.longest_ns / 1e6, 3),
        "longest_handler": box.longest_handler,
        "restarts": box.restarts,
        "dropped": box.dropped,
        "rejected": box.rejected,
        "last_error": box.last_error,
    }


def _kind_row(kind: KindSnapshot, stats: KindStats, over: float) -> dict[str, Any]:
    return {
        "kind": kind.kind,
        "alive": kind.alive,
        "mailbox": kind.queued,
        "mailbox_max": kind.depth_max,
        "handled": kind.handled,
        "rate": round(max(0, kind.handled - stats.looked) / over, 1),
        "longest_ms": round(kind.longest_ms, 3),
        "longest_handler": kind.longest_handler,
        "slow": sum(slow.count for slow in kind.slow.values()),
        "failures": kind.failures,
        "restarts": kind.restarts,
        "dropped": kind.dropped,
        "rejected": kind.rejected,
        "last_error": kind.last_error,
    }
