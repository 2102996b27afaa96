"""Fits a conversation into its window for a provider that counts tokens far away.

The provider's count costs a round trip. It is asked only when the prompt might be too long, taking
each byte for a token; then the messages share the count by their bytes, and the rule of context.py
says which of them go.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from models.context import overflow
from models.errors import RequestRefused
from models.request import WINDOW, Message, ModelRequest

BYTES_A_TOKEN = 2
"""Where the provider can't be asked: few texts have so many tokens, English half or two thirds of it."""
MOST_COUNTS = 3
_FRAME_BYTES = 16
_LEAST_REPLY = 16

Count = Callable[[Sequence[Message]], Awaitable[int | None]]
"""Tokens of a prompt of these messages; None when nobody can tell."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What is sent of a request; `dropped` are the places of the messages that are not."""

    messages: tuple[Message, ...]
    dropped: tuple[int, ...]
    max_tokens: int


async def fit(request: ModelRequest, count: Count) -> Fitted:
    """The messages that stay, and the tokens left for the reply.

    Asks `count` three times at most. Raises RequestRefused when even the least that must stay leaves
    too little for a reply.
    """
    window = request.window or WINDOW
    room = window - request.max_tokens
    sizes = [_bytes(message) for message in request.messages]
    places = list(range(len(sizes)))
    if sum(sizes) <= room:
        return Fitted(tuple(request.messages), (), request.max_tokens)
    weights = [*request.importance, *[0] * len(sizes)]
    tokens: int | None = 0
    used = 0
    for _ in range(MOST_COUNTS):
        if tokens is not None:
            tokens = await count([request.messages[place] for place in places])
        size = sum(sizes[place] for place in places)
        used = math.ceil(size / BYTES_A_TOKEN) if tokens is None else tokens
        if used <= room:
            break
        shares = [math.ceil(used * sizes[place] / size) for place in places]
        gone = overflow(
            [request.messages[place]["role"] for place in places],
            shares,
            room,
            [weights[place] for place in places],
        )
        if not gone:
            break
        used -= sum(shares[at] for at in gone)
        places = [place for at, place in enumerate(places) if at not in gone]
    left = window - used
    wanted = request.max_tokens if request.schema else min(request.max_tokens, _LEAST_REPLY)
    if left < wanted:
        raise RequestRefused(
            f"the prompt has {'about ' if tokens is None else ''}{used} tokens, which leaves"
            f" {max(left, 0)} of {window} for a reply that needs {wanted}",
            "send fewer or shorter messages",
        )
    kept = set(places)
    return Fitted(
        tuple(request.messages[place] for place in places),
        tuple(place for place in range(len(sizes)) if place not in kept),
        min(request.max_tokens, left),
    )


def _bytes(message: Message) -> int:
    return len(message["content"].encode("utf-8", "surrogatepass")) + _FRAME_BYTES
