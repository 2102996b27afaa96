"""The little HTTP that asking a local server needs: one POST a connection, whole or as server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlsplit

_MOST = 1 << 22


class HttpError(Exception):
    """The server refused, or said something that is no HTTP."""


async def post(url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send JSON, return the JSON that comes back. Raises HttpError and OSError."""
    parts = [part async for part in _exchange("POST", url, json.dumps(body).encode())]
    found: dict[str, Any] = json.loads(b"".join(parts))
    return found


async def get(url: str) -> str:
    """The text of a page. Raises HttpError and OSError."""
    return b"".join([part async for part in _exchange("GET", url, b"")]).decode()


async def events(url: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """Send JSON, yield each server-sent event's JSON as it comes. Raises HttpError and OSError."""
    rest = b""
    async for part in _exchange("POST", url, json.dumps(body).encode()):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
                yield json.loads(line[5:])


async def _exchange(method: str, url: str, body: bytes) -> AsyncIterator[bytes]:
    """The answer's body, part by part. A cancelled task closes the connection."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=_MOST)
    try:
        head = (
            f"{method} {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        writer.write(head.encode() + body)
        status, headers = await _head(reader)
        parts = _chunks(reader) if "chunked" in headers else _plain(reader)
        if status != 200:
            text = b"".join([part async for part in parts]).decode("utf-8", "replace")
            raise HttpError(f"{method} {address.path} was answered by {status}: {text[:300]}")
        async for part in parts:
            yield part
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as error:
        raise HttpError(f"{method} {address.path} was answered by half a reply: {error}") from error
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> tuple[int, str]:
    """(status, what Transfer-Encoding says)."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    encoding = ""
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "transfer-encoding":
            encoding = value.strip().lower()
    return int(lines[0].split()[1]), encoding


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def _plain(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while part := await reader.read(1 << 16):
        yield part
