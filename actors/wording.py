"""What a failure and a message are called in reports: bounded, and never a failure of its own."""

from __future__ import annotations

from typing import Final

__all__ = ["of_error", "of_message"]

MOST: Final = 300
"""Characters of a text at the most."""


def of_error(error: BaseException) -> str:
    """The error's type and what it says."""
    kind = type(error).__name__
    try:
        return f"{kind}: {error}"[:MOST]
    except Exception as second:
        return f"{kind} (its text raised {type(second).__name__})"[:MOST]


def of_message(message: object) -> str:
    """The message as Python shows it; "" for None."""
    if message is None:
        return ""
    try:
        return repr(message)[:MOST]
    except Exception as second:
        return f"{type(message).__name__} (its repr raised {type(second).__name__})"[:MOST]
