"""Which rows beings got is nothing that the world hangs on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from world import movement
from world.entities import COLUMNS
from world.inputs import Input
from world.maths import TILE
from world.world import World

KINDS = ("villager", "guard", "hunter", "wolf", "vampire", "deer", "sheep", "hare")


def _in_other_rows(state: dict[str, Any], seed: int) -> dict[str, Any]:
    """The same beings, each in another row, with free rows between them."""
    high = state["rows"]["high"] + 20
    order = np.random.default_rng(seed).permutation(high)[: state["rows"]["high"]]
    columns = {}
    for name, values in state["rows"]["columns"].items():
        moved = np.full(high, COLUMNS[name][1], dtype=np.int64)
        moved[order] = values
        columns[name] = moved
    return state | {"rows": {"high": high, "columns": columns}}


def _crowd(at: Callable[..., Any]) -> list[Any]:
    # On a board, so that many are as near to one as to another.
    return [
        at(KINDS[n % 8], 4 + n * 5 % 56, 4 + n // 11 * 4 % 56, group=int(n % 8 == 3))
        for n in range(112)
    ]


def test_the_same_beings_in_other_rows_live_the_same_lives(make_world, at) -> None:
    state = make_world(*_crowd(at)).get_state()
    state["tick"] = 14_990
    rules = make_world().ruleset
    first, *others = (
        World.from_state(s, rules) for s in (state, *(_in_other_rows(state, n) for n in (1, 2)))
    )
    died = 0
    for n in range(400):
        note = [Input("note", 0, "director", n, {"text": "x"})]
        lived = first.step(note)
        died += sum(event.kind in ("died", "downed") for event in lived.events)
        assert [other.step(note).hash for other in others] == [lived.hash] * 2
    assert died >= 5
    frames = [world.frame() for world in (first, *others)]
    assert all(np.array_equal(f.x, frames[0].x) for f in frames)
    assert all(np.array_equal(f.id, frames[0].id) for f in frames)


def test_a_frame_after_changes_is_the_frame_of_a_world_that_starts_there(
    make_world,
    at,
) -> None:
    state = make_world(*_crowd(at)).get_state()
    state["tick"] = 14_990
    rules = make_world().ruleset
    world = World.from_state(state, rules)
    world.frame()
    for n in range(600):
        inputs = []
        if n % 97 == 5:
            body = {"species": "deer", "x": 5000, "y": 5000, "name": "", "player": False}
            inputs = [Input("spawn", 0, "director", n, body)]
        world.step(inputs)
        if n % 3:
            kept = world.frame()
        if n % 50 == 0:
            made = World.from_state(world.get_state(), rules).frame()
            kept = world.frame()
            for name in ("id", "x", "y", "hp", "max_hp", "action", "mood", "target", "flags"):
                assert np.array_equal(getattr(kept, name), getattr(made, name)), name
            assert (kept.species == made.species).all() and (kept.faction == made.faction).all()


@pytest.mark.parametrize(("few", "most", "led_at_once"), [(3, 256, 3), (1, 256, 3), (1, 2, 2)])
def test_so_many_are_led_in_a_tick_and_whom_a_draw_leads_hangs_on_no_row(
    make_world, at, monkeypatch, few, most, led_at_once
) -> None:
    """As few as that, of a crowd a quarter, here of twelve, and never more than the most."""
    monkeypatch.setattr(movement, "MAX_LED", few)
    monkeypatch.setattr(movement, "MOST_LED", most)
    state = make_world(*(at("villager", 8 + n % 4, 12 + n // 4) for n in range(12))).get_state()
    rules = make_world().ruleset
    first, other = (World.from_state(s, rules) for s in (state, _in_other_rows(state, 3)))
    c = first.columns
    start = c.x[: c.high].copy(), c.y[: c.high].copy()
    # Over the only bridge: nobody sees it from here, so that all ask the way at once.
    x, y = 50 * TILE, 40 * TILE
    ids = sorted(int(entity) for entity in first.columns.id[first.columns.id > 0])
    moves = [Input("move", entity, f"npc:{entity}", 1, {"x": x, "y": y}) for entity in ids]
    inputs, off = moves, [0]
    for _ in range(61):
        assert first.step(inputs).hash == other.step(inputs).hash
        c, inputs = first.columns, []
        off.append(int(((c.way_x[: c.high] != start[0]) | (c.way_y[: c.high] != start[1])).sum()))
    assert off[1] == np.diff(off).max() == led_at_once < len(ids) == off[-1]
    assert (c.x[c.id > 0] > 12 * TILE).any()
