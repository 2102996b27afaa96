"""How this package starts its own processes, and how their ends read in words."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path


def command(module: str) -> list[str]:
    """The command line that runs one of this package's modules."""
    # -P keeps a folder named models/ in the current directory from shadowing this package.
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """This process's environment, in which `models` is found wherever the child is started."""
    root = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join([root, *([inherited] if inherited else [])])
    # Without a debugger's backtrace, the last words of an abort are its reason.
    return {**os.environ, "PYTHONPATH": paths, "GGML_NO_BACKTRACE": "1"}


def in_words(code: int) -> str:
    """A process's exit code as `subprocess` tells it (negative: a signal)."""
    if code == 0:
        return "it ended"
    if code > 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
