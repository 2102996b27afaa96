"""A ladder of backends: the first that can answers, the next one when it can't.

A purpose may have its own order ("orders": cloud, then local); others take the rungs as given; a
request may name the rung it wants first. Rungs and routes can be changed while requests are under
way: those go on as they began. A rung that is down, over budget, rate limited, too slow or wrongly
equipped is left for the next. Text that a listener has already heard is never followed by another
rung's: then the error is told.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from models.delivery import Delivery
from models.errors import Cancelled, DeadlineExceeded, ModelError, ModelUnavailable
from models.request import Backend, Handle, Listener, ModelRequest, Reply

_LEAST_S = 0.05


@dataclass(frozen=True, slots=True)
class Rung:
    """A backend and the label that routes and metrics use."""

    label: str
    backend: Backend


class Router:
    """Answers by the first rung that can.

    `rungs`: best first; a bare backend is labelled by its place ("0", "1" …). `routes` maps a
    purpose to labels in order; `default` names those for every other purpose (None: all). While another rung waits below, a rung gets `patience` of the time
    that is left, so that a hanging one still leaves time for the next. Raises ValueError for a
    route to an unknown label or labels used twice.
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
        self._routes: dict[str, tuple[str, ...]] = {}
        self._default: tuple[str, ...] = ()
        self.switch(None, self._rungs if default is None else default)
        for purpose, labels in (routes or {}).items():
            self.switch(purpose, labels)
        if not 0.0 < patience <= 1.0:
            raise ValueError(f"patience is {patience}; it must lie between 0 and 1")
        self.patience = patience
        self._counts: Counter[str] = Counter()
        self._open = True

    @property
    def name(self) -> str:
        """The rungs' names, best first."""
        return " > ".join(rung.backend.name for rung in self._rungs.values()) or "no model"

    def ladder(self, purpose: str, first: str = "") -> tuple[Rung, ...]:
        """The rungs that a purpose tries, in order; `first` before all others, if there is such a rung."""
        rungs = self._rungs
        labels = self._routes.get(purpose, self._default)
        if first in rungs:
            labels = (first, *(label for label in labels if label != first))
        return tuple(rungs[label] for label in labels if label in rungs)

    def switch(self, purpose: str | None, labels: Iterable[str]) -> None:
        """From now on let a purpose (None: every one without a route of its own) try these rungs.

        Raises ValueError for an unknown label; then nothing is changed.
        """
        wanted = tuple(labels)
        unknown = [label for label in wanted if label not in self._rungs]
        if unknown:
            raise ValueError(
                f"the route of {purpose or 'any other'!r} names unknown rungs: {unknown}"
            )
        with self._lock:
            if purpose is None:
                self._default = wanted
            else:
                self._routes = {**self._routes, purpose: wanted}

    def add(self, rung: Rung) -> None:
        """Let a backend be named by routes and requests. Raises ValueError when its label is taken."""
        with self._lock:
            if rung.label in self._rungs:
                raise ValueError(f"there is a rung {rung.label!r} already")
            self._rungs = {**self._rungs, rung.label: rung}

    def remove(self, label: str) -> Backend:
        """Take a rung off every route and return its backend, which goes on with what it has begun.

        Raises ValueError when there is none of that label.
        """
        with self._lock:
            if label not in self._rungs:
                raise ValueError(f"there is no rung {label!r}")
            backend = self._rungs[label].backend
            self._rungs = {name: rung for name, rung in self._rungs.items() if name != label}
        return backend

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Try the rungs in order (see `Backend`)."""
        ladder = self.ladder(request.purpose, request.backend) if self._open else ()
        climb = _Climb(self, request, listener, ladder)
        climb.next_rung(ModelUnavailable("no model is set up for this purpose"))
        return climb

    def count(self, what: str) -> None:
        """Add one to a metric."""
        with self._lock:
            self._counts[what] += 1

    def status(self) -> dict[str, object]:
        """Counters such as "local.answered" or "cloud.failed.budget", and each rung's own status."""
        with self._lock:
            counts = dict(self._counts)
        return {
            "name": self.name,
            "kind": "router",
            "counts": counts,
            "routes": {"": list(self._default), **{k: list(v) for k, v in self._routes.items()}},
            "rungs": {label: rung.backend.status() for label, rung in self._rungs.items()},
        }

    def close(self) -> None:
        """Close every rung."""
        self._open = False
        for rung in self._rungs.values():
            rung.backend.close()


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

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._withdrawn = True
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
        self._rung = rung = self._left.pop(0)
        share = left_s * self._router.patience if self._left else left_s
        self._router.count(f"{rung.label}.asked")
        self._handle = rung.backend.submit(replace(self.request, deadline_s=share), self)
        if self._withdrawn:
            self._handle.cancel()

    def on_text(self, request_id: int, text: str) -> None:
        """Structured text is held back until it is whole: nobody reads half an order."""
        if self.request.schema is None:
            self._delivery.text(text)

    def on_done(self, reply: Reply) -> None:
        self._count("answered")
        if self.request.schema is not None:
            self._delivery.text(reply.text)
        self._delivery.done(
            replace(reply, first_token_s=self._delivery.first_text_s, total_s=self._delivery.age_s)
        )

    def on_error(self, request_id: int, error: ModelError) -> None:
        self._count(f"failed.{error.code}")
        if isinstance(error, Cancelled) or self._delivery.streamed:
            self._delivery.error(error)
        else:
            self.next_rung(error)

    def _count(self, what: str) -> None:
        if self._rung is not None:
            self._router.count(f"{self._rung.label}.{what}")
