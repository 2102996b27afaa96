"""Fakes for the bridge's tests: a stage without world or actors, and a bare wire client."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from engine_bridge.codec import codecs
from engine_bridge.interest import WIRE
from engine_bridge.server import Bridge
from engine_bridge.settings import BridgeSettings
from models.request import NO_PREFERENCE, Preference
from world.events import Event
from world.frame import Frame

WIDTH, HEIGHT = 64, 48
VILLAGERS = 12


@dataclass(frozen=True)
class FakeOutcome:
    tick: int
    accepted: bool
    code: str = ""
    reason: str = ""
    entity: int = 0
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Line:
    """A line that somebody said and the listener that waits for the answer."""

    speaker: int
    to: int
    text: str
    listener: Any
    preference: Preference = NO_PREFERENCE
    cancelled: bool = False


def make_frame(
    rows: Mapping[int, Mapping[str, int]],
    *,
    tick: int = 1,
    epoch: int = 1,
    time: str = "noon",
    names: Mapping[int, str] | None = None,
    events: Sequence[Event] = (),
    tiles: Sequence[tuple[int, int, int, int, bytes]] = (),
) -> Frame:
    """A frame of some entities given by id and columns; missing columns are 0."""
    ids = sorted(rows)
    columns = {
        name: np.array([rows[i].get(name, 0) for i in ids], dtype=kind)
        for name, kind in WIRE.items()
        if name != "id"
    }
    return Frame(
        tick=tick,
        epoch=epoch,
        hash=0,
        time_of_day=time,
        id=np.array(ids, dtype=np.uint64),
        names_changed=dict(names or {}),
        events=tuple(events),
        tile_changes=tuple(tiles),
        **columns,
    )


class FakeStage:
    """Satisfies `Stage` in memory. The test moves time with `step` and answers lines by hand.

    Answers are given on a thread of their own, as actors would.
    """

    def __init__(self) -> None:
        self.tick = 0
        self.epoch = 1
        self.rows: dict[int, dict[str, int]] = {}
        self.names: dict[int, str] = {}
        self.tiles = np.full((HEIGHT, WIDTH), 3, dtype=np.uint8)
        self.proposals: list[Any] = []
        self.joins: list[str] = []
        self.left: list[int] = []
        self.lines: list[Line] = []
        self.contents: list[tuple[Any, Any]] = []
        self.ready = True
        self.refuse: tuple[str, str] | None = None
        self.refuse_leave: tuple[str, str] | None = None
        self.hold_proposals = False
        self.held: list[Callable[[], None]] = []
        self._watchers: dict[int, Callable[[Frame], None]] = {}
        self._watcher_ids = iter(range(1_000_000))
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fake-actor")
        self._line_came = threading.Condition()
        self._renamed: dict[int, str] = {}
        for i in range(VILLAGERS):
            self.rows[100 + i] = {
                "species": i % 2,
                "x": (5 + 4 * i) * 256,
                "y": 20 * 256,
                "hp": 20,
                "max_hp": 20,
                "flags": 4,
            }
            self.names[100 + i] = f"Villager {i}"

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    # -- what the test does

    def step(
        self, events: Sequence[Event] = (), tiles: Sequence[tuple[int, int, int, int, bytes]] = ()
    ) -> int:
        """One tick of the world: everyone takes a step east, frames go out."""
        with self._lock:
            self.tick += 1
            for row in self.rows.values():
                row["x"] = row.get("x", 0) + 16
            for x, y, w, h, data in tiles:
                self.tiles[y : y + h, x : x + w] = np.frombuffer(data, np.uint8).reshape(h, w)
            frame = self._frame(self._renamed, events, tiles)
            self._renamed = {}
            watchers = tuple(self._watchers.values())
        for watcher in watchers:
            watcher(frame)
        return self.tick

    def rename(self, entity: int, name: str) -> None:
        self.names[entity] = name
        self._renamed[entity] = name

    def event(self, kind: str, entity: int, target: int = 0, **data: Any) -> Event:
        """An event of the tick to come."""
        return Event(self.tick + 1, kind, entity, target, data)

    def answer(self, line: Line, *pieces: str, source: str = "fake 1") -> None:
        """Speak an answer, on the actors' thread."""

        def speak() -> None:
            for piece in pieces:
                line.listener.on_text(piece)
            line.listener.on_done("".join(pieces), source, None)

        self._thread.submit(speak)

    def on_actor_thread(self, call: Callable[[], None]) -> None:
        self._thread.submit(call)

    def wait_line(self, n: int = 1) -> Line:
        """The n-th line that was said; waits for it."""
        with self._line_came:
            assert self._line_came.wait_for(lambda: len(self.lines) >= n, 20), "no line came"
            return self.lines[n - 1]

    def release(self) -> None:
        """Let held proposals be settled."""
        held, self.held = self.held, []
        for settle in held:
            self._thread.submit(settle)

    # -- Stage

    def about(self) -> Mapping[str, Any]:
        return {
            "scene": "fake",
            "width": WIDTH,
            "height": HEIGHT,
            "tile": 256,
            "hz": 20.0,
            "day_ticks": 24_000,
            "epoch": self.epoch,
            "server": "fake 0",
            "species": [
                {"name": "villager", "symbol": "v", "colour": "#aaaaaa", "speaks": True},
                {"name": "wolf", "symbol": "w", "colour": "#555555", "speaks": False},
            ],
            "factions": ["people", "wild"],
            "activities": ["idle", "move"],
            "actions": ["move", "attack", "use", "say", "wait"],
            "tiles": ["deep_water", "water", "sand", "grass"],
        }

    def subscribe(self, on_frame: Callable[[Frame], None]) -> Callable[[], None]:
        with self._lock:
            key = next(self._watcher_ids)
            self._watchers[key] = on_frame
        return lambda: self._watchers.pop(key, None) and None

    def give_way(self) -> None:
        """No step is ever under way here when the bridge works."""

    def full_frame(self, on_frame: Callable[[Frame], None]) -> None:
        def give() -> None:
            with self._lock:
                whole = ((0, 0, WIDTH, HEIGHT, self.tiles.tobytes()),)
                frame = self._frame(self.names, (), whole)
            on_frame(frame)

        self._thread.submit(give)

    def join(self, name: str, on_outcome: Callable[[FakeOutcome], None]) -> None:
        def make() -> None:
            with self._lock:
                self.joins.append(name)
                entity = 1000 + len(self.joins)
                self.rows[entity] = {"x": 2560, "y": 5120, "hp": 10, "max_hp": 10, "flags": 1}
                self.names[entity] = name
                self._renamed[entity] = name
            detail = {"x": 2560, "y": 5120}
            on_outcome(FakeOutcome(self.tick, True, entity=entity, detail=detail))

        self._thread.submit(make)

    def leave(self, entity: int, on_outcome: Callable[[FakeOutcome], None] | None = None) -> None:
        refusal = self.refuse_leave

        def take() -> None:
            if refusal is not None and on_outcome is not None:
                on_outcome(FakeOutcome(self.tick, False, *refusal, entity=entity))
                return
            with self._lock:
                self.left.append(entity)
                self.rows.pop(entity, None)
            if on_outcome is not None:
                on_outcome(FakeOutcome(self.tick, True, entity=entity))

        self._thread.submit(take)

    def propose(self, proposal: Any, on_outcome: Callable[[FakeOutcome], None]) -> None:
        self.proposals.append(proposal)
        refusal = self.refuse

        def settle() -> None:
            if refusal is not None:
                on_outcome(FakeOutcome(self.tick, False, *refusal, entity=proposal.entity))
            else:
                on_outcome(
                    FakeOutcome(
                        self.tick + 1, True, entity=proposal.entity, detail={"n": proposal.n}
                    )
                )

        if self.hold_proposals:
            self.held.append(settle)
        else:
            self._thread.submit(settle)

    def say(
        self,
        speaker: int,
        to: int,
        text: str,
        listener: Any,
        preference: Preference = NO_PREFERENCE,
    ) -> Callable[[], None]:
        line = Line(speaker, to, text, listener, preference)
        if to not in self.rows:
            self._thread.submit(listener.on_rejected, "no_such_entity", f"there is no {to}")
            return lambda: None
        with self._line_came:
            self.lines.append(line)
            self._line_came.notify_all()

        def cancel() -> None:
            line.cancelled = True

        return cancel

    def situation(self, entity: int, on_result: Callable[[Mapping[str, Any] | None], None]) -> None:
        def look() -> None:
            if entity not in self.rows:
                on_result(None)
                return
            name = self.names.get(entity, "")
            on_result({"entity": entity, "name": name, "species": "villager", "hp": 20})

        self._thread.submit(look)

    def content(self, request: Mapping[str, Any], listener: Any) -> Callable[[], None]:
        self.contents.append((request, listener))
        return lambda: None

    def status(self) -> Mapping[str, Any]:
        return {"ready": self.ready, "tick": self.tick, "metronome": {"p99_ms": 1.5}}

    def inspect(self, sort: str, limit: int) -> Mapping[str, Any]:
        rows = [{"name": "director", "kind": "director", "state": "alive", "mailbox": 0}]
        return {"alive": 1, "kinds": [], "actors": rows[:limit], "sort": sort}

    def _frame(
        self,
        names: Mapping[int, str],
        events: Sequence[Event],
        tiles: Sequence[tuple[int, int, int, int, bytes]],
    ) -> Frame:
        return make_frame(
            self.rows,
            tick=self.tick,
            epoch=self.epoch,
            names=names,
            events=events,
            tiles=tiles,
        )


