"""`kill -9` at random instants: whatever was acknowledged is there, and the world goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from engine_bridge.client import AsyncClient
from engine_bridge.errors import ClientError, RequestFailed
from plugins.manager import load_builtin_and_installed
from world.inputs import Input
from world.replay import replay
from world.store.reader import Reader

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
