"""The few llama.cpp calls that turn text into vectors, typed; importing it loads the library.

Everything here runs in the child process, as library.py does.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from models.errors import ModelFileError, RequestRefused
from models.llama.gguf_file import fingerprint
from models.llama.library import LogTail, load_model, metadata
from models.llama.settings import EngineSettings

_CPU_BATCH = 256
_POOLING = {
    lib.LLAMA_POOLING_TYPE_MEAN: "mean",
    lib.LLAMA_POOLING_TYPE_CLS: "cls",
    lib.LLAMA_POOLING_TYPE_LAST: "last",
}
_USE = "use an embedding model"


class EmbeddingModel:
    """A loaded GGUF that makes vectors.

    Any model with tokens and one stack of layers will do: embedding models are pooled as their file
    says; one that says nothing, a chat model for instance, has the mean of its last layer taken, which
    works but is no match for a model trained for it. Raises ModelFileError when llama.cpp refuses
    the file, or it is a re-ranker or an encoder with a decoder.
    """

    def __init__(self, path: Path, settings: EngineSettings, log: LogTail) -> None:
        self.path = path
        self.pointer = load_model(path, settings, log)
        if lib.llama_model_has_encoder(self.pointer) and lib.llama_model_has_decoder(self.pointer):
            raise ModelFileError(f"{path}: is an encoder with a decoder", _USE)
        self._vocabulary = lib.llama_model_get_vocab(self.pointer)
        if lib.llama_vocab_type(self._vocabulary) == lib.LLAMA_VOCAB_TYPE_NONE:
            raise ModelFileError(f"{path}: has no vocabulary", _USE)
        self.says = self._meta(f"{self._meta('general.architecture')}.pooling_type")
        if self.says == str(lib.LLAMA_POOLING_TYPE_RANK):
            raise ModelFileError(f"{path}: is a re-ranker, which gives scores, not vectors", _USE)
        self.dimensions = int(lib.llama_model_n_embd_out(self.pointer))
        self.context_length = int(lib.llama_model_n_ctx_train(self.pointer))
        self.pooling = ""
        ends = (lib.llama_vocab_sep(self._vocabulary), lib.llama_vocab_eos(self._vocabulary))
        self._ends = frozenset(token for token in ends if token >= 0)
        first = lib.llama_vocab_bos(self._vocabulary)
        self._something = [max(0, first if first >= 0 else ends[1])]

    def _meta(self, key: str) -> str:
        return metadata(self.pointer, key)

    def tokenise(self, text: str, limit: int) -> tuple[list[int], bool]:
        """At least one and at most `limit` tokens, with what the model puts around a text.

        True when some were left out: from the end of the text, its closing token kept. Names of
        control tokens in the text stay text.
        """
        data = text.encode("utf-8", "replace")
        room = len(data) + 16
        buffer = (lib.llama_token * room)()
        count = lib.llama_tokenize(self._vocabulary, data, len(data), buffer, room, True, False)
        if count < 0:
            raise RequestRefused(f"a text of {len(data)} bytes can't be tokenised")
        tokens = list(buffer[:count]) or self._something
        if len(tokens) <= limit:
            return tokens, False
        end = [token for token in tokens[-1:] if token in self._ends and limit > 1]
        return tokens[: limit - len(end)] + end, True

    def describe(self) -> dict[str, object]:
        """Plain values about the model, for the host's status."""
        name = self._meta("general.name") or self.path.stem
        return {
            "name": f"{name} {self._meta('general.version')}".strip(),
            "fingerprint": fingerprint(self.path),
            "architecture": self._meta("general.architecture"),
            "parameters": int(lib.llama_model_n_params(self.pointer)),
            "bytes": int(lib.llama_model_size(self.pointer)),
            "context_length": self.context_length,
            "dimensions": self.dimensions,
            "pooling": self.pooling,
            "gpu": bool(lib.llama_supports_gpu_offload()),
        }


class EmbeddingContext:
    """One llama.cpp context in which every sequence is one text.

    `limit` is the longest text in tokens. `batch_tokens` is how many are best read together: with
    each other's texts masked out, attention still grows with the square of the batch, which on a CPU
    costs more than it brings beyond 256; a GPU takes all that fits.
    """

    def __init__(self, model: EmbeddingModel, settings: EngineSettings) -> None:
        params = lib.llama_context_default_params()
        size = min(settings.n_batch, settings.n_ctx)
        params.n_ctx = size
        params.n_batch = size
        # A text is pooled within one micro-batch, and one that looks both ways must lie in one.
        params.n_ubatch = size
        params.n_seq_max = settings.n_seq
        params.n_threads = settings.threads
        params.n_threads_batch = settings.threads
        params.kv_unified = True
        params.no_perf = True
        params.embeddings = True
        if model.says in ("", str(lib.LLAMA_POOLING_TYPE_NONE)):
            params.pooling_type = lib.LLAMA_POOLING_TYPE_MEAN
        self.pointer = lib.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise ModelFileError(
                f"{model.path}: llama.cpp can't make a context of {size} tokens",
                "give it a smaller n_ctx, or more memory",
            )
        kind = int(lib.llama_pooling_type(self.pointer))
        if kind not in _POOLING:
            raise ModelFileError(f"{model.path}: has the unknown pooling type {kind}", _USE)
        model.pooling = _POOLING[kind]
        trained = model.context_length
        self.limit = min(trained, size) if trained > 0 else size
        roomy = lib.llama_supports_gpu_offload() and settings.gpu_layers != 0
        self.batch_tokens = size if roomy else min(size, _CPU_BATCH)
        self.sequences = settings.n_seq
        self._width = model.dimensions
        self._memory = lib.llama_get_memory(self.pointer)
        self._batch = lib.llama_batch_init(size, 0, 1)

    def embed(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Vectors of length 1 of tokenised texts, float32 [len(texts), dimensions].

        A row is NaN where the model's numbers are none. Raises RuntimeError when llama.cpp failed,
        after which the context must not be used.
        """
        if self._memory:
            lib.llama_memory_clear(self._memory, False)
        batch = self._batch
        at = 0
        for sequence, tokens in enumerate(texts):
            for position, token in enumerate(tokens):
                batch.token[at] = token
                batch.pos[at] = position
                batch.n_seq_id[at] = 1
                batch.seq_id[at][0] = sequence
                batch.logits[at] = 1
                at += 1
        batch.n_tokens = at
        code = int(lib.llama_decode(self.pointer, batch))
        if code != 0:
            raise RuntimeError(f"llama_decode failed with code {code}")
        vectors: NDArray[np.float64] = np.empty((len(texts), self._width), dtype=np.float64)
        for row in range(len(texts)):
            found = lib.llama_get_embeddings_seq(self.pointer, row)
            if not found:
                raise RuntimeError("llama.cpp returned no vector")
            vectors[row] = np.ctypeslib.as_array(found, shape=(self._width,))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths[lengths == 0.0] = np.nan
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit

    def close(self) -> None:
        """Free it."""
        if self.pointer:
            lib.llama_batch_free(self._batch)
            lib.llama_free(self.pointer)
            self.pointer = None
