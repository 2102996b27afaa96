"""An engine on the test's own thread: what it says to the frames it is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.llama.settings import EngineSettings
from models.request import Priority

Frame = dict[str, Any]


def ask_frame(number: int, line: str, **fields: Any) -> Frame:
    """An `ask` of the host's, greedy, off stage."""
    frame = {"t": "ask", "id": number, "messages": [["user", line]], "max_tokens": 8}
    frame |= {"temperature": 0.0, "top_p": 1.0, "seed": 1, "stop": [], "grammar": None}
    frame |= {
        "priority": Priority.OFFSTAGE,
        "wanted": 0,
        "seconds_left": 60.0,
        "asker": str(number),
    }
    frame |= {"adapter": "", "window": 4096, "importance": [], "think": 0, "logprobs": 0}
    return frame | fields


def served(
    model: Any, sizes: EngineSettings, frames: list[Frame], *, one_by_one: bool = False
) -> tuple[list[list[Any]], dict[str, Any]]:
    """The events of an engine and its figures, once all is answered that was asked.

    The frames are there from the start, or `one_by_one` those after an `ask` when it has ended.
    """
    from models.llama.engine import Engine
    from models.llama.library import LogTail

    events: list[list[Any]] = []
    left = sum(frame["t"] == "ask" for frame in frames)
    coming: Iterator[Frame] = iter(frames)

    def give() -> None:
        for frame in coming:
            loop.inbox.put(frame)
            if one_by_one and frame["t"] == "ask":
                return

    def hear(frame: Any) -> None:
        nonlocal left
        events.extend(frame["events"])
        ended = sum(event[0] in ("done", "error") for event in frame["events"])
        left -= ended
        if left == 0:
            loop.inbox.put({"t": "close"})
        elif ended and one_by_one:
            give()

    loop = Engine(model, sizes, hear, LogTail())
    give()
    loop.run()
    return events, loop.status()


def texts(events: list[list[Any]]) -> dict[int, str]:
    """What was said, by request; fails when one ended with an error."""
    said: dict[int, str] = {}
    for event in events:
        assert event[0] != "error", event
        if event[0] == "text":
            said[event[1]] = said.get(event[1], "") + event[2]
    return said
