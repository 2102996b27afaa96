"""Claude as a Backend, through Anthropic's SDK: streamed, metered, and calm when the service isn't.

Calls run on an event loop in a thread of their own. A call is tried again only while nothing has
been produced (429, 529, 5xx, no connection): afterwards every attempt costs money that nobody
reserved. `temperature`, `top_p` and `seed` of a request are not used, since the API takes none.

A conversation that may not fit the request's `window` is counted by the service first, and trimmed as
window.py tells.

Structured replies ask for the service's own JSON output by the reply's schema, which every model takes
that can be asked today, and are checked like every reply. Their text is told when it is whole.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import anthropic
import httpx2

from models import grammar
from models.budget import Price
from models.cloud.anthropic_call import COUNTED, call_of
from models.cloud.resilience import Breaker, Retry, TokenBucket
from models.cloud.window import fit
from models.delivery import Delivery
from models.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelError,
    ModelUnavailable,
    RateLimited,
    RequestRefused,
    SafetyRefusal,
)
from models.request import Handle, Listener, Message, ModelRequest, Reply
from models.text import TextStream

_log = logging.getLogger("greenroom.models")

Thinking = Literal["disabled", "between_tools", "adaptive"]

_CACHE_WRITE, _CACHE_READ = 1.25, 0.1
"""Anthropic's price of cached input tokens, as shares of the input price."""
_QUOTED = 300
_UNREADABLE = (
    anthropic.AnthropicError, httpx2.TransportError, TimeoutError, ValueError, TypeError, AttributeError
)  # fmt: skip
_COUNT_S, _COUNT_SHARE = 2.0, 0.2
"""The longest that counting a prompt may take: so many seconds, and this share of the time left."""


@dataclass(frozen=True, slots=True)
class AnthropicSettings:
    """How much to ask of the service, and how patiently.

    `stall_s`: the longest silence within a reply. `concurrent` calls run at once, `waiting` more may
    wait. `thinking`: "disabled" keeps `max_tokens` for the reply; a model that can't be kept from
    thinking wants "between_tools" or "adaptive" and more tokens.
    """

    per_minute: float = 60.0
    concurrent: int = 10
    waiting: int = 64
    connect_s: float = 5.0
    stall_s: float = 20.0
    thinking: Thinking = "disabled"
    breaker_failures: int = 5
    breaker_rest_s: float = 30.0
    retry: Retry = field(default_factory=Retry)


@dataclass(frozen=True, slots=True)
class _Handle:
    request: ModelRequest
    _cancel: Callable[[int], None]

    def cancel(self) -> None:
        self._cancel(self.request.id)


@dataclass(slots=True)
class _Answer:
    """What a stream has brought so far."""

    text: TextStream
    json_parts: list[str] = field(default_factory=list)
    begun: bool = False
    whole: bool = False
    stop_reason: str = ""
    input_tokens: int = 0
    cache_written: int = 0
    cache_read: int = 0
    output_tokens: int = 0
    dropped: tuple[int, ...] = ()


