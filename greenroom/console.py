"""How commands speak: JSON to stdout, everything for people to stderr, errors with their mend."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar

import structlog
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foundation.errors import GreenroomError, UsageError

Token = Annotated[
    str | None,
    typer.Option(envvar="GREENROOM_SERVER__TOKEN", help="the server's token, if it asks for one"),
]
P = ParamSpec("P")
R = TypeVar("R")

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""Errors of a disk, which come without a file's name from a file that was already open."""

people = Console(stderr=True, highlight=False)


def machine(data: Any) -> None:
    """Print one JSON object to stdout."""
    sys.stdout.write(json.dumps(data, indent=2, default=str) + "\n")
    sys.stdout.flush()


def progress() -> Progress:
    """A progress bar on stderr that vanishes when it is done."""
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=people,
        transient=True,
    )


def command(function: Callable[P, R]) -> Callable[P, R]:
    """Turn Greenroom's errors, and files that can't be used, into a message and exit code 1 or 2."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except GreenroomError as error:
            # A message may hold brackets of its own: a path, or pip's 'greenroom[cloud]'.
            people.print(f"[bold red]{error.code}[/]: {escape(error.message)}", soft_wrap=True)
            if error.hint:
                people.print(f"  → {escape(error.hint)}", soft_wrap=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error
        except OSError as error:
            if error.filename is None and error.errno not in _OF_THE_DISK:
                raise
            reason = (
                f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
            )
            people.print(f"[bold red]file[/]: {escape(reason)}", soft_wrap=True)
            raise typer.Exit(1) from error

    return run


def switched_off(errors: Iterable[GreenroomError]) -> None:
    """Tell of plugins that are off, with the reason and the mend."""
    for error in errors:
        people.print(f"[red]off[/] {escape(str(error))}", soft_wrap=True)


def logs(level: str) -> None:
    """Structured logs on stderr from `level` upwards."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
