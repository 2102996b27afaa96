"""What is written: the world's description, a tick's record, a checkpoint's entry, and their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgpack
from pydantic import Field

from foundation.strict import StrictModel
from world.errors import StorageError

LINK_BYTES = 8
GENESIS = bytes(LINK_BYTES)
"""What the first record of a journal links to."""

_HASHES = 1 << 64
_TICKS = 1 << 63
_EXT_TUPLE = 2


class JournalDamage(StorageError):
    """A record is missing or not as it was written; `tick` says which, `reason` how."""

    code = "storage_damaged"

    def __init__(self, tick: int, reason: str) -> None:
        super().__init__(
            f"tick {tick}: {reason}", "restore a backup, or load a checkpoint before that tick"
        )
        self.tick = tick
        self.reason = reason


class WorldMeta(StrictModel):
    """What a world was made from; enough to say whether it can be stepped again."""

    scene: str = Field(max_length=256)
    seed: int
    npcs: int | None = None
    scene_digest: str = Field(default="", max_length=128)
    ruleset_digest: str = Field(default="", max_length=128)
    engine_version: str = Field(default="", max_length=64)
    mod_versions: dict[str, str] = Field(default_factory=dict, max_length=1024)
    epoch: int = Field(default=1, ge=1)


class Identity(StrictModel):
    """Which world a folder holds, as told apart from its copies.

    A branch has an `id` of its own and tells whence it came: the `parent`'s id, the `snapshot` it was
    made from ("" for the world as it ran), and the `tick` and `epoch` that it parted at.
    """

    id: str = Field(min_length=1, max_length=64)
    parent: str = Field(default="", max_length=64)
    snapshot: str = Field(default="", max_length=64)
    tick: int = Field(default=-1, ge=-1)
    epoch: int = Field(default=0, ge=0)


class Packs(Protocol):
    """Something that gives itself as msgpack-able data."""

    def pack(self) -> Any: ...


class StepLike(Protocol):
    """The part of a step's result that is recorded."""

    @property
    def tick(self) -> int: ...
    @property
    def hash(self) -> int: ...
    @property
    def inputs(self) -> Iterable[Packs]: ...
    @property
    def events(self) -> Iterable[Packs]: ...


@dataclass(frozen=True, slots=True)
class TickRecord:
    """One tick as it is journalled.

    `inputs` and `events` hold packed rows in the order applied: lists, tuples, maps, text, bytes,
    numbers; each comes back as it was. `hash` is the state's hash after the tick, 0 ≤ hash < 2**64.
    """

    tick: int
    epoch: int
    hash: int
    inputs: tuple[Any, ...] = ()
    events: tuple[Any, ...] = ()

    def pack(self) -> bytes:
        """The record as msgpack. Raises `StorageError` when it holds what msgpack can't say."""
        if not (0 <= self.tick < _TICKS and 0 <= self.epoch < _TICKS and 0 <= self.hash < _HASHES):
            raise StorageError(f"tick {self.tick}: tick, epoch or hash is out of range")
        try:
            return _packb_exactly(
                [self.tick, self.epoch, self.hash, list(self.inputs), list(self.events)]
            )
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise StorageError(f"tick {self.tick} can't be recorded: {error}") from error

    @classmethod
    def unpack(cls, data: bytes) -> TickRecord:
        """The record in `data`. Raises `StorageError` when it isn't one."""
        match _unpackb(data, "a tick record"):
            case [int(tick), int(epoch), int(state_hash), list(inputs), list(events)]:
                return cls(tick, epoch, state_hash, tuple(inputs), tuple(events))
            case _:
                raise StorageError("a tick record has not the five parts it should have")


def record_of(result: StepLike, epoch: int) -> TickRecord:
    """The record of a step's result."""
    return TickRecord(
        tick=result.tick,
        epoch=epoch,
        hash=result.hash,
        inputs=tuple(one.pack() for one in result.inputs),
        events=tuple(one.pack() for one in result.events),
    )


def link_of(previous: bytes, payload: bytes) -> bytes:
    """The record's link: a digest over the one before and this payload, so order and bytes both show."""
    return hashlib.blake2b(previous + payload, digest_size=LINK_BYTES).digest()


def split(value: bytes) -> tuple[bytes, bytes]:
    """A journal value's link and payload."""
    return value[:LINK_BYTES], value[LINK_BYTES:]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A checkpoint's entry in the index.

    `link` is the journal's link at `tick`, from which the records after it follow; `hash` is the
    state's hash when it was known; `digest` is the file's blake2b-256.
    """

    tick: int
    epoch: int
    hash: int | None
    link: bytes
    name: str
    size: int
    digest: bytes
    ruleset_digest: str = ""

    def pack(self) -> bytes:
        return _packb(
            [
                self.tick,
                self.epoch,
                self.hash,
                self.link,
                self.name,
                self.size,
                self.digest,
                self.ruleset_digest,
            ]
        )

    @classmethod
    def unpack(cls, data: bytes) -> CheckpointInfo:
        """The entry in `data`. Raises `StorageError` when it isn't one."""
        match _unpackb(data, "a checkpoint's entry"):
            case [
                int(tick),
                int(epoch),
                (int() | None) as state_hash,
                bytes(link),
                str(name),
                int(size),
                bytes(digest),
                str(ruleset),
            ]:
                return cls(tick, epoch, state_hash, link, name, size, digest, ruleset)
            case _:
                raise StorageError("a checkpoint's entry has not the parts it should have")


def pack_map(what: str, value: Any, limit: int) -> bytes:
    """`value` as msgpack. Raises `StorageError` naming `what` when it can't be, or passes `limit` bytes."""
    try:
        data = _packb(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StorageError(f"{what} can't be stored: {error}") from error
    if len(data) > limit:
        raise StorageError(f"{what} takes {len(data)} bytes, more than the {limit} allowed")
    return data


def unpack_value(what: str, data: bytes) -> Any:
    """What `pack_map` packed. Raises `StorageError` naming `what`."""
    return _unpackb(data, what)


def _packb(value: Any) -> bytes:
    data: bytes = msgpack.packb(value, use_bin_type=True)
    return data


def _packb_exactly(value: Any) -> bytes:
    """Like `_packb`, but a tuple stays one: strict schemas tell it from a list when stepped again."""
    data: bytes = msgpack.packb(value, use_bin_type=True, strict_types=True, default=_unusual)
    return data


def _unusual(value: Any) -> Any:
    match value:
        case tuple():
            return msgpack.ExtType(_EXT_TUPLE, _packb_exactly(list(value)))
        case int():  # an enumeration's member
            return int(value)
        case str():
            return str.__str__(value)
        case Mapping():
            return dict(value)
        case _:
            raise TypeError(f"a {type(value).__name__} can't be stored")


def _unpackb(data: bytes, what: str) -> Any:
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=_extended)
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise StorageError(f"{what} can't be read: {error}") from error


def _extended(code: int, data: bytes) -> Any:
    if code != _EXT_TUPLE:
        raise ValueError(f"it holds a value of the unknown kind {code}")
    return tuple(msgpack.unpackb(data, raw=False, strict_map_key=False, ext_hook=_extended))
