"""The local engine as the rest of Greenroom sees it: a Backend over a child process.

States::

    starting ──► ready ──► down ──► starting …     the child died; it is started again after a pause
        │                   │
        └──► failed ◄───────┘                      the file can't be used, or it died too often
    any ──► closed

Only in `ready` are requests taken; in any other state the listener hears `ModelUnavailable` (or the
error that made it `failed`) at once. Pauses double from `backoff_s` to `backoff_most_s`; after
`max_restarts` deaths with no request answered in between, it stays failed.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from models import grammar
from models.delivery import Delivery
from models.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelError,
    ModelFileError,
    ModelUnavailable,
    RequestRefused,
)
from models.latency import Latencies
from models.llama.channel import Channel, End, Frame, ProcessChannel, ThreadChannel
from models.llama.settings import EngineSettings
from models.request import Handle, Listener, ModelRequest, Reply, TokenLogprob

_log = logging.getLogger("greenroom.models.llama")

State = Literal["starting", "ready", "down", "failed", "closed"]

_TICK_S = 0.25
_GOODBYE_S = 2.0
_DEADLINE_GRACE_S = 1.0
_MAX_PROMPT_CHARS = 1_000_000
_MAX_TOKENS = 1 << 20
_GIB = 1 << 30
_ERRORS: dict[str, type[ModelError]] = {
    kind.code: kind
    for kind in (ModelError, ModelFileError, ModelUnavailable, RequestRefused, DeadlineExceeded)
}


@dataclass(slots=True)
class _Adapter:
    """A LoRA adapter that was registered: `state` is "loaded", "loading" or says what is wrong."""

    path: Path
    scale: float
    state: str = "loading"


@dataclass(frozen=True, slots=True)
class LlamaHandle:
    """A request given to a LlamaHost."""

    request: ModelRequest
    _cancel: Callable[[int], None]

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._cancel(self.request.id)


class LlamaHost:
    """One GGUF behind the `Backend` face.

    `mode="process"` is for use, `mode="thread"` for debugging only: there a fault in llama.cpp ends
    the whole process. `threads` 0 means all physical cores but one. Loading starts at once, in the
    background: `wait_ready` waits for it.
    """

    def __init__(
        self,
        model_path: Path | str,
        *,
        threads: int = 0,
        n_ctx: int = 8192,
        n_seq: int = 64,
        mode: Literal["process", "thread"] = "process",
        settings: EngineSettings | None = None,
        load_s: float = 30.0,
        hang_s: float = 30.0,
        backoff_s: float = 0.2,
        backoff_most_s: float = 30.0,
        max_restarts: int = 8,
    ) -> None:
        self._path = Path(model_path)
        self._settings = settings or EngineSettings(
            threads=threads, n_ctx=n_ctx, n_seq=n_seq, n_parallel=min(32, n_seq)
        )
        self._mode = mode
        self._hang_s = hang_s
        self._backoff_s = backoff_s
        self._backoff_most_s = backoff_most_s
        self._max_restarts = max_restarts
        self._load_s = load_s + 5.0 * _size_of(self._path) / _GIB
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._pending: dict[int, Delivery] = {}
        self._state: State = "starting"
        self._error: ModelError | None = None
        self._channel: Channel | None = None
        self._heard = time.monotonic()
        self._start_at = 0.0
        self._was_ready = False
        self._deaths = 0
        self._restarts = 0
        self._listener_faults = 0
        self._adapters: dict[str, _Adapter] = {}
        self._latencies = Latencies()
        self._model: dict[str, Any] = {}
        self._engine_status: dict[str, Any] = {}
        self._errands: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._courier = threading.Thread(target=self._run_errands, name="llama-host", daemon=True)
        self._errands.put(self._start)
        self._courier.start()

    @property
    def name(self) -> str:
        """The model's name and version and the engine, e.g. "greenroom-house 1 (llama.cpp)"."""
        return self._source("")

    def _source(self, adapter: str) -> str:
        model = self._model.get("name", self._path.stem)
        return f"{model}{f' + {adapter}' if adapter else ''} (llama.cpp)"

    @property
    def state(self) -> State:
        """Where in its life it is."""
        return self._state

    @property
    def pid(self) -> int | None:
        """The engine's process id while there is one."""
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
            if self._state != "ready":
                raise self._why_not()

    def add_adapter(self, name: str, path: Path | str, scale: float = 1.0) -> None:
        """Let requests be answered under a LoRA adapter of this model; returns at once.

        It is loaded once, now or when the engine is ready, and again after each restart. One that
        llama.cpp refuses, or dies of, is left out: `status()["adapters"]` says why, and requests
        that name it are answered by the bare model.
        """
        if not name:
            raise ValueError("an adapter needs a name")
        with self._lock:
            self._adapters[name] = adapter = _Adapter(Path(path), scale)
            channel = self._channel if self._state == "ready" else None
        if channel is not None:
            channel.send(_adapter_frame(name, adapter))

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Hand a request to the engine and return at once (see `Backend`)."""
        pending = Delivery(request, listener)
        refusal: ModelError | None = None
        schema = None
        try:
            _check(request)
            if request.schema is not None:
                schema = grammar.register(request.schema, request.max_tokens)
        except ModelError as error:
            refusal = error
        # Beyond the engine's own bound, so that the engine, which knows the order, refuses first.
        limit = 2 * self._settings.queue + self._settings.n_seq
        with self._lock:
            if refusal is None and self._state != "ready":
                refusal = self._why_not()
            elif refusal is None and request.id in self._pending:
                refusal = RequestRefused(f"request {request.id} is under way already")
            elif refusal is None and len(self._pending) >= limit:
                refusal = RequestRefused(
                    f"{limit} requests are under way already", "ask less often"
                )
            if refusal is None:
                self._pending[request.id] = pending
                channel = self._channel
        if refusal is not None:
            reason = refusal
            self._soon(lambda: self._end_with_error(pending, reason))
        elif channel is not None:
            channel.send(
                {
                    "t": "ask",
                    "id": request.id,
                    "messages": [[m["role"], _sound(m["content"])] for m in request.messages],
                    "max_tokens": min(request.max_tokens, _MAX_TOKENS),
                    "temperature": request.temperature,
                    "top_p": request.top_p,
                    "seed": request.seed % (1 << 64),
                    "stop": [_sound(text) for text in request.stop],
                    "grammar": schema.grammar if schema else None,
                    "priority": int(request.priority),
                    "seconds_left": request.deadline_s,
                    "asker": _sound(request.asker),
                    "adapter": _sound(request.adapter),
                    "window": min(max(1, request.window), _MAX_TOKENS),
                    "importance": [int(each) for each in request.importance],
                    "think": max(0, request.think),
                    "logprobs": request.logprobs,
                }
            )
        return LlamaHandle(request, self._cancel)

    def status(self) -> dict[str, object]:
        """State, model, and the engine's own figures of half a second ago at most."""
        with self._lock:
            return {
                "name": self.name,
                "kind": "llama.cpp",
                "state": self._state,
                "path": str(self._path),
                "pid": self.pid or 0,
                "under_way": len(self._pending),
                "restarts": self._restarts,
                "listener_faults": self._listener_faults,
                "error": str(self._error) if self._error else "",
                "threads": self._settings.threads,
                "model": dict(self._model),
                "adapters": {name: each.state for name, each in self._adapters.items()},
                "latency": self._latencies.status(),
                "engine": dict(self._engine_status),
            }

    def close(self) -> None:
        """End the engine; what is under way hears `Cancelled`. Returns within a few seconds."""
        with self._changed:
            if self._state == "closed":
                return
            self._state = "closed"
            channel, self._channel = self._channel, None
            self._changed.notify_all()
        if channel is not None:
            channel.send({"t": "close"})
        self._errands.put(lambda: self._end_all(Cancelled("the engine is shutting down")))
        self._errands.put(None)
        if threading.current_thread() is not self._courier:
            self._courier.join(5.0)
        if channel is not None and not channel.wait(_GOODBYE_S):
            channel.kill()
            channel.wait(_GOODBYE_S)

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
            channel.open(self._path, self._settings)
        except OSError as error:
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
                with self._changed:
                    # Before the first request, which may name one.
                    for name, adapter in self._adapters.items():
                        if adapter.state in ("loaded", "loading"):
                            adapter.state = "loading"
                            channel.send(_adapter_frame(name, adapter))
                    self._model = frame["model"]
                    self._was_ready = True
                    if self._channel is channel and self._state == "starting":
                        self._state = "ready"
                        self._error = None
                    self._changed.notify_all()
            case "failed":
                kind = ModelFileError if frame["file"] else ModelUnavailable
                self._cannot_load(channel, kind(frame["reason"], frame["hint"]))

    def _cannot_load(self, channel: Channel, error: ModelError) -> None:
        """Give up on a file that never worked; try one again that did, as after any death."""
        if self._was_ready:
            self._lose(channel, End(error.message))
        else:
            self._fail(channel, error)

    def _fail(self, channel: Channel, error: ModelError) -> None:
        with self._changed:
            if self._channel is not channel or self._state == "closed":
                return
            self._state = "failed"
            self._error = error
            self._channel = None
            self._changed.notify_all()
        _log.error("the local engine failed: %s", error)
        self._end_all(error)

    def _lose(self, channel: Channel, end: End) -> None:
        """The channel ended: tell everybody, and start again unless that is pointless."""
        words = f"; its last words: {end.last_words}" if end.last_words else ""
        with self._changed:
            if self._channel is not channel or self._state == "closed":
                return
            self._channel = None
            loading = self._state == "starting"
            for adapter in self._adapters.values():
                if self._state == "ready" and adapter.state == "loading":
                    adapter.state = f"{adapter.path}: llama.cpp died while loading it"
                    break
            self._deaths += 1
            pause = min(self._backoff_s * 2 ** (self._deaths - 1), self._backoff_most_s)
            error: ModelError
            if loading and not self._was_ready:
                error = ModelFileError(
                    f"{self._path}: llama.cpp crashed while loading it ({end.reason}){words}",
                    "download or export the file again, or update llama-cpp-python",
                )
                self._state = "failed"
            elif self._deaths > self._max_restarts:
                error = ModelUnavailable(
                    f"the local engine died {self._deaths} times in a row, the last time because "
                    f"{end.reason}{words}",
                    "check the machine's memory and the model, then start again",
                )
                self._state = "failed"
            else:
                error = ModelUnavailable(
                    f"the local engine died: {end.reason}{words}", f"it starts again in {pause:g} s"
                )
                self._state = "down"
                self._start_at = time.monotonic() + pause
                self._restarts += 1
            self._error = error
            self._changed.notify_all()
        _log.warning("%s", error)
        self._end_all(error)

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
            if time.monotonic() - watched >= _TICK_S:
                self._watch()
                watched = time.monotonic()

    def _watch(self) -> None:
        """Start again when it is time, end what is late, kill what hangs."""
        now = time.monotonic()
        with self._lock:
            state, channel, silence = self._state, self._channel, now - self._heard
            late = [
                pending
                for pending in self._pending.values()
                if pending.seconds_left < -_DEADLINE_GRACE_S
            ]
        for pending in late:
            self._end_with_error(
                pending, DeadlineExceeded(f"no answer within {pending.request.deadline_s:g} s")
            )
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
            channel.kill()
        elif state == "ready" and channel is not None and silence > self._hang_s:
            _log.warning("the local engine was silent for %.0f s and is killed", silence)
            channel.kill()

    # The requests

    def _cancel(self, request_id: int) -> None:
        with self._lock:
            pending = self._pending.get(request_id)
            channel = self._channel
        if pending is None:
            return
        if channel is not None:
            channel.send({"t": "cancel", "id": request_id})
        withdrawn = Cancelled("the request was withdrawn")
        self._soon(lambda: self._end_with_error(pending, withdrawn))

    def _hear_event(self, event: list[Any]) -> None:
        kind, request_id = event[0], event[1]
        if kind == "adapter":
            self._hear_of_adapter(event[1], event[2])
            return
        with self._lock:
            pending = self._pending.get(request_id)
        if pending is None:
            return
        if kind == "text":
            pending.text(event[2])
        elif kind == "done":
            self._finish(pending, event[2])
        else:
            code, message, hint = event[2:5]
            self._end_with_error(pending, _ERRORS.get(code, ModelError)(message, hint))

    def _hear_of_adapter(self, name: str, fault: str) -> None:
        with self._lock:
            if name in self._adapters:
                self._adapters[name].state = fault or "loaded"
        if fault:
            _log.error("the adapter %s is left out: %s", name, fault)

    def _finish(self, pending: Delivery, figures: dict[str, Any]) -> None:
        request = pending.request
        text = pending.streamed
        try:
            parsed = grammar.parse(text, request.schema) if request.schema else None
        except ModelError as error:
            self._end_with_error(pending, error)
            return
        reply = Reply(
            request_id=request.id,
            text=text,
            source=self._source(figures["adapter"]),
            parsed=parsed,
            finish=figures["finish"],
            prompt_tokens=figures["prompt_tokens"],
            cached_tokens=figures["cached_tokens"],
            completion_tokens=figures["completion_tokens"],
            first_token_s=pending.first_text_s,
            total_s=pending.age_s,
            dropped=tuple(figures["dropped"]),
            logprobs=tuple(
                TokenLogprob(token, own, tuple((text, score) for text, score in likeliest))
                for token, own, likeliest in figures["logprobs"]
            ),
        )
        self._deaths = 0
        self._forget(pending)
        self._latencies.note(request.priority, reply)
        pending.done(reply)
        self._listener_faults += pending.faults

    def _end_with_error(self, pending: Delivery, error: ModelError) -> None:
        self._forget(pending)
        pending.error(error)
        self._listener_faults += pending.faults

    def _end_all(self, error: ModelError) -> None:
        with self._lock:
            everyone = list(self._pending.values())
        for pending in everyone:
            self._end_with_error(pending, error)

    def _forget(self, pending: Delivery) -> None:
        with self._lock:
            if self._pending.get(pending.request.id) is pending:
                del self._pending[pending.request.id]

    def _why_not(self) -> ModelError:
        match self._state:
            case "failed" if self._error is not None:
                return self._error
            case "closed":
                return ModelUnavailable("the local engine was closed")
            case "starting":
                return ModelUnavailable(
                    f"{self._path.name} is still loading", "try again in a moment"
                )
        return ModelUnavailable(
            f"the local engine is down: {self._error.message if self._error else 'unknown'}",
            "it starts again by itself",
        )


