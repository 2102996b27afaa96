"""The loop that thinks: one thread decoding one batch of many sequences, step after step.

A step: take what arrived, drop what is late, start what fits, decode one batch (replies under way
and prompts still being read, the most urgent first, no more than the pace allows, all under one LoRA
adapter), choose a token for every sequence whose turn it is, and hand the new text over in one frame.
A player's line that arrives while less urgent requests are decoded ends their step at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.errors import DeadlineExceeded, ModelError, ModelFileError, RequestRefused
from models.llama.cells import Cells, OwnCells, SharedCells
from models.llama.context import Aborted, Context, NoRoom
from models.llama.frames import Send
from models.llama.heap import Heap
from models.llama.inbox import Inbox
from models.llama.intake import Intake
from models.llama.job import Ask, Job
from models.llama.library import LogTail, Model
from models.llama.loras import Loras
from models.llama.pace import Pace
from models.llama.prefix import SequenceTable
from models.llama.sampling import Sampler, log_probabilities, unit
from models.llama.schedule import Schedule
from models.llama.settings import EngineSettings
from models.llama.spill import Spill
from models.llama.streams import Part, Streams
from models.llama.tokens import common
from models.request import Priority

HEARTBEAT_S = 0.5
_SHARED_LEAST = 16
"""Tokens in common for which a prompt waits for another that is being read; more than any memory's `least_shared`."""
_TALK_S = 2.0
"""So long after a player's line the next one is expected."""
_WORTH_ABORTING_S = 0.01
"""A step that takes less is awaited: to throw it away would cost more than it saves."""


