"""Length-prefixed msgpack frames between host and child, and the messages they carry.

A frame is a little-endian uint32 length and that many bytes of msgpack: one map with a key `t`.
Over `MAX_FRAME` bytes, or anything that is no such map, is a `FrameError`: the peer is broken and
the connection ends.

`id` is a number that the host gave (see underway.py), not the request's own.

Host to child::

    start   {role: "chat" | "embed", path, settings}   first frame, once
    ask     {id, messages: [[role, content]…], max_tokens, temperature, top_p, seed, stop: […],
             grammar: str | nil, priority, wanted, seconds_left, asker, adapter, window,
             importance: [int…], think}
    adapter {name, path, scale}                   load a LoRA adapter, for the asks that follow
    embed   {asks: [[id, [text…], seconds_left]…]}     role "embed" takes these instead of `ask`
    cancel  {id}
    close   {}                                    finish nothing, end with exit code 0

Child to host::

    loading {}                                    the start frame was read, llama.cpp is imported
    ready   {model: {…}}                          the model answered a trial decode
    failed  {reason, hint, code}                  it can't; exit code 3 follows; model_fit: for want of
                                                  memory
    step    {events: […], status: {…} | nil}      what a step of the engine brought, at least one a
                                                  second while alive, also when idle (heartbeat)

Events in a step: `["text", id, piece]`, `["done", id, {finish, prompt_tokens, cached_tokens,
completion_tokens, reasoning_tokens, dropped: [int…], adapter}]`, `["vectors", id, bytes, truncated]` (float32, one row a
text), `["error", id, code, message, hint]`; code is one of `models.errors`' codes. `["adapter", name,
fault]` answers an `adapter` frame; `fault` is "" or says why it can't be used.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgpack

from models.errors import ModelError

MAX_FRAME = 16 * 1024 * 1024
_LENGTH = struct.Struct("<I")


class FrameError(Exception):
    """The peer sent something that is no frame."""


class Readable(Protocol):
    """A blocking binary stream."""

    def read(self, size: int, /) -> bytes | None: ...


def encode(message: Mapping[str, Any]) -> bytes:
    """One frame. Raises FrameError when the message is over the limit."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) > MAX_FRAME:
        raise FrameError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME}")
    return _LENGTH.pack(len(body)) + body


def failed(error: ModelError) -> dict[str, Any]:
    """The message of a child that can't serve."""
    return {"t": "failed", "reason": error.message, "hint": error.hint, "code": error.code}


def read(stream: Readable) -> dict[str, Any] | None:
    """The next message; None at the end of the stream, also in the middle of a frame."""
    head = _exactly(stream, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MAX_FRAME:
        raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME}")
    body = _exactly(stream, length)
    if body is None:
        return None
    try:
        message = msgpack.unpackb(body, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise FrameError(f"a frame is no msgpack: {error}") from error
    if not isinstance(message, dict) or not isinstance(message.get("t"), str):
        raise FrameError("a frame is no map with a key 't'")
    return message


def _exactly(stream: Readable, size: int) -> bytes | None:
    parts: list[bytes] = []
    missing = size
    while missing:
        part = stream.read(missing)
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


Send = Callable[[Mapping[str, Any]], None]
"""Takes one message towards the peer; may be called from one thread only."""
