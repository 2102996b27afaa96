"""What it costs to keep a reply inside its grammar, at a vocabulary of 152,000, beside llama.cpp's own sampler.

Replies that minds give, once with their targets free and once as a moment narrows them, and one that
aims among twelve are walked with random logits, so every choice is as a model without sense would make it: each reply must be valid at the first attempt and within its limit.
Times are this thread's CPU time, so that what else the machine does is not counted. The promise is on all
tokens of the replies; those that can only be what they are cost no mask, so the chosen ones alone
are told as well. The peer has to say what may follow for each token of the same replies.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from actors.choices import Choice, DecisionReply, reply_to
from actors.plans import OrdersReply
from benchmarks._machine import machine
from foundation.strict import StrictModel
from models import grammar
from models.errors import ModelError
from models.prompts import Decision

TOKENS = 152_000
REPLIES = 100
"""Of each schema."""
PEER_REPLIES = 4
"""Of each schema that minds use; the peer takes seconds for them."""
_SEED = 4
_MS_A_NS = 1e-6
"""Milliseconds in a nanosecond."""


class Aimed(StrictModel):
    """An act among targets that are there: an enum of them and an explicit "none"."""

    action: Literal["wait", "say", "give", "attack", "flee", "use"]
    target: Literal[
        "none", "Marta Kell", "Brother Aldric", "the innkeeper", "a wolf", "the grey wolf",
        "the well", "the north gate", "a stranger", "the miller's dog", "Lord Varn", "the shrine",
    ]  # fmt: skip
    urgency: Annotated[int, Field(ge=0, le=9)]
    aloud: bool


def moment(foe: str) -> type[DecisionReply]:
    """What a mind is asked for in a moment in which this foe is near: an act with its own targets."""
    acts = [Choice(f"{verb} {foe}", verb.split()[0]) for verb in ("attack", "flee from")]
    there = ("work", "rest", "eat at the Lantern", "wait")
    return reply_to([*acts, *(Choice(text, text.split()[0]) for text in there)])


SCHEMAS: tuple[type[BaseModel], ...] = (DecisionReply, OrdersReply, Aimed, moment("Grey Ashka"))
OPEN: type[BaseModel] = Decision
"""Strings of any script: the masks allow nearly all tokens."""


@dataclass(slots=True)
class Walked:
    """Replies of one schema: their tokens, and for each token that was chosen its parts' nanoseconds."""

    model: type[BaseModel]
    limit: int
    replies: list[list[int]] = field(default_factory=list)
    mask_ns: list[int] = field(default_factory=list)
    advance_ns: list[int] = field(default_factory=list)
    choose_ns: list[int] = field(default_factory=list)
    valid: int = 0


def run(*, scale: float = 1.0, model: Path | None = None, tokens: int = TOKENS) -> dict[str, Any]:
    """Measure; returns {bench, machine, results: [{metric, unit, value, …}]}.

    `model` is a GGUF whose vocabulary is used, by default one of `tokens` tokens that is made once
    and kept. `scale` 1 walks 500 replies. Raises Absent when the model can't be made.
    """
    from models.llama.guide import Guides

    vocabulary = _vocabulary(model or _model(tokens))
    guides = Guides(vocabulary)
    count = max(2, int(REPLIES * scale))
    walked = [walk(guides, vocabulary, each, count) for each in (*SCHEMAS, OPEN)]
    minds = walked[: len(SCHEMAS)]
    chosen = np.concatenate([_both(each) for each in minds])
    written = sum(len(reply) for each in minds for reply in each.replies)
    reached = max(longest(guides, vocabulary, each) for each in (*SCHEMAS, OPEN))
    total, valid = sum(len(each.replies) for each in walked), sum(each.valid for each in walked)
    named = f"{vocabulary.size:,} tokens"
    ours, peer = _beside(vocabulary, minds, max(1, int(PEER_REPLIES * scale)))
    return {
        "bench": "structure",
        "machine": machine(),
        "schemas": [each.model.__name__ for each in walked],
        "results": [
            {
                **_row(f"mask and advance, ms a token, {named}", chosen.sum() / written),
                "at_most": 0.2,
            },
            _row(f"the same for the {len(chosen):,} of {written:,} chosen", chosen.mean()),
            _row("the same, median", np.median(chosen)),
            _row("the same, 95th percentile", np.percentile(chosen, 95)),
            _row("of it the mask", _mean(minds, "mask_ns")),
            _row("of it the advance, forced tokens included", _mean(minds, "advance_ns")),
            _row("mask and advance, strings of any script", _both(walked[-1]).mean()),
            _row("choosing from masked logits, at temperature 1", _mean(minds, "choose_ns")),
            _row(
                "a moment's reply model not seen before, compiled in the engine",
                compiling(guides, count),
                "ms a moment",
            ),
            {
                **_row("masks and advances of a whole reply", ours, "ms a reply"),
                "peer": "llama.cpp's grammar sampler, same replies, a GBNF of the same shape",
                "peer_value": round(peer, 2),
                "ratio": round(ours / peer, 4),
            },
            {
                "metric": f"replies of random logits valid at the first attempt, of {total}",
                "unit": "share",
                "value": valid / total,
                "at_least": 1.0,
            },
            {
                "metric": "longest reply in tokens, of its limit",
                "unit": "share",
                "value": round(reached, 3),
                "at_most": 1.0,
            },
        ],
    }


