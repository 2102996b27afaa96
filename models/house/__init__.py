"""The small model that ships with Greenroom: its file, its name, its version."""

from __future__ import annotations

from pathlib import Path

__all__ = ["NAME", "VERSION", "WINDOW", "path"]

NAME = "greenroom-house"
VERSION = 3
WINDOW = 704
"""Tokens of the longest conversation it was trained on."""


def path() -> Path:
    """The shipped GGUF. It is for the demo, the tests and the benchmarks; CARD.md says how good it is."""
    return Path(__file__).with_name(f"{NAME}.gguf")
