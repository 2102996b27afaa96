"""The HTTP the opponents are asked through, against real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from benchmarks.llm import http


def served(answer: bytes, ask: Callable[[str], Awaitable[Any]]) -> Any:
    """What `ask` makes of a server that gives this answer, byte for byte."""

    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(answer), 7):
            writer.write(answer[at : at + 7])
            await writer.drain()
        writer.close()

    async def both() -> Any:
        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await ask(f"http://127.0.0.1:{port}/completion")

    return asyncio.run(both())


async def heard(url: str) -> list[dict[str, Any]]:
    return [event async for event in http.events(url, {})]


def test_a_whole_reply_is_read_with_and_without_chunks() -> None:
    plain = b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    chunked = (
        b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n5\r\n": 2}\r\n0\r\n\r\n'
    )
    assert served(plain, lambda url: http.post(url, {})) == {"a": 1}
    assert served(chunked, lambda url: http.post(url, {})) == {"a": 2}


def test_events_come_one_by_one_however_the_bytes_are_cut() -> None:
    body = b'data: {"n": 1}\n\n: ping\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    assert served(head + body, heard) == [{"n": 1}, {"n": 2}]


def test_a_refusal_and_a_torn_reply_are_errors_that_say_so() -> None:
    refusal = b"HTTP/1.1 503 Busy\r\nContent-Length: 7\r\n\r\nloading"
    with pytest.raises(http.HttpError, match="503: loading"):
        served(refusal, lambda url: http.post(url, {}))
    torn = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"
    with pytest.raises(http.HttpError, match="half a reply"):
        served(torn, lambda url: http.post(url, {}))
