"""The house model's byte-level BPE: trained on the corpus, and chats turned into tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models.request import Message
from training.corpus.sample import Sample, samples

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
    """Samples as one run of tokens: ids uint16[n], answers bool[n], offsets int64[samples + 1]."""

    ids: NDArray[np.uint16]
    answers: NDArray[np.bool_]
    offsets: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write it as an uncompressed `.npz`."""
        np.savez(path, ids=self.ids, answers=self.answers, offsets=self.offsets)

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls(stored["ids"], stored["answers"], stored["offsets"])


def encode(batch: Sequence[Sample], tokenizer: Tokenizer, longest: int) -> Tokens:
    """Samples as tokens; an exchange that would pass `longest` is left out with those after it."""
    start, end = (tokenizer.token_to_id(mark) for mark in SPECIAL[1:])
    newline = tokenizer.encode("\n").ids
    pieces = [f"{m['role']}\n" for s in batch for m in s.messages]
    heads = {role: tokenizer.encode(role).ids for role in set(pieces)}
    bodies = iter(tokenizer.encode_batch([m["content"] for s in batch for m in s.messages]))
    ids: list[int] = []
    answers: list[bool] = []
    offsets = [0]
    for sample in batch:
        row: list[int] = []
        marks: list[bool] = []
        kept = 0
        for message in sample.messages:
            body = next(bodies).ids
            mine = message["role"] == "assistant"
            head = [start, *heads[f"{message['role']}\n"]]
            row += [*head, *body, end, *newline]
            marks += [False] * len(head) + [mine] * (len(body) + 1) + [False] * len(newline)
            if mine and len(row) <= longest:
                kept = len(row)
        if kept:
            ids += row[:kept]
            answers += marks[:kept]
            offsets.append(len(ids))
    return Tokens(
        np.array(ids, np.uint16), np.array(answers, np.bool_), np.array(offsets, np.int64)
    )
