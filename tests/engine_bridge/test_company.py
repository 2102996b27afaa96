"""The bridge before the real company: the valley's people, beasts, rules and reflexes behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from bridge_fakes import Bridges, eventually, live, wire

from actors.company import Company
from engine_bridge.client import AsyncClient, Client
from engine_bridge.errors import RequestFailed
from engine_bridge.interest import WIRE
from engine_bridge.messages import SERVER
from engine_bridge.server import Bridge
from greenroom.worlds import compiled
from models.scripted import ScriptedBackend
from plugins.manager import load_builtin_and_installed
from world.content import ContentResponse
from world.maths import TILE
from world.world import World


@pytest.fixture(scope="module")
def valley() -> Any:
    ruleset = load_builtin_and_installed().ruleset()
    return compiled("valley", ruleset, 7, 40), ruleset


@pytest.fixture
def company(valley: Any) -> Iterator[Company]:
    scene, ruleset = valley
    made = Company(World(scene, ruleset, 7), personas=scene.personas, server="greenroom test")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def bridge(company: Company, bridges: Bridges) -> Bridge:
    return bridges(company, http_port=0)


async def beside(client: AsyncClient, wanted: int) -> None:
    """Walk until `wanted` is within earshot."""
    while True:
        me, other = client.world.entities[client.entity], client.world.entities[wanted]
        if (me.x - other.x) ** 2 + (me.y - other.y) ** 2 < (8 * TILE) ** 2:
            return
        await client.move(other.x, other.y)
        await asyncio.sleep(0.2)


def nearest_speaker(client: AsyncClient) -> int:
    me = client.world.entities[client.entity]
    speakers = [e for e in client.world.entities.values() if e.speaks and not e.player and e.name]
    return min(speakers, key=lambda e: (e.x - me.x) ** 2 + (e.y - me.y) ** 2).id


@live
async def test_welcome_describes_the_valley(bridge: Bridge) -> None:
    async with AsyncClient(bridge.address) as client:
        world = client.welcome.world
        assert (world.scene, world.width, world.height) == ("valley", 192, 192)
        names = [species.name for species in world.species]
        assert {"wolf", "villager"} <= set(names)
        assert {"move", "attack", "use", "say"} <= set(world.actions)
        assert not {"spawn", "tiles", "global"} & set(world.actions)


@live
async def test_a_player_walks_in_and_sees_itself_move(bridge: Bridge) -> None:
    async with AsyncClient(bridge.address) as client:
        me = (await client.join("Robin")).entity
        body = client.world.entities[me]
        assert (body.name, body.player) == ("Robin", True)
        x, y = body.x, body.y
        assert (await client.move(x + 3 * TILE, y)).tick > 0
        await eventually(
            lambda: (client.world.entities[me].x, client.world.entities[me].y) != (x, y)
        )
        panel = await client.inspect(me)
        assert panel.name == "Robin"


@live
async def test_a_villager_answers_and_all_around_hear_it(bridge: Bridge) -> None:
    async with AsyncClient(bridge.address) as client:
        await client.join("Robin")
        await client.watch(all=True)
        heard: list[Any] = []
        client.on_event(lambda event: heard.append(event) if event.kind == "said" else None)
        villager = nearest_speaker(client)
        await beside(client, villager)
        speech = client.say(villager, "Good day. What news of the wolves?")
        pieces = [piece async for piece in speech]
        done = await speech.done()
        assert done.text
        assert "".join(pieces).split() == done.text.split()
        assert done.source == "reflex"
        await eventually(lambda: {client.entity, villager} <= {event.entity for event in heard})


@live
async def test_a_model_answers_through_the_same_door(valley: Any, bridges: Bridges) -> None:
    scene, ruleset = valley
    backend = ScriptedBackend()
    company = Company(World(scene, ruleset, 7), personas=scene.personas, backend=backend)
    company.start()
    try:
        async with AsyncClient(bridges(company).address) as client:
            await client.join("Robin")
            await client.watch(all=True)
            villager = nearest_speaker(client)
            await beside(client, villager)
            done = await client.say(villager, "Where is the mill?").done()
            assert "mill" in done.text
            assert done.source != "reflex"
    finally:
        company.stop()
        backend.close()


@live
async def test_what_the_rules_refuse_comes_back_with_their_code(bridge: Bridge) -> None:
    async with AsyncClient(bridge.address) as client:
        await client.join("Robin")
        with pytest.raises(RequestFailed) as caught:
            await client.attack(2**40)
        assert caught.value.code in ("no_such_entity", "no_valid_target")
        with pytest.raises(RequestFailed) as caught:
            await client.act("move", x="far", y=0)
        assert caught.value.code == "bad_body"
        with pytest.raises(RequestFailed):
            await client.say(2**40, "anyone?").done()


@live
async def test_the_mirror_of_a_spectator_equals_the_world(company: Company, bridge: Bridge) -> None:
    async with AsyncClient(bridge.address) as client:
        await client.watch(all=True)
        ticks = [client.world.tick]
        await eventually(lambda: client.world.tick > ticks[0] + 40)
        await asyncio.to_thread(company.stop)
        world = company.ledger.world
        await eventually(lambda: client.world.tick == world.tick)
        frame = world.frame(full=True)
        assert sorted(client.world.entities) == frame.id.tolist()
        for row, entity in enumerate(frame.id.tolist()):
            for column in WIRE:
                held = getattr(client.world.entities[entity], column)
                assert held == int(getattr(frame, column)[row]), (entity, column)
        names = {e.id: e.name for e in client.world.entities.values() if e.name}
        assert names == {
            i: n for i, n in frame.names_changed.items() if i in set(frame.id.tolist())
        }
        tiles = np.frombuffer(bytes(client.world.tiles), np.uint8).reshape(192, 192)
        assert np.array_equal(tiles, world.tiles)


@live
async def test_everything_the_server_sends_fits_its_models(bridge: Bridge) -> None:
    async with wire(bridge) as client:
        await client.join("Robin")
        await client.ask("watch", {"all": True})
        await client.ask("inspect", {"entity": (await client.ask("ping"))["re"]})
        await client.ask("content", {"seed": 7, "size": 32})
        deltas = 0
        while deltas < 60:
            deltas += (await client.recv())["t"] == "delta"
        for message in client.seen:
            SERVER[message["t"]].body.model_validate(message["d"], strict=False)


@live
async def test_content_is_made_and_reported_on(bridge: Bridge) -> None:
    async with AsyncClient(bridge.address, encoding="json") as client:
        made = await client.content({"seed": 7, "size": 32, "dimensions": [12, 12]})
        response = ContentResponse.model_validate(made, strict=False)
        assert response.foundation.terrain.width == 32
        again = await client.content({"seed": 7, "size": 32, "dimensions": [12, 12]})
        assert again["foundation"] == made["foundation"]


@live
async def test_who_leaves_or_stays_away_is_gone_from_the_world(
    company: Company, bridges: Bridges
) -> None:
    bridge = bridges(company, resume_s=0.2)
    spectator = AsyncClient(bridge.address)
    await spectator.connect()
    await spectator.watch(all=True)
    async with AsyncClient(bridge.address) as client:
        me = (await client.join("Robin")).entity
        await eventually(lambda: me in spectator.world.entities)
        await client.leave()
        await eventually(lambda: me not in spectator.world.entities)
        me = (await client.join("Robin")).entity
        await eventually(lambda: me in spectator.world.entities)
    await eventually(lambda: me not in spectator.world.entities)
    await spectator.close()


@live
async def test_a_cut_in_the_living_world_loses_no_event(bridge: Bridge) -> None:
    async with (
        AsyncClient(bridge.address) as steady,
        AsyncClient(bridge.address) as shaken,
    ):
        heard: dict[str, list[Any]] = {"steady": [], "shaken": []}
        for name, client in (("steady", steady), ("shaken", shaken)):
            client.on_event(lambda event, name=name: heard[name].append(event))
            await client.watch(all=True)
        await steady.join("Robin")
        await steady.watch(all=True)
        for n in range(30):
            await steady.act("say", to=0, text=f"line {n}")
            if n % 10 == 5:
                shaken.link.drop_socket()
            if n % 10 == 8:
                await eventually(lambda at=n: shaken.link.reconnects > at // 10)
        await eventually(lambda: len(lines(heard["shaken"])) == 30)
        assert lines(heard["shaken"]) == [f"line {n}" for n in range(30)]
        assert lines(heard["steady"]) == lines(heard["shaken"])


def lines(events: list[Any]) -> list[str]:
    """What a player said, in the order heard."""
    return [e.data["text"] for e in events if e.kind == "said" and e.data["text"][:4] == "line"]


def test_ten_lines_talk_to_the_innkeeper(bridge: Bridge) -> None:
    with Client(bridge.address) as client:
        client.join("Robin")
        client.watch(all=True)
        me = client.asynchronous.entity
        while True:
            entities = client.entities()
            marta = next(e for e in entities.values() if e.name == "Marta Kell")
            if (marta.x - entities[me].x) ** 2 + (marta.y - entities[me].y) ** 2 < (8 * TILE) ** 2:
                break
            client.move(marta.x, marta.y)
        answer = client.say("Marta Kell", "Is there a room for tonight?")
        assert "".join(answer).split() == answer.result.text.split()
