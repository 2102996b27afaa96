"""Real sockets: handshake, limits, resume, slow and silent clients, shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

import msgpack
import pytest
from bridge_fakes import Bridges, FakeStage, Wire, eventually, live, wire
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from engine_bridge.errors import AddressInUse, BridgeError
from engine_bridge.mirror import Mirror

ENCODINGS = ("msgpack", "json")


@pytest.mark.parametrize("encoding", ENCODINGS)
@live
async def test_a_whole_visit_works_in_either_encoding(
    stage: FakeStage, bridges: Bridges, encoding: str
) -> None:
    async with wire(bridges(stage), encoding) as client:
        me = await client.join()
        assert (await client.ask("watch", {"radius": 96}))["t"] == "watching"
        stage.step()
        mirror = Mirror(64, 48)
        mirror.snapshot((await client.until("snapshot"))["d"])
        assert mirror.entities[me].player
        stage.step([stage.event("ate", 100)], [(0, 0, 1, 1, b"\x07")])
        assert (await client.until("event"))["d"]["kind"] == "ate"
        mirror.patch((await client.until("tiles"))["d"])
        mirror.delta((await client.until("delta"))["d"])
        assert mirror.tiles[0] == 7
        assert mirror.entities[100].x == stage.rows[100]["x"]
        assert (await client.ask("move", {"x": 1, "y": 2, "key": "m"}))["t"] == "committed"
        assert (await client.ask("leave", {"key": "l"}))["t"] == "left"


@live
async def test_requests_sent_without_waiting_for_welcome_are_served_in_order(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with wire(bridges(stage), hello=False) as client:
        await client.send("hello", {"client": "c", "sdk": "s"})
        await client.send("ping")
        await client.send("join", {"name": "Ann", "key": "k"})
        assert [(await client.recv())["t"] for _ in range(3)] == ["welcome", "pong", "joined"]


# ---------------------------------------------------------------- versions and bad frames


@pytest.mark.parametrize("offered", [["greenroom.v2.msgpack"], ["chat"], None])
@live
async def test_another_version_is_closed_4001_and_told_which_are_spoken(
    stage: FakeStage, bridges: Bridges, offered: Any
) -> None:
    async with connect(bridges(stage).address, subprotocols=offered, proxy=None) as raw:
        with pytest.raises(ConnectionClosed):
            await raw.recv()
    assert raw.close_code == 4001
    assert "greenroom.v1.msgpack" in (raw.close_reason or "")


@live
async def test_of_several_versions_the_spoken_one_is_chosen(
    stage: FakeStage, bridges: Bridges
) -> None:
    offered: Any = ["greenroom.v9.msgpack", "greenroom.v1.json", "greenroom.v1.msgpack"]
    async with connect(bridges(stage).address, subprotocols=offered, proxy=None) as raw:
        assert raw.subprotocol == "greenroom.v1.msgpack"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\xc1", 4000),
        (b"not msgpack at all", 4000),
        ('{"t":"ping","id":1}', 4000),
        (b"\x00" * (64 * 1024 + 1), 4006),
        (b"\x00" * (300 * 1024), 1009),
    ],
    ids=["reserved byte", "text as binary", "text frame", "too large", "absurdly large"],
)
@live
async def test_a_frame_that_is_no_message_ends_the_connection_with_its_code(
    stage: FakeStage, bridges: Bridges, frame: Any, code: int
) -> None:
    async with wire(bridges(stage)) as client:
        await client.socket.send(frame)
        assert await client.closed() == code
        if code >= 4000:
            assert [m["t"] for m in client.seen[-2:]] == ["error", "goodbye"]
            assert client.seen[-1]["d"]["code"] == code


@live
async def test_a_message_at_fault_is_an_error_and_the_connection_lives(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with wire(bridges(stage)) as client:
        deep: Any = 1
        for _ in range(20):
            deep = [deep]
        for t, d, code in (
            ("dance", {}, "unknown_type"),
            ("say", {"to": "x"}, "bad_message"),
            ("act", {"action": "wait", "body": {"x": deep}, "key": "k"}, "too_deep"),
        ):
            await client.send(t, d)
            assert (await client.until("error"))["d"]["code"] == code
        assert (await client.ask("ping"))["t"] == "pong"


@live
async def test_a_flood_is_warned_and_then_closed_4003(stage: FakeStage, bridges: Bridges) -> None:
    async with wire(bridges(stage, rate=1.0, burst=20.0, flood=20.0)) as client:
        for _ in range(100):
            try:
                await client.send("ping")
            except ConnectionClosed:
                break
        assert await client.closed() == 4003
        warned = [m for m in client.seen if m["t"] == "error"]
        assert {m["d"]["code"] for m in warned} == {"rate_limited"}


@live
async def test_a_client_that_never_says_hello_is_closed_4002(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with wire(bridges(stage, hello_s=0.2), hello=False) as client:
        assert await client.closed() == 4002


# ---------------------------------------------------------------- life signs


@live
async def test_heartbeats_carry_the_tick_and_a_quiet_client_that_pongs_stays(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with wire(bridges(stage, heartbeat_s=0.1)) as client:
        stage.step()
        ticks = [(await client.until("heartbeat"))["d"]["tick"] for _ in range(8)]
        assert ticks[-1] == 1


@live
async def test_a_client_that_gives_no_sign_of_life_is_closed_4005(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, heartbeat_s=0.1)
    host, port = bridge.address.removeprefix("ws://").split(":")
    raw = socket.create_connection((host, int(port)))
    try:
        # A handshake and a hello by hand: this client never answers a ping.
        raw.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: greenroom.v1.msgpack\r\n\r\n".encode()
        )
        hello = msgpack.packb({"t": "hello", "id": 1, "d": {"client": "c", "sdk": "s"}})
        raw.sendall(bytes([0x82, 0x80 | len(hello), 0, 0, 0, 0]) + hello)
        raw.settimeout(20)
        received = b""
        while b"\x88" not in received or (4005).to_bytes(2, "big") not in received:
            piece = await asyncio.to_thread(raw.recv, 65536)
            assert piece, "the connection ended without close code 4005"
            received += piece
    finally:
        raw.close()


@live
async def test_a_slow_reader_is_closed_4004_when_its_events_overflow_and_others_are_served(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(
        stage, outbox=20, ring=10, outbox_bytes=2_000_000, send_buffer=8192, close_s=20.0
    )
    host, port = bridge.address.removeprefix("ws://").split(":")
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect((host, int(port)))
    async with (
        wire(bridge) as quick,
        wire(bridge, sock=small, max_queue=1, ping_interval=None) as slow,
    ):
        for client in (slow, quick):
            await client.ask("watch", {"all": True})
        # From here on nobody reads at the slow one's end.
        big = "x" * 8000
        n = 0
        while bridge.metrics.closes.labels("4004")._value.get() == 0:
            n += 1
            assert n < 2000, "the slow client was never closed"
            stage.step([stage.event("said", 100, text=big)])
            assert (await quick.until("event"))["d"]["tick"] == n
        assert await slow.closed() == 4004
        assert (await quick.ask("ping"))["t"] == "pong"


@live
async def test_a_slow_reader_of_state_alone_gets_the_newest_and_is_not_closed(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, outbox=20, ring=10, send_buffer=8192)
    for i in range(2000):
        stage.rows[10_000 + i] = {"x": 256 * (i % 60), "y": 256 * (i // 60)}
    host, port = bridge.address.removeprefix("ws://").split(":")
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    small.connect((host, int(port)))
    async with wire(bridge, sock=small, max_queue=1, ping_interval=None) as slow:
        await slow.ask("watch", {"all": True})
        last = 0
        for _ in range(400):
            last = stage.step()
            await asyncio.sleep(0)
        mirror = Mirror(64, 48)
        states = 0
        while mirror.tick < last:
            message = await slow.recv()
            if message["t"] == "snapshot":
                mirror.snapshot(message["d"])
            elif message["t"] == "delta":
                states += 1
                mirror.delta(message["d"])
        assert states < 400
        assert mirror.entities[10_001].x == stage.rows[10_001]["x"]


# ---------------------------------------------------------------- resume


async def cut(client: Wire) -> None:
    client.socket.transport.abort()
    await client.socket.wait_closed()


@live
async def test_after_a_cut_missed_events_are_replayed_in_order_exactly_once(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage)
    async with wire(bridge, hello=False) as first:
        token = (await first.hello())["d"]["resume_token"]
        me = await first.join()
        await first.ask("watch", {"radius": 96})
        stage.step()
        await first.until("snapshot")
        got = []
        for n in range(5):
            stage.step([stage.event("ate", 100, n=n)])
            got.append((await first.until("event"))["d"]["data"]["n"])
        await cut(first)
    for n in range(5, 25):
        stage.step([stage.event("ate", 100, n=n)])
    async with wire(bridge) as second:
        answer = await second.ask("resume", {"token": token, "last_seq": 5})
        assert answer["d"]["replayed"] == 20
        assert answer["d"]["entity"] == me
        stage.step([stage.event("ate", 100, n=25)])
        while got[-1] != 25:
            got.append((await second.until("event"))["d"]["data"]["n"])
        assert got == list(range(26))
        mirror = Mirror(64, 48)
        for message in [*second.seen, await second.until("delta")]:
            if message["t"] == "snapshot":
                mirror.snapshot(message["d"])
            elif message["t"] == "delta":
                mirror.delta(message["d"])
        assert mirror.entities[me].name == "Ann"
    assert stage.joins == ["Ann"]


@live
async def test_when_the_ring_overflowed_a_resume_says_so_and_sends_the_whole_state(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, ring=4)
    async with wire(bridge, hello=False) as first:
        token = (await first.hello())["d"]["resume_token"]
        await first.join()
        await first.ask("watch", {"radius": 96})
        await cut(first)
    for n in range(10):
        stage.step([stage.event("ate", 100, n=n)])
    await eventually(lambda: bridge.feed.tick == 10)
    async with wire(bridge) as second:
        answer = await second.ask("resume", {"token": token, "last_seq": 0})
        assert answer["d"]["lost"]
        snapshot = await second.until("snapshot")
        assert snapshot["d"]["tick"] == 10
        events = [m["d"]["data"]["n"] for m in second.seen if m["t"] == "event"]
        assert events == [6, 7, 8, 9]


@live
async def test_the_body_of_a_client_that_stays_away_leaves_the_world(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, resume_s=0.1)
    async with wire(bridge) as client:
        me = await client.join()
    await eventually(lambda: stage.left == [me], "the body leaving")
    assert len(bridge.sessions) == 0


@live
async def test_a_session_resumed_elsewhere_closes_the_first_socket_4008(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage)
    async with wire(bridge, hello=False) as first, wire(bridge) as second:
        token = (await first.hello())["d"]["resume_token"]
        assert (await second.ask("resume", {"token": token, "last_seq": 0}))["t"] == "resumed"
        assert await first.closed() == 4008


@live
async def test_sockets_beyond_all_bounds_are_turned_away_4010(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, max_clients=1, hello_s=30.0)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(33):
            await stack.enter_async_context(wire(bridge, hello=False))
        await eventually(lambda: len(bridge._peers) == 33)
        late = await stack.enter_async_context(wire(bridge, hello=False))
        assert await late.closed() == 4010


# ---------------------------------------------------------------- who may knock


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:8766"}, 101),
        ({"Origin": "https://game.example"}, 101),
        ({}, 101),
    ],
    ids=["foreign page", "file or sandbox", "look-alike", "rebound name", "own", "listed", "none"],
)
@live
async def test_only_own_and_listed_pages_may_open_the_socket(
    stage: FakeStage, bridges: Bridges, headers: dict[str, str], status: int
) -> None:
    bridge = bridges(stage, allowed_origins=("https://game.example",))
    host, port = bridge.address.removeprefix("ws://").split(":")
    sent = {
        "Host": f"{host}:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "MDEyMzQ1Njc4OWFiY2RlZg==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "greenroom.v1.msgpack",
        **headers,
    }
    reader, writer = await asyncio.open_connection(host, int(port))
    lines = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    writer.write(f"GET / HTTP/1.1\r\n{lines}\r\n".encode())
    answer = await reader.readline()
    assert int(answer.split()[1]) == status
    writer.close()


@live
async def test_another_path_is_not_the_game_socket(stage: FakeStage, bridges: Bridges) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(bridges(stage).address + "/admin", proxy=None):
            pass
    assert caught.value.response.status_code == 404


# ---------------------------------------------------------------- life of the bridge


@live
async def test_stopping_says_goodbye_closes_4007_and_takes_bodies_out(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage)
    async with wire(bridge) as client:
        me = await client.join()
        stopping = asyncio.create_task(asyncio.to_thread(bridge.stop))
        assert await client.closed() == 4007
        assert client.seen[-1]["t"] == "goodbye"
        await stopping
    await eventually(lambda: stage.left == [me])
    assert not [t for t in threading.enumerate() if t.name == "greenroom-bridge"]


@live
async def test_a_port_that_is_taken_is_a_typed_error_that_names_it(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage)
    port = int(bridge.address.rsplit(":", 1)[1])
    for taken in ({"port": port}, {"http_port": port}):
        with pytest.raises(AddressInUse, match=str(port)) as caught:
            bridges(stage, **taken)
        assert caught.value.code == "address_in_use"
        assert caught.value.hint


def test_an_address_that_is_not_this_machines_is_a_typed_error(
    stage: FakeStage, bridges: Bridges
) -> None:
    with pytest.raises(BridgeError):
        bridges(stage, host="203.0.113.7")


def test_a_bridge_stops_twice_and_before_it_started_without_harm(
    stage: FakeStage, bridges: Bridges
) -> None:
    from engine_bridge.server import Bridge

    Bridge(stage).stop()
    bridge = bridges(stage)
    bridge.stop()
    bridge.stop()
    with pytest.raises(BridgeError):
        bridge.start()


@live
async def test_strangers_that_speak_no_websocket_leave_no_traceback(
    stage: FakeStage, bridges: Bridges, caplog: pytest.LogCaptureFixture
) -> None:
    bridge = bridges(stage)
    host, port = bridge.address.removeprefix("ws://").split(":")
    for greeting in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"A" * 100_000):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(greeting)
        writer.write_eof()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
    async with wire(bridge) as client:
        assert (await client.ask("ping"))["t"] == "pong"
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("encoding", ENCODINGS)
@live
async def test_an_answer_that_cannot_be_written_is_an_internal_error_and_no_more(
    stage: FakeStage,
    bridges: Bridges,
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    panel = {"name": "odd", "species": "odd", "thing": object()}
    monkeypatch.setattr(stage, "situation", lambda entity, on_result: on_result(panel))
    async with wire(bridges(stage), encoding) as client:
        answer = await client.ask("inspect", {"entity": 100})
        assert answer["d"]["code"] == "internal"
        assert (await client.ask("ping"))["t"] == "pong"
    assert "entity can't be sent" in caplog.text


@live
async def test_answers_from_many_threads_reach_their_own_askers(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage)

    async def visit(n: int) -> None:
        async with wire(bridge) as client:
            await client.join(f"P{n}")
            for i in range(20):
                answer = await client.ask("move", {"x": n, "y": i, "key": f"k{i}"})
                assert answer["t"] == "committed"
                assert answer["d"]["detail"]["n"] == i + 1

    await asyncio.gather(*(visit(n) for n in range(20)))
    assert len(stage.proposals) == 400
