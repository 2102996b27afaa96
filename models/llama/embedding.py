"""The loop that makes vectors: texts of many requests read together, first come first served.

A step: take what arrived, drop what is late, put the next texts into one batch, each a sequence of
its own, and hand over the requests whose last text was in it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import DeadlineExceeded, ModelError, ModelFileError, RequestRefused
from models.llama.embedding_model import EmbeddingContext, EmbeddingModel
from models.llama.frames import Send
from models.llama.inbox import Inbox
from models.llama.settings import EngineSettings

__all__ = ["EmbeddingEngine", "EmbeddingModel"]

HEARTBEAT_S = 0.5
_FRAME_BYTES = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Job:
    """A request: its tokenised texts, and the vectors so far, float32 [n, dimensions]."""

    id: int
    deadline: float
    texts: list[list[int]]
    truncated: int
    vectors: NDArray[np.float32] = field(repr=False)
    begun: int = 0
    done: int = 0


class EmbeddingEngine:
    """Serves one model on the calling thread until told to close.

    `inbox` takes `embed`, `cancel` and `close` frames (see frames.py) from any thread; `emit` is
    called on the engine's thread with `step` frames. RuntimeError out of `run` means llama.cpp
    failed and the process should end.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        settings: EngineSettings,
        emit: Send,
        inbox: Inbox | None = None,
    ) -> None:
        self.inbox = inbox if inbox is not None else Inbox()
        self._model = model
        self._settings = settings
        self._emit = emit
        self._context = EmbeddingContext(model, settings)
        self._waiting: deque[_Job] = deque()
        self._events: list[list[Any]] = []
        self._event_bytes = 0
        self._told = 0.0
        self._open = True
        self._totals = dict.fromkeys(
            ("asked", "done", "failed", "batches", "texts", "tokens", "truncated"), 0
        )
        self._busy_s = 0.0

    def trial(self) -> None:
        """Read a few words, so that a model that loads but can't think is found out now.

        Raises ModelFileError when its vector is no numbers.
        """
        tokens, _ = self._model.tokenise("The cook greets the guests.", self._context.limit)
        if not np.isfinite(self._context.embed([tokens])).all():
            raise ModelFileError(
                f"{self._model.path}: its weights give vectors that are no numbers",
                "download or export the file again and compare its checksum",
            )

    def run(self) -> None:
        """Serve until a `close` frame arrives."""
        while self._open:
            for frame in self.inbox.take(0.0 if self._waiting else HEARTBEAT_S):
                self._take_frame(frame)
            begun = time.monotonic()
            self._drop_late(begun)
            if self._waiting:
                self._step()
                self._busy_s += time.monotonic() - begun
            self._tell()
        self._context.close()

    def _take_frame(self, frame: Mapping[str, Any]) -> None:
        match frame["t"]:
            case "embed":
                for number, texts, seconds_left in frame["asks"]:
                    self._take_ask(int(number), texts, float(seconds_left))
            case "cancel":
                self._waiting = deque(job for job in self._waiting if job.id != frame["id"])
            case "close":
                self._open = False

    def _take_ask(self, number: int, texts: Sequence[str], seconds_left: float) -> None:
        self._totals["asked"] += 1
        try:
            if len(self._waiting) >= self._settings.queue:
                raise RequestRefused(
                    f"{self._settings.queue} requests are waiting already", "ask less often"
                )
            found = [self._model.tokenise(text, self._context.limit) for text in texts]
        except ModelError as error:
            self._fail(number, error)
            return
        job = _Job(
            id=number,
            deadline=time.monotonic() + seconds_left,
            texts=[tokens for tokens, _ in found],
            truncated=sum(cut for _, cut in found),
            vectors=np.empty((len(found), self._model.dimensions), dtype=np.float32),
        )
        self._totals["truncated"] += job.truncated
        self._waiting.append(job)

    def _drop_late(self, now: float) -> None:
        late = [job for job in self._waiting if job.deadline <= now]
        for job in late:
            self._waiting.remove(job)
            self._fail(job.id, DeadlineExceeded("the vectors would have come too late"))

    def _step(self) -> None:
        places, texts = self._batch()
        vectors = self._context.embed(texts)
        self._totals["batches"] += 1
        self._totals["texts"] += len(texts)
        self._totals["tokens"] += sum(map(len, texts))
        for (job, index), vector in zip(places, vectors, strict=True):
            job.vectors[index] = vector
            job.done += 1
        while self._waiting and self._waiting[0].done == len(self._waiting[0].texts):
            self._finish(self._waiting.popleft())

    def _batch(self) -> tuple[list[tuple[_Job, int]], list[list[int]]]:
        """The next texts in order, as many as are best read together, at least one."""
        places: list[tuple[_Job, int]] = []
        texts: list[list[int]] = []
        left = self._context.batch_tokens
        for job in self._waiting:
            while job.begun < len(job.texts):
                text = job.texts[job.begun]
                if texts and (len(text) > left or len(texts) == self._context.sequences):
                    return places, texts
                places.append((job, job.begun))
                texts.append(text)
                left -= len(text)
                job.begun += 1
        return places, texts

    def _finish(self, job: _Job) -> None:
        if not np.isfinite(job.vectors).all():
            self._fail(job.id, ModelError("the model gave a vector that is no numbers"))
            return
        self._totals["done"] += 1
        self._say(["vectors", job.id, job.vectors.astype("<f4").tobytes(), job.truncated])

    def _fail(self, number: int, error: ModelError) -> None:
        self._totals["failed"] += 1
        self._say(["error", number, error.code, error.message, error.hint])

    def _say(self, event: list[Any]) -> None:
        self._events.append(event)
        self._event_bytes += len(event[2])
        if self._event_bytes >= _FRAME_BYTES:
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        due = now - self._told >= HEARTBEAT_S
        if not self._events and not due:
            return
        if due:
            self._told = now
        events, self._events, self._event_bytes = self._events, [], 0
        self._emit({"t": "step", "events": events, "status": self.status() if due else None})

    def status(self) -> dict[str, Any]:
        """Plain values for the host: totals since the start, and sizes now."""
        batches = self._totals["batches"]
        return {
            **self._totals,
            "texts_a_batch": round(self._totals["texts"] / batches, 2) if batches else 0.0,
            "waiting": len(self._waiting),
            "limit": self._context.limit,
            "batch_tokens": self._context.batch_tokens,
            "busy_s": round(self._busy_s, 3),
        }
