"""A ladder of backends: the first that can answers, the next one when it can't.

A purpose may have its own order ("orders": cloud, then local); others take the rungs as given; a
request may name the rung it wants first. Rungs and routes can be changed while requests are under
way: those go on as they began, and one whose rung is closed before it has said anything goes on to
the next. A rung that is down, over budget, rate limited, too slow or wrongly equipped is left for
the next. Text that a listener has already heard is never followed by another
rung's: then the error is told.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from models.delivery import Delivery
from models.errors import Cancelled, DeadlineExceeded, ModelError, ModelUnavailable
from models.request import WINDOW, Backend, Handle, Listener, ModelRequest, Reply
from models.timings import Timings

_LEAST_S = 0.05


@dataclass(frozen=True, slots=True)
class Rung:
    """A backend and the label that routes and metrics use.

    `only` names the purposes that it may be asked for at all, None for any: neither a route nor a
    request that names the rung gets past it. `window` is the tokens of a conversation with it, for
    requests that leave theirs to the rung; 0 for `WINDOW`.
    """

    label: str
    backend: Backend
    only: frozenset[str] | None = None
    window: int = 0

    def takes(self, purpose: str | None) -> bool:
        """Whether it may be asked for a purpose (None: for every purpose)."""
        return self.only is None or purpose in self.only


class Router:
    """Answers by the first rung that can.

    `rungs`: best first; a bare backend is labelled by its place ("0", "1" …). `routes` maps a
    purpose to labels in order; `default` names those for every other purpose (None: all that take
    any). While another rung waits below, a rung gets `patience` of the time that is left, so that a
    hanging one still leaves time for the next. Raises ValueError for labels used twice and for a
    route that `switch` would refuse.
    """

    def __init__(
        self,
        rungs: Sequence[Backend | Rung],
        *,
        routes: Mapping[str, Sequence[str]] | None = None,
        default: Sequence[str] | None = None,
        patience: float = 0.6,
    ) -> None:
        self._lock = threading.Lock()
        named = [
            rung if isinstance(rung, Rung) else Rung(str(place), rung)
            for place, rung in enumerate(rungs)
        ]
        self._rungs = {rung.label: rung for rung in named}
        if len(self._rungs) < len(named):
            raise ValueError("two rungs have the same label")
        self._counts: Counter[str] = Counter()
        self._off: frozenset[str] = frozenset()
        self._timings = {label: Timings() for label in self._rungs}
        self._routes: dict[str, tuple[str, ...]] = {}
        self._default: tuple[str, ...] = ()
        if default is None:
            default = [rung.label for rung in named if rung.takes(None)]
        self.switch(None, default)
        for purpose, labels in (routes or {}).items():
            self.switch(purpose, labels)
        if not 0.0 < patience <= 1.0:
            raise ValueError(f"patience is {patience}; it must lie between 0 and 1")
        self.patience = patience
        self._open = True

    @property
    def name(self) -> str:
        """The names of the rungs that are on, best first."""
        rungs = self._rungs
        routes = (self._default, *self._routes.values(), tuple(rungs))
        labels = dict.fromkeys(label for route in routes for label in route)
        names = [rungs[n].backend.name for n in labels if n in rungs and n not in self._off]
        return " > ".join(names) or "no model"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all rungs, in the order in which they came."""
        return tuple(self._rungs)

    @property
    def order(self) -> tuple[str, ...]:
        """The labels that every purpose without a route of its own tries."""
        return self._default

    def ladder(self, purpose: str, first: str = "") -> tuple[Rung, ...]:
        """The rungs that a purpose tries, in order; `first` before all others, if there is such a rung."""
        rungs, off = self._rungs, self._off
        labels = self._routes.get(purpose, self._default)
        if first in rungs:
            labels = (first, *(label for label in labels if label != first))
        known = (rungs[label] for label in labels if label in rungs and label not in off)
        return tuple(rung for rung in known if rung.takes(purpose))

    def switch(self, purpose: str | None, labels: Iterable[str]) -> None:
        """From now on let a purpose (None: every one without a route of its own) try these rungs.

        Raises ValueError for an unknown label, one named twice, and a rung that may not be asked for
        that purpose; then nothing is changed.
        """
        wanted = tuple(labels)
        route = f"the route of {purpose or 'any other'!r}"
        with self._lock:
            unknown = [label for label in wanted if label not in self._rungs]
            if unknown:
                raise ValueError(f"{route} names unknown rungs: {unknown}")
            if len(set(wanted)) < len(wanted):
                raise ValueError(f"{route} names a rung twice: {list(wanted)}")
            for label in wanted:
                rung = self._rungs[label]
                if not rung.takes(purpose):
                    may = ", ".join(sorted(rung.only or ()))
                    raise ValueError(f"{route} names {label!r}, which is asked for {may} alone")
            if purpose is None:
                self._default = wanted
            else:
                self._routes = {**self._routes, purpose: wanted}

    def unroute(self, purpose: str) -> None:
        """Let a purpose take the default order again. Raises ValueError when it has no route."""
        with self._lock:
            if purpose not in self._routes:
                raise ValueError(f"{purpose!r} has no route of its own")
            self._routes = {name: kept for name, kept in self._routes.items() if name != purpose}

    def enable(self, label: str, on: bool) -> None:
        """Ask a rung no more, or again; it keeps its places. Raises ValueError when there is none."""
        with self._lock:
            self._rung(label)
            self._off = self._off - {label} if on else self._off | {label}

    def add(self, rung: Rung) -> None:
        """Let a backend be named by routes and requests. Raises ValueError when its label is taken."""
        with self._lock:
            if rung.label in self._rungs:
                raise ValueError(f"there is a rung {rung.label!r} already")
            self._rungs = {**self._rungs, rung.label: rung}
            self._timings = {**self._timings, rung.label: Timings()}

    def remove(self, label: str) -> Backend:
        """Take a rung off every route and return its backend, which goes on with what it has begun.

        A purpose whose own route has no other rung takes the default order. Raises ValueError when
        there is none of that label.
        """
        with self._lock:
            backend = self._rung(label).backend
            self._rungs = {name: rung for name, rung in self._rungs.items() if name != label}
            self._timings = {
                name: kept for name, kept in self._timings.items() if name in self._rungs
            }
            self._default = _without(self._default, label)
            self._routes = {
                purpose: kept
                for purpose, route in self._routes.items()
                if (kept := _without(route, label)) or not route
            }
            self._off -= {label}
            for what in [what for what in self._counts if what.startswith(f"{label}.")]:
                del self._counts[what]
        return backend

    def _rung(self, label: str) -> Rung:
        if label not in self._rungs:
            raise ValueError(f"there is no rung {label!r}")
        return self._rungs[label]

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Try the rungs in order (see `Backend`)."""
        ladder = self.ladder(request.purpose, request.backend) if self._open else ()
        climb = _Climb(self, request, listener, ladder)
        climb.next_rung(ModelUnavailable("no model is set up for this purpose"))
        return climb

    def count(self, label: str, what: str) -> None:
        """Add one to a rung's metric, while there is such a rung."""
        with self._lock:
            if label in self._rungs:
                self._counts[f"{label}.{what}"] += 1

    def note(self, label: str, request: ModelRequest, reply: Reply) -> None:
        """Take an answer's times in, while there is such a rung."""
        timings = self._timings.get(label)
        if timings is not None:
            timings.note(request, reply)

    def status(self) -> dict[str, object]:
        """Counters such as "local.answered" or "cloud.failed.budget", and each rung's own status.

        `routes` and `answering` are by purpose, "" for all others: the labels in order, and the one
        that is asked first as things stand ("": none is). `off` are the rungs switched off, `only`
        what a rung may be asked for, `windows` the tokens of a conversation with it, `timings` the histograms of timings.py by rung.
        """
        with self._lock:
            counts = dict(self._counts)
            routes = {"": self._default, **self._routes}
            rungs, off, timings = self._rungs, self._off, self._timings
        told = {label: rung.backend.status() for label, rung in rungs.items()}
        ready = {label for label, status in told.items() if status.get("state", "ready") == "ready"}
        return {
            "name": self.name,
            "kind": "router",
            "counts": counts,
            "routes": {purpose: list(labels) for purpose, labels in routes.items()},
            "answering": {
                purpose: next((n for n in labels if n in ready and n not in off), "")
                for purpose, labels in routes.items()
            },
            "off": sorted(off),
            "only": {label: sorted(r.only) for label, r in rungs.items() if r.only is not None},
            "windows": {label: rung.window or WINDOW for label, rung in rungs.items()},
            "rungs": told,
            "timings": {label: kept.status() for label, kept in timings.items()},
        }

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return not self._open

    def close(self) -> None:
        """Close every rung."""
        self._open = False
        for rung in self._rungs.values():
            rung.backend.close()


