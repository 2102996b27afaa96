"""Has a model sit the examination: held-out lines answered and marked, acts and orders chosen, answers read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from models import grammar
from models.errors import ModelError
from models.llama.settings import EngineSettings
from models.request import Backend, Message, ModelRequest, Priority, Reply
from training.exam import surprise
from training.exam.choices import Question, questions
from training.exam.lines import Line, heldout
from training.exam.marks import Marks, mark, nearest_template, shares

WARM = 0.6
SEEDS = (1, 2, 3)
_REPLY_TOKENS = 96
_AT_ONCE = 64
"""Requests under way; the engine's queue is bounded."""
_DEADLINE_S = 3600.0
ANSWERS = 200
"""Held-out answers read for the perplexity where all lines are asked."""

Tell = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and of how much."""


class _Paper:
    """One question's listener: frees its place at the table when it is answered."""

    def __init__(self, request: ModelRequest, end: Callable[[], None]) -> None:
        self.request = request
        self.reply: Reply | None = None
        self.error: ModelError | None = None
        self._end = end

    def on_text(self, request_id: int, text: str) -> None:
        """Pieces are not read: the whole is."""

    def on_done(self, reply: Reply) -> None:
        self.reply = reply
        self._end()

    def on_error(self, request_id: int, error: ModelError) -> None:
        self.error = error
        self._end()


def ask(
    model: Backend, requests: Iterable[ModelRequest], told: Callable[[int], None] = lambda _: None
) -> list[Reply]:
    """The replies, in the requests' order, many under way at once. Raises the first error heard."""
    table = threading.Semaphore(_AT_ONCE)
    ended = threading.Semaphore(0)

    def end() -> None:
        table.release()
        ended.release()

    papers: list[_Paper] = []
    for request in requests:
        table.acquire()
        papers.append(_Paper(request, end))
        model.submit(request, papers[-1])
        told(sum(paper.reply is not None for paper in papers))
    for _ in papers:
        ended.acquire()
        told(sum(paper.reply is not None for paper in papers))
    replies = []
    for paper in papers:
        if paper.reply is None:
            raise paper.error or ModelError("a line was given no answer")
        replies.append(paper.reply)
    return replies


def examine(
    model: Backend, *, lines: int = 100, tell: Tell = lambda _what, _done, _of: None
) -> dict[str, Any]:
    """The card's scores of a GGUF that `model` answers for, but for what `read` tells.

    `lines` of the held-out lines are asked, evenly taken from all, greedily and at `WARM` with each of
    `SEEDS`; as many acts and as many orders. Raises the model's error.
    """
    asked = _spread(heldout(), lines)
    again = [line for line in asked for _ in SEEDS]
    greedy = _said(model, asked, 0.0, (1,), lambda n: tell("lines, greedy", n, len(asked)))
    warm = _said(model, asked, WARM, SEEDS, lambda n: tell(f"lines, at {WARM}", n, len(again)))
    agreed = _chosen(model, list(questions(len(asked))), tell)
    marks = _marked(asked, greedy, lambda n: tell("marks, greedy", n, len(asked)))
    loose = _marked(again, warm, lambda n: tell(f"marks, at {WARM}", n, len(again)))
    return {
        "lines": len(asked),
        "model": shares(marks),
        f"model_at_{WARM}": shares(loose),
        "by_topic": _by_topic(asked, marks),
        "agrees": agreed,
        "replies": [
            {"to": line.who.persona.name, "line": line.text, "reply": reply.text, "passed": each.passed}
            for line, reply, each in zip(asked, greedy, marks, strict=True)
        ],
    }  # fmt: skip


def read(path: Path, settings: EngineSettings, lines: int = 100) -> dict[str, float]:
    """The card's `surprise` of a GGUF, of twice as many held-out answers as `lines`; an engine's settings.

    The file is loaded once more for it, so let go of its engine first. Raises ModelUnavailable.
    """
    found = surprise.measure(path, settings, max(2, ANSWERS * lines // len(heldout())))
    return {key: round(value, 4) for key, value in asdict(found).items()}


def peer(lines: int = 100) -> dict[str, float]:
    """The shares of the nearest template's replies, over `SEEDS`: the corpus itself, without a model."""
    asked = _spread(heldout(), lines)
    return shares([mark(line, nearest_template(line, seed)) for line in asked for seed in SEEDS])


def _spread(lines: Sequence[Line], count: int) -> list[Line]:
    """`count` of the lines, evenly from first to last."""
    count = max(1, min(count, len(lines)))
    return [lines[n * len(lines) // count] for n in range(count)]


def _marked(
    lines: Sequence[Line], replies: Sequence[Reply], told: Callable[[int], None]
) -> list[Marks]:
    marks = []
    for line, reply in zip(lines, replies, strict=True):
        marks.append(mark(line, reply.text))
        told(len(marks))
    return marks


def _by_topic(lines: Sequence[Line], marks: Sequence[Marks]) -> dict[str, dict[str, float]]:
    """How many lines there were and the share that passed, by topic, and for strangers and the valley's people."""
    groups: dict[str, list[bool]] = {}
    for line, each in zip(lines, marks, strict=True):
        groups.setdefault(line.topic, []).append(each.passed)
    for line, each in zip(lines, marks, strict=True):
        whom = "to strangers" if line.to_a_stranger else "to the valley's people"
        groups.setdefault(whom, []).append(each.passed)
    return {
        group: {"lines": len(passed), "passed": round(100 * sum(passed) / len(passed), 1)}
        for group, passed in groups.items()
    }


def _request(messages: Sequence[Message], purpose: str, **fields: Any) -> ModelRequest:
    return ModelRequest(
        messages, purpose, priority=Priority.BUILD, deadline_s=_DEADLINE_S, **fields
    )


def _said(
    model: Backend,
    lines: Sequence[Line],
    temperature: float,
    seeds: Sequence[int],
    told: Callable[[int], None],
) -> list[Reply]:
    sizes = {"max_tokens": _REPLY_TOKENS, "temperature": temperature}
    requests = [
        _request(line.chat(), "speech", seed=seed, **sizes) for line in lines for seed in seeds
    ]
    return ask(model, requests, told)


def _chosen(model: Backend, asked: Sequence[Question], tell: Tell) -> dict[str, float]:
    """The share of greedy choices, in percent, that are the teacher's, by kind."""
    requests = [
        _request(
            each.messages, "decide", schema=each.schema, temperature=0.0,
            max_tokens=grammar.longest_tokens(each.schema),
        )
        for each in asked
    ]  # fmt: skip
    replies = ask(model, requests, lambda n: tell("acts and orders", n, len(asked)))
    agreed: dict[str, list[bool]] = {}
    for question, reply in zip(asked, replies, strict=True):
        agreed.setdefault(question.kind, []).append(question.agrees(reply.parsed))
    return {kind: round(100 * sum(each) / len(each), 1) for kind, each in agreed.items()}
