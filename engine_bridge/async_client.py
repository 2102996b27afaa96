"""The asynchronous client: one player, or one spectator, of a running Greenroom."""

from __future__ import annotations

import asyncio
import difflib
import itertools
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from engine_bridge import messages as m
from engine_bridge.errors import RequestFailed
from engine_bridge.link import Link, Pending, read
from engine_bridge.mirror import Entity, Mirror
from foundation.strict import StrictModel
from models.request import CacheUse
from world.actions import EARSHOT
from world.maths import TILE

SPEAKING_DISTANCE: Final = EARSHOT - 4 * TILE
"""Near enough, in units, that a voice still carries when the other takes a few steps."""
_LOOK_S: Final = 0.25
MAX_EVENTS: Final = 4096

Model = TypeVar("Model", bound=StrictModel)


class Speech:
    """An answer being spoken: iterate over its pieces, or await `done` for the whole.

    `result` is there once the answer is whole; its text is the checked one. Raises
    `RequestFailed` where the line was refused, `ConnectionLost` or `SessionLost` where the
    answer can't come any more.
    """

    def __init__(
        self, client: AsyncClient, to: int, text: str, wanted: Mapping[str, str] | None = None
    ) -> None:
        self._client = client
        d = {"to": to, "text": text, "key": client.new_key(), **(wanted or {})}
        self._pending = Pending("say", d)
        self._task: asyncio.Task[m.Done] = asyncio.get_running_loop().create_task(self._ask())
        self._task.add_done_callback(_retrieve)
        self.result: m.Done | None = None

    async def _ask(self) -> m.Done:
        d = await self._client.link.exchange(self._pending)
        self.result = read(m.Done, d)
        return self.result

    async def done(self) -> m.Done:
        """The whole answer."""
        return await asyncio.shield(self._task)

    async def cancel(self) -> None:
        """Withdraw the line; iterating and `done` then raise `RequestFailed` cancelled."""
        await self._client.link.withdraw(self._pending)

    async def __aiter__(self) -> AsyncIterator[str]:
        while not self._task.done() or not self._pending.pieces.empty():
            if not self._pending.pieces.empty():
                yield self._pending.pieces.get_nowait()
                continue
            getter = asyncio.ensure_future(self._pending.pieces.get())
            try:
                await asyncio.wait({getter, self._task}, return_when=asyncio.FIRST_COMPLETED)
                if getter.done():
                    yield getter.result()
            finally:
                getter.cancel()
        await self.done()


