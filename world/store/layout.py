"""How a world's folder is laid out: file names, databases, keys, and the steps from older layouts.

::

    data/<world>/
        world.lock           held by the process that writes
        world.mdb            the LMDB environment (and world.mdb-lock beside it)
        checkpoints/*.ckpt   columns and tiles, one file a checkpoint, written whole
        backups/layout-N…    made before a migration from layout N
        snapshots/NAME.N/    a whole folder like this one, as it was at a tick, and snapshot.json

    database        key                                   value
    meta            layout · world · head · identity      u32 · JSON of WorldMeta · [tick, link] · JSON of Identity
    journal         tick (u64)                            link (8 bytes) + packed TickRecord
    checkpoints     tick (u64)                            packed CheckpointInfo
    conversations   npc (u64) + player (u8 length, UTF-8) + turn number (u64)   packed turn
    turn_order      turn number (u64)                     key in conversations
    calls           call number (u64)                     packed call

Integers in keys are big-endian, so that LMDB's order is theirs. Layout 0 had no links, no head, no
epoch in its meta, and neither turn_order nor calls.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lmdb

from world.errors import NewerLayout, StorageError
from world.store.records import (
    GENESIS,
    CheckpointInfo,
    Identity,
    WorldMeta,
    link_of,
    pack_map,
    unpack_value,
)

LAYOUT = 1

DATA_NAME = "world.mdb"
LOCK_NAME = "world.lock"
CHECKPOINTS_NAME = "checkpoints"
BACKUPS_NAME = "backups"
SNAPSHOTS_NAME = "snapshots"

LAYOUT_KEY = b"layout"
WORLD_KEY = b"world"
HEAD_KEY = b"head"
IDENTITY_KEY = b"identity"

MAX_PLAYER_BYTES = 128


@dataclass(frozen=True, slots=True)
class Databases:
    """The environment's named databases."""

    meta: lmdb._Database
    journal: lmdb._Database
    checkpoints: lmdb._Database
    conversations: lmdb._Database
    turn_order: lmdb._Database
    calls: lmdb._Database


NAMES = ("meta", "journal", "checkpoints", "conversations", "turn_order", "calls")


def number_key(number: int) -> bytes:
    """A tick or a running number as a key."""
    return number.to_bytes(8, "big")


def key_number(key: bytes) -> int:
    """The tick or running number at the end of a key."""
    return int.from_bytes(key[-8:], "big")


def pair_prefix(npc_id: int, player: str) -> bytes:
    """What the keys of one NPC's turns with one player begin with.

    Raises `StorageError` when the id isn't in 0..2**64-1 or the player's name is longer than
    128 bytes of UTF-8.
    """
    if not 0 <= npc_id < 1 << 64:
        raise StorageError(f"{npc_id} is not an entity's id")
    try:
        name = player.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StorageError(f"{player!r} is not a player's name: {error}") from error
    if len(name) > MAX_PLAYER_BYTES:
        raise StorageError(f"the player's name takes more than {MAX_PLAYER_BYTES} bytes")
    return npc_id.to_bytes(8, "big") + bytes([len(name)]) + name


def pack_head(tick: int, link: bytes) -> bytes:
    """The journal's last tick and its link."""
    return pack_map("the journal's head", [tick, link], 64)


def unpack_head(data: bytes) -> tuple[int, bytes]:
    match unpack_value("the journal's head", data):
        case [int(tick), bytes(link)]:
            return tick, link
        case _:
            raise StorageError("the journal's head has not the two parts it should have")


def open_env(path: Path, *, map_bytes: int, readonly: bool = False) -> lmdb.Environment:
    """The LMDB environment in the folder `path`. Raises `StorageError`."""
    data = path / DATA_NAME
    if data.exists():
        size = data.stat().st_size
        if readonly and not size:
            raise StorageError(f"{data} is empty", "take it from a backup or a snapshot")
        map_bytes = max(map_bytes, size)
    try:
        env = lmdb.Environment(
            str(data),
            map_size=map_bytes,
            subdir=False,
            readonly=readonly,
            # sync stays on: without it a power cut can corrupt, not only forget
            max_dbs=len(NAMES),
            max_readers=64,
        )
    except (lmdb.Error, OSError) as error:
        raise StorageError(f"{data} can't be opened: {error}") from error
    try:
        _complete(data, env, readonly)
    except BaseException:
        env.close()
        raise
    return env


def _complete(data: Path, env: lmdb.Environment, readonly: bool) -> None:
    """Make sure that the file reaches as far as its meta page says.

    Who reads a mapped page past the end of its file is ended by the system (SIGBUS), with no word to
    anybody. LMDB may leave out the very last pages where nobody wants them any more, so the owner of a
    short file lengthens it: what was needed is then found to be damaged when it is read, by an error.
    """
    wanted = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    there = data.stat().st_size
    if there >= wanted:
        return
    if readonly:
        raise StorageError(
            f"{data} was cut short: {there} bytes of {wanted}",
            "take it from a backup or a snapshot",
        )
    os.truncate(data, wanted)


def open_databases(env: lmdb.Environment, *, create: bool) -> Databases:
    """Handles of all databases. Raises `StorageError` when one is missing and `create` is false."""
    try:
        return Databases(*(env.open_db(name.encode("ascii"), create=create) for name in NAMES))
    except lmdb.Error as error:
        raise StorageError(f"{env.path()} lacks a database: {error}") from error


def read_layout(env: lmdb.Environment) -> int | None:
    """The layout the environment was written with; None when it holds no world yet."""
    try:
        meta = env.open_db(b"meta", create=False)
    except (lmdb.NotFoundError, lmdb.ReadonlyError):
        return None
    with env.begin(db=meta) as txn:
        value = txn.get(LAYOUT_KEY)
        if value is not None:
            return int.from_bytes(value, "big")
        return 0 if txn.get(WORLD_KEY) is not None else None


