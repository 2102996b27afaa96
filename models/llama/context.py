"""A context of llama.cpp: the KV memory of many sequences, and what is decoded into it."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from models.errors import ModelFileError
from models.llama.library import LogTail, Model
from models.llama.settings import MAX_CARRIED, EngineSettings

_GGML_TYPES = {"f32": 0, "f16": 1, "q8_0": 8}
_VALUE_BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}
_COPIED_NS, _CARRIED_NS, _LOOKED_AT_NS, _CLEARLY = 0.25, 0.25, 12.0, 1.5
"""Measured: nanoseconds a byte of a copied stream, a byte of a carried state, and a cell looked at for
it; and how much sooner a state must be there to be carried."""


class Adapter:
    """A loaded LoRA adapter of one model. Raises ModelFileError when llama.cpp refuses it."""

    def __init__(self, model: Model, name: str, path: Path, scale: float, log: LogTail) -> None:
        self.name = name
        self.scale = scale
        self.pointer = lib.llama_adapter_lora_init(model.pointer, str(path).encode())
        if not self.pointer:
            raise ModelFileError(
                f"{path}: llama.cpp can't use it as a LoRA adapter for {model.path.name}: "
                f"{log.reason() or 'no reason given'}",
                "train or convert an adapter for this very model, as GGUF",
            )

    def free(self) -> None:
        """Free it; no context may be using it. With its model it is freed anyway."""
        lib.llama_adapter_lora_free(self.pointer)


class NoRoom(Exception):
    """The KV memory can't hold the batch; nothing was changed."""


class Aborted(Exception):
    """`abort` ended the step; what it had written must be cut off again."""


