"""Fixtures: random GGUFs, a listener that waits, and local engines that are closed afterwards."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from models.errors import ModelError
from models.request import Backend, Message, ModelRequest, Priority, Reply

sys.path.append(str(Path(__file__).parent))


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


@pytest.fixture(scope="session")
def gguf_factory(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes random GGUFs; the same arguments give the same file."""
    pytest.importorskip("gguf")
    from random_gguf import write_random_gguf

    folder = tmp_path_factory.mktemp("gguf")
    made: dict[str, Path] = {}

    def make(**options: Any) -> Path:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = write_random_gguf(folder / f"model{len(made)}.gguf", **options)
        return made[key]

    return make


@pytest.fixture
def host_factory() -> Iterator[Callable[..., Any]]:
    """Starts local engines and closes them."""
    pytest.importorskip("llama_cpp")
    from models.llama.host import LlamaHost

    hosts: list[LlamaHost] = []

    def make(path: Path, *, ready: bool = True, **options: Any) -> LlamaHost:
        options.setdefault("threads", 1)
        options.setdefault("n_ctx", 2048)
        options.setdefault("n_seq", 16)
        host = LlamaHost(path, **options)
        hosts.append(host)
        if ready:
            host.wait_ready(60.0)
        return host

    yield make
    for host in hosts:
        host.close()
