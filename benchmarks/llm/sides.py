"""A side of the comparison, and ours: the local engine in its own process, behind the `Backend` face."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from benchmarks.llm.workload import REPLY_TOKENS, Prompt
from foundation.errors import GreenroomError
from models.errors import ModelError
from models.llama.host import LlamaHost
from models.llama.settings import MAX_SEQUENCES, EngineSettings
from models.request import ModelRequest, Priority, Reply

PATIENCE_S = 3600.0
READY_S = 300.0


class Absent(GreenroomError):
    """An opponent can't be had here; the message says why and the hint how to get it."""

    code = "absent"


class SideError(GreenroomError):
    """A side broke while it was measured."""

    code = "side"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What every side is given alike: threads, KV cells, requests at once, layers on a GPU.

    The cells are for `kept` conversations of `each` tokens, the longest that is asked; with `streams`
    each has its own. `flash`: attention of that kind, on every side.
    """

    threads: int
    kept: int
    each: int
    at_once: int = 32
    batch: int = 512
    gpu_layers: int = -1
    streams: bool = True
    flash: bool = True

    @property
    def cells(self) -> int:
        """All KV cells."""
        return self.kept * self.each


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply. Times are seconds from asking; `tokens` are empty where a side tells text only."""

    text: str
    first_s: float
    total_s: float
    written: int
    tokens: tuple[int, ...] = ()
    valid: bool = True


class Side(Protocol):
    """An engine under measurement. `start` first, `close` last, `ask` from many tasks at once."""

    name: str
    settings: dict[str, Any]

    async def start(self) -> None:
        """Load the model and be ready. Raises Absent or SideError."""

    async def ask(self, prompt: Prompt, *, urgent: bool = False, stream: bool = False) -> Answer:
        """One greedy reply of `REPLY_TOKENS` tokens. Raises SideError."""

    async def read(self) -> int | None:
        """Prompt tokens decoded since the start, or None where a side doesn't tell."""

    async def close(self) -> None:
        """End its process; may be called at any time."""


@dataclass(slots=True)
class _Ear:
    """Hears one request for a task of the event loop."""

    loop: asyncio.AbstractEventLoop
    ended: asyncio.Future[Reply]
    begun: float
    first_s: float = 0.0

    def on_text(self, request_id: int, text: str) -> None:
        if not self.first_s:
            self.first_s = time.perf_counter() - self.begun

    def on_done(self, reply: Reply) -> None:
        self.loop.call_soon_threadsafe(self._end, reply, None)

    def on_error(self, request_id: int, error: ModelError) -> None:
        self.loop.call_soon_threadsafe(self._end, None, error)

    def _end(self, reply: Reply | None, error: ModelError | None) -> None:
        if self.ended.done():
            return
        if reply is not None:
            self.ended.set_result(reply)
        elif error is not None:
            self.ended.set_exception(error)


@dataclass(slots=True)
class Ours:
    """Greenroom's engine: `LlamaHost` in process mode."""

    path: Path
    sizes: Sizes
    name: str = "greenroom"
    settings: dict[str, Any] = field(default_factory=dict)
    _host: LlamaHost | None = None
    _asked: int = 0

    async def start(self) -> None:
        settings = EngineSettings(
            threads=self.sizes.threads,
            n_ctx=self.sizes.cells,
            n_seq=min(MAX_SEQUENCES, self.sizes.kept),
            streams=self.sizes.streams,
            flash=self.sizes.flash,
            n_parallel=self.sizes.at_once,
            n_batch=self.sizes.batch,
            gpu_layers=self.sizes.gpu_layers,
        )
        self.settings = {"mode": "process", **settings.pack()}
        self._host = host = LlamaHost(self.path, settings=settings, load_s=READY_S)
        try:
            await asyncio.to_thread(host.wait_ready, READY_S)
        except ModelError as error:
            raise SideError(f"the engine did not start: {error}") from error

    async def ask(self, prompt: Prompt, *, urgent: bool = False, stream: bool = False) -> Answer:
        answer, reply = await self._ask(
            prompt,
            max_tokens=REPLY_TOKENS,
            temperature=0.0,
            priority=Priority.SPEECH if urgent else Priority.NEAR,
        )
        if reply.prompt_tokens != len(prompt.tokens):
            raise SideError(
                f"the engine read {reply.prompt_tokens} tokens where {len(prompt.tokens)} were due"
            )
        return answer

    async def ask_structured(self, prompt: Prompt, schema: type[BaseModel], most: int) -> Answer:
        """A reply kept to `schema`, drawn at a temperature, seeded by the NPC; never tried again."""
        try:
            answer, reply = await self._ask(
                prompt, max_tokens=most, temperature=0.8, schema=schema, seed=prompt.npc
            )
        except SideError as error:
            return Answer(str(error), 0.0, 0.0, 0, valid=False)
        valid = isinstance(reply.parsed, schema)
        return Answer(answer.text, answer.first_s, answer.total_s, answer.written, valid=valid)

    async def _ask(self, prompt: Prompt, **fields: Any) -> tuple[Answer, Reply]:
        assert self._host is not None
        request = ModelRequest(
            messages=[
                {"role": "system", "content": prompt.system},
                {"role": "user", "content": prompt.line},
            ],
            purpose="bench",
            deadline_s=PATIENCE_S,
            **fields,
        )
        loop = asyncio.get_running_loop()
        ear = _Ear(loop, loop.create_future(), time.perf_counter())
        self._asked += 1
        handle = self._host.submit(request, ear)
        try:
            reply = await ear.ended
        except asyncio.CancelledError:
            handle.cancel()
            raise
        except ModelError as error:
            raise SideError(str(error)) from error
        total = time.perf_counter() - ear.begun
        answer = Answer(reply.text, ear.first_s or total, total, reply.completion_tokens)
        return answer, reply

    async def read(self) -> int | None:
        return int((await self.figures()).get("read_tokens", 0))

    async def figures(self) -> Mapping[str, Any]:
        """The engine's own totals once they count everything that was asked (it tells them twice a second)."""
        assert self._host is not None
        found: Any = {}
        for _ in range(400):
            found = self._host.status()["engine"]
            at_rest = not found.get("active") and not found.get("waiting")
            if at_rest and found.get("asked") == self._asked:
                break
            await asyncio.sleep(0.05)
        return dict(found)

    async def close(self) -> None:
        if self._host is not None:
            await asyncio.to_thread(self._host.close)