def walk(guides: Any, vocabulary: Any, model: type[BaseModel], count: int) -> Walked:
    """`count` replies of random logits, each checked with pydantic."""
    from models.llama.sampling import Sampler, unit

    compiled = grammar.compile_schema(model)
    walked = Walked(model, compiled.longest)
    sampler = Sampler(vocabulary.size)
    noise = np.random.default_rng(_SEED).standard_normal(2 * vocabulary.size).astype(np.float32)
    for number in range(count):
        guide = guides.begin(compiled.grammar)
        reply: list[int] = []
        while not guide.finished and len(reply) <= walked.limit:
            logits = _logits(vocabulary, noise, number * 7919 + len(reply))
            begun = time.thread_time_ns()
            allowed = guide.allowed()
            masked = time.thread_time_ns()
            token = sampler.choose(
                logits, temperature=1.0, top_p=1.0, chance=unit(number, len(reply)), allowed=allowed
            )
            chosen = time.thread_time_ns()
            if token in vocabulary.ends:
                break
            forced = guide.accept(token)
            walked.advance_ns.append(time.thread_time_ns() - chosen)
            walked.mask_ns.append(masked - begun)
            walked.choose_ns.append(chosen - masked)
            reply += [token, *forced]
        walked.replies.append(reply)
        walked.valid += len(reply) <= walked.limit and _is_valid(vocabulary, reply, model)
    return walked


def compiling(guides: Any, count: int) -> float:
    """Milliseconds to compile the grammar of a moment that nobody was asked in before, the median."""
    grammars = [grammar.compile_schema(moment(f"wolf {n}")).grammar for n in range(count)]
    spent = []
    for each in grammars:
        begun = time.thread_time_ns()
        guides.begin(each)
        spent.append(time.thread_time_ns() - begun)
    return float(np.median(spent)) * _MS_A_NS


def longest(guides: Any, vocabulary: Any, model: type[BaseModel]) -> float:
    """How much of its token limit the longest reply takes, in the shortest tokens that may be chosen.

    Raises ValueError when the grammar refuses that reply.
    """
    compiled = grammar.compile_schema(model)
    text = longest_text(compiled.schema).encode()
    guide = guides.begin(compiled.grammar)
    at = count = 0
    while at < len(text):
        pieces = (
            (vocabulary.pieces[int(each)], int(each)) for each in np.flatnonzero(guide.allowed())
        )
        fit = [
            (len(piece), token) for piece, token in pieces if piece and text.startswith(piece, at)
        ]
        if not fit:
            raise ValueError(f"byte {at} of the longest {model.__name__} is not allowed")
        _, token = min(fit)
        for each in (token, *guide.accept(token)):
            piece = vocabulary.pieces[each]
            if text[at : at + len(piece)] != piece:
                raise ValueError(f"after byte {at} of the longest {model.__name__} comes {piece!r}")
            at += len(piece)
            count += 1
    if not guide.finished:
        raise ValueError(f"the longest {model.__name__} has no end")
    return count / compiled.longest