class Context:
    """One llama.cpp context: the KV memory of all sequences and the batch they decode in."""

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        params = lib.llama_context_default_params()
        params.n_ctx = settings.n_ctx
        params.n_batch = settings.n_batch
        params.n_ubatch = settings.n_batch
        params.n_seq_max = settings.n_seq
        params.n_threads = settings.threads
        params.n_threads_batch = settings.threads
        params.kv_unified = not settings.streams
        params.no_perf = True
        # A sequence gets one token a step; llama.cpp would reserve logits for a whole batch.
        params.n_outputs_max = settings.n_seq
        on_gpu = bool(lib.llama_supports_gpu_offload()) and settings.gpu_layers != 0
        params.offload_kqv = params.op_offload = on_gpu
        params.type_k = params.type_v = _GGML_TYPES[settings.kv_type]
        if settings.kv_type == "q8_0":
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
        elif not settings.flash:
            params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.pointer = lib.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise ModelFileError(
                f"{model.path}: llama.cpp can't make a context of {settings.n_ctx} tokens",
                "give it a smaller n_ctx, or more memory",
            )
        self.cells = int(lib.llama_n_ctx(self.pointer))
        self.cells_each = int(lib.llama_n_ctx_seq(self.pointer))
        self.size = settings.n_batch
        self._memory = lib.llama_get_memory(self.pointer)
        self._stop_flag = ctypes.create_string_buffer(2)
        self._stop_callback = _flag_reader()
        lib.llama_set_abort_callback(
            self.pointer, self._stop_callback, ctypes.cast(self._stop_flag, ctypes.c_void_p)
        )
        self.abortable = not on_gpu
        self.copies = 0
        self.decode_s = 0.0
        self._carried = (ctypes.c_uint8 * 0)()
        heads = lib.llama_model_n_head_kv(model.pointer) * lib.llama_model_n_layer(model.pointer)
        width = lib.llama_model_n_embd(model.pointer) / max(
            1, lib.llama_model_n_head(model.pointer)
        )
        self._cell_bytes = 2 * heads * width * _VALUE_BYTES[settings.kv_type]
        self._n_vocab = model.vocabulary.size
        self._tokens: NDArray[np.int32] = np.zeros(self.size, dtype=np.int32)
        self._positions: NDArray[np.int32] = np.zeros(self.size, dtype=np.int32)
        self._counts: NDArray[np.int32] = np.ones(self.size, dtype=np.int32)
        self._sequences: NDArray[np.int32] = np.zeros(self.size, dtype=np.int32)
        self._outputs: NDArray[np.int8] = np.zeros(self.size, dtype=np.int8)
        base = self._sequences.ctypes.data
        pointers = (ctypes.POINTER(lib.llama_seq_id) * self.size)()
        for index in range(self.size):
            pointers[index] = ctypes.cast(base + 4 * index, ctypes.POINTER(lib.llama_seq_id))
        self._pointers = pointers
        self._batch = lib.llama_batch(
            n_tokens=0,
            token=self._tokens.ctypes.data_as(ctypes.POINTER(lib.llama_token)),
            embd=None,
            pos=self._positions.ctypes.data_as(ctypes.POINTER(lib.llama_pos)),
            n_seq_id=self._counts.ctypes.data_as(ctypes.POINTER(ctypes.c_int32)),
            seq_id=ctypes.cast(pointers, ctypes.POINTER(ctypes.POINTER(lib.llama_seq_id))),
            logits=self._outputs.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)),
        )

    def decode(self, parts: Sequence[tuple[int, int, Sequence[int], bool]]) -> NDArray[np.float32]:
        """Decode one batch of `(sequence, first position, tokens, wants logits of the last)`.

        Returns float32 [wanted, n_vocab], in the order of the parts; valid until the next call.
        Raises NoRoom when the memory is full (nothing changed), Aborted when `abort` was called, and
        RuntimeError when llama.cpp failed, after which the context must not be used.
        """
        ids: list[int] = []
        positions: list[int] = []
        sequences: list[int] = []
        last: list[int] = []
        for sequence, position, tokens, output in parts:
            ids += tokens
            positions += range(position, position + len(tokens))
            sequences += [sequence] * len(tokens)
            if output:
                last.append(len(ids) - 1)
        at, wanted = len(ids), len(last)
        self._tokens[:at] = ids
        self._positions[:at] = positions
        self._sequences[:at] = sequences
        self._outputs[:at] = 0
        self._outputs[last] = 1
        self._batch.n_tokens = at
        begun = time.perf_counter()
        code = int(lib.llama_decode(self.pointer, self._batch))
        self._stop_flag[0] = b"\0"
        if code == 0 and wanted:
            # On a GPU only this waits for the step to be done.
            lib.llama_synchronize(self.pointer)
        self.decode_s += time.perf_counter() - begun
        if code == 1:
            raise NoRoom
        if code == 2:
            raise Aborted
        if code != 0:
            raise RuntimeError(f"llama_decode failed with code {code}")
        if not wanted:
            return np.zeros((0, self._n_vocab), dtype=np.float32)
        address = ctypes.cast(lib.llama_get_logits(self.pointer), ctypes.c_void_p).value
        if address is None:
            raise RuntimeError("llama.cpp returned no logits")
        raw = (ctypes.c_float * (wanted * self._n_vocab)).from_address(address)
        logits: NDArray[np.float32] = np.frombuffer(memoryview(raw).cast("B"), dtype=np.float32)
        return logits.reshape(wanted, self._n_vocab)

    def settle(self, cohorts: Sequence[Sequence[int]]) -> None:
        """Sequences in unified memory are decoded together wherever they are (see streams.py)."""

    def place(self, sequence: int) -> int:
        """Sequences are llama.cpp's own."""
        return sequence

    def first(self, sequence: int) -> int:
        """The first position that a sequence still holds in all layers; -1 for an empty one."""
        return int(lib.llama_memory_seq_pos_min(self._memory, sequence))

    def last(self, sequence: int) -> int:
        """The last position that a sequence holds; -1 for an empty one."""
        return int(lib.llama_memory_seq_pos_max(self._memory, sequence))

    def copy(self, source: int, target: int, length: int) -> None:
        """Let `target` (empty) have the first `length` cells of `source`, -1 for all.

        In unified memory the two share them. Streams copy theirs at the next `decode`, and only whole.
        """
        lib.llama_memory_seq_cp(self._memory, source, target, 0, length)

    def cut(self, sequence: int, length: int) -> None:
        """Keep only the first `length` tokens of a sequence."""
        if not lib.llama_memory_seq_rm(self._memory, sequence, length, -1):
            raise RuntimeError(f"llama.cpp can't cut sequence {sequence} at {length}")

    def abort(self) -> None:
        """End the running step early, from another thread; heeded on the CPU only."""
        self._stop_flag[0] = b"\1"

    def use(self, adapter: Adapter | None) -> None:
        """Decode under this LoRA adapter from now on, None for the bare model."""
        chosen = [adapter] if adapter else []
        pointers = (lib.llama_adapter_lora_p_ctypes * 1)(*(each.pointer for each in chosen))
        scales = (ctypes.c_float * 1)(*(each.scale for each in chosen))
        code = lib.llama_set_adapters_lora(self.pointer, pointers, len(chosen), scales)
        if code != 0:
            raise RuntimeError(f"llama.cpp can't change the adapter (code {code})")

    def save(self, sequence: int) -> bytes:
        """The state of a sequence; b"" when llama.cpp can't give it."""
        size = int(lib.llama_state_seq_get_size(self.pointer, sequence))
        buffer = (ctypes.c_uint8 * size)()
        written = int(lib.llama_state_seq_get_data(self.pointer, buffer, size, sequence))
        return bytes(buffer) if written == size else b""

    def load(self, sequence: int, state: bytes) -> bool:
        """Put a state that `save` gave into an empty sequence; False when it doesn't fit."""
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        return bool(lib.llama_state_seq_set_data(self.pointer, buffer, len(state), sequence))

    def carry(self, source: int, target: int) -> bool:
        """Put a sequence's cells in use into another's stream at once; False: sooner `copy` the stream.

        llama.cpp finds a sequence's cells by looking at those of all streams, whatever they hold, which
        pays where streams are long, models are not tiny, and the state is no larger than `MAX_CARRIED`.
        """
        length = self.last(source) + 1
        carried_ns = length * self._cell_bytes * _CARRIED_NS + self.cells * _LOOKED_AT_NS
        if self.cells_each * self._cell_bytes * _COPIED_NS < _CLEARLY * carried_ns:
            return False
        size = int(lib.llama_state_seq_get_size(self.pointer, source))
        if size > MAX_CARRIED:
            return False
        if size > len(self._carried):
            self._carried = (ctypes.c_uint8 * size)()
        written = int(lib.llama_state_seq_get_data(self.pointer, self._carried, size, source))
        return written == size and bool(
            lib.llama_state_seq_set_data(self.pointer, self._carried, size, target)
        )

    def clear(self) -> None:
        """Forget every sequence."""
        lib.llama_memory_clear(self._memory, True)

    def close(self) -> None:
        """Free it."""
        if self.pointer:
            lib.llama_free(self.pointer)
            self.pointer = None


def _flag_reader() -> object:
    """An abort callback in machine code that reads a flag, so that no step waits for the interpreter.

    llama.cpp asks it at every node of the graph. The C library's `strlen` is such a function: the
    length of the string at the flag is 0 or 1, which in its lowest byte is the wanted boolean.
    """
    libc = ctypes.CDLL("msvcrt" if sys.platform == "win32" else None)
    address = ctypes.cast(libc.strlen, ctypes.c_void_p).value
    assert address is not None
    return lib.ggml_abort_callback(address)