def _adapter_frame(name: str, adapter: _Adapter) -> Frame:
    return {
        "t": "adapter",
        "name": name,
        "path": str(adapter.path.resolve()),
        "scale": adapter.scale,
    }


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sound(text: str) -> str:
    """The text without lone surrogates, which no encoding can carry."""
    return text.encode("utf-8", "replace").decode()


def _check(request: ModelRequest) -> None:
    if not request.messages:
        raise RequestRefused("the request has no messages")
    size = sum(len(message["content"]) for message in request.messages)
    if size > _MAX_PROMPT_CHARS:
        raise RequestRefused(
            f"the prompt has {size} characters, more than {_MAX_PROMPT_CHARS}", "send less"
        )
    if request.max_tokens < 1:
        raise RequestRefused(f"max_tokens is {request.max_tokens}", "ask for at least one token")
    if not 0.0 <= request.temperature <= 100.0 or not 0.0 <= request.top_p <= 1.0:
        raise RequestRefused(
            f"temperature {request.temperature} and top_p {request.top_p} make no sense",
            "give a temperature from 0 to 100 and a top_p from 0 to 1",
        )
    if not math.isfinite(request.deadline_s):
        raise RequestRefused(f"deadline_s is {request.deadline_s}", "give a number of seconds")
    if not 0 <= request.logprobs <= 20:
        raise RequestRefused(f"logprobs is {request.logprobs}", "ask for 20 alternatives at most")
    if len(request.importance) > len(request.messages):
        raise RequestRefused(
            f"{len(request.importance)} importances were given for {len(request.messages)} messages",
            "give one for each message",
        )
    if len(request.stop) > 16:
        raise RequestRefused(f"{len(request.stop)} stop strings were given", "give 16 at most")