class AnthropicBackend:
    """One Claude model. `api_key` is passed in, never looked for; so is every other setting.

    `price` gives replies their `cost_usd`; without one they cost nothing here, and a ledger around
    the backend charges its own price. Raises anthropic.AnthropicError when the SDK can't be set up
    as asked.
    """

    def __init__(
        self,
        *,
        model: str,
        api_key: str,
        base_url: str | None = None,
        price: Price | None = None,
        settings: AnthropicSettings | None = None,
    ) -> None:
        self._model = model
        self._price = price or Price()
        self._settings = settings = settings or AnthropicSettings()
        self._client = anthropic.AsyncAnthropic(
            api_key=api_key,
            base_url=base_url or "https://api.anthropic.com",
            max_retries=0,
            timeout=httpx2.Timeout(settings.stall_s, connect=settings.connect_s),
            open_telemetry=False,
        )
        self._bucket = TokenBucket(settings.per_minute, settings.concurrent)
        self._breaker = Breaker(settings.breaker_failures, settings.breaker_rest_s)
        self._room = asyncio.Semaphore(settings.concurrent)
        self._lock = threading.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._under_way = self._calling = self._most_calling = 0
        self._open = True
        self._counts: Counter[str] = Counter()
        self._usd = 0.0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="anthropic", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The model's name and whose it is."""
        return f"{self._model} (Anthropic)"

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Hand a request to the loop and return at once (see `Backend`)."""
        delivery = Delivery(request, listener)
        limit = self._settings.concurrent + self._settings.waiting
        with self._lock:
            is_open, full = self._open, self._under_way >= limit
            if is_open and not full:
                self._under_way += 1
                self._loop.call_soon_threadsafe(self._begin, delivery)
            elif is_open:
                fault = RequestRefused(f"{limit} requests are under way already", "ask less often")
                self._loop.call_soon_threadsafe(delivery.error, fault)
        if not is_open:
            delivery.error(ModelUnavailable(f"{self.name} was closed"))
        return _Handle(request, self._cancel)

    def status(self) -> dict[str, object]:
        """Counters by outcome, tokens and dollars, and whether the breaker lets calls pass."""
        with self._lock:
            return {
                "name": self.name,
                "kind": "anthropic",
                "state": "closed" if not self._open else "ready",
                "breaker": self._breaker.state,
                "under_way": self._under_way,
                "calling": self._calling,
                "most_calling": self._most_calling,
                "concurrent_limit": self._settings.concurrent,
                "waiting_limit": self._settings.waiting,
                "counts": dict(self._counts),
                "usd": round(self._usd, 6),
            }

    def close(self) -> None:
        """End; what is under way hears `Cancelled`. Returns within a few seconds."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(5.0)

    # All below runs on the loop's thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._wind_up())
        self._loop.close()

    async def _wind_up(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.close()

    def _begin(self, delivery: Delivery) -> None:
        request_id = delivery.request.id
        if request_id in self._tasks:
            self._end(delivery, RequestRefused(f"request {request_id} is under way already"))
            with self._lock:
                self._under_way -= 1
            return
        task = self._loop.create_task(self._serve(delivery))
        self._tasks[request_id] = task

    def _cancel(self, request_id: int) -> None:
        def on_loop() -> None:
            task = self._tasks.get(request_id)
            if task is not None:
                task.cancel()

        with self._lock:
            if self._open:
                self._loop.call_soon_threadsafe(on_loop)

    async def _serve(self, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(max(0.0, delivery.seconds_left)), self._room:
                await self._together(delivery)
        except TimeoutError:
            late = f"no answer within {delivery.request.deadline_s:g} s"
            self._end(delivery, DeadlineExceeded(late))
        except asyncio.CancelledError:
            self._end(delivery, Cancelled("the request was withdrawn"))
        except ModelError as error:
            self._end(delivery, error)
        finally:
            del self._tasks[delivery.request.id]
            with self._lock:
                self._under_way -= 1

    async def _together(self, delivery: Delivery) -> None:
        """One of the calls under way together, at most `concurrent`."""
        with self._lock:
            self._calling += 1
            self._most_calling = max(self._most_calling, self._calling)
        try:
            await self._attempts(delivery)
        finally:
            with self._lock:
                self._calling -= 1

    def _end(self, delivery: Delivery, error: ModelError) -> None:
        self._count(f"failed.{error.code}")
        delivery.error(error)

    def _count(self, what: str, number: int = 1) -> None:
        with self._lock:
            self._counts[what] += number

    async def _attempts(self, delivery: Delivery) -> None:
        request = delivery.request
        seconds = min(_COUNT_S, max(0.0, delivery.seconds_left) * _COUNT_SHARE)
        fitted = await fit(request, lambda messages: self._count_tokens(request, messages, seconds))
        call = self._call(request, fitted.messages, fitted.max_tokens)
        if fitted.dropped:
            self._count("trimmed")
        attempt = 0
        while True:
            attempt += 1
            wait = self._bucket.take()
            if wait >= delivery.seconds_left:
                self._bucket.give_back()
                raise RateLimited(
                    f"{self._settings.per_minute:g} calls a minute are made already",
                    retry_after_s=wait,
                )
            await asyncio.sleep(wait)
            if not self._breaker.allow():
                self._bucket.give_back()
                raise ModelUnavailable(
                    f"{self.name} failed {self._settings.breaker_failures} times in a row",
                    "it is left alone for a while",
                )
            answer = _Answer(TextStream(), dropped=fitted.dropped)
            self._count("calls")
            try:
                await self._stream(call, answer, delivery)
            except ModelError as error:
                asked = error.retry_after_s if isinstance(error, RateLimited) else None
                again = error.retryable and not answer.begun
                pause = self._settings.retry.pause(attempt, delivery.seconds_left, asked)
                if not again or pause is None:
                    raise
                self._count("retried")
                await asyncio.sleep(pause)
                continue
            self._breaker.succeed()
            self._finish(delivery, answer)
            return

    def _call(
        self, request: ModelRequest, messages: Sequence[Message], max_tokens: int
    ) -> dict[str, Any]:
        return call_of(request, self._model, self._settings.thinking, messages, max_tokens)

    async def _count_tokens(
        self, request: ModelRequest, messages: Sequence[Message], seconds: float
    ) -> int | None:
        """The prompt's tokens as the service counts them, which is free; None when it doesn't tell."""
        call = self._call(request, messages, request.max_tokens)
        if self._breaker.state != "closed":
            return None
        try:
            async with asyncio.timeout(seconds):
                told = await self._client.messages.count_tokens(
                    **{name: call[name] for name in COUNTED if name in call}
                )
            tokens = int(told.input_tokens)
        except _UNREADABLE as error:
            self._count("token_counts_failed")
            _log.info("%s did not count a prompt's tokens: %s", self.name, str(error)[:_QUOTED])
            return None
        self._count("token_counts")
        return tokens

    async def _stream(self, call: dict[str, Any], answer: _Answer, delivery: Delivery) -> None:
        try:
            stream = await self._client.messages.create(**call, stream=True)
            async with stream:
                async for event in stream:
                    self._take(event, answer, delivery)
        except asyncio.CancelledError:
            # A service that lets deadlines pass is failing; one that is withdrawn from is not.
            if delivery.seconds_left <= 0:
                self._breaker.fail()
            else:
                self._breaker.abandon()
            raise
        except anthropic.APIStatusError as error:
            raise self._translate(error, answer) from error
        except (anthropic.APIConnectionError, httpx2.TransportError) as error:
            self._breaker.fail()
            if answer.begun:
                raise ModelError(f"{self.name} broke off in the middle of a reply") from error
            raise ModelUnavailable(f"{self.name} can't be reached: {error}") from error
        except (ValueError, TypeError, AttributeError, anthropic.AnthropicError) as error:
            self._breaker.fail()
            said = str(error)[:_QUOTED]
            raise ModelError(f"{self.name} sent something that is no reply: {said}") from error
        if not answer.whole:
            self._breaker.fail()
            raise ModelError(f"{self.name} broke off in the middle of a reply")

    def _take(self, event: Any, answer: _Answer, delivery: Delivery) -> None:
        match event.type:
            case "message_start":
                answer.begun = True
                usage = event.message.usage
                answer.input_tokens = int(usage.input_tokens)
                answer.cache_written = int(usage.cache_creation_input_tokens or 0)
                answer.cache_read = int(usage.cache_read_input_tokens or 0)
            case "content_block_delta" if event.delta.type == "text_delta":
                piece = answer.text.push(event.delta.text.encode())
                if delivery.request.schema is None:
                    delivery.text(piece)
                else:
                    answer.json_parts.append(piece)
            case "message_delta":
                answer.stop_reason = event.delta.stop_reason or ""
                answer.output_tokens = int(event.usage.output_tokens)
            case "message_stop":
                answer.whole = True

    def _finish(self, delivery: Delivery, answer: _Answer) -> None:
        request = delivery.request
        usd = self._cost(answer)
        prompt = answer.input_tokens + answer.cache_written + answer.cache_read
        with self._lock:
            self._usd += usd
            self._counts["prompt_tokens"] += prompt
            self._counts["completion_tokens"] += answer.output_tokens
        if answer.stop_reason == "refusal":
            raise SafetyRefusal(f"{self.name} declined to answer")
        parsed = None
        if request.schema is None:
            delivery.text(answer.text.finish())
            text = delivery.streamed
        else:
            if answer.stop_reason == "max_tokens":
                raise ModelError(f"{self.name} ran out of tokens within the reply")
            parsed = grammar.parse(
                "".join(answer.json_parts) + answer.text.finish(), request.schema
            )
            text = parsed.model_dump_json()
            delivery.text(text)
        self._count("answered")
        delivery.done(
            Reply(
                request_id=request.id,
                text=text,
                source=self.name,
                parsed=parsed,
                finish="length" if answer.stop_reason == "max_tokens" else "stop",
                prompt_tokens=prompt,
                cached_tokens=answer.cache_read,
                completion_tokens=answer.output_tokens,
                first_token_s=delivery.first_text_s,
                total_s=delivery.age_s,
                cost_usd=usd,
                dropped=answer.dropped,
            )
        )

    def _cost(self, answer: _Answer) -> float:
        price = self._price
        cached = answer.cache_written * _CACHE_WRITE + answer.cache_read * _CACHE_READ
        return (
            price.cost(answer.input_tokens, answer.output_tokens) + cached * price.input_usd / 1e6
        )

    def _translate(self, error: anthropic.APIStatusError, answer: _Answer) -> ModelError:
        said = str(error.api_message or error.message)[:_QUOTED]
        # An error inside a stream comes with the stream's own status, 200, so its type decides.
        kind, status = error.type or "", error.status_code
        if answer.begun:
            self._breaker.fail()
            return ModelError(f"{self.name} broke off in the middle of a reply: {said}")
        if status in (429, 529) or kind in ("rate_limit_error", "overloaded_error"):
            self._breaker.fail()
            return RateLimited(
                f"{self.name} asks for fewer calls: {said}",
                retry_after_s=_seconds(error.response.headers.get("retry-after")),
            )
        if status in (401, 402, 403):
            self._breaker.fail()
            refused = ModelUnavailable(
                f"{self.name} refuses the key: {said}", "check the key and the account"
            )
            refused.retryable = False
            return refused
        if 400 <= status < 500 and status != 408:
            self._breaker.succeed()
            return RequestRefused(f"{self.name} refuses the request: {said}")
        self._breaker.fail()
        return ModelUnavailable(f"{self.name} failed ({status}): {said}")


def _seconds(header: str | None) -> float | None:
    try:
        return float(header) if header is not None else None
    except ValueError:
        return None
