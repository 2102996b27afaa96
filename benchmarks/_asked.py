"""The simulated model server as a backend: replies by rule, at the server's own time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from actors.company import Company
from actors.trace import common
from benchmarks._server import Batching, Curve
from models.errors import Cancelled, ModelError
from models.request import Handle, Listener, Message, ModelRequest, Reply
from models.scripted import ScriptedBackend


class _Caught:
    """Keeps a reply, or an error."""

    reply: Reply | None = None
    error: ModelError | None = None

    def on_text(self, request_id: int, text: str) -> None:
        pass

    def on_done(self, reply: Reply) -> None:
        self.reply = reply

    def on_error(self, request_id: int, error: ModelError) -> None:
        self.error = error


@dataclass(frozen=True, slots=True)
class _Handle:
    request: ModelRequest
    withdraw: Callable[[], None]

    def cancel(self) -> None:
        self.withdraw()


class Served:
    """A `Backend` whose time goes on only by `advance`: to the next answer.

    `tokens(messages)` and `count_reply(text)` give tokens. What anyone's last prompt begins with, too, isn't read anew.
    """

    def __init__(
        self,
        curve: Curve,
        tokens: Callable[[Sequence[Message]], Sequence[int]],
        count_reply: Callable[[str], int],
    ) -> None:
        self.server = Batching(curve)
        self.calls = self.cancelled = 0
        self._tokens, self._count_reply = tokens, count_reply
        self._script = ScriptedBackend(inline=True)
        self._numbers = itertools.count()
        self._prompts: dict[str, np.ndarray] = {}
        self._waiting: dict[int, tuple[ModelRequest, Listener, _Caught]] = {}

    @property
    def name(self) -> str:
        """Says that no model is behind it."""
        return self._script.name

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Take the request; the reply comes when its time has come."""
        caught = _Caught()
        self._script.submit(request, caught)
        prompt = np.array(self._tokens(request.messages), dtype=np.int64)
        kept = common(self._prompts.values(), prompt)
        before = self._prompts.get(request.asker)
        self._prompts[request.asker] = prompt
        reply = self._count_reply(caught.reply.text) if caught.reply is not None else 1
        call = next(self._numbers)
        self.calls += 1
        self._waiting[call] = (request, listener, caught)
        self.server.submit(call, prompt.size, kept, max(1, reply), (request.wanted,))
        return _Handle(request, lambda: self._withdraw(call, before))

    def advance(self) -> bool:
        """Go on to the next answer and tell it; False when there is none."""
        done = self.server.next()
        for call in done:
            request, listener, caught = self._waiting.pop(call)
            if caught.reply is not None:
                listener.on_done(caught.reply)
            elif caught.error is not None:
                listener.on_error(request.id, caught.error)
        return bool(done)

    def status(self) -> dict[str, object]:
        """How many calls there were."""
        return {"name": self.name, "asked": self.calls, "cancelled": self.cancelled}

    def close(self) -> None:
        """Close the script."""
        self._script.close()

    def _withdraw(self, call: int, before: np.ndarray | None) -> None:
        found = self._waiting.pop(call, None)
        if found is None:
            return
        self.cancelled += 1
        self.server.cancel(call)
        request, listener, _ = found
        # Nothing is kept of what wasn't read to its end.
        if before is None:
            self._prompts.pop(request.asker, None)
        else:
            self._prompts[request.asker] = before
        listener.on_error(request.id, Cancelled("the request was withdrawn"))


def waits_for(advance: Callable[[], object], company: Company) -> None:
    """Let a simulated server's time pass, by `advance`, when the company's run has nothing else to do and only then."""
    sleep = company.dispatcher.wait

    def wait(timeout: float | None) -> bool:
        if timeout != 0.0:
            advance()
        return sleep(0.0)

    # The clock is the benchmark's: no real time passes while a run waits.
    company.dispatcher.wait = wait  # type: ignore[method-assign]
