"""What both layouts of the KV memory, unified and in streams, cost on a machine, and which one wins.

The figures come from layout_race.py, are kept by layout_file.py and heeded by sizing.py. Measured in unified memory
is a context as full as an engine keeps it, since what is kept there costs every token time; in streams
it does not, so there is nothing beside the rows. A layout has to win by `MARGIN` on a whole request, or
the rule stands that holds without figures.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from foundation.strict import StrictModel
from models.llama.settings import MAX_CELLS, MAX_SEQUENCES

Layout = Literal["unified", "streams"]

ROWS, TOKENS, STEPS, REPEATS = 8, 256, 16, 5
"""Sequences, tokens that each reads, steps that all decode together; the best of so many repeats counts."""
BUDGET_S = 20.0
"""What the repeats may take together, seconds; a slow model reads shorter prompts, less often."""
MARGIN = 0.05
"""By how much of the slower one's time the faster layout must win to be chosen."""
_LINE, _ANSWER = 64, 32
"""The request by which layouts are compared: tokens of a line that is read, and of its answer."""

_Milliseconds = Annotated[float, Field(gt=0.0, le=1e9)]


class Timing(StrictModel):
    """Milliseconds a token read, and a decode step of all rows."""

    read_ms: _Milliseconds
    step_ms: _Milliseconds


class Layouts(StrictModel):
    """Both layouts of one model on one machine, measured in turns.

    `rows` sequences read `tokens` each and decoded `steps` steps, `repeats` times in each layout; `kept`
    tokens of others lay beside them in unified memory. `bounded`: time ran out before all was done.
    """

    unified: Timing
    streams: Timing
    rows: Annotated[int, Field(ge=1, le=MAX_SEQUENCES)]
    tokens: Annotated[int, Field(ge=1, le=MAX_CELLS)]
    steps: Annotated[int, Field(ge=1, le=MAX_CELLS)]
    repeats: Annotated[int, Field(ge=1, le=1000)]
    kept: Annotated[int, Field(ge=0, le=MAX_CELLS)]
    seconds: Annotated[float, Field(ge=0.0, le=1e9)]
    bounded: bool

    def request_ms(self, layout: Layout) -> float:
        """A request's share of the machine: a line read and its answer decoded among `rows`."""
        timing = self.streams if layout == "streams" else self.unified
        return _LINE * timing.read_ms + _ANSWER * timing.step_ms / self.rows

    @property
    def faster(self) -> Layout | None:
        """The layout that wins by `MARGIN` at the least; None when the rule stands."""
        unified, streams = self.request_ms("unified"), self.request_ms("streams")
        if streams <= (1.0 - MARGIN) * unified:
            return "streams"
        return "unified" if unified <= (1.0 - MARGIN) * streams else None

    @property
    def words(self) -> str:
        """The figures as a sentence's end: "streams read 0.41 ms a token against 0.62, …"."""
        return (
            f"streams read {self.streams.read_ms:.3g} ms a token against {self.unified.read_ms:.3g}, "
            f"and decode a step of {self.rows} in {self.streams.step_ms:.3g} ms against "
            f"{self.unified.step_ms:.3g}"
        )

    @property
    def verdict(self) -> str:
        """Which layout wins and by how much, and what time did not allow."""
        unified, streams = self.request_ms("unified"), self.request_ms("streams")
        saved = 1.0 - min(unified, streams) / max(unified, streams)
        what = f"of a request of {_LINE} tokens and {_ANSWER} of answer"
        if self.faster is None:
            said = f"they differ by {saved:.0%} {what}, so the rule stands"
        else:
            who = "streams save" if self.faster == "streams" else "unified memory saves"
            said = f"{who} {saved:.0%} {what}"
        if self.bounded:
            said += (
                f"; the time bound was hit: {self.repeats} of {REPEATS} repeats, each of "
                f"{self.tokens} tokens and {self.steps} steps"
            )
        return said


class Circumstances(StrictModel):
    """All that figures hold for: other circumstances, other figures.

    `model` is the file's fingerprint (gguf_file.py) and size, `library` llama.cpp's bindings' version,
    `cpu` the processor's name, and `gpus` those that hold layers.
    """

    model: Annotated[str, Field(max_length=64)]
    threads: Annotated[int, Field(ge=1, le=512)]
    gpu_layers: Annotated[int, Field(ge=0, le=10_000)]
    kv_type: Literal["f32", "f16", "q8_0"]
    library: Annotated[str, Field(max_length=64)]
    cpu: Annotated[str, Field(max_length=200)]
    gpus: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=64)] = ()
