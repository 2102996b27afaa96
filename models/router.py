"""A ladder of backends: the first that can answers, the next one when it can't.

A purpose may have its own order ("orders": cloud, then local); others take the rungs as given. A
rung that is down, over budget, rate limited, too slow or wrongly equipped is left for the next.
Text that a listener has already heard is never followed by another rung's: then the error is told.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
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
        named = [
            rung if isinstance(rung, Rung) else Rung(str(place), rung)
            for place, rung in enumerate(rungs)
        ]
        self._rungs = {rung.label: rung for rung in named}
        if len(self._rungs) < len(named):
            raise ValueError("two rungs have the same label")
        self._routes = {purpose: tuple(labels) for purpose, labels in (routes or {}).items()}
        self._default = tuple(self._rungs if default is None else default)
        for purpose, labels in {**self._routes, "any other": self._default}.items():
            unknown = [label for label in labels if label not in self._rungs]
            if unknown:
                raise ValueError(f"the route of {purpose!r} names unknown rungs: {unknown}")
        if not 0.0 < patience <= 1.0:
            raise ValueError(f"patience is {patience}; it must lie between 0 and 1")
        self.patience = patience
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._open = True

    @property
    def name(self) -> str:
        """The rungs' names, best first."""
        return " > ".join(rung.backend.name for rung in self._rungs.values()) or "no model"

    def ladder(self, purpose: str) -> tuple[Rung, ...]:
        """The rungs that a purpose tries, in order."""
        labels = self._routes.get(purpose, self._default)
        return tuple(self._rungs[label] for label in labels)

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Try the rungs in order (see `Backend`)."""
        climb = _Climb(self, request, listener, self.ladder(request.purpose) if self._open else ())
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
