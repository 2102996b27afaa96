"""Children killed at work, forked by a process that is started once: that saves a start of Python a kill.

The process reads an order a line from stdin, forks a child that works on it, and answers `pid N`; the
line `reap` waits for the child's end and answers `gone`. What else it says, its child announces.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]

Said = list[list[str]]
"""The words of each line, in order."""


def announce(*words: object) -> None:
    """Say a line, whole."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode("ascii"))


def fork_for_each_line(work: Callable[[str], NoReturn]) -> None:
    """What such a process does: `work` is a child's whole life."""
    child = 0
    for line in sys.stdin:
        order = line.strip()
        if order == "reap":
            os.waitpid(child, 0)
            announce("gone")
            continue
        assert threading.active_count() == 1
        child = os.fork()
        if child == 0:
            work(order)
        announce("pid", child)


class Victims:
    """Such a process, and its children, one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def kill_at_work(self, order: str, after_s: float, begins: str = "pid") -> Said:
        """Let a child work, kill it `after_s` seconds after it has said `begins`; what was said.

        Raises:
            AssertionError: a child said `failed`.
        """
        said: Said = []

        def hear(word: str) -> list[str]:
            while not said or said[-1][0] != word:
                assert self._process.stdout is not None
                said.append(self._process.stdout.readline().split())
                assert said[-1][0] != "failed", said[-1]
            return said[-1]

        self._tell(order)
        pid = int(hear("pid")[1])
        hear(begins)
        time.sleep(after_s)
        os.kill(pid, signal.SIGKILL)
        self._tell("reap")
        hear("gone")
        return said

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


@contextmanager
def victims_of(script: str) -> Iterator[Victims]:
    """The process of a script whose `main` is `fork_for_each_line`."""
    process = subprocess.Popen(
        [sys.executable, script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Victims(process)
    finally:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
