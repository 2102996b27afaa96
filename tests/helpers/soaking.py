"""Random requests in great numbers, a ledger of what became of each, and what processes hold meanwhile."""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import psutil
from pydantic import BaseModel, Field, create_model

from foundation.strict import StrictModel
from models import grammar
from models.errors import ModelError
from models.request import Handle, Message, ModelRequest, Priority, Reply

MIB = 1 << 20
ENDS = frozenset({"answered", "cancelled", "deadline", "model_refused", "model_unavailable"})
"""How a request may end when nothing is wrong with the engine."""

Deed = Literal["keep", "at once", "at text", "later", "twice"]
"""When a request is withdrawn; "later" may be before, during or after its reply."""

_DEEDS: dict[Deed, int] = {"keep": 70, "at once": 6, "at text": 8, "later": 12, "twice": 4}
_CLASSES = {
    Priority.SPEECH: 20, Priority.BATTLE: 20, Priority.NEAR: 30, Priority.BUILD: 15,
    Priority.OFFSTAGE: 15,
}  # fmt: skip
_PROMPTS = {"shared": 60, "own": 21, "talk": 10, "trimmed": 1, "long": 1, "too long": 3, "wrong": 4}
_TEXT = (
    "the wolf mill bread road night baker river old king gate moon sheep fire stone winter "
    "you I we they sees hears wants keeps lost found near far and but if of in on by"
)
_WORDS = tuple(_TEXT.split())
_FAULTS_KEPT = 20


class Endless(StrictModel):
    """A reply that no limit can hold: refused."""

    text: str


def _choice_of(number: int) -> type[BaseModel]:
    """A reply schema unlike the others, so that an answer to another's request would not pass."""
    options = Literal["none", f"gate {number}", f"wolf {number}"]  # type: ignore[valid-type]
    return create_model(
        f"Choice{number}",
        __base__=StrictModel,
        target=(options, ...),
        word=(str, Field(max_length=number % 4, pattern="^[a-z]*$")),
        sure=(bool, ...),
    )


