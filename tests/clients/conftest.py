"""Fixtures for the clients' tests: a Godot, a real server, a proxy that can cut the line."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from actors.company import Company
from actors.settings import CompanySettings
from engine_bridge.server import Bridge
from engine_bridge.settings import BridgeSettings
from greenroom.worlds import compiled
from models.delivery import Delivery
from models.errors import ModelUnavailable
from models.request import Listener, ModelRequest, Reply
from plugins.manager import load_builtin_and_installed
from world.world import World

ROOT = Path(__file__).parents[2]
MARK = "@greenroom "
SERVER_START_S = 90.0


@dataclass(frozen=True)
class Line:
    """One thing that a scenario reported."""

    what: str
    data: Any


class Scenario:
    """A Godot process that plays a scenario. `lines` grows while it runs."""

    def __init__(self, command: list[str], cwd: Path, timeout: float) -> None:
        self.lines: list[Line] = []
        self.noise: list[str] = []
        self._process = subprocess.Popen(
            command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._timer = threading.Timer(timeout, self._process.kill)
        self._timer.start()
        self._grew = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            with self._grew:
                if text.startswith(MARK):
                    found = json.loads(text.removeprefix(MARK))
                    self.lines.append(Line(found["what"], found["data"]))
                else:
                    self.noise.append(text)
                self._grew.notify_all()
        with self._grew:
            self._grew.notify_all()

    def wait_for(self, what: str, timeout: float = 60.0) -> Any:
        """The data of the first line called `what`, now or when it comes."""
        with self._grew:
            self._grew.wait_for(lambda: self._first(what) or not self._reader.is_alive(), timeout)
        found = self._first(what)
        assert found is not None, f"no {what!r}; Godot said:\n{''.join(self.noise)}{self.lines}"
        return found.data

    def _first(self, what: str) -> Line | None:
        return next((line for line in self.lines if line.what == what), None)

    def finish(self) -> list[Line]:
        """All lines, once the scenario came to its end."""
        self._process.wait()
        self._reader.join()
        self._timer.cancel()
        noise = "".join(self.noise)
        assert self._process.returncode == 0, (
            f"Godot ended with {self._process.returncode}:\n{noise}"
        )
        assert "SCRIPT ERROR" not in noise, noise
        assert self.lines, noise
        assert self.lines[-1].what == "end", noise
        return self.lines[:-1]

    def stop(self) -> None:
        """End the process if it still runs."""
        self._timer.cancel()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()


Play = Callable[..., Scenario]


@pytest.fixture(scope="session")
def godot() -> str:
    """The way to start Godot; skips with the finder's reason where there is none."""
    found = subprocess.run(
        [ROOT / "tools/install_godot.sh", "--find"], capture_output=True, text=True, timeout=60
    )
    if found.returncode != 0:
        pytest.skip(found.stderr.strip().replace("\n", "; "))
    return found.stdout.strip()


@pytest.fixture(scope="session")
def godot_project(godot: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the Godot project with the scenarios in it, so that runs leave no traces."""
    project = tmp_path_factory.mktemp("godot") / "project"
    shutil.copytree(ROOT / "clients/godot", project, ignore=shutil.ignore_patterns(".godot"))
    shutil.copytree(Path(__file__).parent / "godot", project / "tests")
    return project


@pytest.fixture
def play(godot: str, godot_project: Path) -> Iterator[Play]:
    """Starts a scenario: `play("talk", url)`."""
    started: list[Scenario] = []

    def start(name: str, *arguments: str | Path, timeout: float = 120.0) -> Scenario:
        command = [
            godot,
            "--headless",
            "--path",
            str(godot_project),
            "-s",
            f"res://tests/{name}.gd",
        ]
        command += ["--", *map(str, arguments)]
        started.append(Scenario(command, godot_project, timeout))
        return started[-1]

    yield start
    for scenario in started:
        scenario.stop()


@dataclass(frozen=True)
class Served:
    """A running server: where its game socket and its pages are."""

    url: str
    pages: str
    process: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])


def _serve(folder: Path, *flags: str) -> Iterator[Served]:
    ready, log = folder / "ready.json", folder / "server.log"
    command: list[str | Path] = [
        Path(sys.executable).with_name("greenroom"),
        "serve",
        "--scene",
        "valley",
        *flags,
    ]
    command += ["--port", "0", "--http-port", "0"]
    command += ["--data", folder / "valley", "--ready-file", ready]
    with log.open("wb") as sink:
        process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink)
    try:
        last = time.monotonic() + SERVER_START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > last:
                pytest.fail(f"the server did not come up:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)
        told = json.loads(ready.read_text())
        yield Served(told["game"], told["http"], process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`greenroom serve` with the valley and no models, in a process of its own."""
    yield from _serve(tmp_path_factory.mktemp("world"), "--no-models")


class CuttingProxy:
    """Passes TCP on to a port, until told to cut: then every line breaks without a goodbye."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._up = threading.Event()
        self.port = 0
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._up.wait(10)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection at once."""
        self._loop.call_soon_threadsafe(self._cut)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._up.set()
        self._loop.run_forever()
        self._cut()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pair = {writer, there_writer}
        self._writers |= pair
        try:
            await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))
        finally:
            self._writers -= pair
            for end in pair:
                end.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class HaltingSpeaker:
    """Stands in for a model: speaks one line word by word, and halts in the middle until told to go on."""

    name = "halting (no model)"
    line = "The mill has stood by the river since my grandfather was a boy, and it will stand yet."

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def submit(self, request: ModelRequest, listener: Listener) -> Withdrawn:
        delivery = Delivery(request, listener)
        threading.Thread(target=self._speak, args=(delivery,), daemon=True).start()
        return Withdrawn(request)

    def _speak(self, delivery: Delivery) -> None:
        request = delivery.request
        if request.schema is not None:
            delivery.error(ModelUnavailable("it only speaks"))
            return
        words = self.line.split(" ")
        for place, word in enumerate(words):
            if place == len(words) // 2:
                self.go_on.wait(60)
            delivery.text(word if place == len(words) - 1 else f"{word} ")
        delivery.done(Reply(request.id, self.line, self.name))

    def status(self) -> dict[str, object]:
        return {"name": self.name}

    def close(self) -> None:
        self.go_on.set()


@dataclass(frozen=True)
class Withdrawn:
    """The handle of a request that can't be withdrawn."""

    request: ModelRequest

    def cancel(self) -> None:
        pass


@dataclass(frozen=True)
class Halting:
    """A valley whose people halt in the middle of a line, behind a proxy."""

    proxy: CuttingProxy
    go_on: threading.Event
    line: str


@pytest.fixture
def halting() -> Iterator[Halting]:
    """The real company and bridge in this process; only the mind is a stand-in."""
    ruleset = load_builtin_and_installed().ruleset()
    scene = compiled("valley", ruleset, 7, None)
    speaker = HaltingSpeaker()
    settings = CompanySettings(speech_s=60.0)
    with Company(
        World(scene, ruleset, 7), personas=scene.personas, backend=speaker, settings=settings
    ) as company:
        bridge = Bridge(company, BridgeSettings(port=0, http_port=None))
        bridge.start()
        proxy = CuttingProxy(int(bridge.address.rsplit(":", 1)[1]))
        yield Halting(proxy, speaker.go_on, speaker.line)
        speaker.close()
        proxy.stop()
        bridge.stop()


@pytest.fixture
def cutting_proxy(server: Served) -> Iterator[CuttingProxy]:
    """A proxy in front of the server."""
    proxy = CuttingProxy(server.port)
    yield proxy
    proxy.stop()
