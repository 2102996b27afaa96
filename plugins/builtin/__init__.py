"""The plugins that come with Greenroom; they are found and loaded like anyone's."""

from __future__ import annotations

from pathlib import Path

from plugins.api import AdapterFile

HOUSE = "greenroom-house 4"
"""The model that the adapters beside this file were trained for (`training/adapt.py`)."""


def adapted(species: str) -> list[AdapterFile]:
    """A species speaks and decides under the adapter that was trained for it."""
    file = Path(__file__).parent / "adapters" / f"{species}.gguf"
    return [AdapterFile(species, file, HOUSE)]
