"""The LoRA adapters that a host was given, and what became of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOADED, LOADING = "loaded", "loading"
_DEATHS = 2
"""So many deaths while it is loaded are its fault; one may be anybody's."""


@dataclass(slots=True)
class _Adapter:
    path: Path
    scale: float
    state: str = LOADING
    deaths: int = 0


class Adapters:
    """Adapters by name. Each is loaded, loading, or left out for a reason; not safe on two threads."""

    def __init__(self) -> None:
        self._all: dict[str, _Adapter] = {}

    def add(self, name: str, path: Path, scale: float) -> dict[str, Any]:
        """Keep one, in the place of any other of that name; returns the frame that loads it."""
        self._all[name] = _Adapter(path, scale)
        return self._frame(name)

    def knows(self, name: str) -> bool:
        """Whether one of that name was ever registered, whatever became of it."""
        return name in self._all

    def again(self) -> list[dict[str, Any]]:
        """The frames that load all good ones in a new child."""
        good = [name for name, each in self._all.items() if each.state in (LOADED, LOADING)]
        for name in good:
            self._all[name].state = LOADING
        return [self._frame(name) for name in good]

    def heard(self, name: str, fault: str) -> None:
        """The child has loaded one, or says why not."""
        if name in self._all:
            self._all[name].state = fault or LOADED
            self._all[name].deaths = 0

    def blame(self) -> None:
        """The child died: the first one that it had not answered for, twice now, is left out from here on."""
        for each in self._all.values():
            if each.state == LOADING:
                each.deaths += 1
                if each.deaths >= _DEATHS:
                    each.state = f"{each.path}: llama.cpp died while loading it"
                return

    def states(self) -> dict[str, str]:
        """By name: "loaded", "loading", or what is wrong."""
        return {name: each.state for name, each in self._all.items()}

    def _frame(self, name: str) -> dict[str, Any]:
        each = self._all[name]
        return {"t": "adapter", "name": name, "path": str(each.path.resolve()), "scale": each.scale}
