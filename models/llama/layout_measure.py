"""Has both layouts of the KV memory timed for one GGUF, in a process of its own, within a time."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from models.errors import ModelUnavailable
from models.llama import spawn
from models.llama.deaths import Patience
from models.llama.layouts import BUDGET_S, Layouts
from models.llama.settings import EngineSettings

_LATE = 3.0
"""How many times the budget a child may take beyond loading before it is ended."""
_LINE = 1 << 16
_WORDS = 300


def measure(
    path: Path,
    settings: EngineSettings,
    tell: Callable[[str], None] = lambda _: None,
    *,
    budget_s: float = BUDGET_S,
    load_s: float | None = None,
) -> Layouts:
    """Time unified memory and streams for a model with these sizes, which are an engine's with unified memory.

    `tell` hears what is being done. `load_s` is how long the model may load, as an engine may if not given. Raises
    ModelUnavailable when it could not be measured, and says why.
    """
    allowed = Patience().load_for(path) if load_s is None else load_s
    limit_s = allowed + _LATE * budget_s
    late = threading.Event()
    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                spawn.command("models.llama.layout_race"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=spawn.environment(),
            )
        except OSError as error:
            raise ModelUnavailable(f"no process can be started to measure in: {error}") from error

        def end() -> None:
            late.set()
            child.kill()

        watch = threading.Timer(limit_s, end)
        watch.start()
        try:
            asked = {"path": str(path), "settings": settings.pack(), "budget_s": budget_s}
            told = _listen(child, json.dumps(asked).encode(), tell)
        finally:
            watch.cancel()
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()
        if "layouts" in told:
            return _layouts(told)
        if "failed" in told:
            raise ModelUnavailable(str(told["failed"]), str(told.get("hint", "")))
        if late.is_set():
            raise ModelUnavailable(
                f"measuring took more than {limit_s:g} s and was ended",
                "the rule stands; --streams and --no-streams choose by hand",
            )
        raise ModelUnavailable(
            f"measuring failed: {spawn.in_words(child.returncode)}{_last_words(said)}",
            "check the file with `greenroom doctor`, or update llama-cpp-python",
        )


def _listen(
    child: subprocess.Popen[bytes], asked: bytes, tell: Callable[[str], None]
) -> dict[str, Any]:
    """The child's last word, {} when it ended without one."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(asked)
        child.stdin.close()
    except BrokenPipeError:
        pass
    while line := child.stdout.readline(_LINE):
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and "doing" in told:
            tell(str(told["doing"]))
        elif isinstance(told, dict):
            return told
    # Its end is what there is to tell.
    child.wait()
    return {}


def _layouts(told: dict[str, Any]) -> Layouts:
    try:
        return Layouts.model_validate(told["layouts"])
    except ValidationError as error:
        raise ModelUnavailable(f"what was measured makes no sense: {error}") from error


def _last_words(said: IO[bytes]) -> str:
    said.seek(0)
    lines = said.read(1 << 20).decode("utf-8", "replace").strip().splitlines()[-1:]
    return f" ({lines[0][:_WORDS]})" if lines else ""
