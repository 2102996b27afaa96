"""The frozen files of a vector store and the manifest that names those which are live.

::

    vectors/
        manifest              what is live; replaced whole
        vectors.lock          held by the process that has it open
        seg-<serial>-<n>.vec  float32[rows, dims], little-endian, nothing else
        seg-<serial>-<n>.rows keys, serials and attributes (a checkpoint file)
        seg-<serial>-<n>.ann  Annoy's trees over the same rows  } made again
        seg-<serial>-<n>.nbr  int32[rows, links], see neighbours  } when lost
        log-<serial>.vlog     what came after the manifest
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from world.errors import NewerLayout, StorageError, VectorsDamaged
from world.lore.attributes import Vectors
from world.store import checkpoints
from world.store.layout import sync_directory

LAYOUT = 1
MANIFEST = "manifest"
LOCK = "vectors.lock"

_MAGIC = b"GRVECS\n"
_DIGEST = 32
_MEND = "restore the folder from a copy, or delete it and embed the texts again"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file's name, bytes and blake2b-256."""

    name: str
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """One frozen segment: `index` is empty where it is searched exactly. `dead`: packed bits, one a row."""

    rows: int
    vectors: FileEntry
    table: FileEntry
    index: tuple[FileEntry, ...]
    dead: bytes

    def files(self) -> tuple[FileEntry, ...]:
        """All of them."""
        return (self.vectors, self.table, *self.index)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is live: records up to `serial` are in the segments, later ones in the log."""

    dims: int
    serial: int
    segments: tuple[SegmentEntry, ...]


def digest_of(path: Path) -> bytes:
    """The blake2b-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _hasher).digest()


def entry_of(path: Path) -> FileEntry:
    """The entry of a file as it now is."""
    return FileEntry(path.name, path.stat().st_size, digest_of(path))


def intact(folder: Path, entry: FileEntry) -> bool:
    """Whether the file is there and as it was written."""
    path = folder / entry.name
    try:
        return path.stat().st_size == entry.size and digest_of(path) == entry.digest
    except OSError:
        return False


def check(folder: Path, entry: FileEntry) -> Path:
    """The path of an intact file. Raises `VectorsDamaged`."""
    if not intact(folder, entry):
        raise VectorsDamaged(f"{folder / entry.name} is missing or not as it was written", _MEND)
    return folder / entry.name


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest: old or new at any instant, never a part. Raises `StorageError`."""
    body: bytes = msgpack.packb({"layout": LAYOUT, **asdict(manifest)}, use_bin_type=True)
    unfinished = folder / f"{MANIFEST}.tmp"
    try:
        with unfinished.open("wb") as file:
            file.write(_MAGIC + _hasher(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / MANIFEST)
        sync_directory(folder)
    except OSError as error:
        raise StorageError(
            f"{folder / MANIFEST} can't be written: {error.strerror}", "free the disk"
        ) from error


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest; None in a folder that has none. Raises `VectorsDamaged` and `NewerLayout`."""
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror}") from error
    start = len(_MAGIC) + _DIGEST
    body = data[start:]
    told = data[len(_MAGIC) : start]
    if not data.startswith(_MAGIC) or not hmac.compare_digest(_hasher(body).digest(), told):
        raise VectorsDamaged(f"{path} is not as it was written", _MEND)
    found: dict[str, Any] = msgpack.unpackb(body, raw=False)
    if found["layout"] > LAYOUT:
        raise NewerLayout(
            f"{path} has layout {found['layout']}; this Greenroom reads up to {LAYOUT}",
            "use the Greenroom that wrote it, or a newer one",
        )
    return Manifest(
        found["dims"],
        found["serial"],
        tuple(
            SegmentEntry(
                one["rows"],
                FileEntry(**one["vectors"]),
                FileEntry(**one["table"]),
                tuple(FileEntry(**file) for file in one["index"]),
                one["dead"],
            )
            for one in found["segments"]
        ),
    )


def write_vectors(path: Path, slices: Iterator[Vectors]) -> FileEntry:
    """Write float32 rows, synced. Raises OSError, with nothing left behind."""
    digest = _hasher()
    size = 0
    try:
        with path.open("wb", buffering=0) as file:
            for rows in slices:
                piece = rows.astype("<f4", copy=False).tobytes()
                digest.update(piece)
                size += len(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(file.fileno(), view) :]
            os.fsync(file.fileno())
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise
    return FileEntry(path.name, size, digest.digest())


def write_table(path: Path, table: dict[str, Any]) -> FileEntry:
    """Write keys, serials and attributes, synced. Raises OSError and `StorageError`."""
    frozen = checkpoints.freeze(table)
    digests: list[bytes] = []
    for _ in checkpoints.write(path, frozen, 1 << 20, digests.append):
        pass
    return FileEntry(path.name, frozen.size, digests[0])


def read_table(folder: Path, entry: FileEntry) -> dict[str, Any]:
    """What `write_table` was given. Raises `VectorsDamaged`."""
    try:
        return checkpoints.read(folder / entry.name, size=entry.size, digest=entry.digest)
    except checkpoints.CheckpointDamaged as error:
        raise VectorsDamaged(f"{folder}: {error.message}", _MEND) from error


def map_vectors(path: Path, rows: int, dims: int) -> Vectors:
    """The rows, memory-mapped and read-only."""
    mapped: Vectors = np.memmap(path, dtype="<f4", mode="r", shape=(rows, dims))
    return mapped.view(np.ndarray)


def sweep(folder: Path, manifest: Manifest | None) -> None:
    """Remove segment files that the manifest does not name: left by a merge that did not end."""
    live = {
        entry.name
        for segment in (manifest.segments if manifest else ())
        for entry in segment.files()
    }
    for path in [*folder.glob("seg-*"), *folder.glob("*.tmp")]:
        if path.name not in live:
            with contextlib.suppress(OSError):  # Windows keeps what is still mapped
                path.unlink()


def _hasher(data: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(data, digest_size=_DIGEST)
