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

    ids uint16[n], answers bool[n]; ends bool[n] marks the last token of each fact in a prompt;
    plans int16[n] holds, on the token before an answer, 1 + the answer's index in PLANS, else 0;
    told int16[n] there the fact's end, counted from the sample's first token, or -1 for none;
    offsets int64[samples + 1].
    """

    ids: NDArray[np.uint16]
    answers: NDArray[np.bool_]
    ends: NDArray[np.bool_]
    plans: NDArray[np.int16]
    told: NDArray[np.int16]
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


def _fact_ends(body: Encoding, text: str, base: int) -> dict[str, int]:
    """The last token of each fact that a system prompt lists, by the fact's text."""
    ends, at = {}, 0
    for line in text.split("\n"):
        at += len(line) + 1
        if line.startswith("- "):
            ends[line[2:]] = base + body.char_to_token(at - 2)
    return ends


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
    facts: dict[str, int] = {}
    kept = 0
    for message in sample.messages:
        body = next(bodies)
        ids += heads[message["role"]]
        if message["role"] == "system":
            facts = _fact_ends(body, message["content"], len(ids))
        begun = len(ids)
        ids += [*body.ids, *tail]
        if message["role"] == "assistant" and len(ids) <= longest:
            answered.append((begun, begun + len(body.ids) + 1))
            kept = len(ids)
    answers, ends = np.zeros(kept, np.bool_), np.zeros(kept, np.bool_)
    plans, told = np.zeros(kept, np.int16), np.full(kept, -1, np.int16)
    ends[[at for at in facts.values() if at < kept]] = True
    for begun, done in answered:
        answers[begun:done] = True
    for (begun, _), hint in zip(answered, sample.hints, strict=False):
        plans[begun - 1] = 1 + PLANS.index(hint.plan)
        told[begun - 1] = facts.get(hint.line, -1)
    ends_at = [0, kept] if kept else [0]
    return Tokens(
        np.array(ids[:kept], np.uint16), answers, ends, plans, told, np.array(ends_at, np.int64)
    )
