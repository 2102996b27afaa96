"""A short-lived process that times both layouts of the KV memory: `python -m models.llama.layout_race`.

It takes one JSON object on stdin, `{"path", "settings", "budget_s"}`, the settings those of an engine with
unified memory, and prints JSON lines: `{"doing": "…"}` while it works, at the end `{"layouts": {…}}` or
`{"failed": "…", "hint": "…"}`. llama.cpp may abort it; whoever started it takes that for a failure.

Both contexts exist beside each other and take turns, each repeat in the other order, so that a machine that slows down
slows both. The rows are read as the engine reads them: whole prompts, one after the other, in full batches.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError, ModelUnavailable
from models.llama.estimate import CELLS
from models.llama.layouts import (
    BUDGET_S,
    REPEATS,
    ROWS,
    STEPS,
    TOKENS,
    Layout,
    Layouts,
    Timing,
)
from models.llama.settings import MAX_SEQUENCES, EngineSettings
from models.llama.sizing import Wishes, flash
from models.llama.streams import Part

_KEPT_TOKENS = 64
"""Tokens of a sequence that lies beside the rows, where so short ones fill the context."""
_PILOT = 8
_LEAST_TOKENS, _LEAST_STEPS = 32, 4
_ROUNDS = 3
"""Repeats that a slow model's prompts are shortened for."""
_SEED = 4
_TOO_SLOW = "the model is too slow to be measured in {:g} s"
_RULE = "the rule stands; --streams and --no-streams choose by hand"

Clock = Callable[[], float]
Tell = Callable[[str], None]


