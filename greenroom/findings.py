"""What a look at the machine found, one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what it is, whether it is well, what was seen and what mends it."""

    what: str
    well: bool
    seen: str
    mend: str = ""
