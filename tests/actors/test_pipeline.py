"""Independent work at once, dependencies in order, and a failed node costs only its branch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.actor import receives
from actors.blocking import Finished
from actors.company import Company
from actors.dag import Dag, Node, Run
from actors.dispatch import Dispatcher
from actors.pipeline import RUN_S, Pipeline, PipelineCounts, RunDag
from foundation.errors import UsageError
from world.content import ContentRequest, ContentResponse
from world.generate.foundation import foundation

Make = Callable[..., Company]


def add(*needs: str, to: int = 1) -> Callable[[Mapping[str, Any]], int]:
    return lambda made: sum(made[need] for need in needs) + to


def broken(_made: Mapping[str, Any]) -> Any:
    raise ValueError("out of clay")


def play(nodes: list[Node], workers: int = 0) -> tuple[Run, list[tuple[str, str, int, int]]]:
    finished: list[Run] = []
    progress: list[tuple[str, str, int, int]] = []
    over = threading.Event()

    def on_over(run: Run) -> None:
        finished.append(run)
        over.set()

    with Dispatcher(workers=workers) as dispatcher:
        ref = dispatcher.start(Pipeline, PipelineCounts())
        ref.tell(RunDag(Dag(nodes), on_over, lambda *step: progress.append(step)))
        if not workers:
            dispatcher.pump()
        assert over.wait(30)
    (run,) = finished
    return run, progress


def test_a_node_gets_what_its_needs_have_made() -> None:
    run, progress = play(
        [
            Node("c", add("a", "b"), needs=("a", "b")),
            Node("a", add()),
            Node("b", add("a"), needs=("a",)),
        ]
    )
    assert run.values == {"a": 1, "b": 2, "c": 4}
    done = [(name, at, total) for name, state, at, total in progress if state == "done"]
    assert done == [("a", 1, 3), ("b", 2, 3), ("c", 3, 3)]


def test_independent_nodes_run_at_once() -> None:
    meeting = threading.Barrier(2)

    def meet(_made: Mapping[str, Any]) -> int:
        return meeting.wait(30)

    run, _ = play([Node("a", meet), Node("b", meet)], workers=1)
    assert sorted(run.values.values()) == [0, 1]


def test_a_failed_node_skips_its_branch_and_no_other() -> None:
    run, progress = play(
        [
            Node("bad", broken),
            Node("after", add("bad"), needs=("bad",)),
            Node("later", add("after"), needs=("after",)),
            Node("good", add()),
            Node("better", add("good"), needs=("good",)),
        ]
    )
    assert run.values == {"good": 1, "better": 2}
    assert run.states["bad"] == "failed"
    assert run.states["after"] == run.states["later"] == "skipped"
    assert "out of clay" in run.faults["bad"]
    assert [name for name, state, _, _ in progress if state == "failed"] == [
        "bad", "after", "later",
    ]  # fmt: skip


def test_a_fallback_stands_in_for_a_failed_node() -> None:
    run, _ = play(
        [
            Node("bad", broken, fallback=lambda made: 10),
            Node("after", add("bad"), needs=("bad",)),
            Node("worse", broken, fallback=broken),
            Node("lost", add("worse"), needs=("worse",), fallback=lambda made: -1),
            Node("found", add("lost"), needs=("lost",)),
        ]
    )
    assert run.values == {"bad": 10, "after": 11, "lost": -1, "found": 0}
    assert set(run.faults) == {"bad", "worse", "lost"}


class Deaf(Pipeline):
    """Loses what the pool answers."""

    @receives(Finished)
    def finished(self, message: Finished) -> None:
        pass


@pytest.mark.parametrize("kind", [Pipeline, Deaf])
def test_a_run_is_over_once_by_its_answers_or_by_its_limit(kind: type[Pipeline]) -> None:
    finished: list[Run] = []
    now = 0.0
    with Dispatcher(workers=0, clock=lambda: now) as dispatcher:
        ref = dispatcher.start(kind, PipelineCounts())
        ref.tell(RunDag(Dag([Node("a", add())]), finished.append, lambda *step: None))
        dispatcher.pump()
        waiting = [timer for timer in dispatcher._timers.heap if not timer.cancelled]
        assert len(waiting) == (kind is Deaf) and len(finished) == (kind is Pipeline)
        now = RUN_S + 1
        dispatcher.pump()
    (run,) = finished
    assert run.values == ({} if kind is Deaf else {"a": 1})


@pytest.mark.parametrize(
    ("nodes", "word"),
    [
        ([Node("a", add(), needs=("b",))], "which is no node"),
        ([Node("a", add()), Node("a", add())], "two nodes"),
        ([Node("a", add(), needs=("b",)), Node("b", add(), needs=("a",))], "circle"),
        ([Node("a", add(), needs=("a",))], "circle"),
    ],
)
def test_an_unfit_dag_is_refused_by_name(nodes: list[Node], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Dag(nodes)


@given(st.data(), st.integers(1, 12))
def test_any_dag_settles_every_node_once_and_in_order(data: Any, count: int) -> None:
    names = [f"n{n}" for n in range(count)]
    order: list[str] = []

    def work(name: str, fails: bool) -> Callable[[Mapping[str, Any]], int]:
        def do(made: Mapping[str, Any]) -> int:
            order.append(name)
            if fails:
                raise ValueError(name)
            return len(made)

        return do

    nodes, bad = [], set()
    for n, name in enumerate(names):
        needs = data.draw(st.sets(st.sampled_from(names[:n]), max_size=3)) if n else set()
        fails = data.draw(st.booleans())
        if fails:
            bad.add(name)
        nodes.append(Node(name, work(name, fails), needs=tuple(sorted(needs))))
    run, _ = play(list(reversed(nodes)))
    assert run.over
    assert len(order) == len(set(order))
    by_name = {node.name: node for node in nodes}
    for name in order:
        assert all(order.index(need) < order.index(name) for need in by_name[name].needs)
    for name in names:
        hopeless = any(run.states[need] != "done" for need in by_name[name].needs)
        expected = "skipped" if hopeless else "failed" if name in bad else "done"
        assert run.states[name] == expected


class Heard:
    def __init__(self) -> None:
        self.progress: list[tuple[str, str, int, int]] = []
        self.response: Mapping[str, Any] | None = None
        self.rejected: tuple[str, str] | None = None
        self.over = threading.Event()

    def on_progress(self, node: str, state: str, done: int, total: int) -> None:
        self.progress.append((node, state, done, total))

    def on_done(self, response: Mapping[str, Any]) -> None:
        self.response = response
        self.over.set()

    def on_rejected(self, code: str, reason: str) -> None:
        self.rejected = (code, reason)
        self.over.set()


@pytest.mark.parametrize("headless", [True, False])
def test_a_request_gives_the_very_foundation_its_seed_says(company: Make, headless: bool) -> None:
    c = company(headless=headless)
    listener = Heard()
    request = ContentRequest(seed=11, size=32, requires_coordination=True)
    c.content(request.model_dump(), listener)
    if headless:
        c.dispatcher.pump()
    assert listener.over.wait(60)
    assert listener.response is not None
    response = ContentResponse.model_validate(listener.response)
    assert response.foundation == foundation(request)
    assert response.customized.source == "procedural"
    assert [d.node for d in response.degraded] == ["coordination"]
    total = listener.progress[-1][3]
    assert listener.progress[-1] == ("customisation", "done", total, total)
    started = [node for node, state, _, _ in listener.progress if state == "started"]
    assert len(started) == total


def test_an_unfit_request_is_refused_and_a_withdrawn_one_tells_nothing(company: Make) -> None:
    c = company()
    bad, gone = Heard(), Heard()
    c.content({"seed": -1}, bad)
    assert bad.rejected is not None
    assert bad.rejected[0] == "bad_message"
    assert "seed" in bad.rejected[1]
    cancel = c.content(ContentRequest(seed=1, size=16).model_dump(), gone)
    cancel()
    c.dispatcher.pump()
    assert not gone.over.is_set()
    assert c.pipeline_counts.cancelled == 1


def test_a_pipeline_that_crashes_tells_those_who_wait(company: Make, monkeypatch: Any) -> None:
    c = company()
    listener = Heard()

    def crash(self: Run, name: str, value: Any) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr(Run, "done", crash)
    c.content(ContentRequest(seed=1, size=16).model_dump(), listener)
    c.dispatcher.pump()
    assert listener.rejected == ("internal", "the work was given up")
    monkeypatch.undo()
    again = Heard()
    c.run_headless(5)
    c.content(ContentRequest(seed=1, size=16).model_dump(), again)
    c.dispatcher.pump()
    assert again.response is not None
