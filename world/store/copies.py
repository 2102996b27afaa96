"""Whole copies of a world's folder: consistent while it runs, and complete or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foundation.errors import UsageError
from world.errors import NoRoom, StorageError
from world.store.layout import (
    CHECKPOINTS_NAME,
    DATA_NAME,
    open_databases,
    open_env,
    put_identity,
    sync_directory,
)
from world.store.options import MIB
from world.store.reader import Gate, Reader
from world.store.records import Identity

RESERVE_BYTES = 64 * MIB
"""What a copy leaves free on the disk, at the least, for the world to go on in."""

_CANT_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES})
_LOCK_SUFFIX = "-lock"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that is called `target` once it is filled and synced, and else is gone.

    Killed in between, what is left is called `.NAME.unfinished`; the next try removes it.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        yield unfinished
        for folder in (*(one for one in unfinished.iterdir() if one.is_dir()), unfinished):
            sync_directory(folder)
        unfinished.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise StorageError(f"{target} can't be written: {error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def copy_world(source: Reader, folder: Path) -> None:
    """Copy the database of `source`, as it is now, and the checkpoints that it names into `folder`.

    The caller sees to it that no checkpoint goes meanwhile. Checkpoints, which are never written to
    again, are linked where the file system can. Raises `StorageError`.
    """
    source.copy_database(folder / DATA_NAME)
    (folder / CHECKPOINTS_NAME).mkdir()
    with Reader.open(folder) as copied:
        kept = copied.checkpoints()
    for info in kept:
        place = folder / CHECKPOINTS_NAME / info.name
        link_or_copy(source.path / CHECKPOINTS_NAME / info.name, place)
        if place.stat().st_size != info.size:
            raise StorageError(
                f"the checkpoint {info.name} of {source.path} is damaged",
                "look into it with `greenroom inspect`; a newer checkpoint takes its place in time",
            )
    (folder / (DATA_NAME + _LOCK_SUFFIX)).unlink(missing_ok=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that is never written to again a second name, or a synced copy elsewhere."""
    try:
        os.link(source, target)
        return
    except OSError as error:
        if error.errno not in _CANT_LINK:
            raise
    shutil.copyfile(source, target)
    with target.open("rb+") as file:
        os.fsync(file.fileno())


def check_room(source: Reader, near: Path) -> None:
    """Raises `NoRoom` unless a copy of `source` fits on the disk that holds the folder `near`."""
    needed = size_of(source) + RESERVE_BYTES
    while not near.exists() and near != near.parent:
        near = near.parent
    free = shutil.disk_usage(near).free
    if free < needed:
        raise NoRoom(
            f"{near} has {free // MIB} MiB free, and {needed // MIB} MiB are needed",
            "make room, or remove a snapshot: greenroom snapshot NAME --remove",
        )


def size_of(source: Reader) -> int:
    """Bytes that a copy takes at the most, its checkpoints included."""
    return source.info()["used_bytes"] + sum(info.size for info in source.checkpoints())


def branch(source: Reader, target: Path, snapshot: str = "") -> Identity:
    """Copy a world into the folder `target` as a world of its own; returns its identity.

    `snapshot` names what `source` is, "" for a world as it runs. Raises `UsageError` when there is
    something at `target`, `NoRoom`, `StorageError`.
    """
    try:
        taken = target.exists() and (not target.is_dir() or any(target.iterdir()))
    except OSError as error:
        raise UsageError(
            f"{target} can't be looked at: {error.strerror}", "name another"
        ) from error
    if taken:
        raise UsageError(
            f"there is something at {target} already", "name a folder that is not there"
        )
    check_room(source, target.parent)
    parent = source.identity()
    with whole_folder(target) as folder:
        copy_world(source, folder)
        room = 2 * (folder / DATA_NAME).stat().st_size + MIB
        with contextlib.closing(open_env(folder, map_bytes=room)) as env:
            dbs = open_databases(env, create=False)
            copied = Reader(folder, env, dbs, Gate())
            identity = Identity(
                id=secrets.token_hex(8),
                parent=parent.id if parent is not None else "",
                snapshot=snapshot,
                tick=copied.end()[0],
                epoch=copied.meta().epoch,
            )
            with env.begin(write=True) as txn:
                put_identity(txn, dbs, identity)
        (folder / (DATA_NAME + _LOCK_SUFFIX)).unlink(missing_ok=True)
    return identity