def longest_text(node: dict[str, Any]) -> str:
    """The longest reply in bytes of a checked schema (`models.grammar.ReplySchema.schema`)."""
    if "enum" in node:
        return _longer(json.dumps(value, ensure_ascii=False) for value in node["enum"])
    if "anyOf" in node:
        return _longer(longest_text(part) for part in node["anyOf"])
    match node["type"]:
        case "object":
            fields = (f'"{key}":{longest_text(of)}' for key, of in node["properties"].items())
            return "{" + ",".join(fields) + "}"
        case "array":
            items = node.get("prefixItems") or [node["items"]] * node["maxItems"]
            return "[" + ",".join(longest_text(item) for item in items) + "]"
        case "string":
            plain = "allOf" in node
            return '"' + ("a" if plain else "\u4e00") * int(node["maxLength"]) + '"'
        case "integer":
            return _longer((str(node["minimum"]), str(node["maximum"])))
        case "boolean":
            return "false"
    return "null"


def _beside(vocabulary: Any, minds: Sequence[Walked], count: int) -> tuple[float, float]:
    """(ours, the peer's) milliseconds for masks and advances of a reply; all of ours, some of the peer's."""
    from benchmarks._gbnf import follow, gbnf

    theirs = [
        follow(vocabulary, gbnf(grammar.compile_schema(each.model).schema), reply) * _MS_A_NS
        for each in minds
        for reply in each.replies[:count]
    ]
    ours = sum(float(_both(each).sum()) for each in minds)
    return ours / sum(len(each.replies) for each in minds), sum(theirs) / len(theirs)


def _logits(vocabulary: Any, noise: NDArray[np.float32], turn: int) -> NDArray[np.float32]:
    start = (turn * 104_729) % vocabulary.size
    logits = noise[start : start + vocabulary.size].copy()
    logits[vocabulary.unspeakable] = -np.inf
    return logits


def _is_valid(vocabulary: Any, reply: Sequence[int], model: type[BaseModel]) -> bool:
    text = b"".join(vocabulary.pieces[token] for token in reply)
    try:
        grammar.parse(text.decode(), model)
    except (ModelError, UnicodeDecodeError):
        return False
    return True


def _both(walked: Walked) -> NDArray[np.float64]:
    """float64 [tokens chosen]: milliseconds of mask and advance."""
    both: NDArray[np.float64] = np.array([walked.mask_ns, walked.advance_ns]).sum(0) * _MS_A_NS
    return both


def _mean(walked: Sequence[Walked], column: str) -> float:
    return float(np.concatenate([getattr(each, column) for each in walked]).mean()) * _MS_A_NS


def _row(metric: str, value: Any, unit: str = "ms") -> dict[str, Any]:
    return {"metric": metric, "unit": unit, "value": round(float(value), 4)}


def _longer(texts: Iterator[str] | Sequence[str]) -> str:
    return max(texts, key=lambda text: len(text.encode()))


def _model(tokens: int, folder: Path | None = None) -> Path:
    from benchmarks.llm import find
    from benchmarks.llm.sides import Absent

    try:
        from benchmarks import _gguf, _vocabulary
    except ImportError as error:
        raise Absent(f"the vocabulary can't be made: {error}", "pip install gguf") from error
    path = (folder or find.cache_folder()) / f"vocabulary-{tokens}-{_SEED}.gguf"
    if path.exists():
        return path
    shape = _gguf.Shape(64, 1, 2, 1, 64, tokens, tied=True)
    words = _vocabulary.words(_SEED) if tokens >= TOKENS else ""
    return _gguf.write_random(path, f"vocabulary of {tokens}", shape, words=words, seed=_SEED)


def _vocabulary(path: Path) -> Any:
    from models.llama.library import LogTail, Model
    from models.llama.settings import EngineSettings

    return Model(path, EngineSettings(threads=1, gpu_layers=0), LogTail()).vocabulary


def main() -> None:
    """Print the measurement, as a table or with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--model", type=Path, help="a GGUF whose vocabulary is used")
    arguments = parser.parse_args()
    found = run(scale=arguments.scale, model=arguments.model)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for one in found["results"]:
        beside = f", {one['ratio']} of {one['peer_value']}" if "peer" in one else ""
        print(f"{one['metric']}: {one['value']} {one['unit']}{beside}")


if __name__ == "__main__":
    main()
