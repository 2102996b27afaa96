"""Changes the ladder of models while the server runs: its order, which rungs are asked, other GGUFs.

Nothing here enters the world's step, so the journal knows nothing of it; the log does. What a change
would leave invalid is refused, and then nothing is changed.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import structlog

from engine_bridge.ladder import MOST_RUNGS, AddRung, Ladder, RungState
from foundation.errors import LimitError, UsageError
from models.errors import BackendRefused, ModelUnavailable
from models.llama.host import LlamaHost
from models.router import Router, Rung

log = structlog.get_logger("greenroom")

MOST_LEAVING: Final = 4
_POLL_S: Final = 0.05

Loader = Callable[[Path, Mapping[str, Any]], LlamaHost]
"""Starts an engine for a GGUF with the sizes given; raises ModelDoesNotFit."""


class Switchboard:
    """The one hand on a router while a server runs; safe on any thread.

    `engines` are the rungs that hold a GGUF, by label: they can be removed. `purposes` is what minds
    ask for. `window_of` tells the tokens of a conversation with a GGUF that is added with the sizes
    given, 0 for as many as any. A rung that is added has `load_s` seconds to load, one that is removed `drain_s` to end what it has
    begun; what it has not begun to answer by then goes to the next rung.
    """

    def __init__(
        self,
        router: Router,
        engines: Mapping[str, LlamaHost],
        load: Loader,
        purposes: tuple[str, ...],
        *,
        window_of: Callable[[Path, Mapping[str, Any]], int] = lambda file, sizes: 0,
        load_s: float = 600.0,
        drain_s: float = 30.0,
    ) -> None:
        self._router = router
        self._engines = dict(engines)
        self._load = load
        self._purposes = purposes
        self._window_of = window_of
        self._load_s = load_s
        self._drain_s = drain_s
        self._lock = threading.Lock()
        self._adding = threading.Lock()
        self._loading = ""
        self._loader: LlamaHost | None = None
        self._leaving: list[threading.Thread] = []
        self._closing = threading.Event()

    def ladder(self) -> Ladder:
        """How it stands."""
        told: Any = self._router.status()
        return Ladder(
            rungs=[
                RungState(
                    label=label,
                    model=str(status.get("name", "")),
                    kind=str(status.get("kind", "")),
                    state=str(status.get("state", "ready")),
                    on=label not in told["off"],
                    only=told["only"].get(label, []),
                    file=str(status.get("path", "")),
                    window=told["windows"][label],
                    under_way=int(status.get("under_way", 0)),
                    error=str(status.get("error", "")),
                )
                for label, status in told["rungs"].items()
            ],
            order=told["routes"][""],
            routes={purpose: route for purpose, route in told["routes"].items() if purpose},
            answering=told["answering"],
            loading=self._loading,
            leaving=sum(1 for thread in list(self._leaving) if thread.is_alive()),
        )

    def admit(self, label: str, purpose: str) -> None:
        """Whether a request for a purpose may name a rung. Raises BackendRefused, naming those it may."""

        def asked(named: str) -> bool:
            ladder = self._router.ladder(purpose, named)
            return bool(ladder) and ladder[0].label == named

        labels = self._router.labels
        if label in labels and asked(label):
            return
        known = ", ".join(filter(asked, labels)) or "none now"
        why = (
            f"is switched off or not asked for {purpose}" if label in labels else "is unknown here"
        )
        raise BackendRefused(
            f"the backend {label!r} {why}; for {purpose} there are: {known}",
            "name one of those, or none",
        )

    def order(self, purpose: str, labels: list[str]) -> None:
        """Let a purpose ("": all without an order of their own) try these rungs. Raises UsageError."""
        if purpose and purpose not in self._purposes:
            known = ", ".join(self._purposes)
            raise UsageError(f"nothing is asked for {purpose!r}", f"the purposes are {known}")
        with self._changing():
            self._router.switch(purpose or None, labels)
        log.info("rungs put in order", purpose=purpose or "all others", order=list(labels))

    def reset(self, purpose: str) -> None:
        """Let a purpose follow the order of all others again. Raises UsageError."""
        with self._changing():
            self._router.unroute(purpose)
        log.info("order of its own taken away", purpose=purpose)

    def enable(self, label: str, on: bool) -> None:
        """Ask a rung no more, or again. Raises UsageError."""
        with self._changing():
            self._router.enable(label, on)
        log.info("rung switched on" if on else "rung switched off", rung=label)

    def add(self, wanted: AddRung) -> None:
        """Load a GGUF and make it a rung; returns once it answers.

        Raises UsageError for a label that is taken, LimitError while another is being loaded or there
        are `MOST_RUNGS`, ModelFileError and ModelDoesNotFit for a file that can't be used, and
        ModelUnavailable when loading takes too long or the server is closing.
        """
        if not self._adding.acquire(blocking=False):
            raise LimitError("another model is being loaded", "try again when it is done")
        try:
            self._refuse_early(wanted.label)
            given = wanted.model_dump(exclude={"label", "file", "first"}, exclude_none=True)
            self._loading = wanted.label
            engine = self._load(Path(wanted.file), given)
            try:
                self._loader = engine
                if self._closing.is_set():
                    raise ModelUnavailable("the server is closing")
                engine.wait_ready(self._load_s)
                self._take_in(wanted, engine, self._window_of(Path(wanted.file), given))
            except BaseException:
                engine.close()
                raise
        finally:
            self._loading, self._loader = "", None
            self._adding.release()
        log.info("rung added", rung=wanted.label, model=engine.name, file=wanted.file)

    def remove(self, label: str) -> None:
        """Take a rung with a GGUF away; it ends what it has begun, in the background.

        Raises UsageError for any other, LimitError while `MOST_LEAVING` still do.
        """
        with self._changing():
            engine = self._engines.get(label)
            if engine is None and label in self._router.labels:
                raise UsageError(
                    f"the rung {label!r} holds no GGUF that could be freed",
                    f"switch it off: greenroom models use off {label}",
                )
            self._leaving = [thread for thread in self._leaving if thread.is_alive()]
            if len(self._leaving) >= MOST_LEAVING:
                raise LimitError(f"{MOST_LEAVING} rungs are still leaving", "try again in a moment")
            self._router.remove(label)
            engine = self._engines.pop(label)
            leaving = threading.Thread(
                target=self._drain, args=(engine,), name=f"leaving-{label}", daemon=True
            )
            self._leaving.append(leaving)
            leaving.start()
        log.info("rung removed", rung=label)

    def close(self) -> None:
        """End what is loading and what is leaving; nothing can be changed any more. Idempotent.

        The router and its rungs are their owner's to close.
        """
        with self._lock:
            self._closing.set()
            leaving = list(self._leaving)
        loader = self._loader
        if loader is not None:
            loader.close()
        for thread in leaving:
            thread.join()

    def _refuse_early(self, label: str) -> None:
        labels = self._router.labels
        if label in labels:
            raise UsageError(
                f"there is a rung {label!r} already",
                "choose another label, or remove that one first: greenroom models use remove "
                f"{label}",
            )
        if len(labels) >= MOST_RUNGS:
            raise LimitError(f"there are {MOST_RUNGS} rungs already", "remove one first")

    def _take_in(self, wanted: AddRung, engine: LlamaHost, window: int) -> None:
        with self._changing():
            self._router.add(Rung(wanted.label, engine, window=window))
            self._engines[wanted.label] = engine
            order = self._router.order
            added = (wanted.label,)
            self._router.switch(None, added + order if wanted.first else order + added)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """One change at a time, none once it is closed; the router's refusals become UsageErrors."""
        with self._lock:
            if self._closing.is_set():
                raise ModelUnavailable("the server is closing")
            try:
                yield
            except ValueError as error:
                raise UsageError(str(error), "greenroom models use list") from error

    def _drain(self, engine: LlamaHost) -> None:
        until = time.monotonic() + self._drain_s
        while engine.status()["under_way"] and time.monotonic() < until:
            if self._closing.wait(_POLL_S):
                break
        engine.close()
