"""A GGUF and its vocabulary as llama.cpp loads them, typed; importing this module loads the library.

Everything here runs in the child process: a fault in llama.cpp may abort it at any call.
"""

from __future__ import annotations

import ctypes
import re
from collections import deque
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from numpy.typing import NDArray

from models.errors import ModelFileError, RequestRefused
from models.llama.settings import EngineSettings

_LOG_LINES = 60
_LOG_WIDTH = 400
_WARNING_LEVEL, _ERROR_LEVEL = 3, 4
_MARKER_LETTERS = set(b"<>[]|")


_callbacks: list[object] = []


class LogTail:
    """Keeps the last warnings and errors llama.cpp logged, bounded, instead of printing them."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LOG_LINES)
        callback = lib.llama_log_callback(self._hear)
        # llama.cpp calls it for as long as the process lives, so it must never be collected.
        _callbacks.append(callback)
        lib.llama_log_set(callback, ctypes.c_void_p(0))

    def _hear(self, level: int, text: bytes, _data: object) -> None:
        if level in (_WARNING_LEVEL, _ERROR_LEVEL):
            self._lines.append(text.decode("utf-8", "replace").strip()[:_LOG_WIDTH])

    def reason(self) -> str:
        """The most telling of the lines, or ''."""
        lines = [line for line in self._lines if line]
        for mark in ("error loading model", "failed"):
            for line in lines:
                if mark in line:
                    _, _, rest = line.partition(f"{mark}: ")
                    return rest or line
        return lines[-1] if lines else ""


class Vocabulary:
    """A model's tokens.

    `pieces[token]` are its bytes (b"" for control tokens), `ends` the tokens that end a reply,
    `unspeakable` int64 [k] control tokens that are no end and must not be chosen, `markers` matches
    any text that llama.cpp could take for a control token (None: there is none).
    """

    def __init__(self, model: int) -> None:
        self.pointer = lib.llama_model_get_vocab(model)
        self.kind = int(lib.llama_vocab_type(self.pointer))
        self.size = int(lib.llama_vocab_n_tokens(self.pointer))
        self.bos = int(lib.llama_vocab_bos(self.pointer))
        self.eos = int(lib.llama_vocab_eos(self.pointer))
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(self.pointer)) and self.bos >= 0
        self.pieces: list[bytes] = []
        self.marked: list[bytes] = []
        ends: list[int] = []
        unspeakable: list[int] = []
        markers: list[bytes] = []
        buffer = ctypes.create_string_buffer(1 << 14)
        control = lib.LLAMA_TOKEN_ATTR_CONTROL | lib.LLAMA_TOKEN_ATTR_UNKNOWN
        for token in range(self.size):
            attributes = int(lib.llama_vocab_get_attr(self.pointer, token))
            spelled = self._spell(token, buffer)
            is_control = bool(attributes & control)
            is_added = bool(attributes & lib.LLAMA_TOKEN_ATTR_USER_DEFINED)
            if lib.llama_vocab_is_eog(self.pointer, token):
                ends.append(token)
            elif is_control:
                unspeakable.append(token)
            looks_like_one = is_added and bool(_MARKER_LETTERS & set(spelled))
            if is_control or looks_like_one:
                markers.append(spelled)
            if is_control or (looks_like_one and spelled[:1] == b"<" and spelled[-1:] == b">"):
                # llguidance's convention: a byte that is never text marks a control token.
                self.marked.append(b"\xff" + spelled)
            else:
                self.marked.append(spelled)
            self.pieces.append(b"" if is_control else spelled)
        self.ends = frozenset(ends)
        self.unspeakable: NDArray[np.int64] = np.array(unspeakable, dtype=np.int64)
        alternatives = sorted({m for m in markers if len(m) > 1}, key=len, reverse=True)
        self.markers = (
            re.compile("|".join(re.escape(m.decode("utf-8", "replace")) for m in alternatives))
            if alternatives
            else None
        )

    def _spell(self, token: int, buffer: ctypes.Array[ctypes.c_char]) -> bytes:
        size = lib.llama_token_to_piece(self.pointer, token, buffer, len(buffer), 0, True)
        if size < 0:
            raise ModelFileError(
                f"token {token} of the vocabulary is over {len(buffer)} bytes long"
            )
        return buffer.raw[:size]

    def text(self, token: int) -> str:
        """A token as templates spell it ('' when there is none)."""
        if not 0 <= token < self.size:
            return ""
        return self.marked[token].removeprefix(b"\xff").decode("utf-8", "replace")

    def tokenise(self, text: str, *, control: bool) -> list[int]:
        """Text to tokens; control tokens are recognised only when `control` is set."""
        data = text.encode("utf-8", "surrogatepass")
        room = len(data) + 16
        tokens = (lib.llama_token * room)()
        count = lib.llama_tokenize(self.pointer, data, len(data), tokens, room, False, control)
        if count < 0:
            raise RequestRefused(f"a text of {len(data)} bytes can't be tokenised")
        return list(tokens[:count])


def load_model(path: Path, settings: EngineSettings, log: LogTail) -> Any:
    """A GGUF in llama.cpp's hands. Raises ModelFileError when it is refused."""
    params = lib.llama_model_default_params()
    params.n_gpu_layers = settings.gpu_layers
    lib.llama_backend_init()
    pointer = lib.llama_model_load_from_file(str(path).encode(), params)
    if not pointer:
        raise ModelFileError(
            f"{path}: llama.cpp can't load it: {log.reason() or 'no reason given'}",
            "use a GGUF that this version of llama.cpp supports, or update llama-cpp-python",
        )
    return pointer


