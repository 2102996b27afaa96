"""One socket: reads frames into the connection core, writes what waits, newest state last."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import Any, Final, Protocol

from websockets.asyncio.server import ServerConnection, broadcast
from websockets.exceptions import ConnectionClosed

from engine_bridge.broadcast import Broadcast
from engine_bridge.codec import Codec
from engine_bridge.errors import CloseCode
from engine_bridge.feed import Feed
from engine_bridge.gateway import Gateway
from engine_bridge.metrics import BridgeMetrics
from engine_bridge.protocol import (
    Close,
    Connection,
    Effect,
    Handle,
    Probe,
    Send,
    error_message,
    short_reason,
)
from engine_bridge.sessions import Session
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Stage

log = logging.getLogger("greenroom.bridge")

AT_ONCE: Final = 8 * 1024
"""Bytes that wait in a socket's buffer while more is written to it at once; beyond, its client is waited for."""


class Hall(Protocol):
    """What all sockets of a bridge share."""

    @property
    def settings(self) -> BridgeSettings: ...

    @property
    def metrics(self) -> BridgeMetrics: ...

    @property
    def gateway(self) -> Gateway: ...

    @property
    def broadcast(self) -> Broadcast: ...

    @property
    def feed(self) -> Feed: ...

    @property
    def stage(self) -> Stage: ...


class SocketPeer:
    """The gateway's client over one WebSocket. Lives on the bridge's loop."""

    def __init__(self, socket: ServerConnection, codec: Codec, hall: Hall) -> None:
        self.session: Session | None = None
        self._socket = socket
        self._codec = codec
        self._hall = hall
        self._loop = asyncio.get_running_loop()
        self._core = Connection(codec, hall.settings, self._loop.time())
        self._outbox: deque[tuple[str, bytes | str]] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._writing = False
        self._state_due = False
        self._closing = False
        self._timer: asyncio.TimerHandle | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closer: asyncio.Task[None] | None = None
        self._probe: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ for the gateway

    def send(self, message: dict[str, Any]) -> None:
        """Queue a message. Too much waiting closes the connection (4004)."""
        if self._closing:
            return
        try:
            frame = self._codec.encode(message)
        except ValueError:
            log.exception("%s can't be sent", message["t"])
            if "re" not in message:
                return
            message = error_message(message["re"], "internal", "the answer can't be sent")
            frame = self._codec.encode(message)
        t = message["t"]
        self._hall.metrics.note(t, message["d"])
        self._outbox.append((t, frame))
        self._waiting_bytes += len(frame)
        settings = self._hall.settings
        if len(self._outbox) > settings.outbox or self._waiting_bytes > settings.outbox_bytes:
            self.close(CloseCode.TOO_SLOW, "the client reads too slowly")
        self._write_at_once()

    def nudge(self) -> None:
        """Newer state can be sent."""
        self._state_due = True
        self._write_at_once()

    def close(self, code: CloseCode, reason: str) -> None:
        """Send what waits and goodbye, then close; at once when the client can't keep up."""
        if self._closing:
            return
        reason = short_reason(reason)
        self._core.refuse(code, reason)
        if code is not CloseCode.TOO_SLOW:
            self.send({"t": "goodbye", "d": {"code": int(code), "reason": reason}})
        self._closing = True
        self._hall.metrics.closes.labels(str(int(code))).inc()
        self._closer = self._loop.create_task(self._shut(code, reason))

    def welcome(self) -> None:
        """Hello was answered: the connection is ready."""
        self._core.accept(self._loop.time())
        self._arm()

    # ------------------------------------------------------------ for the server

    async def run(self) -> None:
        """Serve the socket until it ends."""
        self._writer = self._loop.create_task(self._write())
        self._arm()
        metrics = self._hall.metrics
        try:
            async for frame in self._socket:
                metrics.frames_in.inc()
                metrics.bytes_in.inc(len(frame))
                self._hall.stage.give_way()
                self._apply(self._core.receive(frame, self._loop.time()))
        except ConnectionClosed:
            pass
        finally:
            self._hall.gateway.lost(self)
            await self._end()

    async def closed(self) -> None:
        """Wait until a close that was asked for is done."""
        if self._closer is not None:
            await asyncio.wait({self._closer})

    def _apply(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send(message):
                    self.send(message)
                case Handle(request):
                    self._hall.gateway.handle(self, request)
                case Probe():
                    self._start_probe()
                case Close(code, reason):
                    self.close(code, reason)

    def _arm(self) -> None:
        """Set the timer to the core's next deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._core.deadline()
        if due != float("inf"):
            self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._core.tick = self._hall.feed.tick
        self._apply(self._core.poll(self._loop.time()))
        self._arm()

    def _write_at_once(self) -> None:
        """Send what waits as long as the socket takes it; the writer's task goes on where it doesn't.

        To wake a task for each message takes longer than to write it.
        """
        transport = self._socket.transport
        while not self._writing and transport.get_write_buffer_size() <= AT_ONCE:
            frame = self._next()
            if frame is None:
                return
            broadcast((self._socket,), frame)
        self._wake.set()

    async def _write(self) -> None:
        """Send what could not be sent at once, waiting for the socket."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._writing = True
                while (frame := self._next()) is not None:
                    await self._socket.send(frame)
                self._writing = False
                if self._closing:
                    return

    def _next(self) -> bytes | str | None:
        """The next frame to be sent: what waits, then the newest state; None when there is nothing."""
        if self._outbox:
            t, frame = self._outbox.popleft()
            self._waiting_bytes -= len(frame)
        elif self._state_due and self.session is not None and not self._closing:
            self._state_due = False
            message = self._hall.broadcast.state(self.session)
            if message is None:
                return None
            t, frame = message["t"], self._codec.encode(message)
        else:
            return None
        self._hall.metrics.sent(t, len(frame))
        return frame

    async def _shut(self, code: CloseCode, reason: str) -> None:
        self._wake.set()
        if self._writer is not None:
            timeout = 0.0 if code is CloseCode.TOO_SLOW else self._hall.settings.close_s
            await asyncio.wait({self._writer}, timeout=timeout)
            self._writer.cancel()
        try:
            # The library waits without a bound for a socket whose buffer is full.
            await asyncio.wait_for(self._socket.close(code, reason), self._hall.settings.close_s)
        except TimeoutError:
            self._socket.transport.abort()

    def _start_probe(self) -> None:
        if self._probe is None or self._probe.done():
            self._probe = self._loop.create_task(self._ping())

    async def _ping(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            await (await self._socket.ping())
            self._core.alive(self._loop.time())

    async def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._closing = True
        tasks = [task for task in (self._writer, self._probe) if task is not None]
        for task in tasks:
            task.cancel()
        if self._closer is not None:
            tasks.append(self._closer)
        if tasks:
            await asyncio.wait(tasks)
        self._outbox.clear()
