"""Keeps a reply inside its grammar: llguidance over the vocabulary of whatever GGUF is loaded."""

from __future__ import annotations

import ctypes
from collections import Counter, OrderedDict
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

from models.errors import RequestRefused
from models.grammar import SLICES
from models.llama.library import Vocabulary

_KEPT = 64
_REPLIES = 256
"""Replies before a grammar is compiled anew: copies share what its lexer has learnt, which only grows."""


class Guide:
    """Walks one reply along its grammar."""

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self._matcher = matcher
        self._size = size

    @property
    def finished(self) -> bool:
        """Nothing may follow: the reply is whole."""
        return bool(self._matcher.is_stopped())

    @property
    def may_end(self) -> bool:
        """The reply is whole as it stands."""
        return bool(self._matcher.is_accepting())

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may follow: bool [n_vocab]."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        return np.unpackbits(bits, bitorder="little", count=self._size).view(np.bool_)

    def accept(self, token: int) -> list[int]:
        """Take a token; return the tokens that can only follow, already taken too.

        Raises RequestRefused when the grammar turns out too complex or the token is not allowed.
        """
        if not self._matcher.consume_token(token):
            raise RequestRefused(f"the grammar can't go on: {self._matcher.get_error()}")
        forced = [] if self.finished else [int(t) for t in self._matcher.compute_ff_tokens()]
        if forced and not self._matcher.consume_tokens(forced):
            raise RequestRefused(f"the grammar can't go on: {self._matcher.get_error()}")
        return forced


class Guides:
    """Makes guides; grammars are compiled once and kept, the least recently used go first."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._size = vocabulary.size
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()
        self._replies: Counter[str] = Counter()
        self._vocabulary = vocabulary
        # llguidance tokenises forced text through llama.cpp itself, so it is spelled canonically.
        make: Any = LLTokenizer
        self._tokenizer: LLTokenizer = make.from_llamacpp(
            tokens=vocabulary.marked,
            vocab_ptr=vocabulary.pointer,
            tokenize_fptr=ctypes.cast(lib._lib.llama_tokenize, ctypes.c_void_p).value,
            eos_token=sorted(vocabulary.ends) or [vocabulary.size - 1],
            slices=SLICES,
        )

    def begin(self, grammar: str) -> Guide:
        """A guide at the beginning of a reply. Raises RequestRefused for a grammar that is wrong."""
        matcher = self._compiled.get(grammar)
        if matcher is None or self._replies[grammar] >= _REPLIES:
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
            if matcher.is_error():
                raise RequestRefused(f"the reply's grammar is wrong: {matcher.get_error()[:400]}")
            self._compiled[grammar] = matcher
            self._replies[grammar] = 0
            if len(self._compiled) > _KEPT:
                gone, _ = self._compiled.popitem(last=False)
                del self._replies[gone]
        self._replies[grammar] += 1
        self._compiled.move_to_end(grammar)
        return Guide(matcher.deep_copy(), self._size)
