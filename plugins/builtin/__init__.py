"""The plugins that come with Greenroom; they are found and loaded like anyone's."""

from __future__ import annotations

from pathlib import Path

from plugins.api import AdapterFile

HOUSE = "greenroom-house 3"
"""The model that the adapters beside this file were trained for (`training/adapt.py`)."""


def adapted(kind: str, *species: str) -> list[AdapterFile]:
    """Every one of `species` speaks and decides under the adapter of one kind of people."""
    file = Path(__file__).parent / "adapters" / f"{kind}.gguf"
    return [AdapterFile(each, file, HOUSE) for each in species]
