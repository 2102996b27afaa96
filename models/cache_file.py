"""The cache's entries in one file: appended to, written anew when most of it is gone.

::

    record    "GRCH" · length u32 · crc32 u32 · payload      (little-endian)
    payload   msgpack ["put", id, scope, float32 bytes, question, text, source, stored_at]
              msgpack ["delete", [id …]]

A cache may forget: writes are not synced, what a power cut or a full disk took is asked again, and
reading ends at the first record that is not as it was written. A file that begins with none is put
aside as `….damaged`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import msgpack
import numpy as np

from models.cache import CacheEntry

_log = logging.getLogger("greenroom.models")
_MAGIC = b"GRCH"
_HEAD = struct.Struct("<4sII")
MAX_RECORD_BYTES = 1 << 20
LEAST_DEAD = 1000
"""The file is not written anew for fewer entries that are gone."""


class FileKeeper:
    """A `CacheKeeper` in one file. Raises OSError when the file can't be opened at all."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._places: dict[int, tuple[int, int]] = {}
        self._dead = 0
        self._dropped_bytes = self._failures = 0
        self._file: BinaryIO = self._path.open("a+b", buffering=0)

    def load(self) -> list[CacheEntry]:
        """See `CacheKeeper`; cuts off what can't be read."""
        self._file.seek(0)
        data = self._file.read()
        entries: dict[int, CacheEntry] = {}
        at = 0
        while (found := _record(data, at)) is not None:
            payload, end = found
            try:
                self._apply(msgpack.unpackb(payload, raw=False), at, end, entries)
            except (ValueError, TypeError, KeyError, msgpack.UnpackException):
                break
            at = end
        if at < len(data):
            self._dropped_bytes = len(data) - at
            if at == 0:
                self._put_aside()
            else:
                self._file.truncate(at)
        return [entries[entry_id] for entry_id in sorted(entries)]

    def put(self, entry: CacheEntry) -> None:
        """See `CacheKeeper`."""
        at = self._append(
            [
                "put",
                entry.id,
                entry.scope,
                entry.vector.astype("<f4").tobytes(),
                entry.question,
                entry.text,
                entry.source,
                entry.stored_at,
            ]
        )
        if at is not None:
            self._places[entry.id] = at

    def delete(self, ids: Iterable[int]) -> None:
        """See `CacheKeeper`."""
        gone = list(ids)
        self._append(["delete", gone])
        for entry_id in gone:
            self._dead += self._places.pop(entry_id, None) is not None
        if self._dead > max(LEAST_DEAD, len(self._places)):
            self._write_anew()

    def status(self) -> dict[str, object]:
        """{"kind", "entries", "dead", "dropped_bytes", "failures"}."""
        return {
            "kind": "file",
            "entries": len(self._places),
            "dead": self._dead,
            "dropped_bytes": self._dropped_bytes,
            "failures": self._failures,
        }

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _apply(self, record: list[Any], at: int, end: int, entries: dict[int, CacheEntry]) -> None:
        match record:
            case ["put", int(entry_id), str(scope), bytes(vector), *texts, float(stored_at)]:
                question, text, source = map(str, texts)
                entries[entry_id] = CacheEntry(
                    entry_id,
                    scope,
                    np.frombuffer(vector, "<f4").astype(np.float32),
                    question,
                    text,
                    source,
                    stored_at,
                )
                self._places[entry_id] = (at, end)
            case ["delete", list(ids)]:
                for entry_id in ids:
                    self._dead += entries.pop(entry_id, None) is not None
                    self._places.pop(entry_id, None)
            case _:
                raise ValueError("no record of a cache")

    def _put_aside(self) -> None:
        """Nothing in the file is ours: someone may want it back."""
        self._file.close()
        self._path.replace(self._path.with_name(self._path.name + ".damaged"))
        self._file = self._path.open("a+b", buffering=0)

    def _append(self, record: list[Any]) -> tuple[int, int] | None:
        payload = msgpack.packb(record, unicode_errors="replace")
        if len(payload) > MAX_RECORD_BYTES:
            self._failures += 1
            return None
        data = _HEAD.pack(_MAGIC, len(payload), zlib.crc32(payload)) + payload
        start = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(f"{written} of {len(data)} bytes were written")
        except OSError as error:
            self._fail(error)
            with contextlib.suppress(OSError):
                self._file.truncate(start)
            return None
        return start, start + len(data)

    def _write_anew(self) -> None:
        """Copy the living records to a new file, which then takes the old one's name."""
        unfinished = self._path.with_name(self._path.name + ".tmp")
        places: dict[int, tuple[int, int]] = {}
        try:
            with unfinished.open("wb") as new:
                for entry_id, (start, end) in self._places.items():
                    self._file.seek(start)
                    at = new.tell()
                    new.write(self._file.read(end - start))
                    places[entry_id] = (at, new.tell())
                new.flush()
                os.fsync(new.fileno())
            self._file.close()
            unfinished.replace(self._path)
        except OSError as error:
            self._fail(error)
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            places = self._places
        else:
            self._dead = 0
        self._places = places
        if self._file.closed:
            self._file = self._path.open("a+b", buffering=0)

    def _fail(self, error: OSError) -> None:
        self._failures += 1
        _log.warning("the cache can't be written to %s: %s", self._path, error)


def _record(data: bytes, at: int) -> tuple[bytes, int] | None:
    if at + _HEAD.size > len(data):
        return None
    magic, length, told = _HEAD.unpack_from(data, at)
    end = at + _HEAD.size + length
    payload = data[at + _HEAD.size : end]
    if magic != _MAGIC or end > len(data) or zlib.crc32(payload) != told:
        return None
    return payload, end
