"""Turns a reply's bytes into streamed text: whole characters, stop strings, trimmed ends."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

_CONTROL = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


class TextStream:
    """Assembles the pieces of one reply.

    What `push` and `finish` return, joined, is the reply's whole text. Bytes that end in the middle
    of a character wait for the rest; text that may be the beginning of a stop string waits until it
    is or isn't; white space at both ends of the reply is dropped when `trim` is set. Control
    characters other than line feed and tab are dropped: no terminal or log should obey a model.
    """

    def __init__(self, stop: Sequence[str] = (), *, trim: bool = True) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop = tuple(text for text in stop if text)
        self._trim = trim
        self._held = ""
        self._begun = False
        self.stopped = False

    def push(self, data: bytes) -> str:
        """Take the bytes of a token; return the text that is safe to show now."""
        text = self._decoder.decode(data)
        return self._advance(text if text.isprintable() else text.translate(_CONTROL))

    def finish(self) -> str:
        """End the reply; return what was still held back."""
        if self.stopped:
            return ""
        text = self._advance(self._decoder.decode(b"", True))
        if self.stopped:
            return text
        held, self._held = self._held, ""
        return text + (held.rstrip() if self._trim else held)

    def _advance(self, new: str) -> str:
        if self.stopped:
            return ""
        text = self._held + new
        if self._trim and not self._begun:
            text = text.lstrip()
        cut = min((at for stop in self._stop if (at := text.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self.stopped = True
            self._held = ""
            kept = text[:cut]
            return kept.rstrip() if self._trim else kept
        safe = len(text) - self._longest_stop_start(text)
        if self._trim:
            safe = len(text[:safe].rstrip())
        self._held = text[safe:]
        self._begun = self._begun or safe > 0
        return text[:safe]

    def _longest_stop_start(self, text: str) -> int:
        longest = 0
        for stop in self._stop:
            for size in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:size]):
                    longest = size
                    break
        return longest
