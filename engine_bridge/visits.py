"""The protocol's requests over plain HTTP, for tools that don't speak WebSocket.

`POST /api/request` takes one request as JSON, `{"t": …, "d": …, "session": …}`, checked by the very
models of the socket, and answers with its final reply, or, asked for `text/event-stream`, with
every reply as it comes. The session is made by the first request and lives on between requests
for the resume window.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from engine_bridge.bounds import TokenBucket
from engine_bridge.codec import JsonCodec
from engine_bridge.errors import CloseCode, ProtocolError
from engine_bridge.gateway import Gateway
from engine_bridge.messages import parse_request
from engine_bridge.protocol import error_message
from engine_bridge.sessions import Session, Sessions
from engine_bridge.settings import BridgeSettings

TAKEN: Final = frozenset(
    {"join", "leave", "say", "move", "attack", "use", "act", "inspect", "content", "ping"}
)
"""What can be asked over HTTP: all that needs no open socket."""

MAX_REPLIES: Final = 4096
_UNDERWAY: Final = frozenset({"speech", "progress"})
_STATUS: Final = {
    "unauthorised": 401,
    "unknown_entity": 404,
    "no_such_entity": 404,
    "resume_failed": 404,
    "too_large": 413,
    "rate_limited": 429,
    "internal": 500,
    "busy": 503,
    "retry": 503,
    "no_answer": 504,
}
_REFUSED: Final = frozenset({"bad_message", "unknown_type", "too_deep"})


class Desk(Protocol):
    """The parts of the bridge that carry out requests."""

    @property
    def settings(self) -> BridgeSettings: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def gateway(self) -> Gateway: ...


class Visit:
    """One HTTP request as the gateway's client: its replies wait in a queue."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_REPLIES)

    def send(self, message: dict[str, Any]) -> None:
        """Keep a reply until it is fetched; of too many the oldest makes room."""
        if "re" in message:
            if self.replies.full():
                self.replies.get_nowait()
            self.replies.put_nowait(message)

    def nudge(self) -> None:
        """State is not sent over HTTP."""

    def close(self, code: CloseCode, reason: str) -> None:
        """There is no socket to close."""

    def welcome(self) -> None:
        """There is no hello to answer."""


def add_requests(app: FastAPI, desk: Desk) -> None:
    """Add `POST /api/request` to the application."""
    settings = desk.settings
    codec = JsonCodec(settings.max_frame, settings.max_depth)
    loop_time = asyncio.get_running_loop().time
    bucket = TokenBucket(settings.rate, settings.burst, settings.flood, loop_time())

    @app.post("/api/request")
    async def request(asked: Request) -> Response:
        """One request of the protocol; see docs/protocol.md for what there is to ask."""
        if not bucket.take(1.0, loop_time()):
            wait_ms = round(1000 * bucket.wait_s())
            return _problem(ProtocolError("rate_limited", "too many requests"), wait_ms)
        visit = Visit()
        try:
            message = codec.decode(await read_body(asked, settings.max_frame))
            token = message.pop("session", None)
            if not isinstance(message.get("t"), str) or message["t"] not in TAKEN:
                raise ProtocolError("unknown_type", f"over HTTP only {', '.join(sorted(TAKEN))}")
            checked = parse_request({**message, "id": 1})
            session = _session(desk, visit, token, loop_time())
        except ProtocolError as error:
            return _problem(error)
        visit.session = session
        desk.gateway.handle(visit, checked)
        replies = _replies(desk, visit, session, settings.answer_s)
        if "text/event-stream" in asked.headers.get("accept", ""):
            stream = _events(replies, session.token)
            return StreamingResponse(stream, media_type="text/event-stream")
        last: dict[str, Any] = {}
        async for reply in replies:
            last = reply
        return _answer(last, session.token)


def _session(desk: Desk, visit: Visit, token: object, now: float) -> Session:
    """The session of a token, or a new one that waits as if its socket had just been lost."""
    if token is None:
        session = desk.sessions.open(visit)
        desk.sessions.detach(session, visit, now)
        return session
    found = desk.sessions.find(token) if isinstance(token, str) else None
    if found is None:
        raise ProtocolError(
            "resume_failed", "the session is unknown or has expired", "leave it out"
        )
    desk.sessions.touch(found, now)
    return found


async def read_body(asked: Request, most: int) -> str:
    """A body of `application/json`, which no web page's form can send, of `most` bytes at the most.

    Raises ProtocolError.
    """
    if asked.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ProtocolError("bad_message", "the content type must be application/json")
    body = bytearray()
    async for piece in asked.stream():
        body += piece
        if len(body) > most:
            raise ProtocolError("too_large", f"more than {most} bytes")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("bad_message", "not UTF-8") from error


async def _replies(
    desk: Desk, visit: Visit, session: Session, patience_s: float
) -> AsyncIterator[dict[str, Any]]:
    """Every reply to the request, the last of them final. Ends the visit however it ends."""
    try:
        while True:
            try:
                # The gateway gives up first; this bound holds should it be gone.
                async with asyncio.timeout(2 * patience_s):
                    reply = await visit.replies.get()
            except TimeoutError:
                reply = error_message(1, "no_answer", "no answer came")
            yield reply
            if reply["t"] not in _UNDERWAY:
                return
    finally:
        desk.gateway.lost(visit)
        desk.sessions.touch(session, asyncio.get_running_loop().time())


async def _events(replies: AsyncIterator[dict[str, Any]], token: str) -> AsyncIterator[str]:
    yield _event("session", {"session": token})
    async for reply in replies:
        yield _event(reply["t"], reply["d"])


def _event(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {JsonCodec().encode(data)}\n\n"


def _answer(reply: dict[str, Any], token: str) -> Response:
    status = _status(reply["d"]["code"]) if reply["t"] == "error" else 200
    # The protocol's own JSON, since a reply may hold bytes.
    text = JsonCodec().encode({"session": token, "t": reply["t"], "d": reply["d"]})
    return Response(text, status_code=status, media_type="application/json")


def _problem(error: ProtocolError, wait_ms: int = 0) -> JSONResponse:
    d = error_message(None, error.code, error.message, error.hint, wait_ms)["d"]
    return JSONResponse({"t": "error", "d": d}, _status(error.code))


def _status(code: str) -> int:
    if code in _REFUSED:
        return 400
    return _STATUS.get(code, 409)
