"""The benchmark of level of detail compares the same land, most of whom are far, with all lived in full."""

from __future__ import annotations

from benchmarks import far


def test_rows_tell_how_many_were_far_and_what_a_step_cost_either_way(monkeypatch) -> None:
    monkeypatch.setattr(far, "_SETTLE", 40)
    monkeypatch.setattr(far, "_AT_WORK", 60)
    found = far.rows(npcs=200, entities=260, ticks=40, side=192)
    metrics = {row["metric"]: row for row in found}
    assert len(metrics) == len(found) == 45
    assert metrics["nobody comes: far of 190 who live, mean"]["value"] == 190
    assert all(row["peer_value"] > 0 < row["value"] for row in found if "peer" in row)