class Memory(Protocol):
    """The part of a context that is timed."""

    def decode(self, parts: Sequence[Part]) -> NDArray[np.float32]: ...

    def cut(self, sequence: int, length: int) -> None: ...

    def save(self, sequence: int) -> bytes: ...

    def load(self, sequence: int, state: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Course:
    """How much is read and decoded: `rows` sequences, each `tokens` and then `steps` tokens long.

    Beside them lie `kept` sequences of `kept_tokens` in unified memory. A batch has `batch` tokens.
    """

    rows: int
    tokens: int
    steps: int
    kept: int
    kept_tokens: int
    batch: int


def course(settings: EngineSettings, trained: int) -> Course:
    """The course for an engine with unified memory; `trained` is the longest sequence the model knows, 0: any."""
    rows = min(ROWS, settings.n_parallel)
    longest = min(settings.n_ctx // rows, trained or settings.n_ctx)
    steps = min(STEPS, max(1, longest // 2))
    tokens = min(TOKENS, max(1, longest - steps))
    rest = settings.n_ctx - rows * (tokens + steps)
    kept_tokens = max(min(_KEPT_TOKENS, longest), -(-rest // (MAX_SEQUENCES - rows)))
    kept_tokens = min(kept_tokens, trained or kept_tokens)
    kept = min(MAX_SEQUENCES - rows, max(0, rest // kept_tokens))
    return Course(rows, tokens, steps, kept, kept_tokens, settings.n_batch)


def sizes(settings: EngineSettings, run: Course) -> dict[Layout, EngineSettings]:
    """The contexts that take turns; streams are as long as the course, since spare cells cost no time."""
    each = -(-(run.tokens + run.steps) // CELLS) * CELLS
    common = replace(settings, streams=False, n_parallel=run.rows, n_seq=run.rows + run.kept)
    streams = replace(
        common,
        n_seq=run.rows + 1,
        n_ctx=(run.rows + 1) * each,
        flash=flash(Wishes(), settings.kv_type, settings.gpu_layers, streams=True),
        streams=True,
    )
    return {"unified": common, "streams": streams}


def race(
    contexts: Mapping[Layout, Memory],
    run: Course,
    vocabulary: int,
    *,
    clock: Clock = time.perf_counter,
    tell: Tell = lambda _: None,
    budget_s: float = BUDGET_S,
) -> Layouts:
    """Time both contexts, empty ones of `sizes`. `vocabulary`: how many tokens there are to draw from.

    Time counts from when the unified context has read its first prompt, which also brings the weights into memory.
    Raises ModelUnavailable when not one repeat of the shortest course would end in twice `budget_s`.
    """
    unified = contexts["unified"]
    draw = np.random.default_rng(_SEED)

    def drawn(rows: int, tokens: int) -> list[list[int]]:
        found: list[list[int]] = draw.integers(0, vocabulary, (rows, tokens)).tolist()
        return found

    tell("reading the model's weights")
    unified.decode([(0, 0, part, True) for part in drawn(1, run.kept_tokens)])
    began = clock()
    tell("filling the shared cells")
    kept = _fill(unified, run, lambda: clock() - began > budget_s / 4)
    read_s, step_s = _lap(unified, drawn(run.rows, _least(run, _PILOT) + 1), 1, run.batch, clock)
    short = _shortened(run, read_s / (run.rows * _least(run, _PILOT)), step_s, budget_s)
    rows = drawn(run.rows, short.tokens + short.steps)
    laps: dict[Layout, list[tuple[float, float]]] = {"unified": [], "streams": []}
    order: list[Layout] = ["unified", "streams"]
    longest = 0.0
    for repeat in range(REPEATS):
        begun = clock()
        if repeat and begun - began + longest > budget_s:
            break
        tell(f"repeat {repeat + 1} of {REPEATS}, {run.rows} sequences of {short.tokens} tokens")
        for layout in order:
            laps[layout].append(_lap(contexts[layout], rows, short.steps, run.batch, clock))
        order.reverse()
        longest = max(longest, clock() - begun)
    repeats = len(laps["unified"])
    best = {
        layout: Timing(
            read_ms=1000.0 * _positive(min(read for read, _ in took)) / (run.rows * short.tokens),
            step_ms=1000.0 * _positive(min(step for _, step in took)),
        )
        for layout, took in laps.items()
    }
    return Layouts(
        unified=best["unified"],
        streams=best["streams"],
        rows=run.rows,
        tokens=short.tokens,
        steps=short.steps,
        repeats=repeats,
        kept=kept * run.kept_tokens,
        seconds=round(clock() - began, 3),
        bounded=repeats < REPEATS or short != run or kept < run.kept,
    )


def _fill(unified: Memory, run: Course, late: Callable[[], bool]) -> int:
    """Let others' sequences lie beside the rows, all with the state of the first; how many there was time for."""
    state = unified.save(0) if run.kept else b""
    filled = 0
    while filled < run.kept and state and not late():
        if not unified.load(run.rows + filled, state):
            break
        filled += 1
    unified.cut(0, 0)
    return filled


def _shortened(run: Course, token_s: float, step_s: float, budget_s: float) -> Course:
    """A course of which `_ROUNDS` repeats end in time, as far as it gets shorter."""

    def takes(tokens: int, steps: int) -> float:
        return 2.0 * _positive(run.rows * tokens * token_s + steps * step_s)

    tokens, steps = _least(run, _LEAST_TOKENS), min(run.steps, _LEAST_STEPS)
    if takes(tokens, steps) > 2.0 * budget_s:
        raise ModelUnavailable(_TOO_SLOW.format(budget_s), _RULE)
    part = min(1.0, budget_s / _ROUNDS / takes(run.tokens, run.steps))
    return replace(
        run, tokens=max(tokens, int(part * run.tokens)), steps=max(steps, int(part * run.steps))
    )


def _least(run: Course, tokens: int) -> int:
    return min(run.tokens, tokens)


def _lap(
    context: Memory, rows: Sequence[Sequence[int]], steps: int, batch: int, clock: Clock
) -> tuple[float, float]:
    """Seconds to read all but the last `steps` tokens of all rows, and of one of the steps that decode those."""
    length = len(rows[0]) - steps
    begun = clock()
    parts: list[Part] = []
    left = batch
    for row, tokens in enumerate(rows):
        at = 0
        while at < length:
            end = min(length, at + left)
            parts.append((row, at, tokens[at:end], end == length))
            left -= end - at
            at = end
            if not left:
                context.decode(parts)
                parts, left = [], batch
    if parts:
        context.decode(parts)
    read = clock()
    for step in range(length, length + steps):
        context.decode([(row, step, [tokens[step]], True) for row, tokens in enumerate(rows)])
    over = clock()
    for row in range(len(rows)):
        context.cut(row, 0)
    return read - begun, (over - read) / steps


def _positive(seconds: float) -> float:
    # A clock may be too coarse for the smallest of models.
    return max(seconds, 1e-9)


def main() -> int:
    """Measure what stdin asks for; the exit code is 0 also when it could not be done."""
    # What a library prints must not end up between the lines.
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(line: dict[str, Any]) -> None:
        answer.write(json.dumps(line) + "\n")
        answer.flush()

    asked = json.load(sys.stdin)
    try:
        found = _measure(asked, lambda doing: say({"doing": doing}))
    except ModelError as error:
        say({"failed": error.message, "hint": error.hint})
    else:
        say({"layouts": found.model_dump(mode="json")})
    return 0


def _measure(asked: dict[str, Any], tell: Tell) -> Layouts:
    try:
        from models.llama.context import Context, NoRoom
        from models.llama.library import Model
        from models.llama.spoken_log import SpokenLog
    except ImportError as error:
        raise ModelUnavailable(
            f"llama.cpp can't be loaded: {error}", "pip install 'greenroom[local]'"
        ) from error
    settings = EngineSettings.unpack(asked["settings"])
    tell("loading the model")
    log = SpokenLog(aloud=True)
    try:
        model = Model(Path(asked["path"]), settings, log)
        run = course(settings, max(0, model.context_length))
        contexts = {layout: Context(model, each) for layout, each in sizes(settings, run).items()}
        return race(
            contexts, run, model.vocabulary.size, tell=tell, budget_s=float(asked["budget_s"])
        )
    except (NoRoom, RuntimeError, MemoryError) as error:
        why = log.shortage or log.reason() or repr(error)
        raise ModelUnavailable(f"llama.cpp can't measure it: {why}", _RULE) from error


if __name__ == "__main__":
    sys.exit(main())
