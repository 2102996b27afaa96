"""Calls asked before their time, and kept for whoever then asks the very same: what a run that looks ahead needs.

Nothing is guessed in the answers: a call is handed to an asker only if all that was asked is equal, so for
replies that are a pure function of the request it makes no difference but the waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from models.errors import Cancelled, ModelError
from models.grammar import compile_schema
from models.request import Backend, Handle, Listener, ModelRequest, Priority, Reply

__all__ = ["AskingAhead", "Kept", "Key", "key_of"]

MOST: Final = 1024
"""Calls kept that nobody has claimed; no more are asked ahead then."""

Key = Hashable
_LEFT_OUT: Final = frozenset({"id", "schema", "messages", "wanted"})


def key_of(request: ModelRequest) -> Key:
    """All that is asked: equal for two requests that must get the same reply, whatever their ids."""
    rest: list[Any] = [
        tuple(value) if isinstance(value, list) else value
        for value in (getattr(request, f.name) for f in fields(request) if f.name not in _LEFT_OUT)
    ]
    schema = compile_schema(request.schema).grammar if request.schema is not None else ""
    return (*rest, schema, tuple((m["role"], m["content"]) for m in request.messages))


class Kept:
    """A call under way for nobody yet; then for who claimed it. Heard on the backend's thread.

    `reply` is there as soon as it has come, for whoever asked it, also when another one has claimed it. `guess`
    is the number of the guess that asked for it last.
    """

    def __init__(self, ahead: AskingAhead, key: Key, request: ModelRequest) -> None:
        self._ahead, self.key, self.request = ahead, key, request
        self.guess = 0
        self._lock = threading.RLock()
        self._text = ""
        self.reply: Reply | None = None
        self.handle: Handle | None = None
        self._claim: tuple[ModelRequest, Listener] | None = None

    def claim(self, request: ModelRequest, listener: Listener) -> None:
        """Let `listener` hear what came and what is still to come."""
        with self._lock:
            self._claim = (request, listener)
            if self._text:
                listener.on_text(request.id, self._text)
            if self.reply is not None:
                listener.on_done(replace(self.reply, request_id=request.id))

    def on_text(self, request_id: int, text: str) -> None:
        with self._lock:
            if self._claim is None:
                self._text += text
            else:
                request, listener = self._claim
                listener.on_text(request.id, text)

    def on_done(self, reply: Reply) -> None:
        with self._lock:
            self.reply = reply
            if self._claim is not None:
                request, listener = self._claim
                listener.on_done(replace(reply, request_id=request.id))
        self._ahead.ended(self)

    def on_error(self, request_id: int, error: ModelError) -> None:
        with self._lock:
            claim = self._claim
            self._ahead.ended(self, failed=True)
            if claim is None:
                return
            request, listener = claim
            if isinstance(error, Cancelled):
                listener.on_error(request.id, error)
            else:
                # Its time began before it was asked for: whoever asks has the whole of it.
                self.handle = self._ahead.inner.submit(request, listener)


@dataclass(frozen=True, slots=True)
class _Claimed:
    request: ModelRequest
    kept: Kept

    def cancel(self) -> None:
        if self.kept.handle is not None:
            self.kept.handle.cancel()


class AskingAhead:
    """A `Backend` before another, with a second door through which calls are asked before their time.

    `most` calls at most are kept unclaimed. A call that fails before it is claimed is forgotten; one that
    fails afterwards, other than by being withdrawn, is asked once more for who claimed it.
    """

    def __init__(self, inner: Backend, most: int = MOST) -> None:
        self.inner = inner
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[Key, Kept] = {}
        self._under_way = 0
        self.asked = self.claimed = self.in_vain = 0

    @property
    def name(self) -> str:
        """The other's."""
        return self.inner.name

    @property
    def under_way(self) -> int:
        """How many of the calls asked ahead have not ended."""
        return self._under_way

    @property
    def full(self) -> bool:
        """Whether no more can be asked ahead."""
        return len(self._kept) >= self._most

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Take the request: what was asked ahead goes on as its own, anything else is passed on."""
        with self._lock:
            kept = self._kept.pop(key_of(request), None) if self._kept else None
            self.claimed += kept is not None
        if kept is None:
            return self.inner.submit(request, listener)
        kept.claim(request, listener)
        return _Claimed(request, kept)

    def ask(self, request: ModelRequest, tick: int, guess: int) -> Kept | None:
        """Ask what is to be asked at `tick` by the guess of that number; None if there is no room for it.

        The backend is told for which tick it is: it comes after all that is wanted now, and after what is wanted sooner.
        """
        key = key_of(request)
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                known.guess = guess
                return known
            if len(self._kept) >= self._most:
                return None
            kept = self._kept[key] = Kept(
                self, key, replace(request, wanted=tick, priority=Priority.OFFSTAGE)
            )
            kept.guess = guess
            self.asked += 1
            self._under_way += 1
        kept.handle = self.inner.submit(kept.request, kept)
        return kept

    def forget(self, tick: int) -> None:
        """Withdraw what was to be asked up to `tick` and was not."""
        self._withdraw(lambda kept: kept.request.wanted <= tick)

    def sweep(
        self, after: int, until: int, guesses: Collection[int], askers: Collection[str]
    ) -> None:
        """Withdraw what none of these guesses would ask after one tick and until another of these askers."""
        self._withdraw(
            lambda kept: (
                after < kept.request.wanted <= until
                and kept.guess not in guesses
                and kept.request.asker in askers
            )
        )

    def _withdraw(self, moot: Callable[[Kept], bool]) -> None:
        with self._lock:
            gone = [kept for kept in self._kept.values() if moot(kept)]
            for kept in gone:
                del self._kept[kept.key]
            self.in_vain += len(gone)
        for kept in gone:
            if kept.reply is None and kept.handle is not None:
                kept.handle.cancel()

    def ended(self, kept: Kept, *, failed: bool = False) -> None:
        """A kept call has ended."""
        with self._lock:
            self._under_way -= 1
            if failed and self._kept.get(kept.key) is kept:
                del self._kept[kept.key]

    def counts(self) -> dict[str, int]:
        """How many calls were asked ahead, claimed, and in vain."""
        return {"asked": self.asked, "claimed": self.claimed, "in_vain": self.in_vain}

    def status(self) -> dict[str, object]:
        """The other's."""
        return self.inner.status()

    def close(self) -> None:
        """Close the other."""
        self.inner.close()
