"""The loop that thinks: one thread decoding one batch of many sequences, step after step.

A step: take what arrived, drop what is late, start what fits, decode one batch (replies under way
and prompts still being read, the most urgent first, no more than the pace allows), choose a token
for every sequence whose turn it is, and hand the new text over in one frame.
"""

from __future__ import annotations

import queue
import time
from bisect import insort
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import DeadlineExceeded, ModelError, ModelFileError, RequestRefused
from models.llama.frames import Send
from models.llama.job import RESERVE, Ask, Job
from models.llama.library import Context, Model, NoRoom
from models.llama.pace import Pace
from models.llama.prefix import SequenceTable, common
from models.llama.sampling import sample, unit
from models.llama.settings import EngineSettings
from models.llama.template import ChatTemplate
from models.text import TextStream

HEARTBEAT_S = 0.5
_SHARED_LEAST = 16
_LEAST_REPLY = 16


class Engine:
    """Serves one model on the calling thread until told to close.

    `inbox` takes `ask`, `cancel` and `close` frames (see frames.py) from any thread; `emit` is
    called on the engine's thread with `step` frames. RuntimeError out of `run` means llama.cpp
    failed and the process should end.
    """

    def __init__(
        self,
        model: Model,
        settings: EngineSettings,
        emit: Send,
        inbox: queue.SimpleQueue[Mapping[str, Any]] | None = None,
    ) -> None:
        self.inbox = inbox if inbox is not None else queue.SimpleQueue()
        self._model = model
        self._settings = settings
        self._emit = emit
        self._context = Context(model, settings)
        self._vocabulary = model.vocabulary
        self._template = ChatTemplate(model.template(), model.vocabulary)
        self._guides = _guides(model)
        self._table = SequenceTable(
            self._context, settings.n_seq, self._context.cells, shares=model.forgets_partly
        )
        self._pace = Pace(settings.step_ms / 1000.0, settings.n_batch)
        trained = model.context_length
        self.limit = min(trained, self._context.cells) if trained > 0 else self._context.cells
        self._waiting: list[Job] = []
        self._active: list[Job] = []
        self._events: list[list[Any]] = []
        self._arrivals = 0
        self._told = 0.0
        self._open = True
        self._totals = dict.fromkeys(
            ("asked", "done", "failed", "steps", "prompt_tokens", "cached_tokens", "read_tokens",
             "completion_tokens", "preempted", "sequences"), 0,
        )  # fmt: skip
        self._busy_s = 0.0

    def trial(self) -> None:
        """Decode a few tokens, so that a model that loads but can't think is found out now.

        Raises ModelFileError when its logits are no numbers.
        """
        tokens = self._template.tokens([("system", "You are a cook."), ("user", "Hello.")])
        tokens = tokens[: min(32, self.limit - 1)] or [0]
        logits = self._context.decode([(0, 0, tokens, True)])
        finite = bool(np.isfinite(logits).all())
        self._context.clear()
        if not finite:
            raise ModelFileError(
                f"{self._model.path}: its weights give logits that are no numbers",
                "download or export the file again and compare its checksum",
            )

    def run(self) -> None:
        """Serve until a `close` frame arrives."""
        while self._open:
            self._take_frames()
            now = time.monotonic()
            self._drop_late(now)
            self._start_waiting()
            if self._active:
                self._step()
                self._busy_s += time.monotonic() - now
            self._tell()
        self._context.close()

    # What arrives

    def _take_frames(self) -> None:
        idle = not self._active and not self._waiting
        try:
            frame = self.inbox.get(timeout=HEARTBEAT_S) if idle else self.inbox.get_nowait()
            while True:
                self._take_frame(frame)
                frame = self.inbox.get_nowait()
        except queue.Empty:
            return

    def _take_frame(self, frame: Mapping[str, Any]) -> None:
        match frame["t"]:
            case "ask":
                self._take_ask(Ask.unpack(frame))
            case "cancel":
                self._withdraw(int(frame["id"]))
            case "close":
                self._open = False

    def _take_ask(self, ask: Ask) -> None:
        self._totals["asked"] += 1
        try:
            job = self._job(ask)
        except ModelError as error:
            self._fail(ask.id, error)
            return
        insort(self._waiting, job, key=lambda waiting: waiting.rank)
        if len(self._waiting) > self._settings.queue:
            last = self._waiting.pop()
            self._fail(
                last.id,
                RequestRefused(
                    f"{self._settings.queue} requests are waiting already",
                    "ask less often, or raise the engine's queue",
                ),
            )

    def _job(self, ask: Ask) -> Job:
        tokens = self._template.tokens(ask.messages)
        room = self.limit - len(tokens)
        wanted = ask.max_tokens if ask.grammar else min(ask.max_tokens, _LEAST_REPLY)
        if not tokens or room < wanted:
            raise RequestRefused(
                f"the prompt has {len(tokens)} tokens, which leaves {max(room, 0)} of "
                f"{self.limit} for a reply that needs {wanted}",
                "send fewer or shorter messages",
            )
        guide = None
        if ask.grammar is not None:
            if self._guides is None:
                raise RequestRefused(
                    "structured replies need llguidance", "pip install 'greenroom[local]'"
                )
            guide = self._guides.begin(ask.grammar)
        self._arrivals += 1
        return Job(
            id=ask.id,
            arrival=self._arrivals,
            priority=ask.priority,
            deadline=time.monotonic() + ask.seconds_left,
            tokens=tokens,
            prompt=np.array(tokens, dtype=np.int32),
            max_tokens=min(ask.max_tokens, room),
            temperature=ask.temperature,
            top_p=ask.top_p,
            seed=ask.seed,
            text=TextStream((*ask.stop, *self._template.stops), trim=guide is None),
            guide=guide,
        )

    # Who is served

    def _withdraw(self, request_id: int) -> None:
        for jobs in (self._waiting, self._active):
            for job in jobs:
                if job.id == request_id:
                    jobs.remove(job)
                    self._let_go(job)
                    return

    def _drop_late(self, now: float) -> None:
        for jobs in (self._waiting, self._active):
            late = [job for job in jobs if job.deadline <= now]
            for job in late:
                jobs.remove(job)
                self._let_go(job)
                self._fail(job.id, DeadlineExceeded("the answer would have come too late"))

    def _start_waiting(self) -> None:
        looked_at = 0
        index = 0
        while index < len(self._waiting) and looked_at < 2 * self._settings.n_parallel:
            job = self._waiting[index]
            looked_at += 1
            if len(self._active) >= self._settings.n_parallel and not self._make_way(job):
                return
            if self._shares_with_reader(job):
                index += 1
                continue
            tokens = np.array(job.tokens, dtype=np.int32)
            promised = sum(active.outstanding for active in self._active)
            extra = min(job.max_tokens - job.generated, RESERVE)
            if self._active and not self._table.fits(tokens, extra, promised):
                return
            taken = self._table.acquire(tokens)
            if taken is None:
                return
            job.sequence, job.fed = taken
            if job.cached < 0:
                job.cached = job.fed
                self._totals["prompt_tokens"] += len(job.prompt)
                self._totals["cached_tokens"] += job.fed
            # _make_way may have put a job back before this one.
            self._waiting.remove(job)
            insort(self._active, job, key=lambda active: active.rank)

    def _make_way(self, job: Job) -> bool:
        last = self._active[-1]
        if last.priority <= job.priority:
            return False
        self._preempt(last)
        return True

    def _preempt(self, job: Job) -> None:
        self._active.remove(job)
        self._let_go(job)
        insort(self._waiting, job, key=lambda waiting: waiting.rank)
        self._totals["preempted"] += 1

    def _let_go(self, job: Job) -> None:
        if job.sequence >= 0:
            self._table.release(job.sequence)
        job.sequence, job.fed = -1, 0

    def _shares_with_reader(self, job: Job) -> bool:
        """Whether to wait a little, because a request that is no less urgent is reading its prefix."""
        best = 0
        for other in self._active:
            if other.reading and other.priority <= job.priority:
                best = max(best, common(other.prompt, job.prompt))
        if best < _SHARED_LEAST or not self._model.forgets_partly:
            return False
        return best - self._table.longest_prefix(job.prompt)[1] >= _SHARED_LEAST

    # What is decoded

    def _step(self) -> None:
        parts, jobs = self._batch()
        while not self._table.make_room(sum(len(part[2]) for part in parts)):
            self._yield_room()
            parts, jobs = self._batch()
        if not parts:
            return
        begun = time.monotonic()
        try:
            logits = self._context.decode(parts)
        except NoRoom:
            # The table says it fits; believe llama.cpp and try again with less.
            if not self._table.make_room(self._table.free_cells + 1):
                self._yield_room()
            return
        count = sum(len(part[2]) for part in parts)
        self._totals["steps"] += 1
        self._totals["sequences"] += len(jobs)
        if self._vocabulary.unspeakable.size and len(logits):
            logits[:, self._vocabulary.unspeakable] = -np.inf
        row = 0
        for (sequence, _, tokens, output), job in zip(parts, jobs, strict=True):
            if job.reading:
                self._totals["read_tokens"] += len(tokens)
            self._table.extend(sequence, tokens)
            job.fed += len(tokens)
            if output:
                self._choose(job, logits[row])
                row += 1
        self._pace.note(count, time.monotonic() - begun)

    def _batch(self) -> tuple[list[tuple[int, int, list[int], bool]], list[Job]]:
        left = self._pace.allowance()
        parts: list[tuple[int, int, list[int], bool]] = []
        jobs: list[Job] = []
        for job in self._active:
            if left <= 0:
                break
            todo = job.tokens[job.fed : job.fed + left]
            whole = job.fed + len(todo) == len(job.tokens)
            parts.append((job.sequence, job.fed, todo, whole))
            jobs.append(job)
            left -= len(todo)
        return parts, jobs

    def _yield_room(self) -> None:
        """Take the memory of the least urgent request, which will go on later."""
        if len(self._active) > 1:
            self._preempt(self._active[-1])
            return
        job = self._active.pop()
        self._let_go(job)
        self._fail(job.id, RequestRefused("the KV memory is too small for this request"))

    def _choose(self, job: Job, logits: NDArray[np.float32]) -> None:
        try:
            token = sample(
                logits,
                temperature=job.temperature,
                top_p=job.top_p,
                chance=unit(job.seed, job.generated),
                allowed=job.guide.allowed() if job.guide else None,
            )
            if token in self._vocabulary.ends:
                self._finish(job, "stop")
                return
            chosen = [token]
            if job.guide:
                chosen += job.guide.accept(token)
        except ModelError as error:
            self._break_off(job, error)
            return
        except ValueError as error:
            self._break_off(job, ModelError(str(error)))
            return
        job.tokens += chosen
        job.generated += len(chosen)
        piece = "".join(job.text.push(self._vocabulary.pieces[each]) for each in chosen)
        if piece:
            self._events.append(["text", job.id, piece])
        if job.text.stopped or (job.guide is not None and job.guide.finished):
            self._finish(job, "stop")
        elif job.generated >= job.max_tokens:
            self._finish(job, "length")

    def _finish(self, job: Job, finish: Literal["stop", "length"]) -> None:
        rest = job.text.finish()
        if rest:
            self._events.append(["text", job.id, rest])
        self._active.remove(job)
        self._let_go(job)
        self._totals["done"] += 1
        self._totals["completion_tokens"] += job.generated
        figures = {
            "finish": finish,
            "prompt_tokens": len(job.prompt),
            "cached_tokens": job.cached,
            "completion_tokens": job.generated,
        }
        self._events.append(["done", job.id, figures])

    def _break_off(self, job: Job, error: ModelError) -> None:
        self._active.remove(job)
        self._let_go(job)
        self._fail(job.id, error)

    # What is told

    def _fail(self, request_id: int, error: ModelError) -> None:
        self._totals["failed"] += 1
        self._events.append(["error", request_id, error.code, error.message, error.hint])

    def _tell(self) -> None:
        now = time.monotonic()
        due = now - self._told >= HEARTBEAT_S
        if not self._events and not due:
            return
        status = self.status() if due else None
        if due:
            self._told = now
        events, self._events = self._events, []
        self._emit({"t": "step", "events": events, "status": status})

    def status(self) -> dict[str, Any]:
        """Plain values for the host: totals since the start, and sizes now."""
        return {
            **self._totals,
            "waiting": len(self._waiting),
            "active": len(self._active),
            "kept_prefixes": self._table.kept,
            "evicted_prefixes": self._table.evicted,
            "cells": self._table.n_cells,
            "free_cells": self._table.free_cells,
            "allowance": self._pace.allowance(),
            "busy_s": round(self._busy_s, 3),
            "template": self._template.note,
        }


def _guides(model: Model) -> Any:
    try:
        from models.llama.guide import Guides
    except ImportError:
        return None
    return Guides(model.vocabulary)