class Mix:
    """Draws requests from a seed: every class, askers, personas, grammars, adapters, deadlines.

    `limit` is how many tokens a conversation may have; `adapters` are the names that are loaded.
    """

    def __init__(self, seed: int, limit: int, adapters: Sequence[str]) -> None:
        self.chance = random.Random(seed)
        self._limit = limit
        self._adapters = [*[""] * 7, *adapters, "ghost"]
        self._personas = [f"You are {n}. {self._prose(90 + 5 * n)}" for n in range(4)]
        # More than the engine keeps compiled.
        self._schemas = [_choice_of(number) for number in range(96)]
        self._drawn = 0

    def draw(self) -> tuple[ModelRequest, Deed]:
        """The next request, and what its asker does about it."""
        chance = self.chance
        self._drawn += 1
        kind = chance.choices(list(_PROMPTS), list(_PROMPTS.values()))[0]
        fields: dict[str, Any] = {
            "max_tokens": chance.randint(1, 12),
            "temperature": chance.choice((0.0, 0.3, 0.7, 1.5)),
            "seed": chance.getrandbits(48),
            "stop": chance.choice(((), (), (".",), ("the", " a"))),
            "priority": chance.choices(list(_CLASSES), list(_CLASSES.values()))[0],
            "deadline_s": self._deadline(),
            "asker": f"npc:{chance.randrange(200) if chance.random() < 0.95 else self._drawn}",
            "adapter": chance.choice(self._adapters),
            "importance": chance.choice(((), (0, 1), (2,))) if kind == "trimmed" else (),
            "logprobs": chance.choice((0, 0, 0, 0, 3)),
            "think": chance.choice((0, 16)),
        }
        if chance.random() < 0.25:
            fields["schema"] = chance.choice(self._schemas)
            fields["max_tokens"] = grammar.longest_tokens(fields["schema"])
        if kind == "wrong":
            fields |= self._wrong()
        messages = fields.pop("messages", None)
        if messages is None:
            messages = self._messages(kind)
        request = ModelRequest(messages=messages, purpose="soak", **fields)
        return request, chance.choices(list(_DEEDS), list(_DEEDS.values()))[0]

    def _deadline(self) -> float:
        chance = self.chance
        return chance.choice(
            (*[120.0] * 20, 0.0, -1.0, chance.uniform(0.001, 0.1), chance.uniform(0.1, 1.0))
        )

    def _wrong(self) -> dict[str, Any]:
        return self.chance.choice(
            (
                {"messages": []},
                {"schema": Endless},
                {"schema": self._schemas[0], "max_tokens": 3},
                {"max_tokens": 0},
                {"temperature": math.nan},
                {"deadline_s": math.inf},
                {"logprobs": 21},
                {"importance": [1] * 500},
                {"stop": ["."] * 17},
            )
        )

    def _messages(self, kind: str) -> list[Message]:
        chance = self.chance
        persona = chance.choice(self._personas)
        lines = 1
        words = chance.randint(1, 12)
        match kind:
            case "own":
                persona = f"You are {self._drawn}. {self._prose(chance.randint(1, 30))}"
            case "talk":
                lines = chance.randint(2, 5)
            case "trimmed":
                lines, words = 20, self._limit // 12
            case "long":
                words = chance.randint(self._limit // 4, self._limit // 2)
            case "too long":
                words = 2 * self._limit
        messages: list[Message] = [{"role": "system", "content": persona}]
        for _ in range(lines - 1):
            messages.append({"role": "user", "content": self._prose(words)})
            messages.append({"role": "assistant", "content": self._prose(4)})
        messages.append({"role": "user", "content": self._prose(words)})
        return messages

    def _prose(self, words: int) -> str:
        return " ".join(self.chance.choices(_WORDS, k=words))


class Ledger:
    """What became of every request; `faults` names what a listener must never hear."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        self.asked = 0
        self._open: dict[int, Ear] = {}
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._open)

    def listen(self, request: ModelRequest, *, cancels: bool = False) -> Ear:
        """A listener for a request that is about to be submitted."""
        ear = Ear(self, request, cancels)
        with self._changed:
            self.asked += 1
            self._open[request.id] = ear
        return ear

    def close(self, ear: Ear, how: str) -> None:
        """One request has ended."""
        with self._changed:
            self.counts[how] += 1
            self._open.pop(ear.request.id, None)
            self._changed.notify_all()

    def fault(self, ear: Ear, what: str) -> None:
        """Note what must not be."""
        with self._changed:
            if len(self.faults) < _FAULTS_KEPT:
                asked = replace(ear.request, messages=ear.request.messages[-1:])
                self.faults.append(f"{what}, asked {str(asked)[-600:]}")

    def wait_below(self, most: int, timeout_s: float = 120.0) -> None:
        """Wait until fewer than `most` requests have no end yet."""
        with self._changed:
            quiet = self._changed.wait_for(lambda: len(self._open) < most, timeout_s)
            left = [str(ear.request)[:200] for ear in list(self._open.values())[:3]]
        assert quiet, f"{len(self._open)} requests have no end, such as {left}"


class Ear:
    """Hears one request, and notes in its ledger whatever is not as it should be."""

    def __init__(self, ledger: Ledger, request: ModelRequest, cancels: bool) -> None:
        self.request = request
        self.ended = False
        self.handle: Handle | None = None
        self._ledger = ledger
        self._cancels = cancels
        self._text = ""

    def on_text(self, request_id: int, text: str) -> None:
        if self.ended or request_id != self.request.id or not text:
            self._ledger.fault(self, f"text {text!r} for {request_id}, ended: {self.ended}")
        self._text += text
        if self._cancels and self.handle is not None:
            self.handle.cancel()

    def on_done(self, reply: Reply) -> None:
        self._check(reply)
        self._end("answered")

    def on_error(self, request_id: int, error: ModelError) -> None:
        if error.code not in ENDS or request_id != self.request.id or not error.message:
            self._ledger.fault(self, f"{error.code} {error} for {request_id}")
        self._end(error.code)

    def _end(self, how: str) -> None:
        if self.ended:
            self._ledger.fault(self, f"{how} after the end")
        self.ended = True
        self._ledger.close(self, how)

    def _check(self, reply: Reply) -> None:
        asked = self.request
        wrong = {
            "another's": reply.request_id != asked.id,
            "not what was told": reply.text != self._text,
            "without its schema": (asked.schema is None) != (reply.parsed is None),
            "of another schema": asked.schema is not None
            and not isinstance(reply.parsed, asked.schema),
            "too long": reply.completion_tokens > asked.max_tokens,
            # A model may have nothing to say: then its first token ends the reply.
            "of nothing": reply.completion_tokens < 1
            and (reply.text, reply.finish) != ("", "stop"),
            "past its stop": asked.schema is None and any(s in reply.text for s in asked.stop),
            "without log-probabilities": bool(asked.logprobs) != bool(reply.logprobs),
            "read more often than asked": not 0 <= reply.cached_tokens < reply.prompt_tokens,
            "under another adapter": asked.adapter in ("", "ghost") and " + " in reply.source,
        }
        for what, is_so in wrong.items():
            if is_so:
                self._ledger.fault(self, f"an answer {what}: {reply}")


@dataclass(frozen=True, slots=True)
class Held:
    """What the engine's process and this one hold at rest, after `asked` requests; sizes in bytes."""

    asked: int
    child_rss: int
    parent_rss: int
    child_fds: int
    spill_files: int
    child_threads: int
    parent_fds: int
    parent_threads: int
    children: int

    @classmethod
    def now(cls, pid: int, asked: int) -> Held:
        child, parent = psutil.Process(pid), psutil.Process()
        links = [_link(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
        # Spilled states are files without a name.
        spilled = sum(link.endswith("(deleted)") for link in links)
        return cls(
            asked,
            child.memory_info().rss,
            parent.memory_info().rss,
            len(links) - spilled,
            spilled,
            child.num_threads(),
            parent.num_fds(),
            threading.active_count(),
            len(parent.children()),
        )


def growth(held: Sequence[Held], column: str) -> float:
    """MiB per 10,000 requests by which a size grows: the slope of a straight line fitted to it."""
    sizes = [getattr(each, column) / MIB for each in held]
    slope, _ = np.polyfit([each.asked for each in held], sizes, 1)
    return float(slope) * 10_000


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
