"""Where frames wait for the engine; urgent ones ring before they are taken out."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from typing import Any

Frame = Mapping[str, Any]


class Inbox:
    """A queue of frames, filled by any thread and emptied by the engine's.

    `alarm` hears every frame on the thread that brought it, before the engine sees it.
    """

    def __init__(self) -> None:
        self._frames: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self.alarm: Callable[[Frame], None] | None = None

    def put(self, frame: Frame) -> None:
        """Hand a frame over; never blocks."""
        self._frames.put(frame)
        if self.alarm is not None:
            self.alarm(frame)

    def take(self, timeout_s: float) -> list[Frame]:
        """All that has come; waits up to `timeout_s` when nothing has."""
        taken: list[Frame] = []
        try:
            taken.append(
                self._frames.get(timeout=timeout_s) if timeout_s else self._frames.get_nowait()
            )
            while True:
                taken.append(self._frames.get_nowait())
        except queue.Empty:
            return taken
