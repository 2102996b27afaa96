"""llama.cpp's own grammar sampler, over the same replies: the peer that structured replies are measured beside."""

from __future__ import annotations

import ctypes
import json
import re
import time
from collections.abc import Sequence
from typing import Any

import llama_cpp.llama_cpp as lib
import numpy as np

from models.llama.library import Vocabulary

_CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
_CLASS = re.compile(r"\^(\[(?:[^\]\\]|\\.)+\])\*\$")
_MOST_NUMBERS = 1000


def gbnf(schema: dict[str, Any]) -> str:
    """A checked reply schema (`models.grammar.ReplySchema.schema`) as a GBNF of the same replies.

    Raises ValueError for patterns that are no class of letters, and for wide ranges of numbers.
    """
    return f"root ::= {_node(schema)}\n"


class GrammarSampler:
    """llama.cpp's grammar sampler at the beginning of a reply. Raises ValueError for a wrong grammar."""

    def __init__(self, vocabulary: Vocabulary, grammar: str) -> None:
        made = lib.llama_sampler_init_grammar(vocabulary.pointer, grammar.encode(), b"root")
        if not made:
            raise ValueError(f"llama.cpp refuses the grammar {grammar[:200]}")
        self._sampler: Any = made
        self._candidates = np.zeros(vocabulary.size, dtype=_CANDIDATE)
        self._candidates["id"] = np.arange(vocabulary.size)
        pointer = self._candidates.ctypes.data_as(ctypes.POINTER(lib.llama_token_data))
        self._array = lib.llama_token_data_array(pointer, vocabulary.size, -1, False)

    def allowed(self) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], int]:
        """Which tokens may follow, bool [n_vocab], and the nanoseconds that it took to say so."""
        self._candidates["logit"] = 0.0
        begun = time.thread_time_ns()
        lib.llama_sampler_apply(self._sampler, ctypes.byref(self._array))
        taken = time.thread_time_ns() - begun
        return np.isfinite(self._candidates["logit"]), taken

    def accept(self, token: int) -> int:
        """Take an allowed token (any other aborts the process); the nanoseconds that it took."""
        begun = time.thread_time_ns()
        lib.llama_sampler_accept(self._sampler, token)
        return time.thread_time_ns() - begun

    def close(self) -> None:
        """Free it."""
        lib.llama_sampler_free(self._sampler)
        self._sampler = None


def follow(vocabulary: Vocabulary, grammar: str, reply: Sequence[int]) -> int:
    """Nanoseconds that masks and advances take over a whole reply, token by token.

    Raises ValueError when the grammar forbids one of its tokens.
    """
    sampler = GrammarSampler(vocabulary, grammar)
    total = 0
    try:
        for place, token in enumerate(reply):
            mask, taken = sampler.allowed()
            if not mask[token]:
                raise ValueError(f"token {place} of the reply is not in the peer's grammar")
            total += taken + sampler.accept(token)
    finally:
        sampler.close()
    return total


def _node(node: dict[str, Any]) -> str:
    if "enum" in node:
        return _either(json.dumps(value, ensure_ascii=False) for value in node["enum"])
    if "anyOf" in node:
        return "(" + " | ".join(_node(part) for part in node["anyOf"]) + ")"
    match node["type"]:
        case "object":
            return _object(node["properties"])
        case "array":
            return _array(node)
        case "string":
            return _string(node)
        case "integer":
            low, high = node["minimum"], node["maximum"]
            if high - low >= _MOST_NUMBERS:
                raise ValueError(f"{low} to {high} are too many numbers")
            return _either(str(number) for number in range(low, high + 1))
        case "boolean":
            return '("true" | "false")'
        case "null":
            return '"null"'
    raise ValueError(f"no grammar for {node}")


def _object(properties: dict[str, Any]) -> str:
    parts = []
    for place, (name, field) in enumerate(properties.items()):
        lead = ("," if place else "{") + json.dumps(name, ensure_ascii=False) + ":"
        parts += [_text(lead), _node(field)]
    return " ".join([*parts, _text("}" if parts else "{}")])


def _array(node: dict[str, Any]) -> str:
    if "prefixItems" in node:
        items = f" {_text(',')} ".join(_node(part) for part in node["prefixItems"])
        return f"{_text('[')} {items} {_text(']')}"
    most, least = node["maxItems"], node.get("minItems", 0)
    if most == 0:
        return _text("[]")
    item = f"({_node(node['items'])})"
    rest = f"({_text(',')} {item}){{{max(0, least - 1)},{most - 1}}}"
    inside = f"({item} {rest})" + ("" if least else "?")
    return f"{_text('[')} {inside} {_text(']')}"


def _string(node: dict[str, Any]) -> str:
    pattern = node["allOf"][0]["pattern"] if "allOf" in node else node["pattern"]
    found = _CLASS.fullmatch(pattern)
    if found is None:
        raise ValueError(f"the pattern {pattern!r} is no class of letters")
    letters = found[1].replace("\\.", ".")
    return f'"\\"" {letters}{{{node["minLength"]},{node["maxLength"]}}} "\\""'


def _either(texts: Any) -> str:
    return "(" + " | ".join(_text(text) for text in texts) + ")"


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
