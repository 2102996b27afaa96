"""Which messages of a conversation are let go when it no longer fits its window.

The backend decides it, since it has the model's own tokenizer, and says so in its reply; the asker
lets go of the same messages for good. So a long conversation is trimmed rarely, by a quarter at a
time, and in between its beginning stays as it was, byte for byte, and is not read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from models.request import Message

KEEP = 0.75
"""Share of the window that is left after trimming."""


def overflow(
    roles: Sequence[str],
    counts: Sequence[int],
    room: int,
    importance: Sequence[int] = (),
) -> tuple[int, ...]:
    """The places of the messages to leave out, so that the others take `KEEP` of `room` tokens.

    `counts` are the messages' tokens. None goes while all fit. A message of the user goes with the
    replies that follow it, since many templates want both by turns: the least important exchange
    first (its most important message counts), the oldest among equals. System messages and the last
    exchange stay, even when they alone are too much.
    """
    total = sum(counts)
    if total <= room:
        return ()
    exchanges: list[list[int]] = []
    for place, role in enumerate(roles):
        if role == "system":
            continue
        if role == "user" or not exchanges:
            exchanges.append([])
        exchanges[-1].append(place)
    weights = list(importance) + [0] * (len(roles) - len(importance))
    order = sorted(exchanges[:-1], key=lambda places: max(weights[place] for place in places))
    gone: list[int] = []
    for places in order:
        if total <= room * KEEP:
            break
        gone += places
        total -= sum(counts[place] for place in places)
    return tuple(sorted(gone))


def without(messages: Sequence[Message], gone: Sequence[int]) -> list[Message]:
    """The messages that stay."""
    left_out = frozenset(gone)
    return [message for place, message in enumerate(messages) if place not in left_out]
