"""What the ladder of models is made of, and what of it may leave the machine."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from asking import ask

from greenroom.minds import gather, window
from greenroom.settings import ModelSettings
from models import house
from models.request import WINDOW, Message, ModelRequest
from plugins.manager import load_builtin_and_installed

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
        line: Message = {"role": "user", "content": "where do we strike the mill?"}
        question = ModelRequest(messages=[line], purpose="plan", max_tokens=8, deadline_s=60.0)
        answer = ask(gathered.router, question)
        answer.wait()
    finally:
        gathered.router.close()
    assert house.NAME in answer.reply.source
    assert bool(provider.bodies) is not local_only
    assert all(b"strike the mill" in body for body in provider.bodies)


@pytest.mark.parametrize("local_only", [True, False])
def test_a_line_that_names_the_cloud_is_refused_and_no_text_leaves(
    provider: Listener, served: Any, tmp_path: Path, local_only: bool
) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'[models]\ncloud_base_url = "{provider.url}"\n')
    flags = ("--threads", "1", "--context", "2048", *(["--local-only"] if local_only else []))
    with served(tmp_path / "world", "--config", str(file), *flags) as server:
        joined = post(server.http, "join", {"name": "Ann", "key": "j"})
        assert joined["t"] == "joined", joined
        line = {"to": 1, "text": "my secret is in the mill", "key": "s", "backend": "cloud"}
        refused = post(server.http, "say", line, session=joined["session"])
        assert (refused["t"], refused["d"]["code"]) == ("error", "backend_refused")
        assert refused["d"]["message"].endswith("for speech there are: local")
        assert server.stop() == 0
    assert not any(b"my secret" in body for body in provider.bodies)
    assert not (local_only and provider.bodies)


def post(http: str, t: str, d: dict[str, Any], **more: str) -> dict[str, Any]:
    body = json.dumps({"t": t, "d": d, **more}).encode()
    asked = urllib.request.Request(
        f"{http}/api/request", data=body, headers={"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            told: dict[str, Any] = json.load(answer)
    except urllib.error.HTTPError as error:
        told = json.load(error)
    return told


def test_the_species_that_come_with_it_speak_under_their_own_adapters() -> None:
    gathered = gather(ModelSettings(local_only=True, threads=1), load_builtin_and_installed())
    assert gathered is not None and gathered.engine is not None
    said: dict[str, str] = {}
    try:
        gathered.wait_ready(60.0)
        persona: Message = {"role": "system", "content": "You are Ulf of the grey pack."}
        line: Message = {"role": "user", "content": "Who are you?"}
        for species in ("wolf", "vampire", "villager", "guard", "deer"):
            asked = ModelRequest(
                messages=[persona, line], purpose="speech", adapter=species, temperature=0.0
            )
            said[species] = ask(gathered.router, asked).reply.source
        states = gathered.engine.status()["adapters"]
    finally:
        gathered.router.close()
    model = f"{house.NAME} {house.VERSION}"
    assert said == {
        **{each: f"{model} + {each} (llama.cpp)" for each in ("wolf", "vampire", "villager")},
        **dict.fromkeys(("guard", "deer"), f"{model} (llama.cpp)"),
    }
    assert set(states.values()) == {"loaded"}


def test_the_house_model_has_its_own_window_however_its_path_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = tmp_path / "linked.gguf"
    linked.symlink_to(house.path())
    monkeypatch.chdir(house.path().parent)
    roundabout = house.path().parent / ".." / "house" / house.path().name
    for file in (None, house.path(), Path(house.path().name), roundabout, linked):
        assert window(ModelSettings(file=file)) == house.WINDOW
    assert window(ModelSettings(file=tmp_path / "other.gguf")) == WINDOW