class Engine:
    """Serves one model on the calling thread until told to close.

    `inbox` takes the host's frames (see frames.py) from any thread; `emit` is called on the engine's
    thread with `step` frames. RuntimeError out of `run` means llama.cpp failed and the process
    should end.
    """

    def __init__(
        self,
        model: Model,
        settings: EngineSettings,
        emit: Send,
        log: LogTail,
        inbox: Inbox | None = None,
    ) -> None:
        self.inbox = inbox if inbox is not None else Inbox()
        self._model = model
        self._settings = settings
        self._emit = emit
        self._context = Context(model, settings)
        self._vocabulary = model.vocabulary
        # A saved state lacks what has left a sliding window.
        self._spill = Spill(0 if model.sliding else settings.spill_mib << 20)
        context, n_seq = self._context, settings.n_seq
        self._memory: Streams | Context = context
        self._cells: Cells = SharedCells(n_seq, context.cells)
        if settings.streams:
            n_seq -= 1
            self._memory = Streams(context, settings.n_seq, whole=bool(model.sliding))
            self._cells = OwnCells(n_seq, context.cells_each)
        self._table = SequenceTable(
            self._memory,
            n_seq,
            self._cells,
            shares=model.forgets_partly,
            sliding=model.sliding,
            spill=self._spill,
        )
        self._pace = Pace(settings.n_batch)
        self._sampler = Sampler(model.vocabulary.size)
        trained = model.context_length
        self.limit = min(trained, context.cells_each) if trained > 0 else context.cells_each
        self._intake = Intake(model, self.limit)
        self._schedule = Schedule(settings.n_parallel, settings.queue, settings.hold_ms / 1000.0)
        self._loras = Loras(model, log)
        self._using = ""
        self._interruptible = False
        self._interrupted = False
        self._rung = False
        self._events: list[list[Any]] = []
        self._told = 0.0
        self._spoken_at = -_TALK_S
        self._open = True
        self._totals = dict.fromkeys(
            ("asked", "done", "failed", "steps", "prompt_tokens", "cached_tokens", "read_tokens",
             "completion_tokens", "preempted", "sequences", "aborted", "adapter_missing",
             "trimmed", "misplaced"), 0,
        )  # fmt: skip
        self._busy_s = 0.0
        self.inbox.alarm = self._ring
        self._heap = Heap()

    def trial(self) -> None:
        """Decode a few tokens, so that a model that loads but can't think is found out now.

        Raises ModelFileError when its logits are no numbers.
        """
        tokens = self._intake.template.tokens([("system", "You are a cook."), ("user", "Hello.")])
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
            idle = not self._schedule.active and not self._schedule.waiting
            self._rung = False
            frames = self.inbox.take(HEARTBEAT_S if idle else 0.0)
            begun = time.monotonic()
            for frame in frames:
                self._take_frame(frame)
            now = time.monotonic()
            for job in self._schedule.late(now):
                self._end(job, DeadlineExceeded("the answer would have come too late"))
            self._start_waiting()
            adapter = self._schedule.cohort(now)
            if adapter is not None:
                self._step(adapter)
            worked = bool(frames) or adapter is not None
            if worked:
                self._heap.worked()
            elif idle:
                self._heap.rest(now)
            # Before telling, so that a status lacks only the time of its own sending.
            told = time.monotonic()
            self._busy_s += (told - begun) * worked
            self._tell()
            self._busy_s += (time.monotonic() - told) * worked
        self._spill.close()
        self._context.close()

    # What arrives

    def _ring(self, frame: Mapping[str, Any]) -> None:
        """Called by whoever brings a frame: a player's line ends a step that can be done again."""
        if frame["t"] == "ask" and frame["priority"] == Priority.SPEECH:
            self._rung = True
            if self._interruptible:
                self._context.abort()

    def _take_frame(self, frame: Mapping[str, Any]) -> None:
        match frame["t"]:
            case "ask":
                self._take_ask(Ask.unpack(frame))
            case "cancel":
                job = self._schedule.find(int(frame["id"]))
                if job is not None:
                    self._end(job, None)
            case "adapter":
                self._load_adapter(frame["name"], Path(frame["path"]), float(frame["scale"]))
            case "close":
                self._open = False

    def _take_ask(self, ask: Ask) -> None:
        self._totals["asked"] += 1
        adapter = self._loras.key(ask.adapter)
        self._totals["adapter_missing"] += bool(ask.adapter) and not adapter
        try:
            job = self._intake.job(ask, adapter)
        except ModelError as error:
            self._fail(ask.id, error)
            return
        self._totals["trimmed"] += bool(job.dropped)
        surplus = self._schedule.admit(job)
        if surplus is not None:
            self._fail(
                surplus.id,
                RequestRefused(
                    f"{self._settings.queue} requests are waiting already",
                    "ask less often, or raise the engine's queue",
                ),
            )

    def _load_adapter(self, name: str, path: Path, scale: float) -> None:
        fault = ""
        schedule = self._schedule
        needed = {job.adapter for job in (*schedule.active, *schedule.waiting)}
        try:
            self._loras.load(name, path, scale, {self._using, *needed})
        except OSError as error:
            fault = f"{path}: {error.strerror or error}"
        except ModelError as error:
            fault = str(error)
        self._events.append(["adapter", name, fault])
        # At once, so that a death at the next one is not laid to this one's charge.
        self._tell()

    # Who is served

    def _start_waiting(self) -> None:
        schedule = self._schedule
        near = schedule.next(2 * self._settings.n_parallel)
        for job in near:
            if self._shares_with_reader(job):
                continue
            if schedule.crowds(job, near, self._cells.total, self._claim):
                continue
            if schedule.full and schedule.active[-1].priority <= job.priority:
                return
            tokens = np.array(job.tokens, dtype=np.int32)
            if not self._find_room(job, tokens):
                return
            if schedule.full:
                self._preempt(schedule.active[-1])
            taken = self._table.acquire(tokens, job.adapter, job.asker)
            if taken is None:
                return
            job.sequence, job.fed = taken
            if job.cached < 0:
                job.cached = job.fed
                self._totals["prompt_tokens"] += len(job.prompt)
                self._totals["cached_tokens"] += job.fed
            schedule.start(job)

    def _claim(self, job: Job) -> int:
        return self._cells.claim(len(job.tokens) + job.reserved)

    def _find_room(self, job: Job, tokens: NDArray[np.int32]) -> bool:
        """Whether there are cells for a waiting request; what is less urgent gives up its own for it."""
        active = self._schedule.active
        lesser = [each for each in active if each.priority > job.priority]
        if not active or self._fits(job, tokens):
            return True
        if not lesser or not self._fits(job, tokens, without=lesser):
            return False
        while active and not self._fits(job, tokens):
            self._preempt(active[-1])
        return True

    def _fits(self, job: Job, tokens: NDArray[np.int32], without: Sequence[Job] = ()) -> bool:
        promised = sum(each.outstanding for each in self._schedule.active if each not in without)
        given_up = frozenset(each.sequence for each in without)
        return self._table.fits(tokens, job.reserved, promised, job.adapter, given_up)

    def _preempt(self, job: Job) -> None:
        self._let_go(job)
        self._schedule.put_back(job)
        self._totals["preempted"] += 1

    def _let_go(self, job: Job) -> None:
        if job.sequence >= 0:
            self._table.release(job.sequence)
        job.sequence, job.fed = -1, 0

    def _shares_with_reader(self, job: Job) -> bool:
        """Whether to wait a little, because a request that is no less urgent is reading its prefix."""
        best = 0
        for other in self._schedule.active:
            if other.reading and other.priority <= job.priority and other.adapter == job.adapter:
                best = max(best, common(other.prompt, job.prompt))
        if best < _SHARED_LEAST or not self._model.forgets_partly:
            return False
        held = self._table.longest_prefix(job.prompt, job.adapter)[1]
        return best - held >= _SHARED_LEAST

    # What is decoded

    def _step(self, adapter: str) -> None:
        jobs, parts = self._batch(adapter)
        while not self._table.make_room(sum(len(part[2]) for part in parts)):
            self._yield_room()
            jobs, parts = self._batch(adapter)
        if not parts:
            return
        if adapter != self._using:
            self._context.use(self._loras.use(adapter))
            self._using = adapter
        count = sum(len(part[2]) for part in parts)
        begun = time.monotonic()
        logits = self._decode(jobs, parts, count)
        if logits is None:
            return
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

    def _decode(self, jobs: list[Job], parts: list[Part], count: int) -> NDArray[np.float32] | None:
        """The logits of a batch; None when the step must be tried again."""
        # A step is given up once at most, so that the others get on however often players speak.
        self._interruptible = (
            all(job.priority > Priority.SPEECH for job in jobs)
            and self._model.forgets_partly
            and not self._interrupted
            and self._pace.expected(count) >= _WORTH_ABORTING_S
        )
        self._interrupted = False
        if self._rung and self._interruptible:
            # The line came while this step was prepared, too early to be heard in it.
            self._interruptible = False
            return None
        try:
            return self._memory.decode(parts)
        except Aborted:
            self._interrupted = True
            self._totals["aborted"] += 1
            for job, (sequence, position, _, _) in zip(jobs, parts, strict=True):
                self._memory.cut(sequence, position)
                if self._memory.last(sequence) != position - 1:
                    # Its memory is not what the table says: nobody may go on from it.
                    self._table.cut(sequence, 0)
                    self._memory.cut(sequence, 0)
                    self._let_go(job)
                    self._schedule.put_back(job)
                    self._totals["misplaced"] += 1
        except NoRoom:
            # The table says it fits; believe llama.cpp and try again with less.
            if not self._table.make_room(self._table.free_cells + 1):
                self._yield_room()
        finally:
            self._interruptible = False
        return None

    def _batch(self, adapter: str) -> tuple[list[Job], list[Part]]:
        """Whose turn it is, and what of theirs is decoded, in the order of their places in memory."""
        cohorts: dict[str, list[int]] = {}
        for job in self._schedule.active:
            cohorts.setdefault(job.adapter, []).append(job.sequence)
        self._memory.settle([cohorts[each] for each in sorted(cohorts)])
        left = self._allowance()
        chosen: list[tuple[Job, int]] = []
        for job in self._schedule.due(adapter):
            if left <= 0:
                break
            count = min(left, len(job.tokens) - job.fed)
            chosen.append((job, count))
            left -= count
        chosen.sort(key=lambda pair: self._memory.place(pair[0].sequence))
        parts: list[Part] = []
        for job, count in chosen:
            end = job.fed + count
            parts.append((job.sequence, job.fed, job.tokens[job.fed : end], end == len(job.tokens)))
        return [job for job, _ in chosen], parts

    def _allowance(self) -> int:
        """Tokens of the next step: fewer while somebody is spoken to, since what is given up is lost."""
        settings = self._settings
        now = time.monotonic()
        if any(job.priority == Priority.SPEECH for job in self._schedule.active):
            self._spoken_at = now
        calm = (
            self._context.abortable
            and self._model.forgets_partly
            and now - self._spoken_at >= _TALK_S
        )
        step_ms = max(settings.calm_ms, settings.step_ms) if calm else settings.step_ms
        return self._pace.allowance(step_ms / 1000.0)

    def _yield_room(self) -> None:
        """Take the memory of the least urgent request, which will go on later."""
        job = self._schedule.active[-1]
        if len(self._schedule.active) > 1:
            self._preempt(job)
        else:
            self._end(job, RequestRefused("the KV memory is too small for this request"))

    def _choose(self, job: Job, logits: NDArray[np.float32]) -> None:
        try:
            token = self._sampler.choose(
                logits,
                temperature=job.temperature,
                top_p=job.top_p,
                chance=unit(job.seed, job.generated) if job.temperature > 0.0 else 0.0,
                allowed=job.guide.allowed() if job.guide else None,
            )
            if job.logprobs is not None:
                job.logprobs.append(self._logprob(logits, token, job.alternatives))
            if token in self._vocabulary.ends:
                self._finish(job, "stop")
                return
            chosen = [token]
            if job.guide:
                chosen += job.guide.accept(token)
        except ModelError as error:
            self._end(job, error)
            return
        except ValueError as error:
            self._end(job, ModelError(str(error)))
            return
        self._say(job, chosen)

    def _say(self, job: Job, chosen: list[int]) -> None:
        job.tokens += chosen
        job.generated += len(chosen)
        pieces = [self._vocabulary.pieces[each] for each in chosen]
        if job.thought:
            pieces = [job.thought.push(piece) for piece in pieces]
            if job.thought.long:
                ending = self._intake.thought_ends[job.thought.mark]
                job.tokens += ending
                job.generated += len(ending)
                job.thought.close(len(ending))
        text = "".join(job.text.push(piece) for piece in pieces)
        if text:
            self._events.append(["text", job.id, text])
        if job.text.stopped or (job.guide is not None and job.guide.finished):
            self._finish(job, "stop")
        elif job.spoken >= job.max_tokens or len(job.tokens) >= self.limit:
            self._finish(job, "length")

    def _logprob(self, logits: NDArray[np.float32], token: int, count: int) -> list[Any]:
        own, likeliest = log_probabilities(logits, token, count)
        text = self._vocabulary.text
        return [text(token), own, [[text(each), score] for each, score in likeliest]]

    def _finish(self, job: Job, finish: Literal["stop", "length"]) -> None:
        rest = job.text.push(job.thought.finish()) if job.thought else ""
        rest += job.text.finish()
        if rest:
            self._events.append(["text", job.id, rest])
        self._schedule.remove(job)
        self._let_go(job)
        self._totals["done"] += 1
        self._totals["completion_tokens"] += job.generated
        figures = {
            "finish": finish,
            "prompt_tokens": len(job.prompt),
            "cached_tokens": job.cached,
            "completion_tokens": job.generated,
            "reasoning_tokens": job.generated - job.spoken,
            "dropped": list(job.dropped),
            "adapter": job.species if job.adapter else "",
            "logprobs": job.logprobs or [],
        }
        self._events.append(["done", job.id, figures])
        if job.logprobs:
            # Those of several long replies would be too much for one frame.
            self._tell()

    def _end(self, job: Job, error: ModelError | None) -> None:
        """End a request without an answer; `error` None when nobody wants to hear of it."""
        self._schedule.remove(job)
        self._let_go(job)
        if error is not None:
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
        totals = self._totals
        return {
            **totals,
            "batch_fill": round(totals["sequences"] / max(1, totals["steps"]), 3),
            "prefix_hit_rate": round(totals["cached_tokens"] / max(1, totals["prompt_tokens"]), 4),
            "waiting": len(self._schedule.waiting),
            "active": len(self._schedule.active),
            "kept_prefixes": self._table.kept,
            "evicted_prefixes": self._table.evicted,
            "pinned_prefixes": self._table.pins.count,
            "pinned_cells": self._table.pins.cells,
            "spilled": self._spill.saved,
            "restored": self._spill.restored,
            "spilled_bytes": self._spill.bytes,
            "cells": self._table.n_cells,
            "free_cells": self._table.free_cells,
            "stream_copies": self._memory.copies,
            "allowance": self._allowance(),
            "busy_s": round(self._busy_s, 3),
            "decode_s": round(self._context.decode_s, 3),
            "adapters": len(self._loras),
            "adapters_freed": self._loras.freed,
            "adapter_cells": self._loras.by_name(self._table.cells_of()),
            "adapter_switches": self._schedule.switches,
            "template": self._intake.template.note,
        }
