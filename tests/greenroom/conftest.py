"""A real `greenroom serve` in a process of its own, for tests that stop it, kill it or talk to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

GREENROOM = Path(sys.executable).with_name("greenroom")


class Served:
    """A server on free ports; a context manager that ends what it started."""

    def __init__(self, data: Path, *flags: str) -> None:
        self._ready = data.with_name(data.name + ".ready.json")
        self._ready.unlink(missing_ok=True)
        self._log = data.with_name(data.name + ".log")
        self.data = data
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(GREENROOM),
                    "serve",
                    *("--port", "0", "--http-port", "0", "--data", str(data)),
                    *("--ready-file", str(self._ready)),
                    *flags,
                ],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._addresses = self._wait()

    def _wait(self) -> dict[str, object]:
        until = time.monotonic() + 90.0
        while time.monotonic() < until:
            if self._ready.exists():
                found: dict[str, object] = json.loads(self._ready.read_text())
                return found
            if self._process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the server did not start:\n{self.log}")

    @property
    def url(self) -> str:
        """The game socket."""
        return str(self._addresses["game"])

    @property
    def http(self) -> str:
        """The HTTP pages."""
        return str(self._addresses["http"])

    @property
    def first_tick(self) -> int:
        """The tick at which it took the world up."""
        return int(str(self._addresses["tick"]))

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    @property
    def log(self) -> str:
        """All it has printed."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """End it and its engine at once, as `kill -9` does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def stop(self) -> int:
        """Ask it to close; returns its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


@pytest.fixture(autouse=True)
def _no_measurement_of_the_user_s_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is remembered of this machine would change the plans that tests expect.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def served() -> type[Served]:
    """The `Served` class: `with served(folder, *flags) as server`."""
    return Served
