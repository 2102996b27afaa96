"""Frames to messages and back: strict, bounded msgpack and JSON.

A frame is one map with string keys, at most `max_frame` bytes, nested at most `max_depth` deep
(the frame's own map counts as 1). Refused: extension types, keys that are not strings, a key
twice in one map, integers beyond signed 64 bits, NaN and infinities, text that is not strict
UTF-8 or holds NUL, anything after the map. JSON has no binary: it writes bytes as `{"$bin": "<base64>"}`.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from math import isfinite
from typing import Any, Final, NoReturn, Protocol

import msgpack

from engine_bridge.errors import CloseCode, ProtocolError

MAX_FRAME: Final = 64 * 1024
MAX_DEPTH: Final = 16
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**63 - 1
BIN_KEY: Final = "$bin"

Message = dict[str, Any]


class Codec(Protocol):
    """One encoding of the protocol."""

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol that names this encoding."""

    def encode(self, message: Message) -> bytes | str:
        """The frame for a message of plain values. Raises `ValueError` for what can't be written."""

    def decode(self, frame: bytes | str) -> Message:
        """The message in a frame. Raises `ProtocolError`, with `close` set when it is no message."""


class MsgpackCodec:
    """Binary frames: `greenroom.v1.msgpack`."""

    subprotocol: Final = "greenroom.v1.msgpack"

    def __init__(self, max_frame: int = MAX_FRAME, max_depth: int = MAX_DEPTH) -> None:
        self._max_frame = max_frame
        self._max_depth = max_depth

    def encode(self, message: Message) -> bytes:
        try:
            packed: bytes = msgpack.packb(message, use_bin_type=True)
        except (OverflowError, TypeError) as error:
            raise ValueError(f"can't be written as msgpack: {error}") from error
        return packed

    def decode(self, frame: bytes | str) -> Message:
        if isinstance(frame, str):
            _refuse("a text frame; this subprotocol takes binary frames")
        if len(frame) > self._max_frame:
            _too_large(len(frame), self._max_frame)
        try:
            value = msgpack.unpackb(
                frame,
                raw=False,
                strict_map_key=True,
                object_pairs_hook=_strict_map,
                max_ext_len=0,
            )
        except msgpack.exceptions.StackError as error:
            raise _too_deep(self._max_depth) from error
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            _refuse(f"not msgpack: {str(error) or type(error).__name__}")
        return _checked(value, self._max_depth)


class JsonCodec:
    """Text frames, for debugging: `greenroom.v1.json`."""

    subprotocol: Final = "greenroom.v1.json"

    def __init__(self, max_frame: int = MAX_FRAME, max_depth: int = MAX_DEPTH) -> None:
        self._max_frame = max_frame
        self._max_depth = max_depth

    def encode(self, message: Message) -> str:
        try:
            return json.dumps(
                message,
                ensure_ascii=False,
                allow_nan=False,
                separators=(",", ":"),
                default=_write_bytes,
            )
        except TypeError as error:
            raise ValueError(f"can't be written as JSON: {error}") from error

    def decode(self, frame: bytes | str) -> Message:
        if isinstance(frame, bytes):
            _refuse("a binary frame; this subprotocol takes text frames")
        # A character is a byte at least, so most oversized frames are refused before encoding.
        size = len(frame) if len(frame) > self._max_frame else len(_utf8(frame))
        if size > self._max_frame:
            _too_large(size, self._max_frame)
        try:
            value = json.loads(
                frame,
                object_pairs_hook=_strict_json_map,
                parse_int=_parse_int,
                parse_constant=_refuse_constant,
            )
        except RecursionError as error:
            raise _too_deep(self._max_depth) from error
        except ValueError as error:
            _refuse(f"not JSON: {error}")
        return _checked(value, self._max_depth)


def codecs(max_frame: int = MAX_FRAME, max_depth: int = MAX_DEPTH) -> dict[str, Codec]:
    """Every encoding by its subprotocol, the preferred first."""
    both: tuple[Codec, ...] = (MsgpackCodec(max_frame, max_depth), JsonCodec(max_frame, max_depth))
    return {codec.subprotocol: codec for codec in both}


def _refuse(message: str) -> NoReturn:
    raise ProtocolError("bad_message", message, close=CloseCode.PROTOCOL)


def _too_large(size: int, bound: int) -> NoReturn:
    raise ProtocolError(
        "too_large", f"the frame has {size} bytes, {bound} are allowed", close=CloseCode.TOO_LARGE
    )


def _too_deep(bound: int) -> ProtocolError:
    return ProtocolError("too_deep", f"the frame nests deeper than {bound}")


def _strict_map(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if type(key) is not str:
            _refuse("a map key that is not a string")
        if key in result:
            _refuse(f"the key {key[:40]!r} twice in one map")
        result[key] = value
    return result


def _strict_json_map(pairs: list[tuple[str, Any]]) -> dict[str, Any] | bytes:
    result = _strict_map(pairs)
    if len(result) != 1 or BIN_KEY not in result:
        return result
    text = result[BIN_KEY]
    if not isinstance(text, str):
        _refuse(f"{BIN_KEY} must hold base64 text")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        _refuse(f"{BIN_KEY} must hold base64 text: {error}")


def _write_bytes(value: object) -> dict[str, str]:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {BIN_KEY: base64.b64encode(value).decode("ascii")}
    raise TypeError(f"{type(value).__name__} is not a plain value")


def _parse_int(digits: str) -> int:
    # Python refuses to read beyond 4,300 digits with an error of its own; 64 bits need 20.
    if len(digits) > 20:
        _refuse("an integer beyond 64 bits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a number of this protocol")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError(
            "bad_message", "text that is not UTF-8", close=CloseCode.PROTOCOL
        ) from error


def _checked(value: object, max_depth: int) -> Message:
    """The value, if it is a message of plain values within bounds. Iterative: depth is the caller's."""
    if not isinstance(value, dict):
        _refuse("a frame that is not a map")
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        kind = type(item)
        if kind is dict:
            if depth > max_depth:
                raise _too_deep(max_depth)
            for key, inner in item.items():
                waiting.append((key, depth))
                waiting.append((inner, depth + 1))
        elif kind is list:
            if depth > max_depth:
                raise _too_deep(max_depth)
            waiting.extend((inner, depth + 1) for inner in item)
        elif kind is str:
            if "\x00" in item:
                _refuse("text that holds NUL")
            if not item.isascii():
                _utf8(item)
        elif kind is int:
            if not INT_MIN <= item <= INT_MAX:
                _refuse("an integer beyond 64 bits")
        elif kind is float:
            if not isfinite(item):
                _refuse("a number that is not finite")
        elif not (kind is bool or kind is bytes or item is None):
            _refuse(f"a value of type {kind.__name__}")
    return value
