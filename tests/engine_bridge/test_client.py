"""The Python client: ten lines to a talking NPC, and no line lost when the network is."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from bridge_fakes import Bridges, FakeStage, eventually, live

from engine_bridge.client import AsyncClient, Client
from engine_bridge.errors import CantConnect, ConnectionLost, RequestFailed, SessionLost
from foundation.errors import UsageError


def stepping(stage: FakeStage) -> threading.Event:
    """Let the world run on a thread of its own until the event is set."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(0.005):
            stage.step()

    threading.Thread(target=run, daemon=True).start()
    return stop


@pytest.fixture
def running(stage: FakeStage) -> Any:
    stop = stepping(stage)
    yield stage
    stop.set()


def test_a_script_of_ten_lines_talks_to_an_npc(running: FakeStage, bridges: Bridges) -> None:
    bridge = bridges(running)
    heard: list[str] = []

    def npc() -> None:
        running.answer(running.wait_line(), "A bed ", "is three ", "coppers.")

    threading.Thread(target=npc, daemon=True).start()
    with Client(bridge.address) as client:
        client.join("Ann")
        answer = client.say("Villager 3", "Is there a room for tonight?")
        heard += list(answer)
        assert answer.result.text == "A bed is three coppers."
        assert answer.result.source == "fake 1"
    assert "".join(heard) == "A bed is three coppers."
    assert running.lines[0].to == 103
    assert running.lines[0].speaker == 1001


def test_the_blocking_client_acts_looks_and_hears_events(
    running: FakeStage, bridges: Bridges
) -> None:
    with Client(bridges(running).address, encoding="json") as client:
        me = client.join("Ann").entity
        assert client.entities()[me].name == "Ann"
        assert client.move(256, 512).tick > 0
        assert client.act("wait").detail == {"n": 2}
        assert client.inspect(100).name == "Villager 0"
        running.step([running.event("ate", 100)])
        assert next(iter(client.events())).kind == "ate"
        client.watch(all=True)
        assert len(client.entities()) == 13
        client.leave()
        with pytest.raises(RequestFailed) as caught:
            client.move(1, 1)
        assert caught.value.code == "not_joined"
    with pytest.raises(ConnectionLost):
        client.move(1, 1)


@live
async def test_the_mirror_follows_the_world(running: FakeStage, bridges: Bridges) -> None:
    async with AsyncClient(bridges(running).address) as client:
        me = (await client.join("Ann")).entity
        assert client.world.entities[me].player
        assert client.find("villager 3").id == 103
        before = client.world.tick
        await eventually(lambda: client.world.tick > before + 5)
        running.rename(103, "Cid")
        await eventually(lambda: client.world.entities[103].name == "Cid")
        running.step(tiles=[(1, 0, 1, 1, b"\x07")])
        await eventually(lambda: client.world.tiles[1] == 7)


@pytest.mark.parametrize("name", ["Nobody", "Villager", ""])
@live
async def test_a_name_that_means_nobody_or_several_is_refused(
    running: FakeStage, bridges: Bridges, name: str
) -> None:
    async with AsyncClient(bridges(running).address) as client:
        await client.join("Ann")
        with pytest.raises(RequestFailed) as caught:
            client.say(name, "hello")
        assert caught.value.code == "unknown_entity"


