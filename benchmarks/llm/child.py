"""A side in a process of its own that talks in lines of JSON; its log is kept for when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.llm.sides import SideError

ROOT = Path(__file__).parents[2]
_LAST_LINES = 6
_LINE = 1 << 24


class Child:
    """One process: `say` writes a line to it, `hear` reads one. Its errors go to a temporary file."""

    def __init__(self, command: Sequence[str], name: str) -> None:
        self._command = list(command)
        self._name = name
        self._process: asyncio.subprocess.Process | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115

    async def start(self, *, own_output: bool = True) -> None:
        """Start it; without `own_output` what it prints goes to the log too."""
        paths = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if own_output else self._log,
                stderr=self._log,
                env={**os.environ, "PYTHONPATH": paths},
                # A group of its own, so that all of it can be ended; not a session of its own: Linux
                # shares the cores out among sessions, and our engine is in the bench's.
                process_group=0,
                limit=_LINE,
            )
        except OSError as error:
            raise SideError(f"{self._name} can't be started: {error}") from error

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process is None or self._process.returncode is not None

    async def say(self, message: Mapping[str, Any]) -> None:
        """Send one message. Raises SideError when nobody listens any more."""
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionError) as error:
            raise self.failure() from error

    async def hear(self) -> dict[str, Any]:
        """The next message. Raises SideError when the process ended instead."""
        assert self._process is not None and self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise self.failure()
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise SideError(f"{self._name}: {found['error']}")
        return found

    def log(self) -> str:
        """All it wrote to its log."""
        # Not by seeking: the process writes through the same position.
        size = os.fstat(self._log.fileno()).st_size
        return os.pread(self._log.fileno(), size, 0).decode("utf-8", "replace")

    def failure(self) -> SideError:
        """What to say about its end: its last lines."""
        lines = [line.strip() for line in self.log().splitlines() if line.strip()]
        return SideError(f"{self._name} ended: {' | '.join(lines[-_LAST_LINES:])[:600]}")

    async def close(self) -> None:
        """End it, and what it started."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        self._log.close()


def free_port() -> int:
    """A port on the loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
