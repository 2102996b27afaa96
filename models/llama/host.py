"""The local engine as the rest of Greenroom sees it: a Backend over a child process.

Its states, restarts and bounds are told in lifecycle.py.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from models import grammar
from models.delivery import Delivery
from models.errors import ModelError, RequestRefused
from models.latency import Latencies
from models.llama.adapters import LOADED, Adapters
from models.llama.channel import Channel
from models.llama.deaths import Patience, Shrink
from models.llama.lifecycle import ChildHost, Mode, State, sound
from models.llama.settings import EngineSettings
from models.request import (
    WINDOW,
    Handle,
    Listener,
    ModelRequest,
    Priority,
    Reply,
    TokenLogprob,
)

__all__ = ["LlamaHandle", "LlamaHost", "State"]

_log = logging.getLogger("greenroom.models.llama")

_MAX_PROMPT_CHARS = 1_000_000
_MAX_STOP_CHARS = 1000
_MAX_TOKENS = 1 << 20
_MAX_LOGPROBS = 400_000
"""Of one reply: some 20 bytes each, in one frame."""


@dataclass(frozen=True, slots=True)
class LlamaHandle:
    """A request given to a LlamaHost."""

    request: ModelRequest
    _cancel: Callable[[], None]

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._cancel()


class LlamaHost(ChildHost[Delivery]):
    """One GGUF behind the `Backend` face.

    `mode="process"` is for use, `mode="thread"` for debugging only: there a fault in llama.cpp ends
    the whole process. `threads` 0 means all physical cores but one. Loading starts at once, in the
    background: `wait_ready` waits for it. `shrink` gives the sizes to go on with after it died of
    memory (see fit.shrinking).
    """

    def __init__(
        self,
        model_path: Path | str,
        *,
        threads: int = 0,
        n_ctx: int = 8192,
        n_seq: int = 64,
        mode: Mode = "process",
        settings: EngineSettings | None = None,
        load_s: float = 30.0,
        hang_s: float = 30.0,
        backoff_s: float = 0.2,
        backoff_most_s: float = 30.0,
        max_restarts: int = 8,
        quiet_s: float = 5.0,
        shrink: Shrink | None = None,
    ) -> None:
        self._adapters = Adapters()
        self._latencies = Latencies()
        super().__init__(
            model_path,
            "chat",
            settings
            or EngineSettings(threads=threads, n_ctx=n_ctx, n_seq=n_seq, n_parallel=min(32, n_seq)),
            mode=mode,
            patience=Patience(load_s, hang_s, backoff_s, backoff_most_s, max_restarts, quiet_s),
            shrink=shrink,
        )

    @property
    def name(self) -> str:
        """The model's name and version and the engine, e.g. "greenroom-house 1 (llama.cpp)"."""
        return self._source("")

    def source_for(self, adapter: str) -> str:
        """The `source` of replies to requests under an adapter, as far as it is loaded now."""
        with self._lock:
            loaded = self._adapters.states().get(adapter) == LOADED
        return self._source(adapter if loaded else "")

    def _source(self, adapter: str) -> str:
        model = self._model.get("name", self._path.stem)
        return f"{model}{f' + {adapter}' if adapter else ''} (llama.cpp)"

    def add_adapter(self, name: str, path: Path | str, scale: float = 1.0) -> None:
        """Let requests be answered under a LoRA adapter of this model; returns at once.

        It is loaded once, now or when the engine is ready, and again after each restart. One that
        llama.cpp refuses, or dies of, is left out: `status()["adapters"]` says why, and requests
        that name it are answered by the bare model. Raises ValueError for an empty name.
        """
        if not name:
            raise ValueError("an adapter needs a name")
        with self._lock:
            frame = self._adapters.add(name, Path(path), scale)
            channel = self._channel if self._state == "ready" else None
        if channel is not None:
            channel.send(frame)

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Hand a request to the engine and return at once (see `Backend`)."""
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
        pending = Delivery(request, listener)
        channel = self._take(pending, limit, refusal)
        if channel is not None:
            with self._lock:
                # A species that nobody registered one for misses none, and none is asked for.
                adapter = request.adapter if self._adapters.knows(request.adapter) else ""
            channel.send(
                {
                    "t": "ask",
                    "id": pending.number,
                    "messages": [[m["role"], sound(m["content"])] for m in request.messages],
                    "max_tokens": min(request.max_tokens, _MAX_TOKENS),
                    "temperature": request.temperature,
                    "top_p": request.top_p,
                    "seed": request.seed % (1 << 64),
                    "stop": [sound(text) for text in request.stop],
                    "grammar": schema.grammar if schema else None,
                    "priority": int(request.priority),
                    "wanted": request.wanted,
                    "seconds_left": request.deadline_s,
                    "asker": sound(request.asker),
                    "adapter": sound(adapter),
                    "window": min(max(1, request.window or WINDOW), _MAX_TOKENS),
                    "importance": [int(each) for each in request.importance],
                    "think": min(max(0, request.think), _MAX_TOKENS),
                    "logprobs": request.logprobs,
                }
            )
        return LlamaHandle(request, partial(self._cancel, pending))

    def status(self) -> dict[str, object]:
        """State, model, and the engine's own figures of half a second ago at most."""
        told = super().status()
        with self._lock:
            adapters = self._adapters.states()
        return {
            "name": self.name, **told, "adapters": adapters, "latency": self._latencies.status()
        }  # fmt: skip

    def _prepare(self, channel: Channel) -> None:
        for frame in self._adapters.again():
            channel.send(frame)

    def _died(self) -> None:
        self._adapters.blame()

    def _hear_event(self, event: Sequence[Any]) -> None:
        if event[0] == "adapter":
            name, fault = event[1:3]
            with self._lock:
                self._adapters.heard(name, fault)
            if fault:
                _log.error("the adapter %s is left out: %s", name, fault)
            return
        pending = self._requests.find(event[1])
        if pending is None:
            return
        match event[0]:
            case "text":
                pending.text(event[2])
            case "done":
                self._finish(pending, event[2])
            case _:
                self._requests.end_by_event(pending, event)

    def _finish(self, pending: Delivery, figures: dict[str, Any]) -> None:
        request = pending.request
        text = pending.streamed
        try:
            parsed = grammar.parse(text, request.schema) if request.schema else None
        except ModelError as error:
            self._requests.end_with_error(pending, error)
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
            reasoning_tokens=figures["reasoning_tokens"],
            first_token_s=pending.first_text_s,
            total_s=pending.age_s,
            dropped=tuple(figures["dropped"]),
            logprobs=tuple(
                TokenLogprob(token, own, tuple((text, score) for text, score in likeliest))
                for token, own, likeliest in figures["logprobs"]
            ),
        )
        self._latencies.note(request.priority, reply)
        self._answer(pending, lambda: pending.done(reply))


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
    longest = min(request.max_tokens, request.window or WINDOW)
    if request.logprobs and longest * (request.logprobs + 1) > _MAX_LOGPROBS:
        raise RequestRefused(
            f"{longest * (request.logprobs + 1)} log-probabilities may be told, "
            f"more than {_MAX_LOGPROBS}",
            "ask for fewer alternatives or tokens",
        )
    if len(request.importance) > len(request.messages):
        raise RequestRefused(
            f"{len(request.importance)} importances were given for {len(request.messages)} messages",
            "give one for each message",
        )
    if len(request.stop) > 16:
        raise RequestRefused(f"{len(request.stop)} stop strings were given", "give 16 at most")
    longest = max(map(len, request.stop), default=0)
    if longest > _MAX_STOP_CHARS:
        raise RequestRefused(
            f"a stop string has {longest} characters, more than {_MAX_STOP_CHARS}", "stop at less"
        )
    if request.priority not in tuple(Priority):
        raise RequestRefused(
            f"the priority is {request.priority}", "use one of models.request.Priority"
        )
