"""Hostile frames against a live server: it stays up, forgets its visitors and logs no traceback."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import random
from typing import Any

import psutil
import pytest
from bridge_fakes import Bridges, FakeStage, eventually, live, wire
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from engine_bridge.codec import MsgpackCodec
from engine_bridge.examples import REFUSED, vectors
from engine_bridge.server import Bridge

OPEN_WIDE = {
    "rate": 1e9, "burst": 1e9, "flood": 1e9, "resume_s": 0.05, "max_clients": 10_000,
    "http_port": None,
}  # fmt: skip
HELLO = {"t": "hello", "id": 1, "d": {"client": "fuzz", "sdk": "fuzz"}}
SEEDS = [
    data
    for name, data in sorted(vectors().items())
    if name.startswith("client_") and name.endswith(".bin")
] + [refused.frame for refused in REFUSED]
TEXTS = [
    data.decode()
    for name, data in sorted(vectors().items())
    if name.startswith("client_") and name.endswith(".json")
]


class Mutator:
    """Makes frames that are nearly right, from a seed, so that a failure can be made again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def frame(self) -> bytes | str:
        if self.random.random() < 0.05:
            return self.random.choice(TEXTS)
        frame = bytearray(self.random.choice(SEEDS))
        for _ in range(self.random.randint(1, 4)):
            self._mutate(frame)
        return bytes(frame)

    def text(self) -> str:
        frame = list(self.random.choice(TEXTS))
        for _ in range(self.random.randint(1, 4)):
            at = self.random.randrange(len(frame) + 1)
            frame[at : at + self.random.randint(0, 2)] = self.random.choice(
                ['"', "{", "}", "[", "]", "\\u0000", "\\ud800", "1e999", "9" * 30, "null", "\u202e"]
            )
        return "".join(frame)

    def message(self) -> dict[str, Any]:
        """A message whose envelope is right and whose values are not."""
        message: dict[str, Any] = json.loads(self.random.choice(TEXTS))
        odd = [None, -1, 0, 2**48, 2**63 - 1, 1.5, "", "x" * 401, b"\xff", [], {}, [[]], True]
        body = message["d"]
        if body and self.random.random() < 0.9:
            body[self.random.choice(list(body))] = self.random.choice(odd)
        else:
            message[self.random.choice(["t", "id", "d", "re", "seq"])] = self.random.choice(odd)
        return message

    def _mutate(self, frame: bytearray) -> None:
        kind = self.random.randrange(6)
        at = self.random.randrange(len(frame)) if frame else 0
        if kind == 0 and frame:
            frame[at] ^= 1 << self.random.randrange(8)
        elif kind == 1 and frame:
            frame[at] = self.random.choice([0xC1, 0xC7, 0xD9, 0xDC, 0xDE, 0xDF, 0xFF, 0x00, 0x91])
        elif kind == 2:
            frame[at:at] = self.random.randbytes(self.random.randint(1, 8))
        elif kind == 3:
            del frame[at:]
        elif kind == 4:
            frame += self.random.choice(SEEDS)
        else:
            frame[at:at] = b"\x91" * self.random.choice([3, 20, 2000])


def arrived(bridge: Bridge) -> float:
    """How many frames reached the server."""
    count: float = bridge.metrics.frames_in._value.get()
    return count


async def bombard(bridge: Bridge, until: float, seed: int) -> int:
    """Send mutated frames until so many have arrived, connecting again whenever the server hangs up.

    Returns how often it did.
    """
    mutator = Mutator(seed)
    codec = MsgpackCodec()
    hung_up = 0
    while arrived(bridge) < until:
        as_text = mutator.random.random() < 0.2
        encoding: Any = "greenroom.v1.json" if as_text else "greenroom.v1.msgpack"
        async with connect(
            bridge.address, subprotocols=[encoding], compression=None, proxy=None
        ) as raw:
            reader = asyncio.create_task(drain(raw))
            with contextlib.suppress(ConnectionClosed):
                await raw.send(json.dumps(HELLO) if as_text else codec.encode(HELLO))
                for _ in range(mutator.random.randint(1, 60)):
                    if as_text:
                        await raw.send(mutator.text())
                    elif mutator.random.random() < 0.7:
                        await raw.send(codec.encode(mutator.message()))
                    else:
                        await raw.send(mutator.frame())
            await raw.close()
            await reader
            hung_up += raw.close_code is not None and raw.close_code >= 4000
    return hung_up


async def drain(raw: ClientConnection) -> None:
    try:
        while True:
            await raw.recv()
    except ConnectionClosed:
        return


async def still_serves(bridge: Bridge, stage: FakeStage) -> None:
    async with wire(bridge) as client:
        await client.join("Witness", key="witness")
        await client.ask("watch", {"radius": 96})
        stage.step([stage.event("ate", 100)])
        await client.until("snapshot")
        assert (await client.ask("ping"))["t"] == "pong"


async def all_gone(bridge: Bridge) -> None:
    await eventually(lambda: not bridge._peers, "every socket closing")
    await eventually(lambda: len(bridge.sessions) == 0, "every session ending")


def tasks(bridge: Bridge) -> int:
    assert bridge._loop is not None
    return len(asyncio.all_tasks(bridge._loop))


@live
async def test_five_thousand_hostile_frames_leave_the_server_as_it_was(
    stage: FakeStage, bridges: Bridges, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bridge = bridges(stage, **OPEN_WIDE)
    await still_serves(bridge, stage)
    await all_gone(bridge)
    before = tasks(bridge)
    hung_up = await asyncio.gather(*(bombard(bridge, 5000, seed) for seed in range(4)))
    assert sum(hung_up) > 0
    await still_serves(bridge, stage)
    await all_gone(bridge)
    await eventually(lambda: tasks(bridge) == before, "every task ending")
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR or r.exc_info]
    assert bridge.metrics.errors.labels("internal")._value.get() == 0


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_hundred_thousand_hostile_frames_leak_neither_tasks_nor_memory(
    stage: FakeStage, bridges: Bridges, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    bridge = bridges(stage, **OPEN_WIDE)
    process = psutil.Process()

    async def round_of(frames: int, seed: int) -> None:
        await asyncio.gather(*(bombard(bridge, frames, seed + i) for i in range(4)))
        await still_serves(bridge, stage)
        await all_gone(bridge)

    sizes = []
    for n in range(10):
        asyncio.run(round_of(10_000 * (n + 1), 100 * n))
        gc.collect()
        sizes.append(process.memory_info().rss)
    # The first rounds fill caches; from then on ten thousand frames may not cost a mebibyte each.
    assert sizes[-1] - sizes[4] < 5 * 1024 * 1024, sizes
    assert tasks(bridge) < 10
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR or r.exc_info]
    assert bridge.metrics.errors.labels("internal")._value.get() == 0
