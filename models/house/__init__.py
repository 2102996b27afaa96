"""The small model that ships with Greenroom: its file, its name, its version."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["NAME", "VERSION", "WINDOW", "card", "path"]

NAME = "greenroom-house"
VERSION = 4
WINDOW = 704
"""Tokens of the longest conversation it was trained on."""


def path() -> Path:
    """The shipped GGUF. It is for the demo, the tests and the benchmarks; CARD.md says how good it is."""
    return Path(__file__).with_name(f"{NAME}.gguf")


@cache
def card() -> dict[str, Any]:
    """What CARD.md tells, as plain values: file, network, training, corpus, scores, replies."""
    told: dict[str, Any] = json.loads(Path(__file__).with_name("card.json").read_bytes())
    return told
