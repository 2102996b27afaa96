"""A trace of a headless run: who was asked what, when and where, and what each call had to wait for.

The file is numpy's npz (see `Trace` for its arrays). It is what schedules are compared over without living
the run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UsageError
from models.errors import ModelError
from models.request import Backend, Handle, Listener, Message, ModelRequest, Reply
from world.world import World

__all__ = ["COLUMNS", "FORMAT", "Recorder", "Trace", "Traced", "common"]

FORMAT: Final = 1
MOST_CALLS: Final = 1_000_000
COLUMNS: Final = ("being", "asked", "due", "x", "y", "prompt", "fresh", "reply")

Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded run of `ticks` ticks; all arrays int64.

    `calls` [c, 8] has a row a call, in the order asked, by COLUMNS: the being's id, the tick it was asked at
    and the one its answer was due in, where it was (units), its prompt's tokens, those of them behind
    what the last prompt of any being begins with, too, and its reply's tokens. `waits` [w, 2] holds pairs (call, earlier call): the
    answer of the earlier one could have changed what the later one asks, and had been due by then. It could
    where the asker is the same being, or in the meantime followed, threatened or hurt, was told of in its panel by name,
    or did so with one of whom that holds. What another one stands behind is left out.
    """

    ticks: int
    calls: Array
    waits: Array

    def column(self, name: str) -> list[int]:
        """A column of `calls`, by its name in COLUMNS."""
        out: list[int] = self.calls[:, COLUMNS.index(name)].tolist()
        return out

    def answered_within(self) -> Trace:
        """Without the calls at its end that are due after its last tick: no run of as many ticks waits for them."""
        late = self.calls[:, COLUMNS.index("due")] > self.ticks
        last = int(np.flatnonzero(~late)[-1]) + 1 if not late.all() else 0
        kept = self.waits[(self.waits < last).all(axis=1)]
        return Trace(self.ticks, self.calls[:last], kept)

    def write(self, path: Path) -> Path:
        """Write the file, whole or not at all."""
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            values = {f.name: getattr(self, f.name) for f in fields(self)}
            np.savez_compressed(file, format=FORMAT, **values)
        part.replace(path)
        return path

    @classmethod
    def read(cls, path: Path) -> Trace:
        """Raises UsageError when it is no trace, or one of another format."""
        try:
            with np.load(path, allow_pickle=False) as found:
                kept = {name: found[name] for name in found.files}
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} is no trace: {error}", "record one anew") from error
        if int(kept.get("format", -1)) != FORMAT or not {"ticks", "calls", "waits"} <= kept.keys():
            raise UsageError(f"{path} is no trace of format {FORMAT}", "record one anew")
        return cls(int(kept["ticks"]), kept["calls"], kept["waits"])


class _Company(Protocol):
    @property
    def ledger(self) -> Any: ...


