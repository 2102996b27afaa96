"""Fifty players in a process of their own, who note when each frame of the world reaches them.

`python -m benchmarks._players URL COUNT SECONDS` prints a line once all are in the world, lets them act for
so long, and prints what they met as one JSON object.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any

from engine_bridge.async_client import AsyncClient
from engine_bridge.errors import ClientError
from greenroom.commands.bots import Bot, Tally

NICE = 2
"""Players are on other machines; here they must not be what takes the server's cores."""
_PERIOD_S = 1.0
_OPEN_S = 60.0


class Watcher(AsyncClient):
    """A client that keeps the tick and the time, on the machine's monotonic clock, of each frame."""

    def __init__(self, url: str) -> None:
        super().__init__(url, game="greenroom bench", open_s=_OPEN_S)
        self.frames: list[tuple[int, float]] = []

    def _take(self, t: str, d: dict[str, Any]) -> None:
        if t in ("snapshot", "delta"):
            self.frames.append((d["tick"], time.monotonic()))
        super()._take(t, d)


async def play(url: str, count: int, seconds: float) -> dict[str, Any]:
    """Enter the world with `count` players, act for `seconds`; what they did and saw, as plain values."""
    tally = Tally()
    watchers = [Watcher(url) for _ in range(count)]
    bots = [Bot(watcher, number, _PERIOD_S, tally) for number, watcher in enumerate(watchers)]
    async with contextlib.AsyncExitStack() as stack:
        for watcher, bot in zip(watchers, bots, strict=True):
            await stack.enter_async_context(watcher)
            await bot.enter()
        print(json.dumps({"in": count}), flush=True)
        until = asyncio.get_running_loop().time() + seconds
        lives = await asyncio.gather(*(bot.act(until) for bot in bots), return_exceptions=True)
    for fault in lives:
        if isinstance(fault, ClientError):
            tally.outcomes[f"lost: {fault.code}"] += 1
        elif fault is not None:
            raise fault
    seen = [len(watcher.world.entities) for watcher in watchers]
    return tally.report(count, seconds) | {
        "frames": [watcher.frames for watcher in watchers],
        "cpu_s": time.process_time(),
        "reconnects": sum(watcher.link.reconnects for watcher in watchers),
        "in_sight": sum(seen) / count,
    }


def main() -> None:
    """Play, and print."""
    if hasattr(os, "nice"):
        os.nice(NICE)
    url, count, seconds = sys.argv[1:]
    print(json.dumps(asyncio.run(play(url, int(count), float(seconds)))), flush=True)


if __name__ == "__main__":
    main()
