"""The root of every error Greenroom raises; each has a stable code that wire, command line and docs share.

::

    GreenroomError
    ├── UsageError        usage           a call, flag or file that can't be used as given
    ├── LimitError        limit           a bound was reached; the policy at the bound is in the message
    ├── world.errors      scene, rejected, storage, replay …
    └── models.errors     model, model_file, deadline, budget …
"""

from __future__ import annotations


class GreenroomError(Exception):
    """Root of the tree.

    `code` is a stable snake_case name, `message` says what is wrong with what (file, key, id),
    `hint` says how to mend it (may be empty).
    """

    code = "internal"
    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(GreenroomError):
    """What was asked can't be done as asked; the hint names the fix. Exit code 2 on the command line."""

    code = "usage"


class LimitError(GreenroomError):
    """A bound was reached. Trying again later may succeed."""

    code = "limit"
    retryable = True
