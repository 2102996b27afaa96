"""How commands speak: JSON to stdout, everything for people to stderr, errors with their mend."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from foundation.errors import GreenroomError, UsageError

P = ParamSpec("P")
R = TypeVar("R")

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
    """Turn Greenroom's errors into a message that names the fix, and exit code 1 or 2."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except GreenroomError as error:
            people.print(f"[bold red]{error.code}[/]: {error.message}", soft_wrap=True)
            if error.hint:
                people.print(f"  → {error.hint}", soft_wrap=True)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error

    return run


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
