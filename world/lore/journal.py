"""What is not frozen yet, on disk: an append-only log of records, checked on the way back.

::

    record    "GRVL" · length u32 · crc32 u32 · serial u64 · synced u64 · payload   (little-endian)
    files     log-<serial of the first record>.vlog, a new one every few megabytes

Serials run without gaps, but for records that were frozen before they reached the disk. `synced` is the
last serial that was known to be on the disk when the record was written: a bad record that a later one
calls synced is damage, any other is the torn end of what nobody was promised, and is cut off.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from world.errors import StorageError, VectorsDamaged
from world.store.layout import sync_directory

PART_BYTES = 4 << 20
MAX_RECORD_BYTES = 1 << 20

_MAGIC = b"GRVL"
_HEAD = struct.Struct("<4sIIQQ")
_CHECKED = struct.Struct("<QQ")


class Journal(Protocol):
    """Keeps records until they are frozen. Each is durable once a `sync` begun after it has returned."""

    def records(self, after: int) -> Iterator[tuple[int, bytes]]:
        """The records with a serial above `after`, in order; called once, before the first append."""

    def append(self, serial: int, payload: bytes) -> None:
        """Add a record, serial one above the last. Raises `StorageError`; then nothing was added."""

    def sync(self) -> int:
        """Make everything appended so far durable; the last serial that is."""

    def trim(self, serial: int) -> None:
        """The records up to `serial` may be forgotten, now or later."""

    def status(self) -> dict[str, object]:
        """Plain values for metrics."""

    def close(self) -> None:
        """Sync and let go of files."""


class FileJournal:
    """A `Journal` in files of a folder. Raises `VectorsDamaged` when what was synced can't be read."""

    def __init__(self, folder: Path, *, part_bytes: int = PART_BYTES) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._fd: int | None = None
        self._size = 0
        self._unsynced: list[tuple[int, int]] = []
        self._first = 0
        self._last = self._synced = 0
        self._broken = ""
        self._dropped_bytes = 0

    def records(self, after: int) -> Iterator[tuple[int, bytes]]:
        """See `Journal`; cuts a torn end off as it passes."""
        parts = self._parts()
        expected = after + 1
        for n, path in enumerate(parts):
            if n + 1 < len(parts) and _first_serial(parts[n + 1]) <= after + 1:
                continue
            serial, at = _first_serial(path), 0
            if serial > expected:
                self._drop(parts[n:], 0, expected)
                break
            data = path.read_bytes()
            while (found := _record(data, at, serial)) is not None:
                payload, synced, at = found
                self._synced = max(self._synced, synced)
                if serial > after:
                    yield serial, payload
                serial += 1
            expected = max(expected, serial)
            if at < len(data):
                self._drop(parts[n:], at, serial)
                break
        self._last = expected - 1
        for path in self._parts():
            _sync_file(path)
        self._synced = self._last

    def _drop(self, parts: list[Path], at: int, expected: int) -> None:
        """Forget a torn end: all behind `at` of the first file, and the files that follow."""
        rests = [parts[0].read_bytes()[at:], *(path.read_bytes() for path in parts[1:])]
        if max(map(_called_synced, rests)) >= expected:
            raise VectorsDamaged(
                f"{parts[0].name} is damaged at byte {at}: the record {expected} was synced",
                "restore the folder from a copy, or delete it and embed the texts again",
            )
        self._dropped_bytes += sum(map(len, rests))
        # from the end, so that a death in between leaves a torn end again
        for path in reversed(parts[1:]):
            path.unlink()
        if at == 0:
            parts[0].unlink()
        else:
            os.truncate(parts[0], at)

    def append(self, serial: int, payload: bytes) -> None:
        if len(payload) > MAX_RECORD_BYTES:
            raise StorageError(f"a record of {len(payload)} bytes is past {MAX_RECORD_BYTES}")
        with self._lock:
            if self._broken:
                raise StorageError(self._broken, "free the disk and open the vectors again")
            try:
                if self._fd is None or self._size >= self._part_bytes:
                    self._next_part(serial)
                assert self._fd is not None
                checked = _CHECKED.pack(serial, self._synced) + payload
                head = _HEAD.pack(_MAGIC, len(payload), zlib.crc32(checked), serial, self._synced)
                self._write(head + payload)
            except OSError as error:
                raise StorageError(
                    f"a vector can't be written to {self._folder}: {error.strerror}",
                    "free the disk",
                ) from error
            self._last = serial

    def sync(self) -> int:
        with self._syncing:
            return self._sync()

    def _sync(self) -> int:
        with self._lock:
            last = self._last
            held = [fd for _, fd in self._unsynced]
            self._unsynced = []
            if self._fd is not None and self._synced < last:
                held.append(os.dup(self._fd))
        # outside the lock: a slow disk must not hold up who appends
        try:
            for fd in held:
                os.fsync(fd)
        except OSError as error:
            self._broken = f"{self._folder} can't be synced: {error.strerror}"
            raise StorageError(self._broken, "check the disk") from error
        finally:
            for fd in held:
                os.close(fd)
        with self._lock:
            self._synced = max(self._synced, last)
        return last

    def trim(self, serial: int) -> None:
        """Delete the files all of whose records are named; the one being written stays."""
        gone = []
        parts = self._parts()
        for path, following in itertools.pairwise(parts):
            if _first_serial(following) - 1 <= serial:
                gone.append(_first_serial(path))
                path.unlink(missing_ok=True)
        with self._lock:
            for first, fd in self._unsynced:
                if first in gone:
                    os.close(fd)
            self._unsynced = [(first, fd) for first, fd in self._unsynced if first not in gone]

    def status(self) -> dict[str, object]:
        """{"kind", "files", "synced", "last", "dropped_bytes"}; the last: torn ends cut off on opening."""
        return {
            "kind": "file",
            "files": len(self._parts()),
            "last": self._last,
            "synced": self._synced,
            "dropped_bytes": self._dropped_bytes,
        }

    def close(self) -> None:
        if self._fd is not None:
            try:
                self.sync()
            finally:
                os.close(self._fd)
                self._fd = None

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("log-*.vlog"))

    def _next_part(self, serial: int) -> None:
        path = self._folder / f"log-{serial:016d}.vlog"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o644)
        sync_directory(self._folder)
        if self._fd is not None:
            self._unsynced.append((self._first, self._fd))
        self._fd, self._size, self._first = fd, 0, serial

    def _write(self, data: bytes) -> None:
        assert self._fd is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            # half a record would end the log here for whoever reads it
            try:
                os.ftruncate(self._fd, self._size)
                os.lseek(self._fd, self._size, os.SEEK_SET)
            except OSError as error:
                self._broken = f"{self._folder} can't be written: {error.strerror}"
            raise
        self._size += len(data)


def _first_serial(path: Path) -> int:
    try:
        return int(path.stem.partition("-")[2])
    except ValueError as error:
        raise VectorsDamaged(f"{path.name} is no log of vectors", "move it away") from error


def _record(data: bytes, at: int, serial: int | None) -> tuple[bytes, int, int] | None:
    """(payload, synced, offset behind it) of a good record at `at`; None when there is none."""
    if at + _HEAD.size > len(data):
        return None
    magic, length, told, found, synced = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + length
    if magic != _MAGIC or length > MAX_RECORD_BYTES or end > len(data):
        return None
    payload = data[at + _HEAD.size : end]
    if zlib.crc32(_CHECKED.pack(found, synced) + payload) != told:
        return None
    if serial is not None and found != serial:
        return None
    return payload, synced, end


def _called_synced(data: bytes) -> int:
    """The highest serial that a good record anywhere in `data` calls synced; 0 without one."""
    highest, at = 0, -1
    while (at := data.find(_MAGIC, at + 1)) >= 0:
        if (found := _record(data, at, None)) is not None:
            highest = max(highest, found[1])
    return highest


def _sync_file(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
