"""Budgets: a limit holds whatever happens to the calls, and off means off."""

from __future__ import annotations

import threading

import pytest
from asking import ask, request
from hypothesis import given
from hypothesis import strategies as st

from models.budget import ALL, Budgeted, Ledger, Limits, Price, most_tokens
from models.errors import BudgetExceeded, ModelError, ModelUnavailable, RequestRefused
from models.router import Router
from models.scripted import ScriptedBackend


class Clock:
    def __init__(self) -> None:
        self.now = 7200.0

    def __call__(self) -> float:
        return self.now


calls = st.lists(
    st.tuples(
        st.sampled_from(["npc:1", "npc:2", "coordinator"]),
        st.integers(0, 400),
        st.floats(0.0, 1.0),
        st.sampled_from(["reconcile", "keep", "hour"]),
    ),
    max_size=60,
)


@given(calls)
def test_no_account_ever_passes_its_limit(work: list[tuple[str, int, float, str]]) -> None:
    clock = Clock()
    ledger = Ledger(
        Limits(tokens_per_hour=1000, usd_per_hour=2.0, usd_total=5.0),
        Limits(tokens_per_hour=500),
        clock=clock,
    )
    for asker, tokens, share, then in work:
        try:
            reservation = ledger.reserve(asker, tokens, tokens / 500)
        except BudgetExceeded:
            continue
        if then == "hour":
            clock.now += 3600
        if then != "keep":
            ledger.reconcile(reservation, int(tokens * share), tokens * share / 500)
        everyone = ledger.spent()
        assert 0 <= everyone["tokens_this_hour"] <= 1000
        assert 0 <= everyone["usd_this_hour"] <= 2.0
        assert 0 <= everyone["usd_total"] <= 5.0
        assert ledger.spent(asker)["tokens_this_hour"] <= 500


def test_a_limit_is_named_and_ends_with_the_hour() -> None:
    clock = Clock()
    ledger = Ledger(None, Limits(tokens_per_hour=100), clock=clock)
    ledger.reserve("npc:1", 80, 0)
    with pytest.raises(BudgetExceeded, match="'npc:1' would pass 100 tokens an hour"):
        ledger.reserve("npc:1", 30, 0)
    ledger.reserve("npc:2", 30, 0)
    clock.now += 3600
    ledger.reserve("npc:1", 30, 0)


def test_what_a_call_did_not_take_is_free_again() -> None:
    ledger = Ledger(Limits(usd_total=1.0))
    first = ledger.reserve("a", 0, 0.9)
    with pytest.raises(BudgetExceeded, match="1 USD in all"):
        ledger.reserve("a", 0, 0.2)
    ledger.reconcile(first, 0, 0.1)
    ledger.reserve("a", 0, 0.9)


def test_limits_for_good_survive_a_restart() -> None:
    before = Ledger(Limits(usd_total=1.0))
    before.reserve("a", 10, 0.7)
    after = Ledger(Limits(usd_total=1.0))
    after.set_state(before.get_state())
    assert after.spent("a")["usd_total"] == after.spent(ALL)["usd_total"] == 0.7
    with pytest.raises(BudgetExceeded):
        after.reserve("b", 0, 0.4)
    with pytest.raises(ValueError, match="no ledger"):
        after.set_state({"all": 3})


def test_many_threads_cannot_pass_a_limit_together() -> None:
    ledger = Ledger(Limits(tokens_per_hour=1000), clock=Clock())
    taken: list[int] = []

    def spend() -> None:
        for _ in range(200):
            try:
                taken.append(ledger.reserve("a", 3, 0).tokens)
            except BudgetExceeded:
                return

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 999


def test_off_means_that_nothing_is_called() -> None:
    backend = ScriptedBackend()
    guarded = Budgeted(backend, Ledger(off=True), Price(3, 15))
    assert isinstance(ask(guarded, request()).error, BudgetExceeded)
    assert backend.status()["asked"] == 0
    assert (
        ask(Router([guarded, ScriptedBackend(lambda _: "local")]), request()).reply.text == "local"
    )


def test_a_reply_is_charged_by_what_it_took() -> None:
    ledger = Ledger(Limits(usd_total=1.0))
    guarded = Budgeted(ScriptedBackend(lambda _: "one two"), ledger, Price(1000, 5000))
    reply = ask(guarded, request(asker="npc:7")).reply
    assert reply.cost_usd == pytest.approx(reply.prompt_tokens / 1000 + 2 * 5 / 1000)
    assert ledger.spent("npc:7")["usd_total"] == pytest.approx(reply.cost_usd, abs=1e-6)


@pytest.mark.parametrize(
    ("error", "charged"),
    [(RequestRefused("no"), False), (ModelUnavailable("down"), False), (ModelError("cut"), True)],
)
def test_a_failed_call_is_charged_unless_nothing_was_made(error: ModelError, charged: bool) -> None:
    ledger = Ledger()
    guarded = Budgeted(ScriptedBackend(lambda _: error), ledger, Price(1000, 5000))
    question = request(max_tokens=100)
    assert ask(guarded, question).error is error
    most = (most_tokens(question) * 1000 + 100 * 5000) / 1e6
    assert ledger.spent()["usd_total"] == pytest.approx(most if charged else 0.0)
