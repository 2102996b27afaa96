"""One process a world: a lock on a file, which the kernel drops when its holder dies."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from world.errors import WorldBusy

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


class WorldLock:
    """Exclusive hold of a world's folder. Raises `WorldBusy` when another holder lives."""

    def __init__(self, path: Path) -> None:
        self._fd: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(self._fd)
        except OSError as error:
            holder = _holder(self._fd)
            os.close(self._fd)
            self._fd = None
            raise WorldBusy(
                f"{path.parent} is held by another Greenroom (process {holder})",
                "stop that process, or give this one another --data folder",
            ) from error
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode("ascii"))

    def release(self) -> None:
        """Let the next process in. Calling it again does nothing."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None


def _holder(fd: int) -> str:
    try:
        return os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
    except OSError:  # Windows bars reading what is locked
        return "unknown"


def _lock(fd: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
