"""The files of a model that was split, as llama.cpp's gguf-split does: the first is named and tells of all."""

from __future__ import annotations

import re
from pathlib import Path

from models.llama.gguf_file import GgufInfo, inspect

_PART = re.compile(r"-00001-of-(\d{5})\.gguf$")
_MOST = 1000


def parts(path: Path) -> list[Path]:
    """The files of a model, of which the first is named: one, unless it is split."""
    match = _PART.search(path.name)
    if match is None:
        return [path]
    count = min(int(match[1]), _MOST)
    stem = path.name[: match.start()]
    return [path.with_name(f"{stem}-{n:05d}-of-{match[1]}.gguf") for n in range(1, count + 1)]


def headers(path: Path) -> list[GgufInfo]:
    """The headers of all its parts. Raises ModelFileError when one is missing, damaged, or another's."""
    first, *others = parts(path)
    return [inspect(first), *(inspect(part, begins=False) for part in others)]


def file_bytes(path: Path) -> int:
    """The size of all its parts together, as far as they are there."""
    return sum(part.stat().st_size for part in parts(path) if part.is_file())
