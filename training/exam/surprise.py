"""How much a model is surprised by held-out answers: perplexity a token and bits a character.

`measure` has it computed in a process of its own, `python -m training.exam.surprise`, so that llama.cpp may abort
there. Tokens differ between models, so that only bits a character can be compared between them.
"""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError, ModelUnavailable
from models.llama import spawn
from models.llama.settings import EngineSettings
from models.request import Message
from training.corpus.sample import samples

_SEED = 41
_WINDOW = 4096
_OUTPUTS = 64
_LIMIT_S = 7200.0
_WORDS = 300


@dataclass(frozen=True, slots=True)
class Surprise:
    """Of `answers` answers, those whose conversations fit the window: their tokens' perplexity, the end of turn counted, and bits a character of text."""

    answers: int
    tokens: int
    perplexity: float
    bits_per_character: float


def chats(count: int) -> Iterator[tuple[Message, ...]]:
    """Conversations of held-out people in held-out phrasings; the last message of each is the answer."""
    for sample in itertools.islice(samples(_SEED, validation=True), count):
        yield sample.messages


def measure(path: Path, settings: EngineSettings, count: int) -> Surprise:
    """Of `count` answers. `settings` are an engine's; its threads, layers on the GPU and kinds are kept.

    Raises ModelUnavailable, with the reason, when llama.cpp can't.
    """
    asked = {"path": str(path), "settings": settings.pack(), "chats": list(chats(count))}
    try:
        done = subprocess.run(
            spawn.command("training.exam.surprise"),
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            env=spawn.environment(),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ModelUnavailable(
            f"reading held-out answers took more than {_LIMIT_S:g} s", "ask fewer: --lines 10"
        ) from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [""])[-1][:_WORDS]
        raise ModelUnavailable(
            f"reading held-out answers failed: {spawn.in_words(done.returncode)} ({last})",
            "`greenroom doctor --model FILE` tells whether the model fits this machine",
        )
    return Surprise(**json.loads(done.stdout))


def of(asked: dict[str, Any]) -> Surprise:
    """What `measure` asks, computed in this process."""
    from models.llama.context import Context
    from models.llama.library import LogTail, Model
    from models.llama.template import ChatTemplate

    # One sequence at a time; a context gives the logits of `n_seq` tokens at once.
    settings = replace(
        EngineSettings.unpack(asked["settings"]),
        n_ctx=_WINDOW,
        n_seq=_OUTPUTS,
        n_parallel=1,
        streams=False,
    )
    model = Model(Path(asked["path"]), settings, LogTail())
    context = Context(model, settings)
    template = ChatTemplate(model.template(), model.vocabulary)
    nats, answers, tokens, characters = 0.0, 0, 0, 0
    for *before, answer in asked["chats"]:
        prompt = template.tokens([(each["role"], each["content"]) for each in before])
        said = model.vocabulary.tokenise(answer["content"], control=False)
        said.append(model.vocabulary.eos)
        if len(prompt) + len(said) > context.cells_each:
            continue
        context.clear()
        nats -= float(np.sum(_log_probabilities(context, prompt, said, settings.n_batch)))
        answers += 1
        tokens += len(said)
        characters += len(answer["content"])
    if not tokens:
        raise ModelUnavailable(f"no held-out conversation fits {context.cells_each} tokens")
    return Surprise(answers, tokens, math.exp(nats / tokens), nats / math.log(2) / characters)


def _log_probabilities(
    context: Any, prompt: Sequence[int], said: Sequence[int], batch: int
) -> NDArray[np.float64]:
    """ln p of each token of `said` after the prompt and those before it, shape [said]."""
    read = len(prompt) - 1
    for start in range(0, read, batch):
        context.decode([(0, start, prompt[start : min(start + batch, read)], False)])
    known = [prompt[-1], *said[:-1]]
    found: list[NDArray[np.float64]] = []
    for start in range(0, len(known), _OUTPUTS):
        part = known[start : start + _OUTPUTS]
        logits = context.decode(
            [(0, read + start + n, [token], True) for n, token in enumerate(part)]
        )
        rows = logits.astype(np.float64)
        rows -= rows.max(axis=1, keepdims=True)
        wanted = said[start : start + len(part)]
        found.append(rows[np.arange(len(part)), wanted] - np.log(np.exp(rows).sum(axis=1)))
    return np.concatenate(found)


def main() -> int:
    """Read one JSON object from stdin, print the answer as another."""
    try:
        found = of(json.load(sys.stdin))
    except (ModelError, RuntimeError, MemoryError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(
        json.dumps(
            {"answers": found.answers, "tokens": found.tokens, "perplexity": found.perplexity,
             "bits_per_character": found.bits_per_character}
        )
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
