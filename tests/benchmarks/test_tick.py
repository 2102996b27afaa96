"""The bench of a tick, small: a real server under load tells of each tick, and players of what they saw."""

from __future__ import annotations

from benchmarks import _served
from greenroom.commands.bench import holds


def test_a_served_land_under_load_is_measured_from_inside_and_by_its_players() -> None:
    land = _served.Land(npcs=120, entities=400, side=128, seed=7, start=20)
    rows = _served.loaded(land, seconds=3.0, players=4, settle_s=0.5)
    found = {row["metric"]: row for row in rows}
    assert all(row["value"] >= 0 for row in rows)
    # The bounds that hang on no clock: the load was there, and nobody was left without the world.
    assert found["lines told to 400 minds"]["value"] > 0
    assert found["percepts told to them"]["value"] > 0
    assert found["the engine was busy"]["value"] > 0
    assert holds(found["players without a single frame, or lost"]) is True
    reached = next(row for row in rows if row["metric"].startswith("frames that reached players"))
    assert reached["value"] > 4
    assert "at_most" in found["under load: step and frame, p99"]
