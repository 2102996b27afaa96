"""A client's link to the bridge: hello, requests and answers, resume after a lost socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from websockets.typing import Subprotocol

from engine_bridge import messages as m
from engine_bridge.codec import Codec, codecs
from engine_bridge.errors import (
    CLOSE_MEANINGS,
    CantConnect,
    ClientError,
    CloseCode,
    ConnectionLost,
    ProtocolError,
    RequestFailed,
    SessionLost,
)
from foundation.errors import UsageError
from foundation.strict import StrictModel

SDK: Final = "greenroom-python 1"
MAX_SERVER_FRAME: Final = 64 * 1024 * 1024
_ACK_EVERY: Final = 16
_ACK_S: Final = 0.25
_BACKOFF_S: Final = (0.1, 5.0)
_FINAL_CODES: Final = frozenset(
    {CloseCode.PROTOCOL, CloseCode.VERSION, CloseCode.TOO_LARGE, CloseCode.REPLACED, CloseCode.AUTH}
)
_KEYED: Final = frozenset(t for t, kind in m.CLIENT.items() if "key" in kind.body.model_fields)

Model = TypeVar("Model", bound=StrictModel)


def read(model: type[Model], d: Mapping[str, Any]) -> Model:
    """A body from the server; fields that a newer server adds are passed over."""
    return model.model_validate(d, extra="ignore")


class Pending:
    """A request that waits for its final answer."""

    def __init__(self, t: str, d: dict[str, Any]) -> None:
        self.t = t
        self.d = d
        self.answer: asyncio.Future[tuple[str, dict[str, Any]]] = (
            asyncio.get_running_loop().create_future()
        )
        self.pieces: asyncio.Queue[str] = asyncio.Queue()
        self.progress: list[m.Progress] = []
        self._given = 0
        self._heard = ""

    def sent_again(self) -> None:
        """The request goes out anew: an answer under way will be told from its beginning."""
        self._heard = ""

    def piece(self, text: str) -> None:
        """Take a piece of speech, giving out only what was not given out before."""
        self._heard += text
        if len(self._heard) > self._given:
            self.pieces.put_nowait(self._heard[self._given :])
            self._given = len(self._heard)

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            # Whoever asked may have stopped waiting; that is no fault to be logged.
            self.answer.exception()


class Link:
    """One session with a server, over as many sockets as it takes.

    `on_push(t, d)` hears everything that answers no request: events and tiles once each and in
    order, snapshots, deltas. `on_end` is called once, when no answer and no push will come any more.
    """

    def __init__(
        self,
        url: str,
        *,
        game: str,
        token: str | None,
        encoding: str,
        give_up_s: float,
        open_s: float,
        on_push: Callable[[str, dict[str, Any]], None],
        on_end: Callable[[], None],
    ) -> None:
        subprotocol = f"greenroom.v1.{encoding}"
        found = codecs(MAX_SERVER_FRAME, 64).get(subprotocol)
        if found is None:
            raise UsageError(f"no encoding is called {encoding!r}", "msgpack or json")
        self._codec: Codec = found
        self._url = url
        self._game = game
        self._token = token
        self._give_up_s = give_up_s
        self._open_s = open_s
        self._on_push = on_push
        self._on_end = on_end
        self.welcome: m.Welcome
        self.over: ClientError | None = None
        self.reconnects = 0
        self._ids = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._unsent: list[Pending] = []
        self._resume_token = ""
        self._last_seq = 0
        self._acked = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._socket: ClientConnection | None = None
        self._ready = asyncio.Event()
        self._runner: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    async def open(self) -> m.Welcome:
        """Open the socket and say hello. Raises `CantConnect` or `RequestFailed`."""
        socket = await self._open()
        self._socket = socket
        self._resume_token = self.welcome.resume_token
        self._runner = asyncio.get_running_loop().create_task(self._run(socket))
        return self.welcome

    async def close(self) -> None:
        """Close the connection. Idempotent."""
        self._end(ConnectionLost("this client was closed"))
        if self._socket is not None:
            await self._socket.close()
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})

    def drop_socket(self) -> None:
        """Cut the socket as a broken network would; the link takes the session up again."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def exchange(self, pending: Pending) -> dict[str, Any]:
        """Send a request and wait for its final answer. Raises `ClientError` of one kind or another."""
        if self.over is not None:
            raise self.over
        if self._ready.is_set():
            await self._post(pending)
        else:
            self._unsent.append(pending)
        t, d = await pending.answer
        if t != "error":
            return d
        raise RequestFailed(d["code"], d["message"], d["hint"], d["retryable"], d["retry_after_ms"])

    async def withdraw(self, pending: Pending) -> None:
        """Cancel a request under way; it then fails with `RequestFailed` cancelled."""
        for number, waiting in self._pending.items():
            if waiting is pending:
                await self.exchange(Pending("cancel", {"id": number}))
                return
        if pending in self._unsent:
            self._unsent.remove(pending)
            pending.fail(RequestFailed("cancelled", "the request was withdrawn"))

    async def until(self, event: asyncio.Event) -> None:
        """Wait for an event; raises what ended the link if that comes first."""
        waiter = asyncio.ensure_future(event.wait())
        waits: set[asyncio.Future[Any]] = {waiter}
        if self._runner is not None:
            waits.add(self._runner)
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiter.cancel()
        if not event.is_set():
            raise self.over or ConnectionLost("the connection ended")

    async def _post(self, pending: Pending) -> None:
        number = next(self._ids)
        self._pending[number] = pending
        pending.sent_again()
        await self._put({"t": pending.t, "id": number, "d": pending.d})

    async def _put(self, message: dict[str, Any]) -> None:
        # A socket that is gone is noticed by the reader, which asks again what can be asked again.
        if self._socket is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(self._codec.encode(message))

    # ------------------------------------------------------------ the connection

    async def _open(self) -> ClientConnection:
        """A socket on which hello was answered."""
        host = urlsplit(self._url).hostname or ""
        local = host in ("localhost", "::1") or host.startswith("127.")
        try:
            socket = await connect(
                self._url,
                subprotocols=[Subprotocol(self._codec.subprotocol)],
                compression=None,
                max_size=MAX_SERVER_FRAME,
                open_timeout=self._open_s,
                proxy=None if local else True,
            )
        except (OSError, InvalidHandshake, InvalidURI, TimeoutError) as error:
            raise CantConnect(
                f"no Greenroom answers at {self._url}: {error}", "start one: greenroom demo"
            ) from error
        try:
            self.welcome = await self._greet(socket)
        except BaseException:
            await socket.close()
            raise
        return socket

    async def _greet(self, socket: ClientConnection) -> m.Welcome:
        hello = m.Hello(client=self._game, sdk=SDK, features=["resume"], token=self._token)
        number = next(self._ids)
        message = {"t": "hello", "id": number, "d": m.body(hello)}
        try:
            await socket.send(self._codec.encode(message))
            answer = self._codec.decode(await asyncio.wait_for(socket.recv(), self._open_s))
        except ConnectionClosed as error:
            raise self._lost(error) from error
        except (TimeoutError, ProtocolError) as error:
            raise CantConnect(f"{self._url} does not answer hello: {error}") from error
        if answer.get("t") == "error":
            d = answer["d"]
            raise RequestFailed(d["code"], d["message"], d["hint"], d["retryable"])
        if answer.get("t") != "welcome":
            raise CantConnect(f"{self._url} does not speak this protocol")
        return read(m.Welcome, answer["d"])

    async def _run(self, socket: ClientConnection) -> None:
        """Read until the client is closed; take a lost socket up again."""
        try:
            await self._started(socket)
            while True:
                lost = await self._read_all(socket)
                self._ready.clear()
                self._socket = None
                if self.over is not None:
                    return
                if lost.close_code in _FINAL_CODES:
                    raise lost
                socket = await self._reconnect(lost)
        except ClientError as error:
            self._end(error)
        except Exception as error:
            self._end(ClientError(f"the client failed: {error!r}"))
            raise

    async def _read_all(self, socket: ClientConnection) -> ConnectionLost:
        try:
            while True:
                self._take(self._codec.decode(await socket.recv()))
        except ConnectionClosed as error:
            return self._lost(error)

    async def _reconnect(self, lost: ConnectionLost) -> ClientConnection:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._give_up_s
        delay, longest = _BACKOFF_S
        kept = [p for p in self._pending.values() if p.t in _KEYED]
        for pending in self._pending.values():
            if pending not in kept:
                pending.fail(lost)
        self._pending.clear()
        self._unsent = kept + self._unsent
        while True:
            if loop.time() >= until:
                raise lost
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))
            delay = min(longest, delay * 2)
            try:
                socket = await self._open()
            except (CantConnect, ConnectionLost):
                continue
            except RequestFailed as error:
                if error.retryable:
                    continue
                raise
            self.reconnects += 1
            try:
                await self._resume(socket)
            except ConnectionClosed:
                continue
            except BaseException:
                socket.transport.abort()
                raise
            return socket

    async def _resume(self, socket: ClientConnection) -> None:
        """Take the session up on a new socket, then ask again what has no answer yet."""
        number = next(self._ids)
        d = {"token": self._resume_token, "last_seq": self._last_seq}
        await socket.send(self._codec.encode({"t": "resume", "id": number, "d": d}))
        while True:
            answer = self._codec.decode(await socket.recv())
            if answer.get("re") == number:
                break
        if answer["t"] == "error":
            raise SessionLost(
                f"the server no longer knows this session: {answer['d']['message']}",
                "connect and join again",
            )
        self._acked = self._last_seq
        await self._started(socket)

    async def _started(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ready.set()
        unsent, self._unsent = self._unsent, []
        for pending in unsent:
            if not pending.answer.done():
                await self._post(pending)

    def _lost(self, error: ConnectionClosed) -> ConnectionLost:
        code = error.rcvd.code if error.rcvd is not None else None
        reason = error.rcvd.reason if error.rcvd is not None else "the socket broke"
        meaning = CLOSE_MEANINGS.get(CloseCode(code), "") if code in set(CloseCode) else ""
        return ConnectionLost(f"the connection ended: {reason or code}", meaning, code)

    def _end(self, error: ClientError) -> None:
        """No answer will come any more."""
        if self.over is not None:
            return
        self.over = error
        for pending in (*self._pending.values(), *self._unsent):
            pending.fail(error)
        self._pending.clear()
        self._unsent.clear()
        if self._ack_timer is not None:
            self._ack_timer.cancel()
        self._on_end()

    # ------------------------------------------------------------ what arrives

    def _take(self, message: dict[str, Any]) -> None:
        t, d = message.get("t"), message.get("d", {})
        if "re" in message:
            self._reply(t, message["re"], d)
        elif "seq" in message and isinstance(t, str):
            self._reliable(t, message["seq"], d)
        elif isinstance(t, str):
            self._on_push(t, d)

    def _reply(self, t: Any, re: int, d: dict[str, Any]) -> None:
        pending = self._pending.get(re)
        if pending is None:
            return
        if t == "speech":
            pending.piece(d["text"])
        elif t == "progress":
            pending.progress.append(read(m.Progress, d))
        else:
            del self._pending[re]
            if not pending.answer.done():
                pending.answer.set_result((t, d))

    def _reliable(self, t: str, seq: int, d: dict[str, Any]) -> None:
        if seq <= self._last_seq:
            return
        self._last_seq = seq
        self._on_push(t, d)
        if seq - self._acked >= _ACK_EVERY:
            self._send_ack()
        elif self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(_ACK_S, self._send_ack)

    def _send_ack(self) -> None:
        if self._ack_timer is not None:
            self._ack_timer.cancel()
            self._ack_timer = None
        if self._last_seq > self._acked and self.over is None:
            self._acked = self._last_seq
            task = asyncio.get_running_loop().create_task(
                self._put({"t": "ack", "d": {"seq": self._acked}})
            )
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
