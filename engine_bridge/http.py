"""The HTTP side: the dashboard's files, health, metrics, pages for tools, and administration."""

from __future__ import annotations

import asyncio
import hmac
import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.inspection import MOST_ROWS, Sort
from engine_bridge.errors import ERROR_MEANINGS, address_error
from engine_bridge.feed import Feed
from engine_bridge.gateway import Gateway
from engine_bridge.ladder import Switchboard, add_ladder
from engine_bridge.metrics import BridgeMetrics, StatusCollector
from engine_bridge.origins import host_allowed, hostname, origin_allowed
from engine_bridge.saves import Saves, add_saves
from engine_bridge.sessions import Sessions
from engine_bridge.settings import BridgeSettings
from engine_bridge.stage import Stage
from engine_bridge.visits import add_requests

log = logging.getLogger("greenroom.bridge")

DASHBOARD: Final = Path(__file__).parent / "dashboard"
_ANSWER_S: Final = 5.0
_MOST_REQUESTS: Final = 256
_GUARDED: Final = ("/api/", "/metrics")


class House(Protocol):
    """What the pages show: the bridge, as far as they need it."""

    @property
    def settings(self) -> BridgeSettings: ...

    @property
    def stage(self) -> Stage: ...

    @property
    def feed(self) -> Feed: ...

    @property
    def gateway(self) -> Gateway: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def metrics(self) -> BridgeMetrics: ...

    @property
    def models(self) -> Switchboard: ...

    @property
    def saves(self) -> Saves: ...

    def status(self) -> Mapping[str, Any]: ...


def create_app(house: House) -> FastAPI:
    """The application, made on the bridge's loop. All handlers run there and never block it."""
    app = FastAPI(title="Greenroom", docs_url=None, redoc_url=None, openapi_url="/api/openapi.json")
    stage = house.stage
    numbers = CollectorRegistry()
    numbers.register(StatusCollector(stage.status))

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "live"}

    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        """The world runs and its models are as ready as they will be; 503 until then."""
        state = stage.status()
        missing = [] if state.get("ready") else ["stage"]
        if house.feed.view is None:
            missing.append("world")
        return JSONResponse(
            {"status": "ready" if not missing else "starting", "waiting_for": missing},
            status_code=503 if missing else 200,
        )

    @app.get("/metrics")
    async def metrics() -> Response:
        """Everything countable, for Prometheus."""
        parts = (REGISTRY, house.metrics.registry, numbers)
        text = b"".join(generate_latest(registry) for registry in parts)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @app.get("/api/status")
    async def status() -> dict[str, Any]:
        """How the server is."""
        return {**stage.status(), "bridge": dict(house.status())}

    @app.get("/api/actors")
    async def actors(
        sort: Sort = "rate", limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50
    ) -> dict[str, Any]:
        """The kinds of actors, and the busiest actors, one row each."""
        return dict(stage.inspect(sort, limit))

    @app.get("/api/world")
    async def world() -> dict[str, Any]:
        """What world this is and how far it has come."""
        feed = house.feed
        return {
            **house.gateway.facts().model_dump(),
            "epoch": feed.epoch,
            "tick": feed.tick,
            "time": feed.view.time if feed.view is not None else "",
            "entities": len(feed.view) if feed.view is not None else 0,
        }

    @app.get("/api/entities/{entity}")
    async def entity(entity: int) -> JSONResponse:
        """The public panel of one entity."""
        try:
            panel = await _situation(stage, entity)
        except TimeoutError:
            return _error(504, "no_answer", f"no answer within {_ANSWER_S:g} s")
        if panel is None:
            return _error(404, "unknown_entity", f"there is no entity {entity}")
        return JSONResponse({**panel, "entity": entity})

    add_requests(app, house)
    add_ladder(app, house.models, house.settings.max_frame)
    add_saves(app, house.saves, house.settings.max_frame)
    if DASHBOARD.is_dir():
        app.mount("/", StaticFiles(directory=DASHBOARD, html=True), name="dashboard")
    app.add_middleware(Guard, house=house)
    return app


async def _situation(stage: Stage, entity: int) -> Mapping[str, Any] | None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Mapping[str, Any] | None] = loop.create_future()

    def settle(panel: Mapping[str, Any] | None) -> None:
        if not answer.done():
            answer.set_result(panel)

    def arrived(panel: Mapping[str, Any] | None) -> None:
        loop.call_soon_threadsafe(settle, panel)

    stage.situation(entity, arrived)
    async with asyncio.timeout(_ANSWER_S):
        return await answer


def _error(status: int, code: str, message: str) -> JSONResponse:
    hint = ERROR_MEANINGS.get(code, "")
    return JSONResponse({"code": code, "message": message, "hint": hint}, status_code=status)


class Guard:
    """Refuses foreign hosts, origins and missing tokens; sets strict headers on every answer."""

    def __init__(self, app: ASGIApp, house: House) -> None:
        self._app = app
        self._house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._harden(MutableHeaders(scope=message), scope["path"], headers.get("host"))
            await send(message)

        refusal = self._refusal(Request(scope), headers)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, request: Request, headers: Headers) -> JSONResponse | None:
        settings = self._house.settings
        host = headers.get("host")
        if not host_allowed(host, settings):
            return _error(403, "unauthorised", "this name is not in allowed_hosts")
        if not origin_allowed(headers.get("origin"), host, settings):
            return _error(403, "unauthorised", "this origin is not in allowed_origins")
        if settings.token is not None and request.url.path.startswith(_GUARDED):
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(
                given.encode(), settings.token.encode()
            ):
                return _error(401, "unauthorised", "send the token as Authorization: Bearer")
        return None

    def _harden(self, headers: MutableHeaders, path: str, host: str | None) -> None:
        name = hostname(host) if host else None
        port = self._house.status()["port"]
        shown = f"[{name}]" if name and ":" in name else name
        sockets = f" ws://{shown}:{port} wss://{shown}:{port}" if name else ""
        headers["Content-Security-Policy"] = (
            f"default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data:; "
            "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        headers["X-Content-Type-Options"] = "nosniff"
        headers["X-Frame-Options"] = "DENY"
        headers["Referrer-Policy"] = "no-referrer"
        headers["Cross-Origin-Opener-Policy"] = "same-origin"
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        headers["Cache-Control"] = "no-store" if path.startswith(_GUARDED) else "no-cache"


class HttpServer:
    """uvicorn on the bridge's loop."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen and serve; returns the port. Raises `AddressInUse` or `BridgeError`."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            listener = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise address_error(error, host, port) from error
        config = uvicorn.Config(
            create_app(self._house),
            lifespan="off",
            ws="none",
            log_config=None,
            log_level=logging.WARNING,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=2,
            limit_concurrency=_MOST_REQUESTS,
        )
        self._server = uvicorn.Server(config)
        self._task = asyncio.get_running_loop().create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.01)
        if self._task.done():
            await self._task
        return int(listener.getsockname()[1])

    async def stop(self) -> None:
        """Finish what is being answered and close."""
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await asyncio.wait({self._task})
