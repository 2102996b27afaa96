"""A model's tokenizer and template in this process, without its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import llama_cpp.llama_cpp as lib

from models.llama.library import LogTail, Vocabulary
from models.llama.template import ChatTemplate
from models.text import TextStream


class Tokens:
    """Messages to token ids, as the engine makes them, and token ids to the text it would tell."""

    def __init__(self, path: Path) -> None:
        LogTail()
        params = lib.llama_model_default_params()
        params.vocab_only = True
        self._model = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise ValueError(f"{path}: llama.cpp can't read its vocabulary")
        self._vocabulary = Vocabulary(self._model)
        found = lib.llama_model_chat_template(self._model, None)
        self._template = ChatTemplate(found.decode() if found else "", self._vocabulary)

    @property
    def pieces(self) -> Sequence[bytes]:
        """Each token's bytes."""
        return self._vocabulary.pieces

    def prompt(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """The prompt of a conversation, up to where the reply begins."""
        return self._template.tokens(messages)

    def text(self, tokens: Sequence[int]) -> str:
        """A reply's text as the engine tells it: whole characters, trimmed."""
        stream = TextStream(self._template.stops)
        told = "".join(stream.push(self._vocabulary.pieces[token]) for token in tokens)
        return told + stream.finish()

    def build(self) -> str:
        """What llama.cpp says of how it was compiled."""
        return str(lib.llama_print_system_info().decode())
