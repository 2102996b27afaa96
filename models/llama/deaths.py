"""Judges the death of a child: whether memory was short, and what becomes of its host.

A child died *of memory* when it or llama.cpp said so (shortage.py), or when SIGKILL ended it that the
host did not send, which is how a kernel takes memory back. Where the kernel counts such kills and has none
to tell of, only the second SIGKILL without an answer in between counts: a daemon may take memory back
too, and anybody else's kill must not leave a server small for good. With a way to a smaller size it starts
again at that, and the death is not counted: there are only so many sizes. Where no smaller one is left,
a child that said so has failed; a SIGKILL may have been anybody's and is borne like any other death.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from models.errors import ModelDoesNotFit, ModelError, ModelFileError, ModelUnavailable
from models.llama.channel import End
from models.llama.gguf_parts import file_bytes
from models.llama.settings import EngineSettings
from models.llama.shortage import tells_of_shortage

Shrink = Callable[[EngineSettings], EngineSettings]
"""The next smaller sizes. Raises ModelDoesNotFit, which says the mend, when there are none."""

Shortage = Literal["none", "suspected", "certain"]

_GIB = 1 << 30
_KILLED = -9
"""SIGKILL as `subprocess` tells it."""
_ILLEGAL = -4
"""SIGILL: an instruction that this CPU has not, or not as it was compiled."""
_REBUILD = (
    "build llama-cpp-python on this machine (`make install` in the source tree finds how), or for any CPU: "
    "CMAKE_ARGS=-DGGML_NATIVE=OFF pip install --force-reinstall --no-cache-dir --no-deps "
    "--no-binary llama-cpp-python llama-cpp-python"
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a child may load and be silent, and how its deaths are borne (seconds).

    After `hang_s` it is killed. Before that, one that has said nothing for `quiet_s` is not asked for what must
    be there within `hang_s`, until it speaks again: whoever asks would only hear so later.
    """

    load_s: float = 30.0
    hang_s: float = 30.0
    backoff_s: float = 0.2
    backoff_most_s: float = 30.0
    max_restarts: int = 8
    quiet_s: float = 5.0

    def load_for(self, path: Path) -> float:
        """How long a file may load: `load_s` if empty, five seconds more for each GiB."""
        try:
            size = file_bytes(path)
        except OSError:
            size = 0
        return self.load_s + 5.0 * size / _GIB


@dataclass(frozen=True, slots=True)
class Served:
    """What a host serves, how it bears deaths, and how it gets smaller (None: it can't)."""

    path: Path
    what: str
    patience: Patience
    shrink: Shrink | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What a host has been through.

    `worked` once a child was ready; `deaths` since the last answer, without those it shrank for;
    `restarts` in all, `shrunk` how many of them at a smaller size.
    """

    settings: EngineSettings
    worked: bool = False
    deaths: int = 0
    restarts: int = 0
    shrunk: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The record from now on, what listeners hear, and the pause before the next start.

    `pause_s` None: it has failed, and is not started again.
    """

    record: Record
    error: ModelError
    pause_s: float | None


def shortage(end: End, *, worked: bool, again: bool = False) -> Shortage:
    """Whether a child died of memory; `worked` when one had been ready with the same file.

    `again`: it had died before, and has answered nobody since.
    """
    if end.killed:
        return "none"
    if end.refused or tells_of_shortage(f"{end.reason}\n{end.last_words}", worked=worked):
        return "certain"
    if end.code != _KILLED or (end.spared and worked and not again):
        return "none"
    return "suspected"


def judge(end: End, record: Record, served: Served, *, loading: bool) -> Verdict:
    """What to do about a death; `loading` when the child had not been ready."""
    patience, settings = served.patience, record.settings
    words = f"; its last words: {end.last_words}" if end.last_words else ""
    if end.code == _ILLEGAL:
        # The file has no part in it, and it would die of the same instruction again.
        unfit = (
            f"{served.what} can't run here: llama.cpp was compiled for another CPU (SIGILL){words}"
        )
        return Verdict(record, ModelUnavailable(unfit, _REBUILD), None)
    died = f"{served.what} died: {end.reason}{words}"
    lack = shortage(end, worked=record.worked, again=record.deaths > 0)
    refusal: ModelDoesNotFit | None = None
    if served.shrink is not None and lack != "none":
        try:
            smaller = served.shrink(settings)
        except ModelDoesNotFit as error:
            refusal = ModelDoesNotFit(f"{died}; {error.message}", error.hint, error.named)
        else:
            pause = _pause(patience, record.deaths)
            mend = f"it starts again in {pause:g} s with {_difference(settings, smaller)}"
            after = replace(
                record,
                settings=smaller,
                restarts=record.restarts + 1,
                shrunk=record.shrunk + 1,
            )
            return Verdict(after, ModelUnavailable(died, mend), pause)
    never = loading and not record.worked
    if refusal is not None and (never or lack == "certain"):
        return Verdict(record, refusal, None)
    if never:
        return Verdict(
            record,
            ModelFileError(
                f"{served.path}: llama.cpp crashed while loading it ({end.reason}){words}",
                "download or export the file again, or update llama-cpp-python",
            ),
            None,
        )
    record = replace(record, deaths=record.deaths + 1)
    if record.deaths > patience.max_restarts:
        often = ModelUnavailable(
            f"{served.what} died {record.deaths} times in a row, the last time because "
            f"{end.reason}{words}",
            "check the machine's memory and the model, then start again",
        )
        return Verdict(record, refusal or often, None)
    pause = _pause(patience, record.deaths - 1)
    again = ModelUnavailable(died, f"it starts again in {pause:g} s")
    return Verdict(replace(record, restarts=record.restarts + 1), again, pause)


def _pause(patience: Patience, doublings: int) -> float:
    return min(patience.backoff_s * 2.0**doublings, patience.backoff_most_s)


def _difference(before: EngineSettings, after: EngineSettings) -> str:
    old, new = asdict(before), asdict(after)
    changed = [name for name in old if new[name] != old[name]]
    return ", ".join(f"{name} {new[name]} instead of {old[name]}" for name in changed)