def metadata(model: Any, key: str) -> str:
    """A value of a model's metadata as text, '' when absent."""
    buffer = ctypes.create_string_buffer(1 << 20)
    size = lib.llama_model_meta_val_str(model, key.encode(), buffer, len(buffer))
    return buffer.value.decode("utf-8", "replace") if size >= 0 else ""


class Model:
    """A loaded GGUF. Raises ModelFileError when llama.cpp refuses it."""

    def __init__(self, path: Path, settings: EngineSettings, log: LogTail) -> None:
        self.path = path
        self.pointer: Any = load_model(path, settings, log)
        if not lib.llama_model_has_decoder(self.pointer) or lib.llama_model_has_encoder(
            self.pointer
        ):
            raise ModelFileError(
                f"{path}: is no decoder-only language model", "use a chat or text model"
            )
        if lib.llama_model_is_diffusion(self.pointer):
            raise ModelFileError(f"{path}: is a diffusion model", "use a chat or text model")
        self.vocabulary = Vocabulary(self.pointer)
        if self.vocabulary.size == 0:
            raise ModelFileError(f"{path}: has no vocabulary", "use a chat or text model")
        self.context_length = int(lib.llama_model_n_ctx_train(self.pointer))
        self.forgets_partly = not (
            lib.llama_model_is_recurrent(self.pointer) or lib.llama_model_is_hybrid(self.pointer)
        )
        """Whether a sequence can be cut in the middle (recurrent models can't)."""
        self.sliding = int(lib.llama_model_n_swa(self.pointer))
        """Tokens that the layers with a sliding window look back; 0 for a model without such layers."""

    def meta(self, key: str) -> str:
        """A metadata value as text, '' when absent."""
        return metadata(self.pointer, key)

    def template(self) -> str:
        """The chat template, '' when the GGUF has none."""
        found = lib.llama_model_chat_template(self.pointer, None)
        return found.decode("utf-8", "replace") if found else ""

    def describe(self) -> dict[str, object]:
        """Plain values about the model, for the host's status."""
        name = self.meta("general.name") or self.path.stem
        version = self.meta("general.version")
        return {
            "name": f"{name} {version}".strip(),
            "architecture": self.meta("general.architecture"),
            "parameters": int(lib.llama_model_n_params(self.pointer)),
            "bytes": int(lib.llama_model_size(self.pointer)),
            "context_length": self.context_length,
            "vocabulary": self.vocabulary.size,
        }

    def close(self) -> None:
        """Free it; nothing made from it may be used afterwards."""
        if self.pointer:
            lib.llama_model_free(self.pointer)
            self.pointer = None
