"""A served valley under load: 500 villagers at 20 Hz, the engine decoding, 20 bots from another process.

It has no peer: what counts is that no tick begins more than a period late. The engine gets one
thread; the bots act once a second each and talk, so that it decodes all the time.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks._machine import machine

GREENROOM = Path(sys.executable).with_name("greenroom")
READY_S = 120.0


def run(
    seconds: float | None = None, npcs: int = 500, bots: int = 20, model: Path | None = None
) -> dict[str, Any]:
    """Serve, load, measure for `seconds` (GREENROOM_BENCH_SECONDS, else 60); the report's values."""
    seconds = seconds or float(os.environ.get("GREENROOM_BENCH_SECONDS", "60"))
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.json"
        server = _serve(Path(folder), ready, npcs, model)
        try:
            addresses = _wait_ready(server, ready)
            _wait_engine(addresses["http"])
            before = _status(addresses["http"])
            load = subprocess.run(
                [
                    *(str(GREENROOM), "bots", "--url", addresses["game"]),
                    *("--count", str(bots), "--seconds", str(seconds), "--period", "1"),
                ],
                capture_output=True,
                text=True,
                check=True,
                timeout=seconds + 120,
            )
            after = _status(addresses["http"])
        finally:
            _stop(server)
        log = (Path(folder) / "serve.log").read_text(encoding="utf-8", errors="replace")
    if "Traceback" in log:
        raise RuntimeError(f"the server printed a traceback:\n{log[-4000:]}")
    return _report(before, after, json.loads(load.stdout), npcs)


def _serve(folder: Path, ready: Path, npcs: int, model: Path | None) -> subprocess.Popen[bytes]:
    chosen = ("--model", str(model)) if model else ()
    with (folder / "serve.log").open("wb") as log:
        return subprocess.Popen(
            [
                *(str(GREENROOM), "serve", "--npcs", str(npcs), "--threads", "1"),
                *("--port", "0", "--http-port", "0", "--local-only"),
                *("--data", str(folder / "world"), "--ready-file", str(ready), *chosen),
            ],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _wait_ready(server: subprocess.Popen[bytes], ready: Path) -> dict[str, str]:
    until = time.monotonic() + READY_S
    while not ready.exists():
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError("the server did not come up")
        time.sleep(0.1)
    addresses: dict[str, str] = json.loads(ready.read_text())
    return addresses


def _wait_engine(http: str) -> None:
    until = time.monotonic() + READY_S
    while _engine(_status(http)).get("state") != "ready":
        if time.monotonic() > until:
            raise RuntimeError("the engine did not become ready")
        time.sleep(0.25)


def _status(http: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{http}/api/status", timeout=10) as answer:
        status: dict[str, Any] = json.load(answer)
    return status


def _engine(status: dict[str, Any]) -> dict[str, Any]:
    engine: dict[str, Any] = status["models"]["rungs"]["local"]
    return engine


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(10)


def _report(
    before: dict[str, Any], after: dict[str, Any], load: dict[str, Any], npcs: int
) -> dict[str, Any]:
    old, new = before["pace"], after["pace"]
    engine = _engine(after)
    results: list[dict[str, Any]] = [
        _result("ticks lived", "ticks", new["steps"] - old["steps"]),
        _result("ticks missed", "ticks", new["missed"] - old["missed"]) | {"at_most": 0},
        _result("lateness p50", "ms", new["late_p50_ms"]),
        _result("lateness p99", "ms", new["late_p99_ms"]) | {"at_most": 50.0},
        _result("lateness max", "ms", new["late_max_ms"]),
        _result("step p99", "ms", new["took_p99_ms"]),
        _result("commit to acknowledgement p99", "ms", load["commit_ms"].get("p99", 0.0)),
        _result("first words p95", "ms", load["first_words_ms"].get("p95", 0.0)),
        _result("answers", "answers", load["first_words_ms"].get("n", 0)),
    ]
    for name, kind in sorted(after["kinds"].items()):
        handled = kind["handled"] - before["kinds"].get(name, {}).get("handled", 0)
        results.append(_result(f"messages handled by {name}", "messages", handled))
    steps = engine["engine"].get("steps", 0)
    if steps:
        fill = engine["engine"]["sequences"] / steps
        results.append(_result("mean batch fill", "sequences", round(fill, 2)))
    return {
        "bench": "serve",
        "machine": machine(),
        "npcs": npcs,
        "bots": load["bots"],
        "seconds": load["seconds"],
        "outcomes": load["outcomes"],
        "engine": engine,
        "results": results,
    }


def _result(metric: str, unit: str, value: float) -> dict[str, Any]:
    return {"metric": metric, "unit": unit, "value": value}
