"""One moment of a world, copied in a blink; what is written of it is made later, on any thread, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from world.compiled import GroupInfo, Place
from world.entities import INDEX, Ints, as_state
from world.far import far_state

Cells: TypeAlias = NDArray[np.uint8]
"""A map, uint8[height, width]."""


class Table(Sequence[list[Any]]):
    """Rows of plain values that are made when they are looked at, so that there need never be many."""

    __slots__ = ("_items", "_row")

    def __init__(self, items: Sequence[Any], row: Callable[[Any], list[Any]]) -> None:
        self._items = items
        self._row = row

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, at: int) -> list[Any]: ...

    @overload
    def __getitem__(self, at: slice) -> list[list[Any]]: ...

    def __getitem__(self, at: int | slice) -> list[Any] | list[list[Any]]:
        if isinstance(at, slice):
            return [self._row(item) for item in self._items[at]]
        return self._row(self._items[at])


@dataclass(frozen=True, slots=True)
class Moment:
    """All that is state after one tick. Nobody changes any of it, so every thread may read it at any time.

    `columns` is int64[len(NAMES), rows], `lived` and `kept` int64[rows] (see `Far`), the maps uint8[height, width]; all
    refuse writing. `plain` is what else a saved state holds, as it is saved.
    """

    tick: int
    plain: Mapping[str, Any]
    columns: Ints
    lived: Ints
    kept: Ints
    tiles: Cells
    nav: Cells
    names: Mapping[int, str]
    personas: Mapping[int, str]
    births: Sequence[tuple[int, ...]]
    places: Sequence[Place]
    groups: Mapping[int, GroupInfo]

    def state(self) -> dict[str, Any]:
        """What `World.from_state` lives on from and storage keeps: arrays that refuse writing, plain values, tables."""
        state = {
            **self.plain,
            "rows": as_state(self.columns),
            "tiles": self.tiles,
            "nav": self.nav,
            "names": _by_id(self.names),
            "personas": _by_id(self.personas),
            "births": [list(birth) for birth in sorted(self.births)],
            "places": Table(self.places, lambda p: [p.key, p.name, p.x, p.y, p.radius, p.kind]),
            "groups": Table(sorted(self.groups.items()), _group),
        }
        far = far_state(self.columns[INDEX["id"]], self.lived, self.kept)
        if far["id"].size:
            state["far"] = far
        return state


def _by_id(texts: Mapping[int, str]) -> Table:
    # Numpy sorts while other threads use the interpreter.
    ids = np.sort(np.fromiter(texts, dtype=np.int64, count=len(texts))).tolist()
    return Table(ids, lambda entity: [entity, texts[entity]])


def _group(numbered: tuple[int, GroupInfo]) -> list[Any]:
    number, group = numbered
    return [number, group.name, group.species, group.leader]
