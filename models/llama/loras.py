"""The LoRA adapters that a model's engine has loaded: one for each file, the least recently used freed."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path

from models.errors import ModelError, RequestRefused
from models.llama.context import Adapter
from models.llama.library import LogTail, Model

MAX_ADAPTERS = 64


class Loras:
    """At most `most` adapters of one model, by key: a file in one state, at one scale.

    When they are that many, the one goes that was used longest ago of those that have been replaced
    by others of their names and that nothing under way needs.
    """

    def __init__(self, model: Model, log: LogTail, most: int = MAX_ADAPTERS) -> None:
        self._model = model
        self._log = log
        self._most = most
        self._loaded: OrderedDict[str, Adapter] = OrderedDict()
        self._newest: dict[str, str] = {}
        self.freed = 0

    def __len__(self) -> int:
        return len(self._loaded)

    def load(self, name: str, path: Path, scale: float, needed: Collection[str]) -> None:
        """Let `name` stand for a file from now on; `needed` are keys that must stay.

        For one that fails it stands for nothing, not for what it stood for before.

        Raises OSError when it can't be read, ModelFileError when llama.cpp refuses it, and
        RequestRefused when there are too many.
        """
        # The file's state is in the key: what was decoded under an earlier one of that name must
        # not be taken for its own, and species that share a file share its cohort.
        try:
            state = path.stat()
            key = f"{path}*{scale}@{state.st_mtime_ns}+{state.st_size}"
            if key not in self._loaded:
                if len(self._loaded) >= self._most:
                    self._free_one({*needed, *self._newest.values()})
                self._loaded[key] = Adapter(self._model, name, path, scale, self._log)
        except (OSError, ModelError):
            self._newest.pop(name, None)
            raise
        self._newest[name] = key

    def key(self, name: str) -> str:
        """What the requests under a name are decoded under from now on; "" for the bare model."""
        return self._newest.get(name, "")

    def use(self, key: str) -> Adapter | None:
        """The adapter of a key, None for the bare model."""
        if key in self._loaded:
            self._loaded.move_to_end(key)
        return self._loaded.get(key)

    def by_name(self, cells: Mapping[str, int]) -> dict[str, int]:
        """Cells by key as cells by name, "" for the bare model, "freed" for what is loaded no more."""
        named: Counter[str] = Counter()
        for key, count in cells.items():
            loaded = self._loaded.get(key)
            named[loaded.name if loaded else key and "freed"] += count
        return dict(named)

    def _free_one(self, kept: Collection[str]) -> None:
        for key, adapter in self._loaded.items():
            if key not in kept:
                del self._loaded[key]
                adapter.free()
                self.freed += 1
                return
        raise RequestRefused(
            f"{self._most} adapters are loaded already, and each is still wanted",
            "register fewer adapters",
        )
