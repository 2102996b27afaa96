"""A thinking model's reasoning, kept out of its speech and within bounds."""

from __future__ import annotations

OPEN, CLOSE = b"<think>", b"</think>"


class Reasoning:
    """Passes on what a reply says aloud, token by token.

    A thought is what stands between `<think>` and `</think>` at the beginning of a reply, as most
    open thinking models write it; `begun` when the prompt itself ends inside one. `long` turns true
    once a thought has taken `most` tokens: then it must be closed for the model.
    """

    def __init__(self, most: int, *, begun: bool = False) -> None:
        self._most = most
        self._inside = begun
        self._over = False
        self._held = b""
        self.tokens = 0

    @property
    def inside(self) -> bool:
        """Whether the model is thinking now."""
        return self._inside

    @property
    def long(self) -> bool:
        """Whether the thought has reached its bound."""
        return self._inside and self.tokens >= self._most

    def push(self, piece: bytes) -> bytes:
        """Take a token's bytes; return those that are speech."""
        if self._over:
            return piece
        self._held += piece
        if not self._inside:
            begun = self._held.lstrip()
            if begun.startswith(OPEN):
                self._inside, self._held = True, begun[len(OPEN) :]
            elif not OPEN.startswith(begun):
                self._over = True
                return self._held
            else:
                return b""
        self.tokens += 1
        end = self._held.find(CLOSE)
        if end < 0:
            self._held = self._held[-len(CLOSE) :]
            return b""
        self._inside, self._over = False, True
        return self._held[end + len(CLOSE) :]

    def finish(self) -> bytes:
        """What was held back when the reply ended: the beginning of something that was no thought."""
        if self._over or self._inside:
            return b""
        self._over = True
        return self._held
