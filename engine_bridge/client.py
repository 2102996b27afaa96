"""The client for plain scripts, `Client`; beside it `AsyncClient`, which it runs on a thread.

Ten lines to a talking NPC::

    from engine_bridge.client import Client

    with Client("ws://127.0.0.1:8765") as client:
        client.join("Ann")
        client.approach("Marta Kell")
        answer = client.say("Marta Kell", "Is there a room for tonight?")
        for piece in answer:
            print(piece, end="", flush=True)
        print(f"  [{answer.result.source}]")
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from engine_bridge import messages as m
from engine_bridge.async_client import AsyncClient, Speech
from engine_bridge.errors import ConnectionLost
from engine_bridge.mirror import Entity
from models.request import CacheUse

__all__ = ["Answer", "AsyncClient", "Client", "Speech"]

T = TypeVar("T")


class Answer:
    """An answer being spoken, for plain scripts: iterate over its pieces; `result` is the whole."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any], speech: Speech) -> None:
        self._run = run
        self._speech = speech
        self._pieces = speech.__aiter__()

    def __iter__(self) -> Iterator[str]:
        while True:
            piece = self._run(_next(self._pieces))
            if piece is None:
                return
            yield piece

    @property
    def result(self) -> m.Done:
        """The whole answer; waits for it."""
        done: m.Done = self._run(self._speech.done())
        return done

    def cancel(self) -> None:
        """Withdraw the line."""
        self._run(self._speech.cancel())


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


class Client:
    """`AsyncClient` for plain scripts: the same calls, blocking; a thread of its own reads.

    `client.asynchronous` is the client beneath, for its `world` and `welcome`.
    """

    def __init__(self, url: str = "ws://127.0.0.1:8765", **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="greenroom-client", daemon=True
        )
        self._thread.start()
        self._closed = False
        try:
            self.asynchronous = self._run(self._connected(url, options))
        except BaseException:
            self._stop()
            raise

    @staticmethod
    async def _connected(url: str, options: dict[str, Any]) -> AsyncClient:
        client = AsyncClient(url, **options)
        await client.connect()
        return client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if not self._closed:
            self._run(self.asynchronous.close())
            self._stop()

    def _stop(self) -> None:
        self._closed = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            coroutine.close()
            raise ConnectionLost("this client was closed")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @property
    def welcome(self) -> m.Welcome:
        return self.asynchronous.welcome

    def join(self, name: str, watch: bool = True) -> m.Joined:
        """Enter the world."""
        return self._run(self.asynchronous.join(name, watch))

    def leave(self) -> None:
        """Leave the world."""
        self._run(self.asynchronous.leave())

    def watch(self, radius: int | None = None, all: bool = False) -> m.Watching:
        """Mirror what is around, or everything."""
        return self._run(self.asynchronous.watch(radius, all))

    def say(
        self, to: int | str, text: str, *, backend: str = "", cache: CacheUse = "use"
    ) -> Answer:
        """Speak to someone, by id or name; iterate over the answer (see `AsyncClient.say`)."""
        return self._run(self._speak(to, text, backend, cache))

    async def _speak(self, to: int | str, text: str, backend: str, cache: CacheUse) -> Answer:
        return Answer(self._run, self.asynchronous.say(to, text, backend=backend, cache=cache))

    def move(self, x: int, y: int) -> m.Committed:
        """Walk towards a point, in units of 1/256 tile."""
        return self._run(self.asynchronous.move(x, y))

    def approach(self, to: int | str, give_up_s: float = 120.0) -> Entity:
        """Walk until someone in sight is near enough to talk to."""
        return self._run(self.asynchronous.approach(to, give_up_s=give_up_s))

    def attack(self, target: int) -> m.Committed:
        """Strike."""
        return self._run(self.asynchronous.attack(target))

    def use(self, target: int) -> m.Committed:
        """Use a thing."""
        return self._run(self.asynchronous.use(target))

    def act(self, action: str, **body: Any) -> m.Committed:
        """Do anything of the vocabulary."""
        return self._run(self.asynchronous.act(action, **body))

    def inspect(self, entity: int) -> m.EntityPanel:
        """The public panel of an entity."""
        return self._run(self.asynchronous.inspect(entity))

    def entities(self) -> dict[int, Entity]:
        """Everyone in sight now, by id; a copy."""
        return self._run(self._copy())

    async def _copy(self) -> dict[int, Entity]:
        return dict(self.asynchronous.world.entities)

    def events(self) -> Iterator[m.EventBody]:
        """What happens, in order; waits for more. Raises `ConnectionLost` when no more can come."""
        source = self.asynchronous.events()
        while True:
            yield self._run(_next_event(source))


async def _next_event(source: AsyncIterator[m.EventBody]) -> m.EventBody:
    return await anext(source)
