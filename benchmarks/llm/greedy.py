"""Compares greedy replies with the plain loop's, and asks the loop why where they differ.

Both are greedy over the same logits, up to rounding: what shares a batch decides the order in which
llama.cpp sums, and the KV memory holds 16-bit floats. A difference counts as explained when, at the
first token that differs, the loop itself gave the two tokens logits that lie within `TIE` of their
spread: a near tie that rounding may settle either way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.llm.loop import PlainLoop
from benchmarks.llm.sides import Answer
from benchmarks.llm.vocabulary import Tokens
from benchmarks.llm.workload import Prompt

TIE = 0.02


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many of `asked` replies were the same, and how many of the others were near ties."""

    asked: int
    equal: int
    explained: int
    widest: float

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
            f"the plain loop's own logits of the two tokens are closer than {TIE:g} of the logits' "
            f"spread (widest such gap found {self.widest:.4f}), so that the order of summing, which "
            "depends on what shares a batch, decides; after it the replies are different texts"
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
    for prompt, our, their in zip(asked, ours, theirs, strict=True):
        if our.text == tokens.text(their.tokens):
            equal += 1
            continue
        fork = first_difference(tokens.pieces, our.text, their.tokens)
        if fork is None:
            continue
        at, rivals = fork
        values, spread = await loop.logits(
            [*prompt.tokens, *their.tokens[:at]], [their.tokens[at], *rivals]
        )
        gap = (values[0] - max(values[1:])) / spread
        if gap <= TIE:
            explained += 1
            widest = max(widest, gap)
    return Comparison(len(asked), equal, explained, widest)


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
