"""Compares greedy replies with the plain loop's, and asks the loop why where they differ.

Both are greedy over the same logits, up to rounding. `llama_cpp.Llama` sums attention in 32 bits unless
told otherwise, a request at a time. Ours sums in batches of other shapes, and with flash attention, which
is for GPUs, in 16 bits. So a difference counts as explained when, at the first token that differs, the loop's own logits of the two
tokens are no farther apart than flash attention alone moves the loop's own logits there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.llm.loop import PlainLoop
from benchmarks.llm.sides import Answer
from benchmarks.llm.vocabulary import Tokens
from benchmarks.llm.workload import Prompt


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many of `asked` replies were the same, and how many of the others are explained.

    `widest`: the widest explained gap; `shift`: the mean of what flash attention moves; both of the
    logits' spread.
    """

    asked: int
    equal: int
    explained: int
    widest: float
    shift: float

    @property
    def share(self) -> float:
        """Equal replies of all."""
        return self.equal / self.asked if self.asked else 0.0

    @property
    def note(self) -> str:
        """The differences in words."""
        differing = self.asked - self.equal
        if not differing:
            return "every reply is the same, token for token"
        return (
            f"{differing} of {self.asked} differ; at the first differing token of {self.explained} "
            "the plain loop's own logits of the two tokens are no farther apart (at most "
            f"{self.widest:.4f} of the logits' spread) than flash attention, which the loop does "
            f"without, moves its own logits there ({self.shift:.4f} in the mean); after it the "
            "replies are different texts"
        )


async def compare(
    tokens: Tokens,
    loop: PlainLoop,
    asked: Sequence[Prompt],
    ours: Sequence[Answer],
    theirs: Sequence[Answer],
) -> Comparison:
    """Compare texts; `theirs` must carry tokens. Asks the loop once for every difference."""
    equal = explained = 0
    widest = 0.0
    shifts: list[float] = []
    for prompt, our, their in zip(asked, ours, theirs, strict=True):
        if our.text == tokens.text(their.tokens):
            equal += 1
            continue
        fork = first_difference(tokens.pieces, our.text, their.tokens)
        if fork is None:
            continue
        at, rivals = fork
        values, spread, shift = await loop.logits(
            [*prompt.tokens, *their.tokens[:at]], [their.tokens[at], *rivals]
        )
        shifts.append(shift / spread)
        gap = values[0] - max(values[1:])
        if gap <= shift:
            explained += 1
            widest = max(widest, gap / spread)
    moved = sum(shifts) / len(shifts) if shifts else 0.0
    return Comparison(len(asked), equal, explained, widest, moved)


def first_difference(
    pieces: Sequence[bytes], text: str, tokens: Sequence[int]
) -> tuple[int, list[int]] | None:
    """(where the tokens leave the text, the tokens that would go on as the text does), if they leave it.

    `text` is trimmed, so white space before the first word is passed over on both sides.
    """
    told = text.encode()
    held = b""
    for at, token in enumerate(tokens):
        after = (held + pieces[token]).lstrip()
        if told.startswith(after):
            held = after
            continue
        rivals = [
            rival
            for rival, piece in enumerate(pieces)
            if piece.strip() and len(held) < len((held + piece).lstrip())
            and told.startswith((held + piece).lstrip())
        ]  # fmt: skip
        return (at, rivals) if rivals else None
    return None
