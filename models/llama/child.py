"""The engine's process: `python -m models.llama.child`, frames on stdin and stdout (see frames.py).

It imports only `models` and `foundation`, so that it starts fast and knows nothing of the world.
States: waiting for `start` → loading → serving → ended. Exit codes: 0 closed or the host is gone,
3 the model can't be used (a `failed` frame said why), 4 llama.cpp or memory failed while serving;
anything else, or a signal, is a crash, for which the host restarts it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from models.errors import ModelDoesNotFit, ModelError, ModelFileError, ModelUnavailable
from models.llama import frames
from models.llama.gguf_file import check_kind
from models.llama.gguf_parts import file_bytes, headers
from models.llama.inbox import Inbox
from models.llama.settings import EngineSettings, Role

EXIT_CLOSED, EXIT_UNFIT, EXIT_BROKEN = 0, 3, 4
NICE = 10
"""How far the engine stands back, where the system knows of it: a core short, the tick comes first."""
_WATCH_S = 0.01


class Served(Protocol):
    """What a child runs: the engine that answers, or the one that makes vectors."""

    @property
    def inbox(self) -> Inbox: ...

    def run(self) -> None: ...

    def trial(self) -> None: ...


class Described(Protocol):
    """A model that can say what it is."""

    def describe(self) -> dict[str, object]: ...


def main() -> int:
    """Serve the host on the other end of the pipes; returns the exit code."""
    # A Ctrl-C in the terminal is for the host, which closes the engine in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(AttributeError, OSError):  # Windows has no nice
        os.nice(NICE)
    # Frames get descriptors of their own: what a library prints must not end up between them.
    source = os.fdopen(os.dup(0), "rb")
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    start = frames.read(source)
    if start is None or start["t"] != "start":
        return EXIT_CLOSED
    writing = threading.Lock()

    def send(message: Mapping[str, Any]) -> None:
        data = frames.encode(message)
        with writing:
            target.write(data)
            target.flush()

    path = Path(start["path"])
    try:
        engine = load(path, EngineSettings.unpack(start["settings"]), send, role=start["role"])
    except ModelError as error:
        send(frames.failed(error))
        return EXIT_UNFIT
    threading.Thread(target=_listen, args=(source, engine.inbox), daemon=True).start()
    try:
        engine.run()
    except BrokenPipeError:
        return EXIT_CLOSED
    except (RuntimeError, MemoryError):
        traceback.print_exc()
        return EXIT_BROKEN
    return EXIT_CLOSED


def load(
    path: Path,
    settings: EngineSettings,
    send: frames.Send,
    *,
    role: Role = "chat",
    inbox: Inbox | None = None,
    watched: bool = True,
) -> Served:
    """Load and try a model; sends `loading` and `ready`.

    `watched` guards memory by ending the process, and says llama.cpp's errors on stderr. Raises
    ModelFileError when the file is at fault, ModelDoesNotFit when memory could not be had and
    ModelUnavailable when llama.cpp is missing.
    """
    check_kind(headers(path)[0], speaks=role == "chat")
    try:
        from models.llama.embedding import EmbeddingEngine, EmbeddingModel
        from models.llama.engine import Engine
        from models.llama.library import Model
        from models.llama.spoken_log import SpokenLog
    except ImportError as error:
        raise ModelUnavailable(
            f"the local engine can't start: {error}", "pip install 'greenroom[local]'"
        ) from error
    send({"t": "loading"})
    watch = _MemoryWatch(path, file_bytes(path) * 5 // 4 + settings.memory_mib * (1 << 20), send)
    if watched:
        watch.start()
    log = SpokenLog(aloud=watched)
    try:
        model: Described
        engine: Served
        if role == "embed":
            reader = model = EmbeddingModel(path, settings, log)
            watch.stop()
            engine = EmbeddingEngine(reader, settings, send, inbox)
        else:
            speaker = model = Model(path, settings, log)
            watch.stop()
            engine = Engine(speaker, settings, send, log, inbox)
        engine.trial()
    except Exception as error:
        # Whatever a file makes the libraries raise, its name belongs into what is told.
        if log.shortage or isinstance(error, MemoryError):
            said = error.message if isinstance(error, ModelFileError) else f"{path}: {error!r}"
            raise ModelDoesNotFit(
                f"{said}{f': {log.shortage}' if log.shortage else ''}",
                "give it a shorter context or fewer sequences, a smaller model, or more memory",
            ) from error
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{path}: llama.cpp loads it but can't use it: {log.reason() or error}",
            "download or export the file again, or update llama-cpp-python",
        ) from error
    finally:
        watch.stop()
    send({"t": "ready", "model": model.describe()})
    return engine


def _listen(source: BinaryIO, inbox: Inbox) -> NoReturn:
    """Feed the engine; end the process at once when the host is gone."""
    try:
        while (frame := frames.read(source)) is not None:
            inbox.put(frame)
    except (frames.FrameError, OSError):
        traceback.print_exc()
    except MemoryError:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(EXIT_BROKEN)
    os._exit(EXIT_CLOSED)


class _MemoryWatch(threading.Thread):
    """Ends the process when loading allocates too much; a damaged header may ask for anything.

    Watches private memory on Linux, where /proc tells it; elsewhere nothing is watched.
    """

    def __init__(self, path: Path, limit: int, send: frames.Send) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._limit = limit + _private_bytes()
        self._send = send
        self._stopped = threading.Event()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        while not self._stopped.wait(_WATCH_S):
            used = _private_bytes()
            if used > self._limit:
                mib = 1 << 20
                error = ModelFileError(
                    f"{self._path}: loading took {used // mib} MiB, "
                    f"more than {self._limit // mib} for a file of its size",
                    "the file may be damaged; if not, raise the engine's memory_mib",
                )
                self._send(frames.failed(error))
                os._exit(EXIT_UNFIT)


def _private_bytes() -> int:
    try:
        with Path("/proc/self/status").open() as status:
            for line in status:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        time.sleep(1.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
