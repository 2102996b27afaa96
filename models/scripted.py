"""A stand-in for a model, for tests and deterministic runs: no inference, replies made by a rule.

What `ScriptedBackend` answers is a pure function of the request's messages, purpose, schema and
seed, so a run that uses it can be repeated bit for bit. It says so in every reply's source.
"""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgpack
from pydantic import BaseModel

from models import grammar
from models.delivery import Delivery
from models.errors import Cancelled, DeadlineExceeded, ModelError, ModelUnavailable, RequestRefused
from models.request import Handle, Listener, ModelRequest, Reply

Rule = Callable[[ModelRequest], str | BaseModel | ModelError]
"""Makes the reply: text, an instance of the request's schema, or an error to be told."""

_OPENERS = (
    "Well met.",
    "So it is.",
    "Aye.",
    "Let me think.",
    "That may be.",
    "You don't say.",
    "Mind how you go.",
)


def digest(request: ModelRequest) -> int:
    """64 bits of what was asked: messages, purpose, schema's name and seed."""
    asked = [
        [[message["role"], message["content"]] for message in request.messages],
        request.purpose,
        request.schema.__name__ if request.schema else "",
        request.seed,
    ]
    return int.from_bytes(hashlib.blake2b(msgpack.packb(asked), digest_size=8).digest(), "big")


def plain_rule(request: ModelRequest) -> str | BaseModel | ModelError:
    """The rule in use unless another is given: quotes the last line, or fills in the schema."""
    chance = digest(request)
    if request.schema is not None:
        return _fill(request.schema, chance)
    line = " ".join(request.messages[-1]["content"].split())
    return f'{_OPENERS[chance % len(_OPENERS)]} You said "{line[-60:]}".'


@dataclass(frozen=True, slots=True)
class _Handle:
    request: ModelRequest
    _cancel: Callable[[int], None]

    def cancel(self) -> None:
        self._cancel(self.request.id)


class ScriptedBackend:
    """A `Backend` that answers by rule, in the order asked, each reply after `latency_s` seconds.

    Replies are streamed word by word. `rule` replaces `plain_rule`; it runs on the backend's thread.
    With `inline` there is no thread and no latency: whoever submits hears the answer before `submit`
    returns, so that nothing of a run hangs on a clock.
    """

    def __init__(
        self,
        rule: Rule = plain_rule,
        *,
        latency_s: float = 0.0,
        name: str = "scripted (no model)",
        inline: bool = False,
    ) -> None:
        self._rule = rule
        self._latency_s = latency_s
        self._name = name
        self._order = itertools.count()
        self._due: list[tuple[float, int, Delivery]] = []
        self._withdrawn: set[int] = set()
        self._wake = threading.Condition()
        self._open = True
        self._asked = 0
        self._inline = inline
        self._thread = threading.Thread(target=self._run, name="scripted", daemon=True)
        if not inline:
            self._thread.start()

    @property
    def name(self) -> str:
        """Says that no model is behind it."""
        return self._name

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Take the request; the reply comes on the backend's thread."""
        delivery = Delivery(request, listener)
        with self._wake:
            self._asked += 1
            closed = not self._open
            if not closed and not self._inline:
                due = time.monotonic() + min(self._latency_s, request.deadline_s)
                heapq.heappush(self._due, (due, next(self._order), delivery))
                self._wake.notify()
        if closed:
            delivery.error(ModelUnavailable("the scripted backend was closed"))
        elif self._inline:
            self._answer(delivery)
        return _Handle(request, self._cancel)

    def status(self) -> dict[str, object]:
        """How many were asked and how many wait."""
        with self._wake:
            return {
                "name": self._name,
                "kind": "scripted",
                "state": "ready" if self._open else "closed",
                "asked": self._asked,
                "under_way": len(self._due),
            }

    def close(self) -> None:
        """End; what waits hears `Cancelled`."""
        with self._wake:
            self._open = False
            self._wake.notify()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(5.0)

    def _cancel(self, request_id: int) -> None:
        with self._wake:
            for index, (_, order, delivery) in enumerate(self._due):
                if delivery.request.id == request_id:
                    # Told on the backend's thread, ahead of everything else.
                    self._withdrawn.add(request_id)
                    self._due[index] = (0.0, order, delivery)
                    heapq.heapify(self._due)
                    self._wake.notify()
                    return

    def _run(self) -> None:
        while True:
            with self._wake:
                while self._open and (not self._due or self._due[0][0] > time.monotonic()):
                    self._wake.wait(self._due[0][0] - time.monotonic() if self._due else None)
                if not self._open:
                    left, self._due = self._due, []
                    break
                _, _, delivery = heapq.heappop(self._due)
            self._answer(delivery)
        for _, _, delivery in left:
            delivery.error(Cancelled("the scripted backend was closed"))

    def _answer(self, delivery: Delivery) -> None:
        request = delivery.request
        if request.id in self._withdrawn:
            self._withdrawn.discard(request.id)
            delivery.error(Cancelled("the request was withdrawn"))
            return
        if self._latency_s > request.deadline_s:
            delivery.error(DeadlineExceeded(f"no answer within {request.deadline_s:g} s"))
            return
        try:
            if request.schema is not None:
                grammar.register(request.schema, request.max_tokens)
            made = self._rule(request)
            if isinstance(made, ModelError):
                raise made
            text = made.model_dump_json() if isinstance(made, BaseModel) else made
            parsed = grammar.parse(text, request.schema) if request.schema else None
        except ModelError as error:
            delivery.error(error)
            return
        words = text.split(" ")
        for index, word in enumerate(words):
            delivery.text(word if index == len(words) - 1 else word + " ")
        delivery.done(
            Reply(
                request_id=request.id,
                text=text,
                source=self._name,
                parsed=parsed,
                prompt_tokens=sum(len(message["content"]) for message in request.messages) // 4,
                completion_tokens=len(words),
                first_token_s=delivery.first_text_s,
                total_s=delivery.age_s,
            )
        )


def _fill(model: type[BaseModel], chance: int) -> BaseModel:
    """An instance of a reply model, chosen by `chance`."""
    schema = grammar.compile_schema(model).schema
    try:
        return grammar.parse(json.dumps(_value(schema, chance)), model)
    except ModelError as error:
        raise RequestRefused(
            f"the scripted backend can't make a {model.__name__}: {error.message}",
            "give it a rule that can",
        ) from error


def _value(schema: dict[str, Any], chance: int) -> Any:
    """A value that fits one node of a checked reply schema (see grammar.py)."""
    onward = (chance * 0x9E3779B97F4A7C15 + 1) & 0xFFFFFFFFFFFFFFFF
    if "enum" in schema:
        return schema["enum"][chance % len(schema["enum"])]
    if "anyOf" in schema:
        return _value(schema["anyOf"][chance % len(schema["anyOf"])], onward)
    match schema["type"]:
        case "object":
            return {
                name: _value(part, onward >> (index % 32))
                for index, (name, part) in enumerate(schema["properties"].items())
            }
        case "array" if "prefixItems" in schema:
            return [_value(part, onward + i) for i, part in enumerate(schema["prefixItems"])]
        case "array":
            least = schema.get("minItems", 0)
            size = least + chance % (schema["maxItems"] - least + 1)
            return [_value(schema["items"], onward + i) for i in range(size)]
        case "integer":
            return schema["minimum"] + chance % (schema["maximum"] - schema["minimum"] + 1)
        case "boolean":
            return chance % 2 == 0
        case "string":
            return "none"[: schema["maxLength"]].ljust(schema["minLength"], "e")
    return None
