"""The named snapshots of a world: each a whole folder inside its own, as the world was at a durable tick."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from pydantic import Field

from foundation.errors import LimitError, UsageError
from foundation.strict import StrictModel
from world.errors import StorageError
from world.store.copies import check_room, copy_world, whole_folder
from world.store.layout import SNAPSHOTS_NAME, sync_directory
from world.store.options import StoreOptions
from world.store.reader import Reader

_log = logging.getLogger(__name__)

CARD_NAME: Final = "snapshot.json"
NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,47}$"

_NAME = re.compile(NAME_PATTERN)
_FOLDER = re.compile(r"^([a-z0-9][a-z0-9_-]{0,47})\.([0-9]{1,12})$")


class Snapshot(StrictModel):
    """A snapshot's card. `tick` and `epoch` are those it was taken at, `made` seconds since 1970.

    `bytes` are those of its database; checkpoints are shared with the world's own where they can be.
    """

    name: str = Field(pattern=NAME_PATTERN)
    tick: int
    epoch: int
    made: int
    bytes: int


class Snapshots:
    """Takes, lists and removes the snapshots of one world, whose folder the caller holds the lock of.

    A snapshot called NAME lies in `snapshots/NAME.N`; of several the highest N counts, so that one can
    take another's place without a moment in which there is none. `pinned` keeps checkpoints from going
    while they are copied. Safe on any thread.
    """

    def __init__(
        self,
        reader: Reader,
        options: StoreOptions,
        pinned: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._reader = reader
        self._options = options
        self._pinned = pinned
        self._folder = reader.path / SNAPSHOTS_NAME
        self._lock = threading.Lock()
        self.sweep()

    def sweep(self) -> None:
        """Remove what a process left that died: unfinished ones, and those whose place was taken."""
        if not self._folder.is_dir():
            return
        newest = {folder for folder, _ in folders(self._folder).values()}
        for one in self._folder.iterdir():
            if one.name.startswith(".") or (_FOLDER.match(one.name) and one not in newest):
                shutil.rmtree(one, ignore_errors=True)

    def list(self) -> list[Snapshot]:
        """All of them, the oldest first."""
        return list_snapshots(self._reader.path)

    def take(self, name: str, made: int, *, replace: bool = False) -> Snapshot:
        """Copy the world as it is durable now, under a name.

        With `replace` it may take the place of one of that name. Returns when it is durable itself.
        Raises `UsageError` for a name that can't be used or is taken, `LimitError` when
        `snapshots_kept` are there, `NoRoom`, `StorageError`.
        """
        if not _NAME.match(name):
            raise UsageError(
                f"{name!r} can't be a snapshot's name",
                "up to 48 lower-case letters, digits, - and _, a letter or digit first",
            )
        with self._lock:
            known = folders(self._folder)
            if name in known and not replace:
                raise UsageError(
                    f"there is a snapshot {name!r} already", "choose another name, or --replace it"
                )
            if name not in known and len(known) >= self._options.snapshots_kept:
                raise LimitError(
                    f"{len(known)} snapshots are kept, the most there may be",
                    "remove one (greenroom snapshot NAME --remove), or raise world.snapshots",
                )
            check_room(self._reader, self._folder)
            old, number = known.get(name, (None, 0))
            target = self._folder / f"{name}.{number + 1}"
            with whole_folder(target) as folder:
                with self._pinned():
                    copy_world(self._reader, folder)
                card = _card(folder, name, made)
                _write_card(folder, card)
            if old is not None:
                self._remove(old)
        return card

    def remove(self, name: str) -> None:
        """Delete a snapshot. Raises `UsageError` when there is none of that name."""
        with self._lock:
            self._remove(find(self._reader.path, name))

    def _remove(self, folder: Path) -> None:
        # The name goes first and at once, so that no half of a snapshot can be found under it.
        gone = folder.with_name(f".{folder.name}.gone")
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        sync_directory(self._folder)
        shutil.rmtree(gone, ignore_errors=True)


def find(world: Path, name: str) -> Path:
    """The folder of a world's snapshot. Raises `UsageError`, naming those there are."""
    known = folders(world / SNAPSHOTS_NAME)
    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise UsageError(f"there is no snapshot {name!r}", f"there are: {there}")
    return known[name][0]


def list_snapshots(world: Path) -> list[Snapshot]:
    """The cards of a world's snapshots, the oldest first; needs no lock.

    A card that is damaged is made anew from what it tells of; a snapshot that is damaged itself is
    left out, with a line in the log.
    """
    found = []
    for name, (folder, _) in folders(world / SNAPSHOTS_NAME).items():
        try:
            found.append(_read_card(folder, name))
        except (StorageError, OSError) as error:
            _log.warning("the snapshot %s can't be read: %s", name, error)
    return sorted(found, key=lambda card: (card.made, card.tick, card.name))


def folders(parent: Path) -> dict[str, tuple[Path, int]]:
    """The folder and number of each snapshot, by name."""
    found: dict[str, tuple[Path, int]] = {}
    for folder in parent.iterdir() if parent.is_dir() else ():
        match = _FOLDER.match(folder.name)
        if match and int(match[2]) > found.get(match[1], (folder, -1))[1]:
            found[match[1]] = (folder, int(match[2]))
    return found


def _card(folder: Path, name: str, made: int) -> Snapshot:
    with Reader.open(folder) as copied:
        tick, _ = copied.end()
        return Snapshot(
            name=name,
            tick=tick,
            epoch=copied.meta().epoch,
            made=made,
            bytes=copied.info()["used_bytes"],
        )


def _write_card(folder: Path, card: Snapshot) -> None:
    with (folder / CARD_NAME).open("w", encoding="utf-8") as file:
        file.write(json.dumps(card.model_dump(), indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _read_card(folder: Path, name: str) -> Snapshot:
    try:
        return Snapshot.model_validate_json((folder / CARD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return _card(folder, name, int(folder.stat().st_mtime))
