"""What is asked of a model and what comes back: the one face over every backend."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple, Protocol, TypedDict

from pydantic import BaseModel

from models.errors import ModelError


class Priority(IntEnum):
    """Who goes first; lower is more urgent."""

    SPEECH = 0
    BATTLE = 1
    NEAR = 2
    BUILD = 3
    OFFSTAGE = 4


WINDOW = 16_384
"""Tokens of a conversation, unless a request says otherwise or its model has fewer."""


CacheUse = Literal["use", "refresh", "off"]
"""Whether the semantic cache may answer and keep ("use"), only keep anew ("refresh"), or neither."""


class Message(TypedDict):
    """One chat message. Templates, never string joins, put player text into `content`."""

    role: Literal["system", "user", "assistant"]
    content: str


_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to a model.

    `schema` is the pydantic model that the reply must satisfy (None: free text).
    `deadline_s` counts seconds from submission; past it the request is cancelled.
    `epoch` is the world's; replies for an abandoned epoch are dropped by the asker.
    `asker` names who pays: "npc:<id>", "group:<id>", "coordinator" …
    `backend` names the rung of a router to ask first, "" the one that its purpose's route begins with.
    `adapter` names the LoRA adapter to answer under, "" the bare model; a backend that has none of
    that name answers with the bare model.
    `window` bounds prompt and reply in tokens, 0 as the rung that answers does (see router.py),
    `WINDOW` where that has no bound; what is too much is left out by the `importance` of
    each message (see context.py) and named in the reply. `think` bounds a thinking model's hidden
    reasoning, in tokens beyond `max_tokens`. With `logprobs` over 0 the reply tells the
    log-probability of each sampled token and of that many of the likeliest.

    `cache_scope` lets the semantic cache answer, from answers of the same scope only (see cache.py); ""
    never. `cache_question` is the text that it compares, "" the last message. An answer that holds
    one of the words of `cache_unless` is not kept: it would tell the next asker about this one.
    `cache` narrows what the scope allows: "refresh" asks the model and lets its answer take the place
    of the kept one, "off" leaves the cache alone.

    `wanted` orders requests of one priority before all fairness, the lowest first: what is asked before its time
    names the tick it is for (see ahead.py), so that it keeps nobody waiting; 0 for all else.
    """

    messages: Sequence[Message]
    purpose: str
    max_tokens: int = 96
    temperature: float = 0.7
    top_p: float = 0.95
    seed: int = 0
    stop: Sequence[str] = ()
    schema: type[BaseModel] | None = None
    priority: Priority = Priority.NEAR
    deadline_s: float = 30.0
    epoch: int = 0
    asker: str = ""
    backend: str = ""
    adapter: str = ""
    window: int = WINDOW
    importance: Sequence[int] = ()
    think: int = 256
    logprobs: int = 0
    cache_scope: str = ""
    cache_question: str = ""
    cache_unless: Sequence[str] = ()
    cache: CacheUse = "use"
    wanted: int = 0
    id: int = field(default_factory=lambda: next(_ids))


@dataclass(frozen=True, slots=True)
class Preference:
    """What a caller wants of one answer: `ModelRequest`'s `backend` and `cache`."""

    backend: str = ""
    cache: CacheUse = "use"


NO_PREFERENCE = Preference()


class TokenLogprob(NamedTuple):
    """A sampled token's natural log-probability before temperature, beside the likeliest tokens'."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer. `source` names model and version; times are seconds from submission.

    `completion_tokens` counts all that was written, `reasoning_tokens` what of it was hidden reasoning, which came
    before the first text. `dropped` are the places of the request's messages that did not fit its window. `logprobs` holds
    (token, its log-probability, the likeliest tokens with theirs) for each token that was sampled.
    """

    request_id: int
    text: str
    source: str
    parsed: BaseModel | None = None
    finish: Literal["stop", "length"] = "stop"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    first_token_s: float = 0.0
    total_s: float = 0.0
    cost_usd: float = 0.0
    dropped: tuple[int, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def token_s(self) -> float | None:
        """Seconds a spoken token after the first, on average; None where there was none."""
        spoken = self.completion_tokens - self.reasoning_tokens
        rest = max(0.0, self.total_s - self.first_token_s)
        return rest / (spoken - 1) if spoken > 1 else None


class Listener(Protocol):
    """Hears a request's progress, on the backend's thread: hand over and return at once.

    Exactly one of `on_done` and `on_error` is called, once, last.
    """

    def on_text(self, request_id: int, text: str) -> None: ...

    def on_done(self, reply: Reply) -> None: ...

    def on_error(self, request_id: int, error: ModelError) -> None: ...


class Handle(Protocol):
    """A request under way."""

    @property
    def request(self) -> ModelRequest: ...

    def cancel(self) -> None:
        """Withdraw it; the listener hears `Cancelled` unless it had already ended. Never blocks."""


class Backend(Protocol):
    """Anything that answers requests: the local engine, a cloud, a router over both."""

    @property
    def name(self) -> str: ...

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Take the request and return at once. Never raises for a model's fault: the listener hears it."""

    def status(self) -> dict[str, object]:
        """A snapshot of plain values for metrics and the dashboard."""

    def close(self) -> None:
        """Stop taking requests, end what is under way with `Cancelled`, free everything."""
