"""`kill -9` at random instants: whatever was acknowledged is there, and the world goes on."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine_bridge.client import AsyncClient
from engine_bridge.errors import ClientError, RequestFailed
from plugins.manager import load_builtin_and_installed
from world.inputs import Input
from world.replay import replay
from world.store import describe
from world.store.reader import Reader
from world.store.snapshots import find, list_snapshots

BOTS = 6


async def act_until_killed(url: str, kill: Any, seconds: float, chance: random.Random) -> list:
    """Let bots walk and speak; after `seconds` the server is killed. Returns what was acknowledged."""
    acknowledged: list[tuple[int, int, dict[str, Any]]] = []

    async def bot(number: int) -> None:
        try:
            async with AsyncClient(url, give_up_s=0.1) as client:
                body = (await client.join(f"Bot {number}")).entity
                while True:
                    own = client.world.entities[body]
                    goal = {
                        "x": own.x + chance.randrange(-2000, 2000),
                        "y": own.y + chance.randrange(-2000, 2000),
                    }
                    try:
                        done = await client.move(**goal)
                    except RequestFailed as refusal:
                        assert refusal.code != "internal", refusal
                        continue
                    acknowledged.append((done.tick, body, goal))
        except ClientError:
            return

    bots = [asyncio.create_task(bot(number)) for number in range(BOTS)]
    await asyncio.sleep(seconds)
    kill()
    await asyncio.gather(*bots)
    return acknowledged


def assert_journalled(data: Path, acknowledged: list[tuple[int, int, dict[str, Any]]]) -> None:
    """Every acknowledged act stands in the journal, at the tick that was told."""
    with Reader.open(data) as reader:
        oldest = reader.checkpoints()[0]
        journal = {record.tick: record for record in reader.records(oldest, None)}
    for tick, body, goal in acknowledged:
        assert tick in journal, f"tick {tick} was acknowledged and is gone"
        moves = [
            given
            for given in map(Input.unpack, journal[tick].inputs)
            if given.kind == "move" and given.entity == body and dict(given.body) == goal
        ]
        assert moves, f"an acknowledged move of {body} at tick {tick} is gone"


def kill_again_and_again(served: Any, data: Path, times: int, seed: int) -> int:
    """Serve, act, kill, look; `times` times over one world. Returns how much was acknowledged."""
    chance = random.Random(seed)
    total, last = 0, 0
    for _ in range(times):
        with served(data, "--no-models") as server:
            assert server.first_tick >= last, "the world went back behind what it had told"
            seconds = chance.uniform(0.2, 2.0)
            told = asyncio.run(act_until_killed(server.url, server.kill, seconds, chance))
            assert "Traceback" not in server.log, server.log
        assert_journalled(data, told)
        total += len(told)
        last = max([last, *(tick for tick, _, _ in told)])
    with served(data, "--no-models") as server:
        assert server.first_tick >= last
        assert server.stop() == 0
    result = replay(data, load_builtin_and_installed().ruleset())
    assert result.first_difference is None, result.reason
    return total


def test_what_was_acknowledged_survives_kill_9(served: Any, tmp_path: Path) -> None:
    assert kill_again_and_again(served, tmp_path / "world", times=3, seed=1) > 50


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_what_was_acknowledged_survives_fifty_kills(served: Any, tmp_path: Path) -> None:
    total = kill_again_and_again(served, tmp_path / "world", times=50, seed=2)
    print(f"50 kills, {total} acknowledged acts, all there")
    assert total > 1000


def ask_for_snapshot(http: str, name: str) -> dict[str, Any]:
    call = urllib.request.Request(
        f"{http}/api/snapshots",
        data=json.dumps({"name": name, "replace": True}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(call, timeout=30) as answer:
        taken: dict[str, Any] = json.load(answer)
        return taken


async def load_until_killed(
    server: Any, seconds: float, chance: random.Random
) -> tuple[list[tuple[int, int, dict[str, Any]]], list[tuple[int, str]], dict[str, int]]:
    """Let bots walk, others talk, and snapshots be taken by turns; after `seconds` the server alone is killed.

    Returns the moves, answers and snapshots that were acknowledged.
    """
    answers: list[tuple[int, str]] = []
    snapshots: dict[str, int] = {}

    async def talker(number: int) -> None:
        try:
            async with AsyncClient(server.url, give_up_s=0.1) as client:
                body = (await client.join(f"Talker {number}")).entity
                while True:
                    # Whom a name in sight belongs to; who is out of earshot refuses, which is an answer, too.
                    near = [e for e in client.world.entities.values() if e.speaks and e.id != body]
                    if not near:
                        await asyncio.sleep(0.05)
                        continue
                    other = chance.choice(near)
                    try:
                        if chance.random() < 0.7:
                            await client.move(other.x, other.y)
                        done = await client.say(other.id, "What news of the wolves?").done()
                    except RequestFailed as refusal:
                        assert refusal.code != "internal", refusal
                        continue
                    answers.append((other.id, done.text))
        except ClientError:
            return

    async def saver() -> None:
        for n in range(1000):
            name = f"save-{n % 3}"
            try:
                taken = await asyncio.to_thread(ask_for_snapshot, server.http, name)
            except OSError:
                return
            snapshots[name] = taken["tick"]

    others = [asyncio.create_task(talker(number)) for number in range(4)]
    others.append(asyncio.create_task(saver()))
    moved = await act_until_killed(
        server.url, lambda: os.kill(server.pid, signal.SIGKILL), seconds, chance
    )
    await asyncio.gather(*others)
    return moved, answers, snapshots


def test_a_whole_server_killed_amid_talk_walking_and_saving_loses_nothing_and_leaves_nobody(
    served: Any, tmp_path: Path
) -> None:
    chance = random.Random(3)
    data = tmp_path / "world"
    answered = saved = 0
    for _ in range(2):
        with served(data, "--npcs", "60", "--threads", "1", "--local-only") as server:
            children = psutil.Process(server.pid).children(recursive=True)
            moved, answers, snapshots = asyncio.run(
                load_until_killed(server, chance.uniform(1.0, 3.0), chance)
            )
            # The engine has nobody to serve any more, and ends without being told.
            gone, alive = psutil.wait_procs(children, timeout=20)
            assert children and gone and not alive
            assert "Traceback" not in server.log, server.log
        assert_journalled(data, moved)
        with Reader.open(data) as reader:
            said = {
                (given.entity, given.body["text"])
                for record in reader.records(reader.checkpoints()[0], None)
                for given in map(Input.unpack, record.inputs)
                if given.kind == "say"
            }
        assert set(answers) <= said
        assert describe(data, verify=True)["damage"] == []
        kept = {one.name: one.tick for one in list_snapshots(data)}
        for name, tick in snapshots.items():
            assert kept[name] >= tick, "a snapshot that was acknowledged is gone"
        for name in kept:
            assert describe(find(data, name), verify=True)["damage"] == []
        answered += len(answers)
        saved += len(snapshots)
    assert answered > 2
    assert saved > 2
    with served(data, "--no-models") as server:
        assert server.stop() == 0
    result = replay(data, load_builtin_and_installed().ruleset())
    assert result.first_difference is None, result.reason
