"""The life of a child process that serves one GGUF: started, watched, started again, ended.

States::

    starting ──► ready ──► down ──► starting …     the child died; it is started again after a pause
        │                   │
        └──► failed ◄───────┘                      the file can't be used, or it died too often
    any ──► closed

Only in `ready` are requests taken, and only while the child is heard of; else the listener hears
`ModelUnavailable` (or the error that made it `failed`) at once. Pauses double from `backoff_s` to `backoff_most_s`; after
`max_restarts` deaths with no request answered in between, it stays failed. A host that was given
`shrink` goes on with a smaller child after one that died of memory (deaths.py).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Generic, Literal

from models.errors import (
    Cancelled,
    ModelDoesNotFit,
    ModelError,
    ModelFileError,
    ModelUnavailable,
)
from models.llama.channel import Channel, End, Frame, ProcessChannel, ThreadChannel
from models.llama.deaths import Patience, Record, Served, Shrink, judge
from models.llama.settings import EngineSettings, Role
from models.llama.underway import Pending, UnderWay, error_of

_log = logging.getLogger("greenroom.models.llama")

State = Literal["starting", "ready", "down", "failed", "closed"]
Mode = Literal["process", "thread"]

_TICK_S = 0.25
_GOODBYE_S = 2.0
_STOPPED_S = 1.0
"""A courier that comes round so much later than it meant to was stopped itself, with all its process."""


class ChildHost(ABC, Generic[Pending]):
    """One GGUF in a child process of a given role.

    Loading starts at once, in the background: `wait_ready` waits for it. A host says what its events
    mean in `_hear_event` and puts requests in with `_take`; all that listeners hear, they hear on the
    courier's or the channel's thread. `shrink` gives the sizes to go on with after a death of memory;
    without it the same are tried again.
    """

    def __init__(
        self,
        model_path: Path | str,
        role: Role,
        settings: EngineSettings,
        *,
        mode: Mode = "process",
        patience: Patience | None = None,
        what: str = "the local engine",
        shrink: Shrink | None = None,
    ) -> None:
        self._path = Path(model_path)
        self._role: Role = role
        self._record = Record(settings)
        self._mode = mode
        self._patience = patience or Patience()
        self._what = what
        self._served = Served(self._path, what, self._patience, shrink)
        self._load_s = self._patience.load_for(self._path)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._requests: UnderWay[Pending] = UnderWay()
        self._state: State = "starting"
        self._error: ModelError | None = None
        self._channel: Channel | None = None
        self._heard = time.monotonic()
        self._start_at = 0.0
        self._model: dict[str, Any] = {}
        self._engine_status: dict[str, Any] = {}
        self._errands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._courier = threading.Thread(target=self._run_errands, name="llama-host", daemon=True)
        self._errands.put(self._start)
        self._courier.start()

    @property
    def state(self) -> State:
        """Where in its life it is."""
        return self._state

    @property
    def _settings(self) -> EngineSettings:
        """The sizes of the child that runs or is started next."""
        return self._record.settings

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        channel = self._channel
        return channel.pid if channel else None

    def wait_ready(self, timeout_s: float = 60.0) -> None:
        """Block until requests are taken. Raises the error that prevents it, or ModelUnavailable."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while self._state not in ("ready", "failed", "closed"):
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    raise ModelUnavailable(f"{self._path.name} was not ready in {timeout_s:g} s")
            if self._state != "ready" and (why_not := self._why_not()) is not None:
                raise why_not

    def status(self) -> dict[str, object]:
        """State, model, sizes, and the child's own figures of half a second ago at most.

        `shrunk` of the `restarts` were at a smaller size; the sizes are those in use now.
        """
        with self._lock:
            sizes = self._settings
            return {
                "kind": "llama.cpp",
                "state": self._state,
                "path": str(self._path),
                "pid": self.pid or 0,
                "under_way": len(self._requests),
                "restarts": self._record.restarts,
                "shrunk": self._record.shrunk,
                "listener_faults": self._requests.listener_faults,
                "error": str(self._error) if self._error else "",
                "threads": sizes.threads,
                "n_ctx": sizes.n_ctx,
                "streams": sizes.streams,
                "n_seq": sizes.n_seq,
                "n_parallel": sizes.n_parallel,
                "gpu_layers": sizes.gpu_layers,
                "kv_type": sizes.kv_type,
                "model": dict(self._model),
                "engine": dict(self._engine_status),
            }

    def close(self) -> None:
        """End the child; what is under way hears `Cancelled`. Returns within a few seconds."""
        with self._changed:
            if self._state == "closed":
                return
            self._state = "closed"
            channel, self._channel = self._channel, None
            self._changed.notify_all()
        if channel is not None:
            channel.send({"t": "close"})
        self._errands.put(lambda: self._requests.end_all(Cancelled("the engine is shutting down")))
        self._errands.put(None)
        if threading.current_thread() is not self._courier:
            self._courier.join(5.0)
        if channel is not None and not channel.wait(_GOODBYE_S):
            channel.kill()
            channel.wait(_GOODBYE_S)

    @abstractmethod
    def _hear_event(self, event: Sequence[Any]) -> None:
        """What the child says about one request: `[kind, number, …]`."""

    def _unfit(self, model: dict[str, Any]) -> ModelError | None:
        """Why the model that was loaded must not be used, if so."""
        return None

    def _prepare(self, channel: Channel) -> None:
        """Send a child that is ready what must come before its first request. Called under the lock."""

    def _died(self) -> None:
        """Note that a child which had been ready is gone, and not because it was too large.

        Called under the lock.
        """

    # The life of the child. All of this runs on the courier's or the channel's thread.

    def _start(self) -> None:
        make = ProcessChannel if self._mode == "process" else ThreadChannel
        holder: list[Channel] = []
        channel: Channel = make(
            lambda frame: self._hear(holder[0], frame), lambda end: self._lose(holder[0], end)
        )
        holder.append(channel)
        with self._changed:
            if self._state == "closed":
                return
            self._state = "starting"
            self._channel = channel
            self._heard = time.monotonic()
        try:
            channel.open(self._path, self._settings, self._role)
        except (OSError, ValueError) as error:
            # ValueError: a file's name that is no text, and so can't be sent.
            self._lose(channel, End(f"no process can be started: {error}"))

    def _hear(self, channel: Channel, frame: Frame) -> None:
        self._heard = time.monotonic()
        match frame["t"]:
            case "step":
                if frame["status"] is not None:
                    self._engine_status = frame["status"]
                for event in frame["events"]:
                    self._hear_event(event)
            case "ready":
                unfit = self._unfit(frame["model"])
                if unfit is not None:
                    self._fail(channel, unfit)
                    channel.kill()
                    return
                with self._changed:
                    self._prepare(channel)
                    self._model = frame["model"]
                    self._record = replace(self._record, worked=True)
                    if self._channel is channel and self._state == "starting":
                        self._state = "ready"
                        self._error = None
                    self._changed.notify_all()
            case "failed":
                error = error_of(frame["code"], frame["reason"], frame["hint"])
                self._cannot_load(channel, error)

    def _cannot_load(self, channel: Channel, error: ModelError) -> None:
        """Give up on a file that never worked; try one again that did, as after any death.

        One that was only too large is tried again smaller.
        """
        refused = isinstance(error, ModelDoesNotFit)
        if self._record.worked or (refused and self._served.shrink is not None):
            self._lose(channel, End(error.message, refused=refused))
        else:
            self._fail(channel, error)
        # What it holds must be free before the next one starts.
        channel.kill()

    def _fail(self, channel: Channel, error: ModelError) -> None:
        with self._changed:
            if self._channel is not channel or self._state == "closed":
                return
            self._state = "failed"
            self._error = error
            self._channel = None
            self._changed.notify_all()
        _log.error("%s failed: %s", self._what, error)
        self._requests.end_all(error)

    def _lose(self, channel: Channel, end: End) -> None:
        """The channel ended: tell everybody, and start again unless that is pointless."""
        with self._changed:
            if self._channel is not channel or self._state == "closed":
                return
            self._channel = None
            verdict = judge(end, self._record, self._served, loading=self._state == "starting")
            if self._state == "ready" and verdict.record.shrunk == self._record.shrunk:
                self._died()
            self._record = verdict.record
            error = verdict.error
            if verdict.pause_s is None:
                self._state = "failed"
            else:
                self._state = "down"
                self._start_at = time.monotonic() + verdict.pause_s
            self._error = error
            self._changed.notify_all()
        _log.warning("%s", error)
        self._requests.end_all(error)

    def _soon(self, errand: Callable[[], None]) -> None:
        """Run it on the courier's thread; once that has ended, on the caller's."""
        with self._lock:
            closed = self._state == "closed"
            if not closed:
                self._errands.put(errand)
        if closed:
            errand()

    def _run_errands(self) -> None:
        watched = time.monotonic()
        while True:
            try:
                errand = self._errands.get(timeout=_TICK_S)
                if errand is None:
                    return
                errand()
            except queue.Empty:
                pass
            now = time.monotonic()
            if now - watched >= _TICK_S:
                if now - watched >= _STOPPED_S:
                    # By Ctrl-Z or a paused container: what the child said meanwhile is still to be read.
                    self._heard = now
                self._watch()
                watched = time.monotonic()

    def _watch(self) -> None:
        """Start again when it is time, end what is late, kill what hangs."""
        now = time.monotonic()
        with self._lock:
            state, channel, silence = self._state, self._channel, now - self._heard
        self._requests.end_late()
        if state == "down" and now >= self._start_at:
            self._start()
        elif state == "starting" and channel is not None and silence > self._load_s:
            self._cannot_load(
                channel,
                ModelFileError(
                    f"{self._path}: loading took more than {self._load_s:.0f} s",
                    "the file may be damaged; if the disk is slow, raise load_s",
                ),
            )
        elif state == "ready" and channel is not None and silence > self._patience.hang_s:
            _log.warning("%s was silent for %.0f s and is killed", self._what, silence)
            channel.kill()

    # The requests

    def _take(self, pending: Pending, limit: int, refusal: ModelError | None) -> Channel | None:
        """Keep a request as under way and say where it goes; None when its listener hears an error.

        `limit` bounds the requests under way, `refusal` is what was found wrong with it already.
        """
        with self._lock:
            if refusal is None:
                refusal = self._why_not(pending.asked.deadline_s)
            reason = refusal or self._requests.add(pending, limit)
            if reason is None:
                return self._channel
        self._soon(lambda: self._requests.end_with_error(pending, reason))
        return None

    def _cancel(self, pending: Pending) -> None:
        channel = self._channel
        if self._requests.find(pending.number) is not pending:
            return
        if channel is not None:
            channel.send({"t": "cancel", "id": pending.number})
        withdrawn = Cancelled("the request was withdrawn")
        self._soon(lambda: self._requests.end_with_error(pending, withdrawn))

    def _answer(self, pending: Pending, tell: Callable[[], object]) -> None:
        """Tell an answer; a child that answers is forgiven its earlier deaths."""
        if self._record.deaths:
            with self._lock:
                self._record = replace(self._record, deaths=0)
        self._requests.end_well(pending, tell)

    def _why_not(self, deadline_s: float = inf) -> ModelError | None:
        """Why no request that has so long is taken now; None when one is."""
        match self._state:
            case "ready":
                silence = time.monotonic() - self._heard
                if silence <= self._patience.quiet_s or deadline_s >= self._patience.hang_s:
                    return None
                return ModelUnavailable(
                    f"{self._what} has said nothing for {silence:.0f} s",
                    "it is asked again as soon as it does, and started again if it does not",
                )
            case "failed" if self._error is not None:
                return self._error
            case "closed":
                return ModelUnavailable(f"{self._what} was closed")
            case "starting":
                return ModelUnavailable(
                    f"{self._path.name} is still loading", "try again in a moment"
                )
        return ModelUnavailable(
            f"{self._what} is down: {self._error.message if self._error else 'unknown'}",
            "it starts again by itself",
        )


def sound(text: str) -> str:
    """The text without lone surrogates, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode()
