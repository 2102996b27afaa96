"""A trace of a headless run: who was asked what and when, where everyone was, who looked at whom.

The file is numpy's npz (see `Trace` for its arrays). It is what schedules are compared over without living
the run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UsageError
from models.errors import ModelError
from models.request import Backend, Handle, Listener, Message, ModelRequest, Reply
from world.world import World

__all__ = ["FORMAT", "Recorder", "Trace", "Traced"]

FORMAT: Final = 2
_SHAKES: Final = frozenset({"tiles", "dam_broken", "spawned", "recovered"})
"""Events that nobody may be past or behind: births, moves without a way, the map."""
MOST_CALLS: Final = 1_000_000

Array = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Trace:
    """A recorded run of `blocks` blocks of `every` ticks; all arrays int64.

    `beings` [n] are ids in the order in which they appeared; `species`, `groups` [n]. `x`, `y`, `there`
    [blocks, n]: where each was at the beginning of each block (units), and whether in the world. `calls` [c, 7] has a row
    a call: being's index, tick asked, tick due, prompt tokens, those of them behind what begins the being's last
    prompt, too, completion tokens, and the call before that it had to wait for (-1: none). `links` [l, 3]: in that block, a being looked at, followed or was hurt by another. `barriers` [b]:
    blocks that begin only when everyone has come so far.
    """

    every: int
    ticks: int
    beings: Array
    species: Array
    groups: Array
    x: Array
    y: Array
    there: Array
    calls: Array
    links: Array
    barriers: Array

    @property
    def blocks(self) -> int:
        """How many blocks were lived."""
        return int(self.x.shape[0])

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
        names = {f.name for f in fields(cls)}
        if int(kept.get("format", -1)) != FORMAT or not names <= kept.keys():
            raise UsageError(f"{path} is no trace of format {FORMAT}", "record one anew")
        whole = {name: kept[name] for name in names}
        whole |= {name: int(kept[name]) for name in ("every", "ticks")}
        return cls(**whole)


class _Company(Protocol):
    @property
    def ledger(self) -> Any: ...


class Recorder:
    """Follows a headless company from its first tick.

    `tokens(messages)` and `count_reply(text)` give tokens, as the model that is meant would.
    """

    def __init__(
        self,
        tokens: Callable[[Sequence[Message]], Sequence[int]],
        count_reply: Callable[[str], int],
        every: int = 4,
    ) -> None:
        self._tokens, self._count_reply, self._every = tokens, count_reply, every
        self._company: _Company | None = None
        self._index: dict[int, int] = {}
        self._species: list[int] = []
        self._groups: list[int] = []
        self._places: list[tuple[Array, Array, Array]] = []
        self._calls: list[list[int]] = []
        self._by_request: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self._prompts: dict[int, Array] = {}
        self._links: set[tuple[int, int, int]] = set()
        self._barriers: set[int] = set()
        self._tick = 0

    def follow(self, company: _Company) -> None:
        """Take the company whose run this is; it must not have lived a tick."""
        self._company = company
        self._sample(company.ledger.world)

    def ticked(self, world: World) -> None:
        """Note what a tick did; call it after each."""
        tick = self._tick = world.tick
        block = (tick - 1) // self._every
        for event in world.frame().events:
            if event.kind in _SHAKES:
                self._barriers.update((block, block + 1))
            if event.entity and event.target:
                self._link(block, event.target, event.entity)
                self._link(block, event.entity, event.target)
        c = world.columns
        rows = np.flatnonzero((c.id[: c.high] != 0) & (c.target[: c.high] > 0))
        for a, b in zip(c.id[rows].tolist(), c.target[rows].tolist(), strict=True):
            self._link(block, a, b)
        if tick % self._every == 0:
            self._sample(world)

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
        entity = question.entity
        if asked == "plan":  # of a group: its first member stands for it
            c = world.columns
            members = c.id[np.flatnonzero((c.group[: c.high] == entity) & (c.died[: c.high] < 0))]
            entity = int(members.min()) if members.size else 0
        being = self._index.get(entity)
        if being is None:
            return
        prompt = np.array(self._tokens(request.messages), dtype=np.int64)
        fresh = prompt.size - _common(self._prompts.get(being), prompt)
        self._prompts[being] = prompt
        row = [being, question.asked, question.due, prompt.size, fresh, 1]
        self._by_request[request.id] = len(self._calls)
        self._calls.append([*row, self._last.get(being, -1)])
        self._last[being] = len(self._calls) - 1
        panel = world.situation(entity)
        block = max(0, (question.asked - 1) // self._every)
        for near in panel.near if panel is not None else ():
            self._link(block, entity, near.id)

    def answered(self, request_id: int, text: str) -> None:
        """Note how long a reply was."""
        call = self._by_request.pop(request_id, None)
        if call is not None:
            self._calls[call][5] = max(1, self._count_reply(text))

    def trace(self) -> Trace:
        """What was recorded."""
        n, blocks = len(self._index), max(1, self._tick // self._every)

        def wide(which: int) -> Array:
            out: Array = np.zeros((blocks, n), dtype=np.int64)
            for at, columns in enumerate(self._places[:blocks]):
                out[at, : columns[which].size] = columns[which]
            return out

        calls = np.array(self._calls, dtype=np.int64).reshape(-1, 7)
        links = np.array(sorted(self._links), dtype=np.int64).reshape(-1, 3)
        return Trace(
            every=self._every,
            ticks=blocks * self._every,
            beings=np.array(list(self._index), dtype=np.int64),
            species=np.array(self._species, dtype=np.int64),
            groups=np.array(self._groups, dtype=np.int64),
            x=wide(0),
            y=wide(1),
            there=wide(2),
            calls=calls[calls[:, 2] <= blocks * self._every],
            links=links[links[:, 0] < blocks],
            barriers=np.array(sorted(b for b in self._barriers if b < blocks), dtype=np.int64),
        )

    def _link(self, block: int, reader: int, read: int) -> None:
        a, b = self._index.get(reader), self._index.get(read)
        if a is not None and b is not None and a != b:
            self._links.add((block, a, b))

    def _sample(self, world: World) -> None:
        c = world.columns
        rows = np.flatnonzero(c.id[: c.high] != 0)
        rows = rows[world.ruleset.tables.alive[c.species[rows]]]
        for row in rows.tolist():
            entity = int(c.id[row])
            if entity not in self._index:
                self._index[entity] = len(self._index)
                self._species.append(int(c.species[row]))
                self._groups.append(int(c.group[row]))
        at = [self._index[int(entity)] for entity in c.id[rows]]
        columns: list[Array] = [np.zeros(len(self._index), dtype=np.int64) for _ in range(3)]
        for column, values in zip(columns, (c.x[rows], c.y[rows], 1), strict=True):
            column[at] = values
        self._places.append((columns[0], columns[1], columns[2]))


def _common(before: Array | None, prompt: Array) -> int:
    """How many tokens both begin with; the last one of a prompt is always read."""
    if before is None:
        return 0
    size = min(before.size, prompt.size - 1)
    differ = np.flatnonzero(before[:size] != prompt[:size])
    return int(differ[0]) if differ.size else size


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
