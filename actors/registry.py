"""Pykka's registry of living actors, with a list behind it that takes one out without a search."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pykka

__all__ = ["RefOrder", "install"]


class RefOrder:
    """What Pykka's registry asks of its list, in the order of registering; `in` and `remove` are O(1).

    A plain list is searched from the front for each actor that stops, which makes stopping n actors
    cost n². A reference that is registered twice is held once.
    """

    def __init__(self, refs: Iterable[pykka.ActorRef[Any]] = ()) -> None:
        self._refs: dict[pykka.ActorRef[Any], None] = dict.fromkeys(refs)

    def __len__(self) -> int:
        return len(self._refs)

    def __iter__(self) -> Iterator[pykka.ActorRef[Any]]:
        return iter(self._refs)

    def __contains__(self, ref: object) -> bool:
        return ref in self._refs

    def __getitem__(self, index: Any) -> Any:
        return list(self._refs)[index]

    def append(self, ref: pykka.ActorRef[Any]) -> None:
        """Add a reference at the end, unless it is held already."""
        self._refs[ref] = None

    def remove(self, ref: pykka.ActorRef[Any]) -> None:
        """Take a reference out.

        Raises:
            ValueError: it is not held.
        """
        try:
            del self._refs[ref]
        except KeyError:
            raise ValueError(f"{ref} is not registered") from None


def install() -> None:
    """Put a `RefOrder` where Pykka's registry keeps its list; what is registered stays so."""
    registry = pykka.ActorRegistry
    with registry._actor_refs_lock:
        if not isinstance(registry._actor_refs, RefOrder):
            registry._actor_refs = RefOrder(registry._actor_refs)  # type: ignore[assignment]
