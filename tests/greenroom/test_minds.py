"""With `local_only` no text leaves the machine, key or no key."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from foundation.errors import GreenroomError
from greenroom.minds import gather
from greenroom.settings import ModelSettings
from models import house
from models.request import Message, ModelRequest, Reply

pytestmark = pytest.mark.engine


class Listener(ThreadingHTTPServer):
    """A stand-in for the provider that refuses all and remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Refuse)
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Refuse(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Listener)
        self.server.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(401)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return None


class Answer:
    """Waits for the one end of a request."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.reply: Reply | None = None

    def on_text(self, request_id: int, text: str) -> None:
        return None

    def on_done(self, reply: Reply) -> None:
        self.reply = reply
        self.over.set()

    def on_error(self, request_id: int, error: GreenroomError) -> None:
        self.over.set()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    server = Listener()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a-key-that-opens-nothing")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("local_only", [True, False])
def test_a_plan_reaches_the_provider_only_where_text_may_leave(
    provider: Listener, local_only: bool
) -> None:
    settings = ModelSettings(
        local_only=local_only, cloud_base_url=provider.url, threads=1, context=2048, sequences=2
    )
    gathered = gather(settings)
    assert gathered is not None
    try:
        gathered.wait_ready(60.0)
        answer = Answer()
        line: Message = {"role": "user", "content": "where do we strike the mill?"}
        gathered.router.submit(
            ModelRequest(messages=[line], purpose="plan", max_tokens=8, deadline_s=60.0), answer
        )
        assert answer.over.wait(60.0)
    finally:
        gathered.router.close()
    assert answer.reply is not None and house.NAME in answer.reply.source
    assert bool(provider.bodies) is not local_only
    assert all(b"strike the mill" in body for body in provider.bodies)
