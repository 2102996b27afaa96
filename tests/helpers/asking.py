"""Asking a backend in a test: short requests, and a listener that waits for the end."""

from __future__ import annotations

import threading
from typing import Any

from models.errors import ModelError
from models.request import Backend, Message, ModelRequest, Priority, Reply


class Recorder:
    """A listener that keeps what it hears and lets a test wait for the end."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.replies: list[Reply] = []
        self.errors: list[ModelError] = []
        self.after_end: list[str] = []
        self.ended = threading.Event()
        self.spoke = threading.Event()

    def _note(self, what: str) -> None:
        if self.ended.is_set():
            self.after_end.append(what)

    def on_text(self, request_id: int, text: str) -> None:
        self._note(f"text {text!r}")
        self.pieces.append(text)
        self.spoke.set()

    def on_done(self, reply: Reply) -> None:
        self._note("done")
        self.replies.append(reply)
        self.ended.set()

    def on_error(self, request_id: int, error: ModelError) -> None:
        self._note(f"error {error}")
        self.errors.append(error)
        self.ended.set()

    def wait(self, timeout_s: float = 60.0) -> None:
        assert self.ended.wait(timeout_s), "nothing was heard"

    @property
    def reply(self) -> Reply:
        self.wait()
        assert not self.errors, f"an error came instead: {self.errors[0]}"
        return self.replies[0]

    @property
    def error(self) -> ModelError:
        self.wait()
        assert not self.replies, f"a reply came instead: {self.replies[0]}"
        return self.errors[0]


def chat(line: str, system: str = "You are a baker.") -> list[Message]:
    return [{"role": "system", "content": system}, {"role": "user", "content": line}]


def request(line: str = "Good day!", **fields: Any) -> ModelRequest:
    """A request with sensible test defaults: greedy, speech."""
    system = fields.pop("system", "You are a baker.")
    fields.setdefault("temperature", 0.0)
    fields.setdefault("priority", Priority.SPEECH)
    return ModelRequest(messages=chat(line, system), purpose="speech", **fields)


def ask(backend: Backend, question: ModelRequest) -> Recorder:
    """Submit and return the listener at once."""
    recorder = Recorder()
    backend.submit(question, recorder)
    return recorder
