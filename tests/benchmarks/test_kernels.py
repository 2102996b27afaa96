"""The bench of compiled loops: both sides write the same numbers, and a side that does not is told."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import kernels
from greenroom.commands.bench import holds


@pytest.fixture(scope="module")
def report() -> dict:
    return kernels.run(scale=0.04)


def test_every_loop_writes_what_numpy_writes(report) -> None:
    agree = [row for row in report["results"] if row["unit"] == "share"]
    assert [row["metric"].split(":")[0] for row in agree] == [
        "stride", "mixing", "cells", "see", "sight", "spots", "choices", "take_up", "drift",
    ]  # fmt: skip
    assert [holds(row) for row in agree] == [True] * 9


def test_every_loop_has_its_time_beside_numpy_s(report) -> None:
    raced = [row for row in report["results"] if "peer" in row]
    assert all(row["value"] > 0 and row["peer_value"] > 0 for row in raced)
    assert [row["at_least"] for row in raced if "at_least" in row] == [5] * 6
    assert len(raced) == 17  # all but the lists once more, for a few
    assert report["beings"] > 300


def test_a_number_that_differs_is_no_agreement() -> None:
    mine, other = (np.arange(3), np.arange(4)), (np.arange(3), np.array([0, 1, 2, 4]))
    assert kernels.same(mine, mine)
    assert not kernels.same(mine, other)
    assert not kernels.same(mine, mine[:1])
    (row, agreement) = kernels._raced("x: y", lambda: (1.0, mine), lambda: (2.0, other))
    assert row["ratio"] == 2.0 and holds(agreement) is False