class AsyncClient:
    """One player, or one spectator, of a running Greenroom.

    Use as `async with AsyncClient(url) as client`. A lost socket is taken up again by itself for
    `give_up_s` seconds: missed events arrive once, in order; requests with idempotency keys
    are asked again. `world` mirrors what is watched.
    """

    def __init__(
        self,
        url: str = "ws://127.0.0.1:8765",
        *,
        game: str = "script",
        token: str | None = None,
        encoding: str = "msgpack",
        give_up_s: float = 60.0,
        open_s: float = 10.0,
    ) -> None:
        self.link = Link(
            url,
            game=game,
            token=token,
            encoding=encoding,
            give_up_s=give_up_s,
            open_s=open_s,
            on_push=self._take,
            on_end=self._ended,
        )
        self.world = Mirror(0, 0)
        self.entity = 0
        self.events_dropped = 0
        self._keys = itertools.count(1)
        self._salt = secrets.token_hex(6)
        self._events: deque[m.EventBody] = deque()
        self._event_came = asyncio.Event()
        self._synced = asyncio.Event()
        self._listeners: list[Callable[[m.EventBody], None]] = []

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def welcome(self) -> m.Welcome:
        """What the server told of itself and its world."""
        return self.link.welcome

    async def connect(self) -> m.Welcome:
        """Open the socket and say hello. Raises `CantConnect` or `RequestFailed`."""
        welcome = await self.link.open()
        self.world = Mirror(welcome.world.width, welcome.world.height)
        return welcome

    async def close(self) -> None:
        """Close the connection; the server takes the body away after its resume window."""
        await self.link.close()

    def new_key(self) -> str:
        """A fresh idempotency key."""
        return f"{self._salt}-{next(self._keys)}"

    # ------------------------------------------------------------ what a player does

    async def join(self, name: str, watch: bool = True) -> m.Joined:
        """Enter the world, and watch what is around unless told otherwise."""
        joined = await self._ask(m.Joined, "join", {"name": name, "key": self.new_key()})
        self.entity = joined.entity
        if watch:
            await self.watch()
        return joined

    async def leave(self) -> None:
        """Leave the world."""
        await self._ask(m.Left, "leave", {"key": self.new_key()})
        self.entity = 0

    async def watch(self, radius: int | None = None, all: bool = False) -> m.Watching:
        """Mirror what is around the own body, or everything; returns when `world` is filled."""
        wanted = m.Watch(radius=radius, all=all)
        self._synced.clear()
        watching = await self._ask(m.Watching, "watch", m.body(wanted))
        await self.link.until(self._synced)
        return watching

    def say(
        self, to: int | str, text: str, *, backend: str = "", cache: CacheUse = "use"
    ) -> Speech:
        """Speak to someone, by id or name, and hear the answer.

        `backend` names the model to ask first, "" the usual one; `cache` says whether a kept answer
        will do ("use"), only a new one is kept ("refresh"), or neither ("off").

        Raises `RequestFailed` unknown_entity for a name that nobody in sight has.
        """
        wanted = {"backend": backend} if backend else {}
        if cache != "use":
            wanted["cache"] = cache
        return Speech(self, self.find(to).id if isinstance(to, str) else to, text, wanted)

    async def move(self, x: int, y: int) -> m.Committed:
        """Walk towards a point, in units of 1/256 tile."""
        return await self._commit("move", {"x": x, "y": y})

    async def approach(
        self, to: int | str, within: int = SPEAKING_DISTANCE, give_up_s: float = 120.0
    ) -> Entity:
        """Walk until someone in sight, named or by id, is `within` units, following where they go.

        Raises `RequestFailed`: unknown_entity when nobody in sight is meant or one of the two is
        gone, out_of_range when the way is not done in `give_up_s` seconds.
        """
        listener = self.find(to).id if isinstance(to, str) else to
        loop = asyncio.get_running_loop()
        until = loop.time() + give_up_s
        while True:
            own, other = self.world.entities.get(self.entity), self.world.entities.get(listener)
            if own is None or other is None:
                raise RequestFailed("unknown_entity", "one of the two is out of sight")
            if (own.x - other.x) ** 2 + (own.y - other.y) ** 2 <= within**2:
                return other
            if loop.time() > until:
                raise RequestFailed("out_of_range", f"{other.name or listener} was not reached")
            await self.move(other.x, other.y)
            await asyncio.sleep(_LOOK_S)

    async def attack(self, target: int) -> m.Committed:
        """Strike."""
        return await self._commit("attack", {"target": target})

    async def use(self, target: int) -> m.Committed:
        """Use a thing."""
        return await self._commit("use", {"target": target})

    async def act(self, action: str, **body: Any) -> m.Committed:
        """Do anything of the vocabulary in `welcome.world.actions`."""
        return await self._commit("act", {"action": action, "body": body})

    async def inspect(self, entity: int) -> m.EntityPanel:
        """The public panel of an entity."""
        return await self._ask(m.EntityPanel, "inspect", {"entity": entity})

    async def content(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run the content pipeline; the `ContentResponse` as plain values."""
        return await self.link.exchange(Pending("content", dict(request)))

    async def ping(self) -> m.Pong:
        """The server's tick and time."""
        return await self._ask(m.Pong, "ping", {})

    async def events(self) -> AsyncIterator[m.EventBody]:
        """What happens, in order, each once. The oldest are dropped (counted) if nobody takes them."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self.link.over is not None:
                raise self.link.over
            self._event_came.clear()
            await self._event_came.wait()

    def on_event(self, listener: Callable[[m.EventBody], None]) -> None:
        """Call `listener` with each event as it arrives, beside `events`."""
        self._listeners.append(listener)

    def find(self, name: str) -> Entity:
        """Who in sight has this name: exactly, or at its beginning, whatever the case.

        Raises `RequestFailed` unknown_entity when nobody or several do.
        """
        wanted = name.casefold()
        named = [entity for entity in self.world.entities.values() if entity.name]
        exact = [entity for entity in named if entity.name.casefold() == wanted]
        found = exact or [entity for entity in named if entity.name.casefold().startswith(wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            raise RequestFailed(
                "unknown_entity", f"several are called {name!r}", "give the whole name, or the id"
            )
        near = difflib.get_close_matches(name, [entity.name for entity in named], 3, 0.4)
        raise RequestFailed(
            "unknown_entity",
            f"nobody in sight is called {name!r}",
            f"did you mean {' or '.join(near)}?" if near else "go and look for them",
        )

    async def _ask(self, model: type[Model], t: str, d: dict[str, Any]) -> Model:
        return read(model, await self.link.exchange(Pending(t, d)))

    async def _commit(self, t: str, d: dict[str, Any]) -> m.Committed:
        return await self._ask(m.Committed, t, {**d, "key": self.new_key()})

    def _take(self, t: str, d: dict[str, Any]) -> None:
        if t == "snapshot":
            self.world.snapshot(d)
            self._synced.set()
        elif t == "delta":
            self.world.delta(d)
        elif t == "tiles":
            self.world.patch(d)
        elif t == "event":
            self._happened(read(m.EventBody, d))

    def _happened(self, event: m.EventBody) -> None:
        if len(self._events) >= MAX_EVENTS:
            self._events.popleft()
            self.events_dropped += 1
        self._events.append(event)
        self._event_came.set()
        for listener in self._listeners:
            listener(event)

    def _ended(self) -> None:
        self._event_came.set()


def _retrieve(task: asyncio.Task[m.Done]) -> None:
    """Mark a failed answer as seen, so that dropping it isn't reported as a lost exception."""
    if not task.cancelled():
        task.exception()
