"""`greenroom bots`: players that walk, fight and talk, as a load for a running world."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from engine_bridge.client import AsyncClient
from engine_bridge.errors import ClientError, RequestFailed
from greenroom import console
from world.actions import EARSHOT
from world.maths import TILE

_LINES = (
    "Good day to you.",
    "What news of the wolves?",
    "How much is a bed for the night?",
    "Where is the mill?",
    "Who lives in the castle?",
    "Farewell.",
)


@dataclass
class Tally:
    """What the bots did and what came back; latencies in milliseconds."""

    outcomes: Counter[str] = field(default_factory=Counter)
    commit_ms: list[float] = field(default_factory=list)
    first_words_ms: list[float] = field(default_factory=list)

    def report(self, bots: int, seconds: float) -> dict[str, Any]:
        """Plain values."""
        return {
            "bots": bots,
            "seconds": seconds,
            "outcomes": dict(sorted(self.outcomes.items())),
            "commit_ms": _quantiles(self.commit_ms),
            "first_words_ms": _quantiles(self.first_words_ms),
        }


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 1)
        for name, part in at.items()
    } | {"max": round(ordered[-1], 1), "n": len(ordered)}


class Bot:
    """One player, at `client`: does something every `period` seconds until told to stop."""

    def __init__(self, client: AsyncClient, number: int, period: float, tally: Tally) -> None:
        self._client = client
        self._number = number
        self._period = period
        self._tally = tally
        # A bot is outside the world: its choices come from a generator of its own.
        self._chance = random.Random(number)

    async def live(self, until: float) -> None:
        """Connect, enter, act until the loop's clock says `until`, leave."""
        async with self._client:
            await self.enter()
            await self.act(until)
            await self._client.leave()

    async def enter(self) -> None:
        """Join, with a client that is connected."""
        await self._client.join(f"Bot {self._number}")

    async def act(self, until: float) -> None:
        """Act until the loop's clock says `until`."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._chance.random() * self._period
        while due < until:
            await asyncio.sleep(max(0.0, due - loop.time()))
            due += self._period
            try:
                await self._act(self._client)
            except RequestFailed as error:
                self._tally.outcomes[error.code] += 1

    async def _act(self, client: AsyncClient) -> None:
        own = client.world.entities.get(client.entity)
        if own is None:
            self._tally.outcomes["no body"] += 1
            return
        near = [
            entity
            for entity in client.world.entities.values()
            if entity.id != own.id
            and not entity.dead
            and (entity.x - own.x) ** 2 + (entity.y - own.y) ** 2 < (EARSHOT - TILE) ** 2
        ]
        choice = self._chance.random()
        speakers = [entity for entity in near if entity.speaks and not entity.player]
        if choice < 0.15 and speakers:
            speech = client.say(self._chance.choice(speakers).id, self._chance.choice(_LINES))
            done = await speech.done()
            self._tally.first_words_ms.append(done.first_token_ms)
            self._tally.outcomes[
                "answered by reflex" if done.source == "reflex" else "answered"
            ] += 1
            return
        begun = time.perf_counter()
        if choice < 0.3 and near:
            await client.attack(self._chance.choice(near).id)
        else:
            span = 12 * TILE
            x = own.x + self._chance.randint(-span, span)
            y = own.y + self._chance.randint(-span, span)
            await client.move(
                min(max(x, 0), client.world.width * TILE - 1),
                min(max(y, 0), client.world.height * TILE - 1),
            )
        self._tally.commit_ms.append((time.perf_counter() - begun) * 1000)
        self._tally.outcomes["committed"] += 1


async def drive(
    url: str, count: int, seconds: float, period: float, token: str | None = None
) -> dict[str, Any]:
    """Run `count` bots for `seconds` and report. A bot that loses its server is counted, not raised."""
    tally = Tally()
    until = asyncio.get_running_loop().time() + seconds

    async def one(number: int) -> None:
        try:
            client = AsyncClient(url, game="greenroom bots", token=token)
            await Bot(client, number, period, tally).live(until)
        except ClientError as error:
            tally.outcomes[f"lost: {error.code}"] += 1

    await asyncio.gather(*(one(number) for number in range(count)))
    return tally.report(count, seconds)


@console.command
def bots(
    url: Annotated[str, typer.Option(help="the game socket")] = "ws://127.0.0.1:8765",
    count: Annotated[int, typer.Option(min=1, max=500, help="how many")] = 20,
    seconds: Annotated[float, typer.Option(min=1, max=86_400, help="for how long")] = 60.0,
    period: Annotated[float, typer.Option(min=0.05, help="seconds between a bot's acts")] = 1.0,
    token: console.Token = None,
) -> None:
    """Let bots loose on a running world and print what they met as one JSON object."""
    report = asyncio.run(drive(url, count, seconds, period, token))
    console.machine(report)
    lost = sum(n for what, n in report["outcomes"].items() if what.startswith("lost"))
    if lost == count:
        raise ClientError("every bot was lost", "is a server listening there? `greenroom demo`")