def _without(route: tuple[str, ...], label: str) -> tuple[str, ...]:
    return tuple(each for each in route if each != label)


class _Climb:
    """One request on its way down the ladder: listener towards the rungs, handle towards the asker."""

    def __init__(
        self, router: Router, request: ModelRequest, listener: Listener, ladder: tuple[Rung, ...]
    ) -> None:
        self.request = request
        self._router = router
        self._delivery = Delivery(request, listener)
        self._left = list(ladder)
        self._rung: Rung | None = None
        self._handle: Handle | None = None
        self._withdrawn = False
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._withdrawn = True
        with self._lock:
            handle = self._handle
        if handle is not None:
            handle.cancel()

    def next_rung(self, because: ModelError) -> None:
        """Ask the next rung; with none left, tell `because`."""
        if self._withdrawn:
            self._delivery.error(Cancelled("the request was withdrawn"))
            return
        if not self._left:
            self._delivery.error(because)
            return
        left_s = self._delivery.seconds_left
        if left_s < _LEAST_S:
            self._delivery.error(
                DeadlineExceeded(f"no rung answered within {self.request.deadline_s:g} s")
            )
            return
        with self._lock:
            self._rung = rung = self._left.pop(0)
        share = left_s * self._router.patience if self._left else left_s
        self._router.count(rung.label, "asked")
        window = self.request.window or rung.window or WINDOW
        asked = replace(self.request, deadline_s=share, window=window)
        handle = rung.backend.submit(asked, self)
        with self._lock:
            # A rung that refused at once has been followed by the next one already.
            if self._rung is rung:
                self._handle = handle
        if self._withdrawn:
            handle.cancel()

    def on_text(self, request_id: int, text: str) -> None:
        """Structured text is held back until it is whole: nobody reads half an order."""
        if self.request.schema is None:
            self._delivery.text(text)

    def on_done(self, reply: Reply) -> None:
        self._count("answered")
        if self._rung is not None:
            self._router.note(self._rung.label, self.request, reply)
        if self.request.schema is not None:
            self._delivery.text(reply.text)
        self._delivery.done(
            replace(reply, first_token_s=self._delivery.first_text_s, total_s=self._delivery.age_s)
        )

    def on_error(self, request_id: int, error: ModelError) -> None:
        self._count(f"failed.{error.code}")
        # Not withdrawn, and yet cancelled: the rung was closed.
        over = isinstance(error, Cancelled) and (self._withdrawn or self._router.closed)
        if over or self._delivery.streamed:
            self._delivery.error(error)
        else:
            self.next_rung(error)

    def _count(self, what: str) -> None:
        if self._rung is not None:
            self._router.count(self._rung.label, what)
