"""Where the time of each tick goes, by part, so that the longest one explains itself."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Final

from world import movement, needs
from world.frames import Frames
from world.reflexes import Reflexes
from world.rules import Rules
from world.state import State

NAMED: Final = 4
"""Parts of a longest tick that are told."""


class Parts:
    """Adds up milliseconds by part, of what it watches."""

    def __init__(self) -> None:
        self._spent: dict[str, float] = defaultdict(float)
        self._inner = 0.0
        self._undo: list[Callable[[], None]] = []

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Time every call of the owner's function of that name, less what it spends in other parts."""
        whole = getattr(owner, name)

        def measured(*args: Any, **named: Any) -> Any:
            outer, self._inner = self._inner, 0.0
            began = time.perf_counter()
            try:
                return whole(*args, **named)
            finally:
                took = (time.perf_counter() - began) * 1e3
                self._spent[part] += took - self._inner
                self._inner = outer + took

        setattr(owner, name, measured)
        self._undo.append(lambda: setattr(owner, name, whole))

    def watch_worlds(self) -> None:
        """Time the parts of a step of any world, and the frame."""
        # Classes, since what a world is made of may be copied.
        self.watch(Rules, "apply", "rules on what minds propose")
        self.watch(Reflexes, "decide", "perceiving and deciding")
        self.watch(Reflexes, "act", "chasing and striking")
        self.watch(movement, "walk", "walking and finding ways")
        self.watch(needs, "drift", "needs")
        self.watch(State, "hash", "the hash")
        self.watch(Frames, "frame", "the frame")

    def take(self) -> dict[str, float]:
        """What was spent since this was last asked."""
        taken = dict(self._spent)
        self._spent.clear()
        return taken

    def undo(self) -> None:
        """Watch no more."""
        while self._undo:
            self._undo.pop()()


def longest(
    when: str, whole_ms: float, parts: Mapping[str, float], cpu_ms: float, stolen_ms: float | None
) -> list[tuple[str, float]]:
    """What the longest tick was spent on, most first, as (metric, milliseconds).

    Time in which its thread was on no core went to others; what the host took is counted in hundredths of a second.
    """
    most = sorted(parts.items(), key=lambda part: -part[1])[:NAMED]
    told = [*most, ("the rest", max(0.0, whole_ms - sum(ms for _, ms in most)))]
    told.append(("of it not on a core", max(0.0, whole_ms - cpu_ms)))
    if stolen_ms is not None:
        told.append(("the host took from all cores meanwhile", stolen_ms))
    return [(f"{when}: the longest tick, {what}", ms) for what, ms in told]


class Stolen:
    """Milliseconds that a hypervisor took from this machine's cores since it runs; None where nobody tells."""

    def __init__(self) -> None:
        try:
            self._open: int | None = os.open("/proc/stat", os.O_RDONLY)
        except OSError:
            self._open = None
        self._ms = 1e3 / os.sysconf("SC_CLK_TCK") if self._open is not None else 0.0

    def __call__(self) -> float | None:
        """As of now, in hundredths of a second as a rule."""
        if self._open is None:
            return None
        try:
            return int(os.pread(self._open, 256, 0).split(None, 9)[8]) * self._ms
        except (OSError, IndexError, ValueError):
            return None