class Bridges:
    """Starts bridges and stops them when the test ends."""

    def __init__(self) -> None:
        self._running: list[Bridge] = []

    def __call__(self, stage: FakeStage, models: Any = None, **settings: object) -> Bridge:
        given = {"port": 0, "http_port": None, "close_s": 2.0, **settings}
        bridge = Bridge(stage, BridgeSettings.model_validate(given), models)
        bridge.start()
        self._running.append(bridge)
        return bridge

    def stop(self) -> None:
        for bridge in self._running:
            bridge.stop()


class Wire:
    """A bare client of the wire for tests: sends what it is told, shows what comes."""

    def __init__(self, socket: ClientConnection, subprotocol: str) -> None:
        self.socket = socket
        self.codec = codecs(64 * 1024 * 1024, 64)[subprotocol]
        self.ids = iter(range(1, 1_000_000))
        self.seen: list[dict[str, Any]] = []

    async def send(self, t: str, d: Mapping[str, Any] | None = None, **extra: Any) -> int:
        number = next(self.ids)
        message = {"t": t, "id": number, "d": dict(d or {}), **extra}
        await self.socket.send(self.codec.encode(message))
        return number

    async def recv(self) -> dict[str, Any]:
        message = self.codec.decode(await asyncio.wait_for(self.socket.recv(), 20))
        self.seen.append(message)
        return message

    async def until(self, t: str, re: int | None = None) -> dict[str, Any]:
        """The next message of a type (and reply to a request); what comes before is in `seen`."""
        while True:
            message = await self.recv()
            if message["t"] == t and (re is None or message.get("re") == re):
                return message

    async def reply(self, re: int) -> dict[str, Any]:
        """The next message that answers a request."""
        while True:
            message = await self.recv()
            if message.get("re") == re:
                return message

    async def ask(self, t: str, d: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return await self.reply(await self.send(t, d))

    async def hello(self, **fields: Any) -> dict[str, Any]:
        return await self.ask("hello", {"client": "test", "sdk": "wire 0", **fields})

    async def join(self, name: str = "Ann", key: str = "join-1") -> int:
        answer = await self.ask("join", {"name": name, "key": key})
        assert answer["t"] == "joined", answer
        entity: int = answer["d"]["entity"]
        return entity

    async def closed(self) -> int | None:
        """Read to the end of the connection; the server's close code."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                await self.recv()
        except ConnectionClosed as end:
            return end.rcvd.code if end.rcvd is not None else None


@asynccontextmanager
async def wire(bridge: Any, encoding: str = "msgpack", hello: bool = True, **options: Any):
    """A bare client on a socket of its own."""
    subprotocol = f"greenroom.v1.{encoding}"
    async with connect(
        bridge.address,
        subprotocols=[subprotocol],
        compression=None,
        max_size=64 * 1024 * 1024,
        proxy=None,
        **options,
    ) as socket:
        client = Wire(socket, subprotocol)
        if hello:
            assert (await client.hello())["t"] == "welcome"
        yield client


def live(test: Callable[..., Any]) -> Callable[..., None]:
    """Run an asynchronous test on a loop of its own; one that hangs fails."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            await asyncio.wait_for(test(*args, **kwargs), 90)

        asyncio.run(bounded())

    return run


async def eventually(holds: Callable[[], bool], what: str = "it") -> None:
    """Wait until something becomes true; a minute is for machines under load, not for the code."""
    for _ in range(6000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} never came true")
