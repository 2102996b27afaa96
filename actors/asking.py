"""Turns a backend's callbacks, which come on its own thread, into messages to whoever asked."""

from __future__ import annotations

import contextlib
from typing import Any

import pykka

from actors.errors import MailboxFull
from actors.messages import ModelDone, ModelFailed, ModelText
from models.errors import ModelError
from models.request import Reply

__all__ = ["Relay"]


class Relay:
    """A `models.request.Listener` that tells an actor; with `pieces` False, only the end."""

    __slots__ = ("_pieces", "_ref")

    def __init__(self, ref: pykka.ActorRef[Any], *, pieces: bool = True) -> None:
        self._ref = ref
        self._pieces = pieces

    def on_text(self, request_id: int, text: str) -> None:
        """A piece: told, unless nobody wants pieces."""
        if self._pieces:
            self._tell(ModelText(request_id, text))

    def on_done(self, reply: Reply) -> None:
        """The reply: told."""
        self._tell(ModelDone(reply))

    def on_error(self, request_id: int, error: ModelError) -> None:
        """The failure: told."""
        self._tell(ModelFailed(request_id, error))

    def _tell(self, message: object) -> None:
        # An asker that has died or drowns no longer wants it; its question has its own time limit.
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self._ref.tell(message)
