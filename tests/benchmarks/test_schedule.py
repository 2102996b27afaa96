"""The schedule bench: a real run recorded, and replayed over a server whose step times are stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.trace import Trace
from benchmarks import schedule
from benchmarks._replay import Replay
from benchmarks._server import FLAT, Batching, Unlimited
from foundation.errors import UsageError
from plugins.manager import load_builtin_and_installed


@pytest.fixture(scope="module")
def trace() -> Trace:
    # Morning comes at tick 1,000, and everyone is asked.
    return schedule.record(25, 1040)


def test_nobody_is_let_past_one_who_in_fact_influenced_them(trace: Trace) -> None:
    told: dict[tuple[int, int], list[int]] = {}
    for block, reader, read in trace.links.tolist():
        told.setdefault((reader, block), []).append(read)
    assert told

    def check(members: list[int], at: np.ndarray) -> None:
        for member in members:
            for other in told.get((member, int(at[member])), ()):
                assert at[other] > at[member] or other in members

    influence = schedule.influence_of(trace, load_builtin_and_installed().ruleset())
    Replay(trace, "out of order", Batching(FLAT), influence, on_step=check).run()


def test_the_critical_path_is_the_shortest_and_lock_step_no_shorter_than_the_oracle(
    trace: Trace,
) -> None:
    assert len(trace.calls) > 20
    lock = Replay(trace, "lock-step", Batching(FLAT)).run().seconds
    oracle = Replay(trace, "oracle", Batching(FLAT)).run().seconds
    alone = Replay(trace, "oracle", Unlimited(FLAT)).run().seconds
    assert 0 < alone <= oracle <= lock


def test_a_trace_comes_back_from_its_file_as_it_was(trace: Trace, tmp_path: Path) -> None:
    again = Trace.read(trace.write(tmp_path / "run.npz"))
    assert again.ticks == trace.ticks
    for name in ("x", "y", "there", "calls", "links", "barriers", "beings"):
        assert np.array_equal(getattr(again, name), getattr(trace, name))
    (tmp_path / "other").write_bytes(b"no trace")
    with pytest.raises(UsageError):
        Trace.read(tmp_path / "other")


def test_a_full_server_makes_the_rest_wait() -> None:
    server = Batching(FLAT, slots=1)
    server.submit(0, 10, 5, (0,))
    server.submit(1, 10, 5, (0,))
    assert server.next() == [0]
    half = server.now
    assert server.next() == [1]
    assert server.now == pytest.approx(2 * half)