@live
async def test_an_error_of_the_server_is_raised_with_its_code_and_advice(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with AsyncClient(bridges(stage).address) as client:
        await client.join("Ann", watch=False)
        stage.refuse = ("retry", "storage lags")
        with pytest.raises(RequestFailed, match="storage lags") as caught:
            await client.move(1, 1)
        assert caught.value.code == "retry"
        assert caught.value.retryable
        assert caught.value.retry_after_ms > 0


@live
async def test_a_cancelled_answer_ends_and_is_withdrawn(stage: FakeStage, bridges: Bridges) -> None:
    async with AsyncClient(bridges(stage).address) as client:
        await client.join("Ann", watch=False)
        speech = client.say(100, "Tell me everything")
        line = await asyncio.to_thread(stage.wait_line)
        line.listener.on_text("It began ")
        pieces = aiter(speech)
        assert await anext(pieces) == "It began "
        await speech.cancel()
        with pytest.raises(RequestFailed) as caught:
            await anext(pieces)
        assert caught.value.code == "cancelled"
        assert line.cancelled


@live
async def test_events_come_once_each_and_in_order_through_many_cuts(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage)
    async with AsyncClient(bridge.address) as client:
        await client.join("Ann", watch=False)
        stage.step()
        await client.watch(96)
        got: list[int] = []
        client.on_event(lambda event: got.append(event.data["n"]))
        for n in range(60):
            stage.step([stage.event("ate", 100, n=n)])
            if n % 20 == 7:
                client.link.drop_socket()
            if n % 20 == 15:
                await eventually(lambda at=n: client.link.reconnects > at // 20)
        await eventually(lambda: len(got) >= 60)
        assert got == list(range(60))
        assert client.link.reconnects == 3
    assert stage.joins == ["Ann"]


@live
async def test_a_request_under_way_survives_a_cut_and_happens_once(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with AsyncClient(bridges(stage).address) as client:
        await client.join("Ann", watch=False)
        stage.hold_proposals = True
        moving = asyncio.create_task(client.move(1, 1))
        await eventually(lambda: len(stage.proposals) == 1)
        client.link.drop_socket()
        await eventually(lambda: client.link.reconnects == 1)
        stage.release()
        assert (await moving).detail == {"n": 1}
    assert len(stage.proposals) == 1


@live
async def test_an_answer_cut_in_the_middle_is_heard_whole_and_no_piece_twice(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with AsyncClient(bridges(stage).address) as client:
        await client.join("Ann", watch=False)
        speech = client.say(100, "Good day")
        line = await asyncio.to_thread(stage.wait_line)
        line.listener.on_text("Well ")
        pieces = aiter(speech)
        heard = [await anext(pieces)]
        client.link.drop_socket()
        line.listener.on_text("met, ")
        await eventually(lambda: client.link.reconnects == 1)
        stage.answer(line, "stranger.")
        heard += [piece async for piece in pieces]
        assert "".join(heard) == "Well met, stranger."
    assert len(stage.lines) == 1


@live
async def test_what_is_asked_while_the_socket_is_down_is_sent_when_it_is_back(
    stage: FakeStage, bridges: Bridges
) -> None:
    async with AsyncClient(bridges(stage).address) as client:
        await client.join("Ann", watch=False)
        client.link.drop_socket()
        await asyncio.sleep(0)
        assert (await client.move(1, 1)).tick == 1


@live
async def test_a_session_that_is_over_is_told_to_who_waits(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage, resume_s=0.0)
    async with AsyncClient(bridge.address) as client:
        await client.join("Ann", watch=False)
        speech = client.say(100, "Good day")
        await asyncio.to_thread(stage.wait_line)
        for session in bridge.sessions:
            bridge.sessions.drop(session)
        client.link.drop_socket()
        with pytest.raises(SessionLost):
            await speech.done()
        with pytest.raises(SessionLost):
            await client.move(1, 1)


@live
async def test_events_end_with_the_reason_when_the_client_is_closed(
    stage: FakeStage, bridges: Bridges
) -> None:
    client = AsyncClient(bridges(stage).address)
    await client.connect()
    await client.close()
    await client.close()
    with pytest.raises(ConnectionLost):
        await anext(client.events())


@live
async def test_a_server_that_goes_down_for_good_ends_the_client_with_its_reason(
    stage: FakeStage, bridges: Bridges
) -> None:
    bridge = bridges(stage)
    async with AsyncClient(bridge.address, give_up_s=0.2) as client:
        await asyncio.to_thread(bridge.stop)
        with pytest.raises(ConnectionLost) as caught:
            await anext(client.events())
        assert caught.value.close_code == 4007
        assert "shutting down" in caught.value.message


@live
async def test_nobody_there_is_a_typed_error_with_the_mend() -> None:
    with pytest.raises(CantConnect, match="greenroom demo"):
        await AsyncClient("ws://127.0.0.1:9").connect()


@live
async def test_a_wrong_token_is_a_typed_error(stage: FakeStage, bridges: Bridges) -> None:
    bridge = bridges(stage, token="correct horse")
    with pytest.raises(RequestFailed) as caught:
        await AsyncClient(bridge.address, token="wrong").connect()
    assert caught.value.code == "unauthorised"
    async with AsyncClient(bridge.address, token="correct horse") as client:
        assert client.welcome.server == "fake 0"


def test_the_blocking_client_leaves_no_thread_when_nobody_answers() -> None:
    with pytest.raises(CantConnect):
        Client("ws://127.0.0.1:9")
    assert not [t for t in threading.enumerate() if t.name == "greenroom-client"]


def test_an_unknown_encoding_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="xml"):
        AsyncClient(encoding="xml")


@live
async def test_a_listener_that_does_not_keep_up_loses_the_oldest_events_and_can_tell(
    stage: FakeStage, bridges: Bridges, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine_bridge.async_client.MAX_EVENTS", 5)
    async with AsyncClient(bridges(stage).address) as client:
        await client.watch(all=True)
        for n in range(8):
            stage.step([stage.event("ate", 100, n=n)])
        await eventually(lambda: client.events_dropped == 3)
        assert (await anext(client.events())).data["n"] == 3
