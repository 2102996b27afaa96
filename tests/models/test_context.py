"""A full conversation loses its least important, oldest exchanges, never half of one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.context import KEEP, overflow, without
from models.request import Message

TALK = ["system", "user", "assistant", "user", "assistant", "user", "assistant", "user"]


def test_nothing_goes_while_all_fits() -> None:
    assert overflow(TALK, [10] * 8, 80) == ()


def test_a_full_window_is_trimmed_to_three_quarters_from_the_oldest_exchange_on() -> None:
    assert overflow(TALK, [10] * 8, 79) == (1, 2, 3, 4)


def test_what_is_important_stays_longer_than_what_is_old() -> None:
    assert overflow(TALK, [10] * 8, 79, [0, 0, 5, 0, 0, 0, 0, 0]) == (3, 4, 5, 6)


def test_the_system_message_and_the_last_exchange_stay_even_when_they_are_too_much() -> None:
    assert overflow(TALK, [100] * 8, 50) == (1, 2, 3, 4, 5, 6)
    assert overflow(["system", "user"], [100, 100], 50) == ()


def test_a_reply_before_any_question_goes_like_an_exchange() -> None:
    roles = ["system", "assistant", "user", "assistant", "user"]
    assert overflow(roles, [10] * 5, 45) == (1, 2, 3)


def test_the_messages_that_stay_are_told() -> None:
    talk: list[Message] = [{"role": "user", "content": str(n)} for n in range(4)]
    assert [each["content"] for each in without(talk, (0, 2))] == ["1", "3"]


exchanges = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 3)), min_size=1, max_size=12
)


@given(exchanges, st.integers(0, 400))
def test_whole_exchanges_go_and_no_more_than_needed(
    talk: list[tuple[int, int, int]], room: int
) -> None:
    roles = ["system"] + ["user", "assistant"] * len(talk) + ["user"]
    counts = [5, *(size for q, a, _ in talk for size in (q, a)), 5]
    weights = [0, *(w for _, _, weight in talk for w in (weight, 0)), 0]
    gone = overflow(roles, counts, room, weights)
    assert all((place % 2 == 1) == (place + 1 in gone) or place - 1 in gone for place in gone)
    assert 0 not in gone and len(roles) - 1 not in gone
    left = sum(count for place, count in enumerate(counts) if place not in gone)
    if sum(counts) <= room:
        assert gone == ()
    elif len(gone) < 2 * len(talk):
        assert left <= room * KEEP
    kept = [talk[i][2] for i in range(len(talk)) if 1 + 2 * i not in gone]
    lost = [talk[i][2] for i in range(len(talk)) if 1 + 2 * i in gone]
    assert not kept or not lost or max(lost) <= max(kept)
