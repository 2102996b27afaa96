"""Remembers measured layouts in one JSON file: bounded, written whole and renamed, ignored when damaged."""

from __future__ import annotations

import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from foundation.strict import StrictModel
from models.llama.layouts import Circumstances, Layouts

MOST = 64
"""Measurements kept; past it the oldest goes."""
_MAX_BYTES = 1 << 20


class Entry(StrictModel):
    """One measurement: for what, when (ISO 8601, UTC), and the figures."""

    circumstances: Circumstances
    at: Annotated[str, Field(max_length=40)]
    layouts: Layouts


class Notebook(StrictModel):
    """Measurements, the oldest first. `trouble` says why a file's were ignored; "" if they were not."""

    entries: tuple[Entry, ...] = ()
    trouble: Annotated[str, Field(exclude=True)] = ""

    def find(self, circumstances: Circumstances) -> Entry | None:
        """The measurement for these circumstances."""
        return next((each for each in self.entries if each.circumstances == circumstances), None)

    def noting(self, circumstances: Circumstances, layouts: Layouts, at: datetime) -> Notebook:
        """This one with a measurement more, in place of an older one for the same circumstances."""
        entry = Entry(
            circumstances=circumstances, layouts=layouts, at=at.isoformat(timespec="seconds")
        )
        others = [each for each in self.entries if each.circumstances != circumstances]
        return Notebook(entries=(*others, entry)[-MOST:])


def read(path: Path) -> Notebook:
    """What a file remembers; nothing, with the `trouble`, when it is damaged or can't be read."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Notebook()
    except OSError as error:
        return Notebook(trouble=f"{path}: can't be read: {error.strerror or error}")
    if len(data) > _MAX_BYTES:
        return Notebook(trouble=f"{path}: is over {_MAX_BYTES} bytes long")
    try:
        found = Notebook.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return Notebook(trouble=f"{path}: is damaged: {place}{': ' if place else ''}{first['msg']}")
    return Notebook(entries=found.entries[-MOST:])


def write(path: Path, notebook: Notebook) -> None:
    """Replace the file, making its folder. Raises OSError, after which the old one is still whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two who measure at once must not write into one file.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(notebook.model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
