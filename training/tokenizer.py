"""The house model's byte-level BPE: trained on the corpus, and chats turned into tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer, decoders, models, pre_tokenizers, trainers

from models.request import Message
from training.corpus.sample import Sample, samples
from training.corpus.talk import PLANS

VOCABULARY = 4096
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PROMPT_WEIGHT = 0.03
"""Weight in the loss of tokens that the model reads but is never asked to write."""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def chat_text(messages: Iterable[Message], *, prompt: bool = False) -> str:
    """The chat as CHAT_TEMPLATE renders it; with `prompt`, ready for the assistant's next turn."""
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages)
    return text + "<|im_start|>assistant\n" if prompt else text


def train_tokenizer(seed: int, count: int) -> Tokenizer:
    """A byte-level BPE of VOCABULARY entries from the first `count` samples of a seed."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (m["content"] for s in itertools.islice(samples(seed), count) for m in s.messages)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load(path: Path) -> Tokenizer:
    """A tokenizer written by `Tokenizer.save`."""
    return Tokenizer.from_file(str(path))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Samples as one run of tokens, with what the trainer's tutor asks beside each token.

    ids uint16[n], answers bool[n]; facts int8[n] numbers, from 1, the facts that a prompt lists, on each
    of their tokens, else 0; plans int16[n] holds, on the token before an answer, 1 + the answer's
    index in PLANS, else 0; told int8[n] there the number of the fact told, 0 for none;
    offsets int64[samples + 1].
    """

    ids: NDArray[np.uint16]
    answers: NDArray[np.bool_]
    facts: NDArray[np.int8]
    plans: NDArray[np.int16]
    told: NDArray[np.int8]
    offsets: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write it as an uncompressed `.npz`."""
        np.savez(path, **{each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls(*(stored[each.name] for each in fields(cls)))

    @classmethod
    def joined(cls, parts: Sequence[Tokens]) -> Tokens:
        """Several runs as one."""
        shift = np.cumsum([0, *(len(p.ids) for p in parts)])
        offsets = [p.offsets[1:] + s for p, s in zip(parts, shift, strict=False)]
        whole = [np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)[:-1]]
        return cls(*whole, np.concatenate([[0], *offsets]))


def _fact_spans(body: Encoding, text: str, base: int) -> dict[str, slice]:
    """Where each fact that a system prompt lists stands, by its text."""
    spans: dict[str, slice] = {}
    at = 0
    for line in text.split("\n"):
        if line.startswith("- "):
            first, last = body.char_to_token(at + 2), body.char_to_token(at + len(line) - 1)
            spans[line[2:]] = slice(base + first, base + last + 1)
        at += len(line) + 1
    return spans


def encode(batch: Sequence[Sample], tokenizer: Tokenizer, longest: int) -> Tokens:
    """Samples as tokens; an exchange that would pass `longest` is left out with those after it."""
    start, end = (tokenizer.token_to_id(mark) for mark in SPECIAL[1:])
    newline = tokenizer.encode("\n").ids
    heads = {
        role: [start, *tokenizer.encode(f"{role}\n").ids]
        for role in ("system", "user", "assistant")
    }
    bodies = iter(tokenizer.encode_batch([m["content"] for s in batch for m in s.messages]))
    return Tokens.joined(
        [_row(sample, bodies, heads, [end, *newline], longest) for sample in batch]
    )


def _row(
    sample: Sample,
    bodies: Iterator[Encoding],
    heads: Mapping[str, list[int]],
    tail: list[int],
    longest: int,
) -> Tokens:
    ids: list[int] = []
    answered: list[tuple[int, int]] = []
    spans: dict[str, slice] = {}
    kept = 0
    for message in sample.messages:
        body = next(bodies)
        ids += heads[message["role"]]
        if message["role"] == "system":
            spans = _fact_spans(body, message["content"], len(ids))
        begun = len(ids)
        ids += [*body.ids, *tail]
        if message["role"] == "assistant" and len(ids) <= longest:
            answered.append((begun, begun + len(body.ids) + 1))
            kept = len(ids)
    answers, facts = np.zeros(kept, np.bool_), np.zeros(kept, np.int8)
    plans, told = np.zeros(kept, np.int16), np.zeros(kept, np.int8)
    numbers = {text: number for number, text in enumerate(spans, 1)}
    for text, span in spans.items():
        facts[span] = numbers[text]
    for begun, done in answered:
        answers[begun:done] = True
    for (begun, _), hint in zip(answered, sample.hints, strict=False):
        plans[begun - 1] = 1 + PLANS.index(hint.plan)
        told[begun - 1] = numbers.get(hint.line, 0)
    ends_at = [0, kept] if kept else [0]
    return Tokens(
        np.array(ids[:kept], np.uint16), answers, facts, plans, told, np.array(ends_at, np.int64)
    )
