"""What becomes of the LoRA adapters that plugins give, told from the files alone, for one model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from models.errors import ModelFileError
from models.llama import adapter_file
from models.llama.gguf_file import GgufInfo
from plugins.manager import Contribution

Fate = Literal["used", "refused", "left alone"]


@dataclass(frozen=True, slots=True)
class Judged:
    """One adapter: who gives it for which species, what becomes of it, why, and what mends it."""

    species: str
    plugin: str
    path: Path
    fate: Fate
    why: str
    mend: str = ""


def model_name(header: GgufInfo) -> str:
    """The name and version by which adapters say what they are for."""
    return f"{header.name} {header.model_version}".strip()


def judge(given: Iterable[Contribution], known: str, model: Path) -> list[Judged]:
    """What becomes of every adapter of the plugins, in their order, with the model in `model`.

    `known` is that model's name and version. Raises ModelFileError when the model can't be read.
    """
    base = adapter_file.base(model)
    offered = [(plugin.name, adapter) for plugin in given for adapter in plugin.adapters]
    # The later plugin's wins, as when the engine is given them.
    winners = {
        adapter.species: n for n, (_, adapter) in enumerate(offered) if adapter.model == known
    }
    judged = []
    for n, (plugin, adapter) in enumerate(offered):
        fate: Fate = "used"
        why = mend = ""
        if adapter.model != known:
            fate, why = "left alone", f"it is for {adapter.model}, and {known} is used"
        elif winners[adapter.species] != n:
            winner = offered[winners[adapter.species]][0]
            fate, why = "left alone", f"the plugin {winner} gives {adapter.species} a later one"
        else:
            try:
                changed = adapter_file.check(adapter.path, base)
                why = f"it changes {changed} of {known}'s tensors"
            except ModelFileError as error:
                fate, why, mend = "refused", error.message, error.hint
        judged.append(Judged(adapter.species, plugin, adapter.path, fate, why, mend))
    return judged