class Recorder:
    """Follows a headless company in lock-step from its first tick.

    `tokens(messages)` and `count_reply(text)` give tokens, as the model that is meant would.
    """

    def __init__(
        self,
        tokens: Callable[[Sequence[Message]], Sequence[int]],
        count_reply: Callable[[str], int],
    ) -> None:
        self._tokens, self._count_reply = tokens, count_reply
        self._company: _Company | None = None
        self._calls: list[list[int]] = []
        self._waits: list[tuple[int, ...]] = []
        self._by_request: dict[int, int] = {}
        self._prompts: dict[int, Array] = {}
        self._due: dict[int, list[int]] = {}
        # The calls whose answers have come to bear on a being.
        self._bears: dict[int, frozenset[int]] = {}
        self._tick = 0

    def follow(self, company: _Company) -> None:
        """Take the company whose run this is; it must not have lived a tick."""
        self._company = company

    def ticked(self, world: World) -> None:
        """Note what a tick did; call it after each."""
        if self._tick == world.tick:
            return
        self._tick = world.tick
        # An answer is heeded in the tick it is due in: what was followed then may be followed for it.
        for call in self._due.pop(world.tick, ()):
            being = self._calls[call][0]
            self._bears[being] = (self._bears_on(being) - set(self._waits[call])) | {call}
        for event in world.frame().events:
            if event.entity and event.target:
                self._read(event.target, event.entity)
                self._read(event.entity, event.target)
        c = world.columns
        rows = np.flatnonzero((c.id[: c.high] != 0) & (c.target[: c.high] > 0))
        for reader, read in zip(c.id[rows].tolist(), c.target[rows].tolist(), strict=True):
            self._read(reader, read)

    def asked(self, request: ModelRequest) -> None:
        """Note a call, which belongs to the open question of whoever asks."""
        assert self._company is not None
        ledger = self._company.ledger
        kind, _, who = request.asker.partition(":")
        asked = {"decide": "decision", "plan": "plan", "speech": "speech"}.get(request.purpose, "")
        open_ = [q for q in ledger.questions.waited_for(1 << 62) if q.kind == asked]
        if kind in ("npc", "group"):
            open_ = [q for q in open_ if q.entity == int(who)]
        if not open_ or len(self._calls) >= MOST_CALLS:
            return
        question, world = open_[-1], ledger.world
        self.ticked(world)
        being = question.entity
        c = world.columns
        if asked == "plan":  # of a group: its first member stands for it
            members = c.id[np.flatnonzero((c.group[: c.high] == being) & (c.died[: c.high] < 0))]
            being = int(members.min()) if members.size else 0
        row, panel = c.row_of(being), world.situation(being)
        if row < 0:
            return
        for near in panel.near if panel is not None else ():
            self._read(being, near.id)
        prompt = np.array(self._tokens(request.messages), dtype=np.int64)
        fresh = prompt.size - common(self._prompts.values(), prompt)
        self._prompts[being] = prompt
        call = self._by_request[request.id] = len(self._calls)
        self._calls.append(
            [
                being,
                question.asked,
                question.due,
                int(c.x[row]),
                int(c.y[row]),
                prompt.size,
                fresh,
                1,
            ]
        )
        self._waits.append(tuple(sorted(self._bears_on(being))))
        self._due.setdefault(question.due, []).append(call)

    def answered(self, request_id: int, text: str) -> None:
        """Note how long a reply was."""
        call = self._by_request.pop(request_id, None)
        if call is not None:
            self._calls[call][-1] = max(1, self._count_reply(text))

    def trace(self) -> Trace:
        """What was recorded."""
        calls = np.array(self._calls, dtype=np.int64).reshape(-1, len(COLUMNS))
        pairs = [(call, before) for call, waits in enumerate(self._waits) for before in waits]
        return Trace(self._tick, calls, np.array(pairs, dtype=np.int64).reshape(-1, 2))

    def _bears_on(self, being: int) -> frozenset[int]:
        return self._bears.get(being, frozenset())

    def _read(self, reader: int, read: int) -> None:
        bears = self._bears.get(read)
        if bears and not bears <= self._bears_on(reader):
            self._bears[reader] = self._bears_on(reader) | bears


def common(before: Iterable[Array], prompt: Array) -> int:
    """How many tokens `prompt` begins with that one of those before it begins with, too; its last is always read."""
    longest = 0
    for other in before:
        size = min(other.size, prompt.size - 1)
        if size <= longest or other[longest] != prompt[longest]:
            continue
        differ = np.flatnonzero(other[:size] != prompt[:size])
        longest = max(longest, int(differ[0]) if differ.size else size)
    return longest


@dataclass(slots=True)
class Traced:
    """A backend whose calls a recorder notes; what it answers is the inner one's."""

    inner: Backend
    recorder: Recorder
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.inner.name

    def submit(self, request: ModelRequest, listener: Listener) -> Handle:
        """Note the call and pass it on."""
        self.recorder.asked(request)
        return self.inner.submit(request, _Noting(listener, self.recorder))

    def status(self) -> dict[str, object]:
        """The inner one's."""
        return self.inner.status()

    def close(self) -> None:
        """Close the inner one."""
        self.inner.close()


@dataclass(frozen=True, slots=True)
class _Noting:
    listener: Listener
    recorder: Recorder

    def on_text(self, request_id: int, text: str) -> None:
        self.listener.on_text(request_id, text)

    def on_done(self, reply: Reply) -> None:
        self.recorder.answered(reply.request_id, reply.text)
        self.listener.on_done(reply)

    def on_error(self, request_id: int, error: ModelError) -> None:
        self.listener.on_error(request_id, error)
