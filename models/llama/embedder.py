"""The embedding service as the rest of Greenroom sees it: an Embedder over a child process.

Requests that come within `wait_s` of one another are sent together, `collect` of them at the most;
inside, the texts of all of them share batches. Its states, restarts and bounds are told in
lifecycle.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.collector import Collector
from models.embeddings import (
    MAX_CHARACTERS,
    EmbeddingDelivery,
    EmbeddingHandle,
    EmbeddingListener,
    EmbeddingRequest,
    Embeddings,
    check,
)
from models.errors import ModelError, ModelFileError
from models.llama.deaths import Patience
from models.llama.gguf_file import fingerprint, inspect
from models.llama.lifecycle import ChildHost, Mode, sound
from models.llama.settings import EngineSettings
from models.timings import EmbeddingTally

# One batch of a big model on a slow CPU may take this long, and says nothing meanwhile.
PATIENCE = Patience(hang_s=120.0, quiet_s=120.0)


@dataclass(frozen=True, slots=True)
class LlamaEmbeddingHandle:
    """A request given to a LlamaEmbedder."""

    request: EmbeddingRequest
    _withdraw: Callable[[], None]

    def cancel(self) -> None:
        """Withdraw it; never blocks."""
        self._withdraw()


class LlamaEmbedder(ChildHost[EmbeddingDelivery]):
    """One GGUF behind the `Embedder` face.

    `n_ctx` bounds both a text and a batch of them, in tokens: what is longer is cut at its end, and
    counted. `gpu_layers` is llama.cpp's (-1: all that fit a build with a GPU, 0: none). A chat GGUF
    works too (see embedding_model.py). `collect` and `wait_s` are told above. Loading starts at once,
    in the background: `wait_ready` waits for it.
    """

    def __init__(
        self,
        model_path: Path | str,
        *,
        threads: int = 0,
        n_ctx: int = 2048,
        gpu_layers: int = -1,
        mode: Mode = "process",
        settings: EngineSettings | None = None,
        patience: Patience = PATIENCE,
        collect: int = 10,
        wait_s: float = 0.005,
    ) -> None:
        path = Path(model_path)
        sizes = settings or EngineSettings(
            threads=threads, n_ctx=n_ctx, n_batch=min(n_ctx, 8192), gpu_layers=gpu_layers
        )
        self._name = _name_of(path)
        self._tally = EmbeddingTally()
        self._collector: Collector[EmbeddingDelivery] = Collector(
            self._send, size=collect, wait_s=wait_s, name="embedding-collector"
        )
        super().__init__(
            path,
            "embed",
            sizes,
            mode=mode,
            patience=patience,
            what="the embedding engine",
        )

    @property
    def name(self) -> str:
        """The model's name and version and its file's fingerprint, e.g. "all-MiniLM-L6-v2 #1a2b3c4d"."""
        return self._name

    @property
    def dimensions(self) -> int:
        """The vectors' length; 0 until the model was loaded for the first time."""
        return int(self._model.get("dimensions", 0))

    def submit(self, request: EmbeddingRequest, listener: EmbeddingListener) -> EmbeddingHandle:
        """Take the request and return at once (see `Embedder`)."""
        refusal: ModelError | None = None
        try:
            check(request)
        except ModelError as error:
            refusal = error
        delivery = EmbeddingDelivery(request, listener, self._tally)
        if self._take(delivery, 2 * self._settings.queue, refusal) is not None:
            # Once closed the collector takes nothing; `close` then ends whoever is under way.
            self._collector.put(delivery)
        return LlamaEmbeddingHandle(request, partial(self._withdraw, delivery))

    def status(self) -> dict[str, object]:
        """State, model, the tally of timings.py, the collector's figures, the child's of half a second ago."""
        return {
            "name": self.name,
            "dimensions": self.dimensions,
            "tally": self._tally.status(),
            "collector": self._collector.status(),
            **super().status(),
        }

    def close(self) -> None:
        """End the child; what is under way hears `Cancelled`. Returns within a few seconds."""
        self._collector.close()
        super().close()

    def _withdraw(self, delivery: EmbeddingDelivery) -> None:
        self._collector.withdraw(delivery)
        self._cancel(delivery)

    def _send(self, batch: list[EmbeddingDelivery]) -> None:
        channel = self._channel
        # Without a channel the child has died, and all of them have heard it.
        if channel is None:
            return
        asks: list[list[object]] = []
        size = 0
        for delivery in batch:
            if delivery.ended:
                continue
            texts = [sound(text) for text in delivery.request.texts]
            characters = sum(map(len, texts))
            if asks and size + characters > MAX_CHARACTERS:
                channel.send({"t": "embed", "asks": asks})
                asks, size = [], 0
            asks.append([delivery.number, texts, delivery.seconds_left])
            size += characters
        if asks:
            channel.send({"t": "embed", "asks": asks})

    def _hear_event(self, event: Sequence[Any]) -> None:
        pending = self._requests.find(event[1])
        if pending is None:
            return
        if event[0] != "vectors":
            self._requests.end_by_event(pending, event)
            return
        count = len(pending.request.texts)
        vectors = np.frombuffer(event[2], dtype="<f4").reshape(count, self.dimensions)
        embeddings = Embeddings(
            request_id=pending.request.id,
            vectors=vectors,
            source=self._name,
            truncated=event[3],
            total_s=pending.age_s,
        )
        self._answer(pending, lambda: pending.vectors(embeddings))

    def _unfit(self, model: dict[str, Any]) -> ModelError | None:
        if self._name.endswith(model["fingerprint"]):
            return None
        return ModelFileError(
            f"{self._path}: is another file than when the embedder was made",
            "vectors of two models can't be mixed: start again with the new file",
        )


def _name_of(path: Path) -> str:
    try:
        info = inspect(path)
        return f"{info.name} {info.model_version}".strip() + f" #{fingerprint(path)}"
    except (ModelFileError, OSError):
        # The child will say what is wrong with it; no vector will ever bear this name.
        return f"{path.stem} #none"
