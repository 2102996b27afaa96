"""A checkpoint's file: a state of arrays and plain values, frozen, written whole, checked on load.

::

    "GRCKPT" · version u16 · length of the head u64 (all little-endian)
    head      msgpack [arrays: [[dtype, shape, offset, bytes] …], tree]
    arrays    C order, little-endian, each on a multiple of 64 bytes
    digest    blake2b-256 of all that stands before it

In the tree an array is ext 1 (its number), a tuple ext 2 (its items, packed).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import os
import struct
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from world.errors import StorageError
from world.moment import Table
from world.store.layout import sync_directory

VERSION = 1
ALIGN = 64
DIGEST_BYTES = 32
MAX_DEPTH = 32
SLICE_ITEMS = 500
"""Items of a list that are packed in one go."""

_MAGIC = b"GRCKPT"
_START = struct.Struct("<6sHQ")
_EXT_ARRAY = 1
_EXT_TUPLE = 2
_KINDS = "biufSU"
_joined = itertools.chain.from_iterable
_SCALARS = {type(None), bool, int, float, str, bytes}


class CheckpointDamaged(StorageError):
    """A checkpoint's file is missing, cut short or altered; the message names it."""

    code = "storage_damaged"


@dataclass(frozen=True, slots=True)
class Frozen:
    """A consistent copy of a state, ready to be written by another thread."""

    head: bytes
    arrays: tuple[NDArray[Any], ...]
    offsets: tuple[int, ...]
    size: int
    """Bytes of the whole file."""


def freeze(state: Mapping[str, Any]) -> Frozen:
    """Copy `state`: arrays by value but for those that nobody can write any more, the rest packed.

    Takes nested dicts (keys text or int), lists, tuples, None, bool, int (64 bits), float, str,
    bytes, numpy arrays and numpy numbers (which come back as Python's), and tables right in the state, which come back
    as lists. Raises `StorageError` naming the key of anything else.
    """
    work = freezing(state)
    while True:
        try:
            next(work)
        except StopIteration as done:
            frozen: Frozen = done.value
            return frozen


def freezing(state: Mapping[str, Any]) -> Generator[None, None, Frozen]:
    """`freeze` in slices of a millisecond or less, yielding after each; nobody may change `state` meanwhile."""
    arrays: list[NDArray[Any]] = []
    packer = msgpack.Packer(use_bin_type=True, autoreset=False)
    try:
        packer.pack_map_header(len(state))
        for key, value in state.items():
            _check_key(key, "state")
            where = f"state[{key!r}]"
            packer.pack(key)
            if not isinstance(value, list | Table):
                packer.pack(_plain(value, arrays, where, 1))
                continue
            packer.pack_array_header(len(value))
            for at in range(0, len(value), SLICE_ITEMS):
                some = value[at : at + SLICE_ITEMS]
                for item in _plain(some, arrays, f"{where}[{at}:]" if at else where, 1):
                    packer.pack(item)
                yield
        tree = packer.bytes()
        table: list[list[Any]] = []
        offsets: list[int] = []
        offset = 0
        for array in arrays:
            offsets.append(offset)
            table.append([array.dtype.str, list(array.shape), offset, array.nbytes])
            offset = _aligned(offset + array.nbytes)
        packer.reset()
        packer.pack_array_header(2)
        packer.pack(table)
        head = packer.bytes() + tree
    except (TypeError, ValueError, OverflowError) as error:
        raise StorageError(f"the state can't be checkpointed: {error}") from error
    body = _aligned(_START.size + len(head))
    return Frozen(head, tuple(arrays), tuple(offsets), body + offset + DIGEST_BYTES)


def _check_key(key: object, where: str) -> None:
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise StorageError(f"{where} has the key {key!r}; keys are text or integers")


