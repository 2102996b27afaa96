"""A thinking model's reasoning, kept out of its speech and within bounds."""

from __future__ import annotations

MARKS = {b"<think>": b"</think>", b"<thinking>": b"</thinking>"}
"""What opens a thought, and what closes it."""


class Reasoning:
    """Passes on what a reply says aloud, token by token.

    A thought is what stands between two `MARKS` at the beginning of a reply, as most open thinking
    models write it; `mark` is the one that opened it, given when the prompt itself ends inside one.
    `long` turns true once a thought has taken `most` tokens, with 0 as soon as it is opened: then it
    must be closed for the model (`close`).
    """

    def __init__(self, most: int, *, mark: bytes = b"") -> None:
        self._most = most
        self._over = False
        self._held = b""
        self.mark = mark
        self._tokens = 0

    @property
    def inside(self) -> bool:
        """Whether the model is thinking now."""
        return bool(self.mark) and not self._over

    @property
    def tokens(self) -> int:
        """Tokens of the thought, its marks too; 0 as long as what was said may be no thought."""
        return self._tokens if self.mark else 0

    @property
    def long(self) -> bool:
        """Whether the thought has reached its bound."""
        return self.inside and self.tokens >= self._most

    def push(self, piece: bytes) -> bytes:
        """Take a token's bytes; return those that are speech."""
        if self._over:
            return piece
        self._held += piece
        self._tokens += 1
        if not self.mark:
            begun = self._held.lstrip()
            self.mark = next((mark for mark in MARKS if begun.startswith(mark)), b"")
            if not self.mark:
                return b"" if any(mark.startswith(begun) for mark in MARKS) else self.finish()
            self._held = begun[len(self.mark) :]
        close = MARKS[self.mark]
        end = self._held.find(close)
        if end < 0:
            self._held = self._held[-len(close) :]
            return b""
        self._over = True
        return self._held[end + len(close) :]

    def close(self, tokens: int) -> None:
        """The thought was closed for the model, by so many tokens."""
        self._over = True
        self._tokens += tokens

    def finish(self) -> bytes:
        """What was held back when the reply ended: the beginning of something that was no thought."""
        if self._over or self.mark:
            return b""
        self._over = True
        return self._held
