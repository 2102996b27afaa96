"""The pages: health, metrics, status, and the checks that keep strangers out."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bridge_fakes import Bridges, FakeStage, eventually, wire

from engine_bridge import http as http_module
from engine_bridge.ladder import NoLadder
from engine_bridge.metrics import flat
from models.errors import BackendRefused
from models.request import Preference

Answer = tuple[int, dict[str, str], bytes]


class Named(NoLadder):
    """A ladder whose only rung is `big`."""

    def admit(self, label: str, purpose: str) -> None:
        if label != "big":
            raise BackendRefused(f"no {label}; there is big")


def get(url: str, **headers: str) -> Answer:
    request = urllib.request.Request(url, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


@pytest.fixture
def pages(stage: FakeStage, bridges: Bridges) -> Callable[..., str]:
    def start(**settings: Any) -> str:
        address = bridges(stage, http_port=0, **settings).http_address
        assert address is not None
        return address

    return start


def body(answer: Answer) -> Any:
    assert answer[0] == 200, answer
    return json.loads(answer[2])


def test_live_as_soon_as_it_listens_and_ready_when_the_stage_is(
    stage: FakeStage, pages: Callable[..., str]
) -> None:
    stage.ready = False
    base = pages()
    assert get(f"{base}/health/live")[0] == 200
    status, _, text = get(f"{base}/health/ready")
    assert status == 503
    assert "stage" in json.loads(text)["waiting_for"]
    stage.ready = True
    stage.step()
    for _ in range(100):
        if get(f"{base}/health/ready")[0] == 200:
            break
    assert body(get(f"{base}/health/ready"))["status"] == "ready"


def test_status_joins_the_stages_and_the_bridges(pages: Callable[..., str]) -> None:
    status = body(get(f"{pages()}/api/status"))
    assert status["metronome"] == {"p99_ms": 1.5}
    assert status["bridge"]["subprotocols"] == ["greenroom.v1.msgpack", "greenroom.v1.json"]
    assert status["bridge"]["port"] > 0


def test_actors_world_and_entities_are_shown(pages: Callable[..., str]) -> None:
    base = pages()
    assert body(get(f"{base}/api/actors"))["actors"][0]["name"] == "director"
    assert body(get(f"{base}/api/actors?sort=restarts&limit=3"))["sort"] == "restarts"
    assert get(f"{base}/api/actors?sort=beauty")[0] == 422
    assert get(f"{base}/api/actors?limit=100000")[0] == 422
    assert body(get(f"{base}/api/world"))["width"] == 64
    assert body(get(f"{base}/api/entities/100"))["name"] == "Villager 0"
    status, _, text = get(f"{base}/api/entities/5")
    assert (status, json.loads(text)["code"]) == (404, "unknown_entity")
    assert get(f"{base}/api/entities/abc")[0] == 422


def test_metrics_count_frames_and_show_the_stages_numbers(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, http_port=0)

    async def visit() -> None:
        async with wire(bridge) as client:
            await client.ask("dance")
            await client.join()
            number = await client.send("say", {"to": 100, "text": "hi", "key": "s"})
            stage.answer(await asyncio.to_thread(stage.wait_line), "Well met.")
            await client.until("done", number)

    asyncio.run(visit())
    status, headers, text = get(f"{bridge.http_address}/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    lines = text.decode().splitlines()
    assert "greenroom_bridge_frames_in_total 4.0" in lines
    assert 'greenroom_bridge_errors_total{code="unknown_type"} 1.0' in lines
    assert 'greenroom_bridge_first_words_seconds_count{by="model"} 1.0' in lines
    assert "greenroom_metronome_p99_ms 1.5" in lines
    assert "greenroom_ready 1.0" in lines


def test_a_status_is_flattened_to_a_bounded_depth_with_names_that_prometheus_takes() -> None:
    deep: dict[str, Any] = {"n": 1}
    for _ in range(10):
        deep = {"in": deep}
    found = dict(flat({"a b": {"c-d": 2, "text": "x", "on": True}, "deep": deep}))
    assert found == {"greenroom_a_b_c_d": 2.0, "greenroom_a_b_on": 1.0}


def test_every_answer_carries_strict_headers(pages: Callable[..., str]) -> None:
    base = pages()
    for path in ("/health/live", "/api/status", "/nothing-here"):
        headers = get(base + path)[1]
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_page_may_open_the_game_socket_and_nothing_else(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, http_port=0)
    policy = get(f"{bridge.http_address}/health/live")[1]["content-security-policy"]
    assert f"connect-src 'self' {bridge.address} " in policy


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
    ],
)
def test_foreign_names_and_origins_are_refused(
    pages: Callable[..., str], headers: dict[str, str]
) -> None:
    assert get(f"{pages()}/api/status", **headers)[0] == 403


def test_a_listed_name_is_served(pages: Callable[..., str]) -> None:
    base = pages(allowed_hosts=("green.example",))
    assert get(f"{base}/api/status", Host="green.example")[0] == 200


def test_with_a_token_pages_that_tell_something_ask_for_it(pages: Callable[..., str]) -> None:
    base = pages(token="correct horse")
    for path in ("/api/status", "/api/actors", "/metrics"):
        assert get(base + path)[0] == 401
        assert get(base + path, Authorization="Bearer wrong")[0] == 401
        assert get(base + path, Authorization="Bearer correct horse")[0] == 200
    assert get(f"{base}/health/live")[0] == 200


def test_the_dashboards_files_are_served_and_nothing_around_them(
    pages: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dashboard"
    folder.mkdir()
    (folder / "index.html").write_text("<title>Greenroom</title>")
    (folder / "map.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(http_module, "DASHBOARD", folder)
    base = pages()
    assert b"Greenroom" in get(f"{base}/")[2]
    assert "javascript" in get(f"{base}/map.js")[1]["content-type"]
    for path in ("/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt"):
        status, _, text = get(base + path)
        assert status == 404
        assert b"secret" not in text


def test_without_an_http_port_there_are_no_pages(stage: FakeStage, bridges: Bridges) -> None:
    assert bridges(stage).http_address is None


def test_no_page_loads_anything_from_elsewhere(pages: Callable[..., str]) -> None:
    base = pages()
    assert get(f"{base}/docs")[0] == 404
    assert body(get(f"{base}/api/openapi.json"))["info"]["title"] == "Greenroom"


# ---------------------------------------------------------------- requests without a socket


def post(base: str, message: Any, **headers: str) -> Answer:
    data = message if isinstance(message, bytes) else json.dumps(message).encode()
    request = urllib.request.Request(
        f"{base}/api/request",
        data=data,
        headers={"Content-Type": "application/json", **headers},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=20) as response:
            return response.status, dict(response.headers), response.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_a_tool_joins_talks_and_leaves_without_a_socket(
    stage: FakeStage, pages: Callable[..., str]
) -> None:
    base = pages()
    joined = body(post(base, {"t": "join", "d": {"name": "Ann", "key": "j"}}))
    assert joined["t"] == "joined"
    token = joined["session"]
    threading.Thread(
        target=lambda: stage.answer(stage.wait_line(), "Well ", "met."), daemon=True
    ).start()
    say = {"t": "say", "d": {"to": 100, "text": "hi", "key": "s"}, "session": token}
    done = body(post(base, say))
    assert (done["t"], done["d"]["text"]) == ("done", "Well met.")
    assert body(post(base, say))["d"]["text"] == "Well met."
    assert len(stage.lines) == 1
    left = body(post(base, {"t": "leave", "d": {"key": "l"}, "session": token}))
    assert (left["t"], left["session"]) == ("left", token)


def test_an_answer_streams_as_server_sent_events(
    stage: FakeStage, pages: Callable[..., str]
) -> None:
    base = pages()
    token = body(post(base, {"t": "join", "d": {"name": "Ann", "key": "j"}}))["session"]
    threading.Thread(
        target=lambda: stage.answer(stage.wait_line(), "Well ", "met."), daemon=True
    ).start()
    say = {"t": "say", "d": {"to": 100, "text": "hi", "key": "s"}, "session": token}
    status, headers, text = post(base, say, Accept="text/event-stream")
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    events = [part.splitlines() for part in text.decode().strip().split("\n\n")]
    assert [lines[0] for lines in events] == [
        "event: session", "event: speech", "event: speech", "event: done"
    ]  # fmt: skip
    assert json.loads(events[-1][1].removeprefix("data: "))["text"] == "Well met."


def test_a_tool_names_backend_and_cache_for_a_call_whole_or_streamed(
    stage: FakeStage, bridges: Bridges
) -> None:
    base = str(bridges(stage, Named(), http_port=0).http_address)
    token = body(post(base, {"t": "join", "d": {"name": "Ann", "key": "j"}}))["session"]

    def answer() -> None:
        for n in (1, 2):
            stage.answer(stage.wait_line(n), "Well met.")

    threading.Thread(target=answer, daemon=True).start()
    wanted = {"to": 100, "text": "hi", "backend": "big", "cache": "off"}
    whole = {"t": "say", "d": {**wanted, "key": "a"}, "session": token}
    assert body(post(base, whole))["t"] == "done"
    streamed = {"t": "say", "d": {**wanted, "key": "b", "cache": "refresh"}, "session": token}
    assert b"event: done" in post(base, streamed, Accept="text/event-stream")[2]
    unknown = {"t": "say", "d": {**wanted, "key": "c", "backend": "cloud"}, "session": token}
    status, _, text = post(base, unknown)
    assert (status, json.loads(text)["d"]["code"]) == (409, "backend_refused")
    assert "big" in json.loads(text)["d"]["message"]
    assert [line.preference for line in stage.lines] == [
        Preference("big", "off"), Preference("big", "refresh")
    ]  # fmt: skip


def test_without_models_no_backend_can_be_named(
    stage: FakeStage, pages: Callable[..., str]
) -> None:
    base = pages()
    token = body(post(base, {"t": "join", "d": {"name": "Ann", "key": "j"}}))["session"]
    say = {"to": 100, "text": "hi", "key": "s", "backend": "local"}
    _, _, text = post(base, {"t": "say", "d": say, "session": token})
    assert json.loads(text)["d"]["code"] == "backend_refused"
    assert stage.lines == []


@pytest.mark.parametrize(
    ("message", "status", "code"),
    [
        (b"{", 400, "bad_message"),
        (b"[]", 400, "bad_message"),
        (b"\xff", 400, "bad_message"),
        (b'"' + b"x" * 70_000 + b'"', 413, "too_large"),
        ({"t": "hello", "d": {}}, 400, "unknown_type"),
        ({"t": "watch", "d": {}}, 400, "unknown_type"),
        ({"t": "say", "d": {"to": "x"}}, 400, "bad_message"),
        ({"t": "ping", "id": 1, "re": 2}, 400, "bad_message"),
        ({"t": "ping", "session": "gone"}, 404, "resume_failed"),
        ({"t": "ping", "session": 7}, 404, "resume_failed"),
        ({"t": "inspect", "d": {"entity": 5}}, 404, "unknown_entity"),
        ({"t": "move", "d": {"x": 1, "y": 1, "key": "m"}}, 409, "not_joined"),
        ({"t": "act", "d": {"action": "spawn", "key": "m"}}, 409, "unknown_action"),
    ],
)
def test_what_is_asked_wrongly_has_a_status_and_a_code(
    pages: Callable[..., str], message: Any, status: int, code: str
) -> None:
    answer = post(pages(), message)
    assert answer[0] == status
    assert json.loads(answer[2])["d"]["code"] == code


def test_a_form_from_a_web_page_is_no_request(stage: FakeStage, pages: Callable[..., str]) -> None:
    base = pages()
    join = {"t": "join", "d": {"name": "Ann", "key": "j"}}
    assert post(base, join, **{"Content-Type": "text/plain"})[0] == 400
    assert post(base, join, Origin="https://evil.example")[0] == 403
    assert stage.joins == []


def test_too_many_requests_are_told_to_wait(pages: Callable[..., str]) -> None:
    base = pages(rate=0.001, burst=2.0)
    assert [post(base, {"t": "ping"})[0] for _ in range(4)] == [200, 200, 429, 429]


def test_requests_ask_for_the_token_too(pages: Callable[..., str]) -> None:
    base = pages(token="correct horse")
    assert post(base, {"t": "ping"})[0] == 401
    assert post(base, {"t": "ping"}, Authorization="Bearer correct horse")[0] == 200


def test_a_visitor_who_stays_away_is_gone_from_the_world(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, http_port=0, resume_s=0.1)
    post(str(bridge.http_address), {"t": "join", "d": {"name": "Ann", "key": "j"}})
    asyncio.run(eventually(lambda: stage.left == [1001], "the body leaving"))
    assert len(bridge.sessions) == 0


@pytest.mark.parametrize("t", [[], {}, 5, None])
def test_a_type_that_is_no_word_is_a_bad_request(pages: Callable[..., str], t: object) -> None:
    status, _, _ = post(pages(), {"t": t, "d": {}})
    assert status == 400