def _plain(value: Any, arrays: list[NDArray[Any]], where: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise StorageError(f"{where} is nested deeper than {MAX_DEPTH}")
    if value is None or isinstance(value, bool | float | str | bytes):
        return value
    if isinstance(value, int):
        if not -(1 << 63) <= value < 1 << 64:
            raise StorageError(f"{where} is an integer of more than 64 bits")
        return int(value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in _KINDS:
            raise StorageError(f"{where} is an array of {value.dtype}, which can't be stored")
        kept = None if _settled(value) else True
        arrays.append(np.array(value, dtype=value.dtype.newbyteorder("<"), order="C", copy=kept))
        return msgpack.ExtType(_EXT_ARRAY, struct.pack("<I", len(arrays) - 1))
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return value.item()
    if isinstance(value, Mapping):
        for key in value:
            _check_key(key, where)
        return {k: _plain(v, arrays, f"{where}[{k!r}]", depth + 1) for k, v in value.items()}
    if isinstance(value, list) and _flat(value):
        return value.copy()
    if isinstance(value, list) and set(map(type, value)) == {list} and _flat(list(_joined(value))):
        # A table, as of some thousand places: its rows are looked through in one go.
        return [row.copy() for row in value]
    if isinstance(value, list | tuple):
        items = [_plain(v, arrays, f"{where}[{i}]", depth + 1) for i, v in enumerate(value)]
        if isinstance(value, tuple):
            return msgpack.ExtType(_EXT_TUPLE, msgpack.packb(items, use_bin_type=True))
        return items
    raise StorageError(f"{where} is a {type(value).__name__}, which can't be stored")


def _settled(value: NDArray[Any]) -> bool:
    """Whether nobody can write the array any more, nor what it is a part of (see `Buffers` for memory behind one)."""
    part: Any = value
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return part is None or (isinstance(part, memoryview) and part.readonly)


def _flat(values: list[Any]) -> bool:
    """Whether these are plain values as they are; what is not sure isn't."""
    kinds = set(map(type, values))
    if not kinds <= _SCALARS:
        return False
    return int not in kinds or all(-(1 << 63) <= v < 1 << 64 for v in values if type(v) is int)


def write(
    path: Path, frozen: Frozen, slice_bytes: int, written: Callable[[bytes], None]
) -> Generator[None, None, None]:
    """Write `frozen` to `path` in slices, yielding after each so that other work fits in between.

    Each slice is synced before the next, the file takes its name only when whole and synced, and
    the name is synced too. `written(digest)` is called last. Closed early, or failing with
    `OSError`, it leaves nothing behind.
    """
    unfinished = path.with_name(path.name + ".tmp")
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        with unfinished.open("wb", buffering=0) as file:
            for piece in _pieces(frozen, slice_bytes):
                digest.update(piece)
                _write_all(file.fileno(), piece)
                os.fsync(file.fileno())
                yield
            _write_all(file.fileno(), memoryview(digest.digest()))
            os.fsync(file.fileno())
        unfinished.replace(path)
        sync_directory(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
    written(digest.digest())


def _pieces(frozen: Frozen, slice_bytes: int) -> Iterator[memoryview]:
    """The file but for its digest, in pieces of at most `slice_bytes`, padding gathered with the rest."""
    start = _START.pack(_MAGIC, VERSION, len(frozen.head)) + frozen.head
    gathered = bytearray(start + bytes(_aligned(len(start)) - len(start)))
    for array in frozen.arrays:
        view = array.reshape(-1).view(np.uint8).data if array.nbytes else memoryview(b"")
        padding = _aligned(array.nbytes) - array.nbytes
        if len(gathered) + len(view) + padding <= slice_bytes:
            gathered += view
            gathered += bytes(padding)
            continue
        yield from _cut(memoryview(gathered), slice_bytes)
        yield from _cut(view, slice_bytes)
        gathered = bytearray(padding)
    yield from _cut(memoryview(gathered), slice_bytes)


def _cut(view: memoryview, size: int) -> Iterator[memoryview]:
    for at in range(0, len(view), size):
        yield view[at : at + size]


def _write_all(fd: int, piece: memoryview) -> None:
    while piece:
        piece = piece[os.write(fd, piece) :]


def read(path: Path, *, size: int, digest: bytes) -> dict[str, Any]:
    """The state in the file, arrays writable. Raises `CheckpointDamaged` unless every byte is as written."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{path.name} can't be read: {error.strerror}") from error
    if len(data) != size:
        raise CheckpointDamaged(f"{path.name} has {len(data)} bytes instead of {size}")
    body, told = data[:-DIGEST_BYTES], data[-DIGEST_BYTES:]
    found = hashlib.blake2b(body, digest_size=DIGEST_BYTES).digest()
    if not (hmac.compare_digest(found, told) and hmac.compare_digest(found, digest)):
        raise CheckpointDamaged(f"{path.name} is not as it was written")
    return _parse(body, path.name)


def _parse(body: bytes, name: str) -> dict[str, Any]:
    magic, version, head_bytes = _START.unpack_from(body)
    if magic != _MAGIC or version != VERSION:
        raise CheckpointDamaged(f"{name} is no checkpoint of version {VERSION}")
    head_end = _START.size + head_bytes
    at = _aligned(head_end)
    arrays: list[NDArray[Any]] = []

    def extended(code: int, data: bytes) -> Any:
        if code == _EXT_ARRAY:
            return arrays[struct.unpack("<I", data)[0]]
        if code == _EXT_TUPLE:
            return tuple(unpacked(data))
        raise CheckpointDamaged(f"{name} holds a value of the unknown kind {code}")

    def unpacked(data: bytes) -> Any:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=extended)

    head = body[_START.size : head_end]
    for dtype, shape, offset, nbytes in _table(head):
        block = body[at + offset : at + offset + nbytes]
        arrays.append(np.frombuffer(block, dtype=dtype).reshape(shape).copy())
    _, tree = unpacked(head)
    state: dict[str, Any] = tree
    return state


def _table(head: bytes) -> list[Any]:
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False)
    unpacker.feed(head)
    unpacker.read_array_header()
    table: list[Any] = unpacker.unpack()
    return table


def _aligned(offset: int) -> int:
    return -(-offset // ALIGN) * ALIGN
