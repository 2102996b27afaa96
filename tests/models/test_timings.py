"""Histograms of answers' times: every value is in one place, and purposes are bounded."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from models.request import ModelRequest, Priority, Reply
from models.timings import FIRST_TOKEN_S, MOST_PURPOSES, OTHER, Histogram, Timings

values = st.lists(st.one_of(st.floats(0, 40), st.sampled_from(FIRST_TOKEN_S)), max_size=60)


@given(values)
def test_a_bound_counts_all_that_do_not_pass_it(seconds: list[float]) -> None:
    histogram = Histogram(FIRST_TOKEN_S)
    for each in seconds:
        histogram.note(each)
    told = histogram.status()
    reached = list(accumulate(told["counts"]))
    assert reached[-1] == len(seconds)
    assert reached[:-1] == [sum(each <= bound for each in seconds) for bound in FIRST_TOKEN_S]
    assert abs(told["sum"] - sum(seconds)) < 1e-5


def test_hidden_reasoning_counts_as_waiting_for_the_first_token_and_not_among_the_others() -> None:
    timings = Timings()
    thought = Reply(
        1, "", "", completion_tokens=111, reasoning_tokens=100, first_token_s=9.0, total_s=9.5
    )
    timings.note(ModelRequest([], "speech", priority=Priority.SPEECH), thought)
    assert thought.token_s == 0.05
    assert timings.status()["token_s"]["speech"]["sum"] == 0.05
    assert Reply(1, "", "", completion_tokens=101, reasoning_tokens=100).token_s is None


def test_an_answer_of_one_token_has_no_time_per_token_and_purposes_are_bounded() -> None:
    timings = Timings()
    for n in range(MOST_PURPOSES + 5):
        asked = ModelRequest([], f"purpose {n}", priority=Priority.BATTLE)
        timings.note(asked, Reply(n, "", "", completion_tokens=1, first_token_s=0.1, total_s=0.1))
    told = timings.status()
    assert told["token_s"] == {}
    assert set(told["first_token_s"]) == {"battle"}
    assert len(told["request_s"]) == MOST_PURPOSES + 1
    assert sum(told["request_s"][OTHER]["counts"]) == 5
