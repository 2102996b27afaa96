"""How the host reaches an engine: a child process behind pipes, or a thread for debugging.

A channel is used once: `open`, `send` any number of times, then it ends by itself or by `kill`.
`on_frame` and then once `on_end` are called on the channel's own thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import subprocess
import threading
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from models.errors import ModelError
from models.llama import frames, spawn
from models.llama.inbox import Inbox
from models.llama.settings import EngineSettings, Role
from models.llama.shortage import kernel_kills, tells_of_shortage

_log = logging.getLogger("greenroom.models.llama")

Frame = Mapping[str, Any]

_STDERR_LINES = 60
_STDERR_WIDTH = 400
_QUOTED_LINES = 3
# A source file and line, without the folders of whoever built the library.
_SOURCE = re.compile(r"\S+/([^/\s]+\.(?:cpp|cu|c|h):\d+)")


@dataclass(frozen=True, slots=True)
class End:
    """How an engine ended: `reason` in words (with the signal or exit code), and its last words.

    `code` is a process's exit code as `subprocess` tells it, `killed` says that this side ended it,
    `refused` that it said itself that memory was short, `spared` that the kernel killed nobody for want
    of memory while it lived.
    """

    reason: str
    last_words: str = ""
    code: int | None = None
    killed: bool = False
    refused: bool = False
    spared: bool = False


class Channel(Protocol):
    """One life of an engine."""

    @property
    def pid(self) -> int | None: ...

    def open(self, path: Path, settings: EngineSettings, role: Role) -> None: ...

    def send(self, frame: Frame) -> None:
        """Hand a frame over; never blocks. What the engine can't take any more is lost."""

    def kill(self) -> None:
        """End it at once; `on_end` follows."""

    def wait(self, timeout_s: float) -> bool:
        """Wait for it to have ended; False when it hasn't in that time."""


class ProcessChannel:
    """The engine in a process of its own."""

    def __init__(self, on_frame: Callable[[Frame], None], on_end: Callable[[End], None]) -> None:
        self._on_frame = on_frame
        self._on_end = on_end
        self._process: subprocess.Popen[bytes] | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._last_lines: deque[str] = deque(maxlen=_STDERR_LINES)
        self._killed = False
        self._kernel_kills: int | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id once it runs."""
        return self._process.pid if self._process else None

    def open(self, path: Path, settings: EngineSettings, role: Role) -> None:
        """Start the child. Raises OSError when no process can be started."""
        self._kernel_kills = kernel_kills()
        self._process = subprocess.Popen(
            spawn.command("models.llama.child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=spawn.environment(),
        )
        self.send({"t": "start", "role": role, "path": str(path), "settings": settings.pack()})
        for target, name in (
            (self._write, "writer"),
            (self._read_errors, "stderr"),
            (self._read, "reader"),
        ):
            threading.Thread(target=target, name=f"llama-{name}", daemon=True).start()

    def send(self, frame: Frame) -> None:
        self._outbox.put(frames.encode(frame))

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._killed = True
            self._process.kill()

    def wait(self, timeout_s: float) -> bool:
        try:
            if self._process is not None:
                self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _write(self) -> None:
        pipe = self._pipe("stdin")
        try:
            while (data := self._outbox.get()) is not None:
                pipe.write(data)
                pipe.flush()
        except (BrokenPipeError, ValueError):
            return
        finally:
            # What a dead child has not read is dropped here, not by the garbage collector.
            with contextlib.suppress(OSError):
                pipe.close()

    def _read(self) -> None:
        pipe = self._pipe("stdout")
        fault = ""
        try:
            while (frame := frames.read(pipe)) is not None:
                self._on_frame(frame)
        except Exception as error:
            # Whatever it is: a channel that no longer reads must end, or nobody would start another.
            _log.exception("the engine's frames make no sense")
            fault = f"it sent nonsense: {error}"
            self.kill()
        self._outbox.put(None)
        assert self._process is not None
        code = self._process.wait()
        pipe.close()
        reason = fault or spawn.in_words(code)
        spared = self._kernel_kills is not None and kernel_kills() == self._kernel_kills
        self._on_end(End(reason, self._quote(), code=code, killed=self._killed, spared=spared))

    def _read_errors(self) -> None:
        with self._pipe("stderr") as pipe:
            while line := pipe.readline(4096):
                self._last_lines.append(line.decode("utf-8", "replace").strip()[:_STDERR_WIDTH])

    def _pipe(self, name: str) -> IO[bytes]:
        pipe = getattr(self._process, name)
        assert pipe is not None
        return pipe  # type: ignore[no-any-return]

    def _quote(self) -> str:
        lines = [line for line in self._last_lines if line]
        telling = [line for line in lines if _telling(line)]
        return " | ".join(_SOURCE.sub(r"\1", line) for line in (telling or lines)[-_QUOTED_LINES:])


def _telling(line: str) -> bool:
    said = line.lower()
    return "error" in said or "assert" in said or tells_of_shortage(line, worked=True)


class ThreadChannel:
    """The engine on a thread of this process: for debugging, since a crash takes all along."""

    def __init__(self, on_frame: Callable[[Frame], None], on_end: Callable[[End], None]) -> None:
        self._on_frame = on_frame
        self._on_end = on_end
        self._inbox = Inbox()
        self._over = threading.Event()

    @property
    def pid(self) -> int | None:
        """This process."""
        return os.getpid()

    def open(self, path: Path, settings: EngineSettings, role: Role) -> None:
        threading.Thread(
            target=self._run, args=(path, settings, role), name="llama-engine", daemon=True
        ).start()

    def send(self, frame: Frame) -> None:
        self._inbox.put(frame)

    def kill(self) -> None:
        self._inbox.put({"t": "close"})

    def wait(self, timeout_s: float) -> bool:
        return self._over.wait(timeout_s)

    def _run(self, path: Path, settings: EngineSettings, role: Role) -> None:
        end = self._serve(path, settings, role)
        self._over.set()
        self._on_end(end)

    def _serve(self, path: Path, settings: EngineSettings, role: Role) -> End:
        from models.llama.child import load

        try:
            engine = load(
                path, settings, self._on_frame, role=role, inbox=self._inbox, watched=False
            )
        except ModelError as error:
            self._on_frame(frames.failed(error))
            return End("it could not start")
        try:
            engine.run()
        except (RuntimeError, MemoryError) as error:
            return End(str(error), traceback.format_exc(limit=-2))
        return End("it was closed")
