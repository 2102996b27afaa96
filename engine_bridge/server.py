"""The bridge: a thread with a loop of its own that serves the game socket and the HTTP pages."""

from __future__ import annotations

import asyncio
import http
import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from engine_bridge import near
from engine_bridge.broadcast import Broadcast
from engine_bridge.codec import codecs
from engine_bridge.errors import BridgeError, CloseCode, address_error
from engine_bridge.feed import Feed
from engine_bridge.gateway import Gateway
from engine_bridge.http import HttpServer
from engine_bridge.interest import WIRE
from engine_bridge.ladder import NoLadder, Switchboard
from engine_bridge.metrics import BridgeMetrics
from engine_bridge.origins import host_allowed, origin_allowed
from engine_bridge.peer import SocketPeer
from engine_bridge.saves import NoSaves, Saves
from engine_bridge.sessions import Sessions
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Stage

log = logging.getLogger("greenroom.bridge")

_START_S = 30.0
_PATHS = ("/", "/ws")
# Beyond max_clients, for those who are about to say hello or to resume.
_SPARE_SOCKETS = 32
# Above our own limit, so that a frame a little too large gets our close code and its reason.
_LIBRARY_FRAMES = 4


class Bridge:
    """Serves a stage to game engines and people.

    `start` returns once both ports listen and raises `AddressInUse` or `BridgeError` if they
    can't; `stop` closes every connection (4007) and returns when the thread is gone. Both may be
    called from any thread, `start` once. `models` lets administration change the ladder of models, `saves`
    keep and load the world; whoever gives them ends what they are busy with before `stop`, which waits.
    """

    def __init__(
        self,
        stage: Stage,
        settings: BridgeSettings | None = None,
        models: Switchboard | None = None,
        saves: Saves | None = None,
    ) -> None:
        self.settings = settings if settings is not None else BridgeSettings()
        self.metrics = BridgeMetrics()
        self.stage = stage
        self.models: Switchboard = models if models is not None else NoLadder()
        self.saves: Saves = saves if saves is not None else NoSaves()
        self.sessions = Sessions(self.settings)
        self.feed = Feed(stage, self._wake)
        self.broadcast = Broadcast(self.feed, self.settings.quiet_ticks, stage.give_way)
        self.gateway: Gateway
        self._codecs = codecs(self.settings.max_frame, self.settings.max_depth)
        self._peers: set[SocketPeer] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._up = threading.Event()
        self._failure: BaseException | None = None
        self._stop: asyncio.Event | None = None
        self._port = 0
        self._http_port: int | None = None

    # ------------------------------------------------------------ from any thread

    def start(self) -> None:
        """Listen. Returns when clients can connect."""
        if self._thread is not None:
            raise BridgeError("the bridge was started before", "make a new Bridge")
        near.rehearse(WIRE.values())
        self._thread = threading.Thread(target=self._run, name="greenroom-bridge", daemon=True)
        self._thread.start()
        if not self._up.wait(_START_S):
            raise BridgeError(f"the bridge did not come up within {_START_S:.0f} s")
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """Close every connection and both ports; returns when all is closed. Idempotent."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if thread is None:
            return
        if loop is not None and stop is not None and not loop.is_closed():
            self._hop(stop.set)
        thread.join()

    def loaded(self, players: Mapping[int, str]) -> None:
        """Another state was loaded, with these players' bodies in it: ids and names.

        A session keeps its body where it is among them; the others' are taken out of the world.
        """
        self._hop(lambda: self.gateway.loaded(players))

    @property
    def address(self) -> str:
        """Where game clients connect: `ws://host:port`."""
        return f"ws://{_bracketed(self.settings.host)}:{self._port}"

    @property
    def http_address(self) -> str | None:
        """Where the pages are: `http://host:port`; None without them."""
        if self._http_port is None:
            return None
        return f"http://{_bracketed(self.settings.host)}:{self._http_port}"

    def status(self) -> Mapping[str, Any]:
        """Plain values about the bridge, for operators."""
        return {
            "address": self.address,
            "port": self._port,
            "http_port": self._http_port,
            "subprotocols": list(self._codecs),
            "connections": len(self._peers),
            "sessions": len(self.sessions),
            "tick": self.feed.tick,
            "events_dropped": self.feed.dropped,
        }

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_new_loop()) as runner:
                runner.run(self._main())
        except BaseException as error:
            self._failure = error
            if self._up.is_set():
                log.exception("the bridge ended")
        finally:
            self._up.set()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._stop = asyncio.Event()
        self.gateway = Gateway(
            self.stage,
            self.sessions,
            self.feed,
            self.settings,
            clock=loop.time,
            wall_ms=lambda: time.time_ns() // 1_000_000,
            hop=self._hop,
            admit=self.models.admit,
        )
        server = await self._listen()
        pages = HttpServer(self)
        sweeper = loop.create_task(self._sweep())
        try:
            if self.settings.http_port is not None:
                self._http_port = await pages.start(self.settings.host, self.settings.http_port)
            self.feed.start()
            log.info("game clients: %s, pages: %s", self.address, self.http_address)
            self._up.set()
            await self._stop.wait()
        finally:
            self.feed.stop()
            sweeper.cancel()
            await self._close(server)
            await pages.stop()
            self.gateway.end_all()

    async def _listen(self) -> Server:
        settings = self.settings
        server = serve(
            self._serve,
            settings.host,
            settings.port,
            select_subprotocol=self._choose,
            compression=None,
            process_request=self._admit,
            server_header=None,
            open_timeout=settings.hello_s,
            ping_interval=None,
            close_timeout=settings.close_s,
            max_size=settings.max_frame * _LIBRARY_FRAMES,
            max_queue=16,
            logger=_quiet_logger(),
        )
        try:
            await server
        except OSError as error:
            raise address_error(error, settings.host, settings.port) from error
        self._port = server.sockets[0].getsockname()[1]
        return server

    async def _close(self, server: Server) -> None:
        server.close(close_connections=False)
        for peer in self._peers:
            peer.close(CloseCode.GOING_DOWN, "the server is shutting down")
        # A socket still in its handshake is refused by the library, now that it isn't serving.
        await server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        codec = self._codecs.get(socket.subprotocol or "")
        if codec is None:
            self.metrics.closes.labels(str(int(CloseCode.VERSION))).inc()
            await socket.close(CloseCode.VERSION, f"offer {' or '.join(self._codecs)}")
            return
        if len(self._peers) >= self.settings.max_clients + _SPARE_SOCKETS:
            self.metrics.closes.labels(str(int(CloseCode.FULL))).inc()
            await socket.close(CloseCode.FULL, "this server takes no more sockets")
            return
        _shrink_send_buffer(socket, self.settings.send_buffer)
        peer = SocketPeer(socket, codec, self)
        self._peers.add(peer)
        self.metrics.connections.set(len(self._peers))
        try:
            if self._stop is not None and self._stop.is_set():
                peer.close(CloseCode.GOING_DOWN, "the server is shutting down")
            await peer.run()
        finally:
            self._peers.discard(peer)
            self.metrics.connections.set(len(self._peers))

    def _choose(
        self, socket: ServerConnection, offered: Sequence[Subprotocol]
    ) -> Subprotocol | None:
        for ours in self._codecs:
            if ours in offered:
                return Subprotocol(ours)
        # Agreeing to a version not spoken here lets the close that follows tell which ones are;
        # a browser shows no reason for a handshake that was refused.
        return offered[0] if offered else None

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        hosts = request.headers.get_all("Host")
        origins = request.headers.get_all("Origin")
        host = hosts[0] if len(hosts) == 1 else None
        if not host_allowed(host, self.settings):
            return socket.respond(http.HTTPStatus.FORBIDDEN, "This name is not in allowed_hosts.\n")
        if len(origins) > 1 or not origin_allowed(
            origins[0] if origins else None, host, self.settings
        ):
            return socket.respond(
                http.HTTPStatus.FORBIDDEN, "This origin is not in allowed_origins.\n"
            )
        if request.path.split("?")[0] not in _PATHS:
            return socket.respond(http.HTTPStatus.NOT_FOUND, "The game socket is at /.\n")
        return None

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(1.0, max(0.02, self.settings.resume_s / 4)))
            self.gateway.expire()
            self.metrics.sessions.set(len(self.sessions))

    # ------------------------------------------------------------ between threads

    def _hop(self, function: Callable[..., None], *args: object) -> None:
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            # The loop closed between the stage's answer and now: there is nobody left to tell.
            log.debug("an answer came after the bridge closed")

    def _wake(self) -> None:
        self._hop(self._collect)

    def _collect(self) -> None:
        batch = self.feed.collect()
        if batch is not None:
            self.broadcast.publish(batch, self.sessions)
            self.metrics.dropped.set(self.feed.dropped)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform != "win32":
        try:
            import uvloop
        except ImportError:
            log.info("uvloop is not installed; the standard event loop serves")
        else:
            factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
            return factory
    return asyncio.new_event_loop


def _shrink_send_buffer(socket: ServerConnection, size: int) -> None:
    """A kernel that queues megabytes would hide a slow client and make its state old."""
    import socket as sockets

    raw = socket.transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, size)


def _quiet_logger() -> logging.Logger:
    """The library's own log: what strangers send to an open port is no error of ours."""
    logger = logging.getLogger("greenroom.bridge.websockets")
    logger.setLevel(logging.CRITICAL)
    return logger
