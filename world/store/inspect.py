"""What a data folder holds, told as plain data; works beside the process that serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from world.errors import StorageError
from world.store.checkpoints import CheckpointDamaged
from world.store.layout import BACKUPS_NAME, CHECKPOINTS_NAME, DATA_NAME, LAYOUT
from world.store.reader import Reader
from world.store.records import CheckpointInfo


def describe(path: str | Path, *, verify: bool = False) -> dict[str, Any]:
    """A world's folder as JSON-able data.

    Keys: `path`, `layout`, `meta` (see `WorldMeta`), `journal` {first, last, ticks}, `checkpoints`
    [{tick, epoch, hash, file, bytes}], `conversations` {pairs, turns}, `calls`, `sizes` in
    bytes {database, used, checkpoints, backups}, `damage` [text]. With `verify` every checkpoint and
    every record is read and checked; without, only whether files are there with their size. Raises
    `StorageError` when the folder can't be read.
    """
    path = Path(path)
    with Reader.open(path) as reader:
        head, first = reader.head(), reader.first_tick()
        kept = reader.checkpoints()
        counts = reader.counts()
        damage = [told for info in kept if (told := _damage(reader, info, verify))]
        if verify:
            damage += _journal_damage(reader, kept)
        return {
            "path": str(path),
            "layout": LAYOUT,
            "meta": reader.meta().model_dump(mode="json"),
            "journal": {
                "first": first,
                "last": None if head is None else head[0],
                "ticks": counts["journal"],
            },
            "checkpoints": [
                {
                    "tick": info.tick,
                    "epoch": info.epoch,
                    "hash": None if info.hash is None else f"{info.hash:016x}",
                    "file": f"{CHECKPOINTS_NAME}/{info.name}",
                    "bytes": info.size,
                }
                for info in kept
            ],
            "conversations": {"pairs": reader.pairs(), "turns": counts["conversations"]},
            "calls": counts["calls"],
            "sizes": {
                "database": (path / DATA_NAME).stat().st_size,
                "used": reader.info()["used_bytes"],
                "checkpoints": _bytes_in(path / CHECKPOINTS_NAME),
                "backups": _bytes_in(path / BACKUPS_NAME),
            },
            "damage": damage,
        }


def _damage(reader: Reader, info: CheckpointInfo, verify: bool) -> str:
    file = reader.path / CHECKPOINTS_NAME / info.name
    try:
        if verify:
            reader.load(info)
        elif file.stat().st_size != info.size:
            return f"{info.name} has {file.stat().st_size} bytes instead of {info.size}"
    except CheckpointDamaged as error:
        return error.message
    except OSError as error:
        return f"{info.name} can't be read: {error.strerror}"
    return ""


def _journal_damage(reader: Reader, kept: tuple[CheckpointInfo, ...]) -> list[str]:
    try:
        for _ in reader.records(kept[0] if kept else None):
            pass
    except StorageError as error:
        return [error.message]
    return []


def _bytes_in(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
