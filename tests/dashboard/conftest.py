"""Fixtures for the dashboard's tests: a real server, and a real Chromium driven over its debugging socket."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from actors.company import Company
from actors.settings import CompanySettings
from engine_bridge.server import Bridge
from engine_bridge.settings import BridgeSettings
from greenroom.minds import local_engine
from greenroom.settings import ModelSettings
from greenroom.worlds import compiled
from models.cache import SemanticCache
from models.cached import CachedBackend
from models.hashed import HashedEmbedder
from models.router import Router, Rung
from models.scripted import ScriptedBackend
from plugins.manager import load_builtin_and_installed
from world.world import World

START_S = 90.0
ANSWER_S = 30.0


@dataclass(frozen=True)
class Served:
    """A running server: where its game socket and its pages are."""

    url: str
    pages: str
    folder: Path
    process: subprocess.Popen[bytes] | None

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    @property
    def http_port(self) -> int:
        return int(self.pages.rsplit(":", 1)[1])


def end(process: subprocess.Popen[Any], by: signal.Signals) -> None:
    """Ask a process to end; make it, if it does not."""
    if process.poll() is None:
        process.send_signal(by)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


Serve = Callable[..., Served]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Starts `greenroom serve` with the valley and no models; `serve(again=…)` takes a world up again."""
    started: list[subprocess.Popen[bytes]] = []

    def start(again: Served | None = None) -> Served:
        folder = again.folder if again else tmp_path_factory.mktemp("world")
        ports = (again.port, again.http_port) if again else (0, 0)
        ready, log = folder / "ready.json", folder / "server.log"
        ready.unlink(missing_ok=True)
        command: list[str | Path] = [Path(sys.executable).with_name("greenroom"), "serve"]
        command += ["--scene", "valley", "--no-models", "--data", folder / "valley"]
        command += ["--port", str(ports[0]), "--http-port", str(ports[1]), "--ready-file", ready]
        with log.open("ab") as sink:
            process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink)
        started.append(process)
        last = time.monotonic() + START_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > last:
                pytest.fail(f"the server did not come up:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)
        told = json.loads(ready.read_text())
        return Served(told["game"], told["http"], folder, process)

    yield start
    for process in started:
        end(process, signal.SIGTERM)


@pytest.fixture(scope="module")
def server(serve: Serve) -> Served:
    """One server for the tests of a module."""
    return serve()


TOKEN = "the stage door is open"


@pytest.fixture
def guarded() -> Iterator[Served]:
    """The valley behind a token, its people speaking by rule; company and bridge live in this process."""
    ruleset = load_builtin_and_installed().ruleset()
    scene = compiled("valley", ruleset, 7, None)
    world = World(scene, ruleset, 7)
    with Company(world, personas=scene.personas, backend=ScriptedBackend()) as company:
        bridge = Bridge(company, BridgeSettings(port=0, http_port=0, token=TOKEN))
        bridge.start()
        yield Served(bridge.address, str(bridge.http_address), Path(), None)
        bridge.stop()


@dataclass(frozen=True)
class Thinking(Served):
    """A server whose people ask a ladder of models, which a test may change."""

    router: Router


@pytest.fixture
def thinking() -> Iterator[Thinking]:
    """The valley with the house model and a scripted backend below it, in this process."""
    pytest.importorskip("llama_cpp")
    ruleset = load_builtin_and_installed().ruleset()
    scene = compiled("valley", ruleset, 7, None)
    engine = local_engine(ModelSettings(threads=1, context=2048, sequences=4))
    router = Router([Rung("local", engine), Rung("second", ScriptedBackend())])
    world = World(scene, ruleset, 7)
    with ExitStack() as undo:
        undo.callback(router.close)
        engine.wait_ready(120.0)
        embedder = HashedEmbedder()
        undo.callback(embedder.close)
        backend = CachedBackend(router, embedder, SemanticCache())
        settings = CompanySettings(cached_openings=True)
        company = undo.enter_context(
            Company(world, personas=scene.personas, backend=backend, settings=settings)
        )
        bridge = Bridge(company, BridgeSettings(port=0, http_port=0))
        bridge.start()
        undo.callback(bridge.stop)
        yield Thinking(bridge.address, str(bridge.http_address), Path(), None, router)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A headless Chromium; the address of its debugging socket. Skips where there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        pytest.skip("no chromium on PATH (Debian: apt-get install chromium)")
    profile = tmp_path_factory.mktemp("chromium")
    command = [binary, "--headless=new", "--no-first-run", "--disable-gpu", "--mute-audio"]
    command += ["--remote-debugging-port=0", f"--user-data-dir={profile}", "--hide-scrollbars"]
    command += ["--disable-background-networking", "--disable-dev-shm-usage"]
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium's sandbox refuses to start as root
    process = subprocess.Popen(
        [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    note = profile / "DevToolsActivePort"
    last = time.monotonic() + START_S
    while not note.exists() or len(note.read_text().split()) < 2:
        if process.poll() is not None or time.monotonic() > last:
            end(process, signal.SIGKILL)
            pytest.fail("chromium did not start")
        time.sleep(0.1)
    port, path = note.read_text().split()
    yield f"ws://127.0.0.1:{port}{path}"
    end(process, signal.SIGTERM)


class Page:
    """A browser tab, driven over the DevTools protocol. `complaints` holds what its console said."""

    def __init__(self, debugger: str, width: int, height: int, dark: bool) -> None:
        self.complaints: list[str] = []
        self._numbers = itertools.count(1)
        self._answers: dict[int, Any] = {}
        self._changed = threading.Condition()
        self._undo = ExitStack()
        self._socket = self._undo.enter_context(connect(debugger, max_size=None))
        self._session: str | None = None
        threading.Thread(target=self._listen, daemon=True).start()
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._target = target
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def _listen(self) -> None:
        try:
            for frame in self._socket:
                message = json.loads(frame)
                with self._changed:
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self._hear(message["method"], message.get("params", {}))
                    self._changed.notify_all()
        except ConnectionClosed:
            pass

    def _hear(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            said = details.get("exception", {}).get("description", details.get("text", ""))
            self.complaints.append(said)
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            said = [str(arg.get("description", arg.get("value"))) for arg in params["args"]]
            self.complaints.append(" ".join(said))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            entry = params["entry"]
            self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    def ask(self, method: str, **params: Any) -> Any:
        """Call a method of the DevTools protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        with self._changed:
            assert self._changed.wait_for(lambda: number in self._answers, ANSWER_S), method
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        return answer["result"]

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of a script, its promise awaited."""
        result = self.ask(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def until(self, condition: str, seconds: float = 30.0) -> Any:
        """Wait for a script's value to be true; returns it."""
        last = time.monotonic() + seconds
        while True:
            value = self.run(condition)
            if value:
                return value
            assert time.monotonic() < last, f"never came true: {condition}; {self.complaints}"
            time.sleep(0.1)

    def text(self, selector: str) -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)}).textContent"))

    def click(self, selector: str) -> None:
        """Press the middle of an element with a real mouse event."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.click_at(*box)

    def click_at(self, x: float, y: float) -> None:
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.ask(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="none" if kind == "mouseMoved" else "left",
                clickCount=0 if kind == "mouseMoved" else 1,
            )

    def type(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def press(self, key: str, code: int = 0, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.ask(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                text=text if kind == "keyDown" else "",
            )

    def picture(self, path: Path) -> None:
        """Save what the tab shows as a PNG."""
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))

    def close(self) -> None:
        self._session = None
        self.ask("Target.closeTarget", targetId=self._target)
        self._undo.close()


@pytest.fixture
def tab(chromium: str) -> Iterator[Callable[..., Page]]:
    """Opens tabs: `tab(width=…, height=…, dark=…)`."""
    opened: list[Page] = []

    def open_tab(width: int = 1440, height: int = 900, dark: bool = False) -> Page:
        opened.append(Page(chromium, width, height, dark))
        return opened[-1]

    yield open_tab
    for page in opened:
        page.close()