def check_layout(path: Path, layout: int) -> None:
    """Raises `NewerLayout` when this program is too old to read `layout`."""
    if layout > LAYOUT:
        raise NewerLayout(
            f"{path} has storage layout {layout}; this Greenroom reads up to layout {LAYOUT}",
            "use the Greenroom that wrote it, or a newer one"
            f" (what was there before its migration is under {path / BACKUPS_NAME})",
        )


def put_layout(txn: lmdb.Transaction[bytes], dbs: Databases, layout: int) -> None:
    txn.put(LAYOUT_KEY, layout.to_bytes(4, "big"), db=dbs.meta)


def initialise(env: lmdb.Environment, meta: WorldMeta) -> None:
    """Make a new world of the current layout, in one transaction."""
    dbs = open_databases(env, create=True)
    with env.begin(write=True) as txn:
        put_layout(txn, dbs, LAYOUT)
        txn.put(WORLD_KEY, meta.model_dump_json().encode("utf-8"), db=dbs.meta)
        put_identity(txn, dbs, new_identity())


def put_identity(txn: lmdb.Transaction[bytes], dbs: Databases, identity: Identity) -> None:
    txn.put(IDENTITY_KEY, identity.model_dump_json().encode("utf-8"), db=dbs.meta)


def new_identity() -> Identity:
    """The identity of a world that comes from no other."""
    return Identity(id=secrets.token_hex(8))


def identify(env: lmdb.Environment) -> None:
    """Give the world an identity where an earlier Greenroom gave it none."""
    dbs = open_databases(env, create=True)
    with env.begin(db=dbs.meta) as txn:
        if txn.get(IDENTITY_KEY) is not None:
            return
    with env.begin(write=True) as txn:
        put_identity(txn, dbs, new_identity())


def sync_directory(path: Path) -> None:
    """Make the names in the folder `path` as durable as the files are."""
    if os.name == "nt":  # Windows can't open a folder, and journals its names itself
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def migrate(path: Path, env: lmdb.Environment, layout: int) -> Path:
    """Bring an older layout forward, after a backup; returns the backup's folder.

    The migration is one transaction: killed at any instant, the folder is either still old or
    already new. Raises `StorageError` when the old data can't be read.
    """
    backup = back_up(path, env, layout)
    # every record is rewritten while the old ones are still held: room for both, and more
    env.set_mapsize(max(env.info()["map_size"], 4 * (path / DATA_NAME).stat().st_size))
    dbs = open_databases(env, create=True)
    with env.begin(write=True) as txn:
        for step in range(layout, LAYOUT):
            _STEPS[step](txn, dbs)
        put_layout(txn, dbs, LAYOUT)
    return backup


def back_up(path: Path, env: lmdb.Environment, layout: int) -> Path:
    """A consistent copy of database and checkpoints under `backups/`, complete or not there."""
    parent = path / BACKUPS_NAME
    parent.mkdir(exist_ok=True)
    unfinished = parent / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    with (unfinished / DATA_NAME).open("wb") as file:
        env.copyfd(file.fileno(), compact=True)
        os.fsync(file.fileno())
    copies = unfinished / CHECKPOINTS_NAME
    copies.mkdir()
    originals = path / CHECKPOINTS_NAME
    for original in sorted(originals.glob("*.ckpt")) if originals.is_dir() else []:
        copy = copies / original.name
        shutil.copyfile(original, copy)
        with copy.open("rb+") as file:
            os.fsync(file.fileno())
    sync_directory(copies)
    sync_directory(unfinished)
    n = 1
    while (target := parent / (f"layout-{layout}" + (f"-{n}" if n > 1 else ""))).exists():
        n += 1
    unfinished.rename(target)
    sync_directory(parent)
    sync_directory(path)
    return target


def _from_0(txn: lmdb.Transaction[bytes], dbs: Databases) -> None:
    """Link the records, write the head, give checkpoints their link and the meta its epoch."""
    with txn.cursor(dbs.checkpoints) as cursor:
        entries = {key_number(key): bytes(value) for key, value in cursor}
    link, last = GENESIS, -1
    links: dict[int, bytes] = {}
    with txn.cursor(dbs.journal) as cursor:
        found = cursor.first()
        while found:
            key, payload = cursor.item()
            last = key_number(key)
            if last - 1 in entries:
                links.setdefault(last - 1, link)
            link = link_of(link, payload)
            if last in entries:
                links[last] = link
            cursor.put(key, link + payload)
            found = cursor.set_key(key) and cursor.next()
    for tick, data in entries.items():
        match unpack_value(f"the entry of checkpoint {tick}", data):
            case [int(epoch), (int() | None) as state_hash, str(name), int(size), bytes(digest)]:
                info = CheckpointInfo(
                    tick, epoch, state_hash, links.get(tick, GENESIS), name, size, digest
                )
                txn.put(number_key(tick), info.pack(), db=dbs.checkpoints)
            case _:
                raise StorageError(f"the entry of checkpoint {tick} is not one of layout 0")
    if last >= 0:
        txn.put(HEAD_KEY, pack_head(last, link), db=dbs.meta)
    old = json.loads(txn.get(WORLD_KEY, b"{}", db=dbs.meta))
    meta = WorldMeta.model_validate_json(json.dumps({"epoch": 1} | old))
    txn.put(WORLD_KEY, meta.model_dump_json().encode("utf-8"), db=dbs.meta)


_STEPS: dict[int, Callable[[lmdb.Transaction[bytes], Databases], None]] = {0: _from_0}
