"""Asking an embedder in a test, and BERT computed with numpy alone, to compare llama.cpp with."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.embeddings import Embedder, EmbeddingRequest, Embeddings
from models.errors import ModelError

Array = NDArray[np.float64]


class Hearer:
    """A listener that keeps what it hears and on which thread, and lets a test wait for the end."""

    def __init__(self) -> None:
        self.heard: list[Embeddings | ModelError] = []
        self.threads: list[str] = []
        self.ended = threading.Event()

    def on_vectors(self, embeddings: Embeddings) -> None:
        self._note(embeddings)

    def on_error(self, request_id: int, error: ModelError) -> None:
        self._note(error)

    def _note(self, what: Embeddings | ModelError) -> None:
        self.heard.append(what)
        self.threads.append(threading.current_thread().name)
        self.ended.set()

    @property
    def embeddings(self) -> Embeddings:
        assert self.ended.wait(60.0), "nothing was heard"
        (end,) = self.heard
        assert isinstance(end, Embeddings), f"an error came instead: {end}"
        return end

    @property
    def error(self) -> ModelError:
        assert self.ended.wait(60.0), "nothing was heard"
        (end,) = self.heard
        assert isinstance(end, ModelError), "vectors came instead"
        return end


def ask(embedder: Embedder, *texts: str, **fields: Any) -> Hearer:
    """Submit and return the listener at once."""
    hearer = Hearer()
    embedder.submit(EmbeddingRequest(texts, **fields), hearer)
    return hearer


class NumpyBert:
    """The published forward pass of BERT (Devlin et al. 2018, arXiv:1810.04805) over a GGUF's tensors."""

    def __init__(self, tensors: dict[str, Array], layers: int, heads: int) -> None:
        self.tensors = tensors
        self.layers = layers
        self.heads = heads

    @classmethod
    def of_gguf(cls, path: Path, layers: int, heads: int) -> NumpyBert:
        import gguf

        reader = gguf.GGUFReader(path)
        tensors = {
            tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float64)
            for tensor in reader.tensors
        }
        return cls(tensors, layers, heads)

    def states(self, tokens: list[int]) -> Array:
        """The last layer's output, [len(tokens), width]."""
        t = self.tensors
        count = len(tokens)
        x = t["token_embd.weight"][tokens] + t["position_embd.weight"][:count]
        x = self._norm(x + t["token_types.weight"][0], "token_embd_norm")
        for layer in range(self.layers):
            block = f"blk.{layer}."
            q, k, v = (self._parted(self._linear(x, f"{block}attn_{part}")) for part in "qkv")
            scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
            weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
            weights /= weights.sum(axis=-1, keepdims=True)
            mixed = (weights @ v).transpose(1, 0, 2).reshape(count, -1)
            x = self._norm(
                x + self._linear(mixed, f"{block}attn_output"), f"{block}attn_output_norm"
            )
            inner = self._linear(x, f"{block}ffn_up")
            inner *= 0.5 * (1.0 + np.vectorize(math.erf)(inner / math.sqrt(2.0)))
            x = self._norm(x + self._linear(inner, f"{block}ffn_down"), f"{block}layer_output_norm")
        return x

    def _parted(self, x: Array) -> Array:
        return x.reshape(len(x), self.heads, -1).transpose(1, 0, 2)

    def _linear(self, x: Array, name: str) -> Array:
        found: Array = x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]
        return found

    def _norm(self, x: Array, name: str) -> Array:
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12)
        return x * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]


def unit(vector: Array) -> Array:
    """The vector at length 1."""
    found: Array = vector / np.linalg.norm(vector)
    return found
