"""Behind a broken dam the low land goes under, slice by slice, while the world runs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actors import terrain_builder
from actors.company import Company
from actors.flood import patches, slices, spill
from actors.messages import DamBroken, Propose
from world.inputs import Input
from world.tiles import KINDS, Tile

Make = Callable[..., Company]

LAND = hnp.arrays(
    np.uint8,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16),
    elements=st.integers(0, KINDS - 1),
)
DRY = {Tile.ROCK, Tile.WALL, Tile.HILL, Tile.FOREST, Tile.RUIN, Tile.BRIDGE, Tile.FLOOR, Tile.DAM}


def test_water_takes_the_low_fields_before_the_meadow_and_never_climbs_a_wall() -> None:
    tiles = np.full((5, 7), Tile.GRASS, dtype=np.uint8)
    tiles[2, 0] = Tile.MUD
    tiles[2, 1:4] = Tile.FIELD
    tiles[:, 4] = Tile.WALL
    wet = spill(tiles, [(0, 2)], 4)
    assert [cell for _, cell in wet] == [(0, 2), (1, 2), (2, 2), (3, 2)]
    everything = {cell for _, cell in spill(tiles, [(0, 2)], 1000)}
    assert everything == {(x, y) for x in range(4) for y in range(5)}


@given(LAND, st.data(), st.integers(0, 300))
def test_a_spill_is_bounded_dry_land_connected_to_the_breach(
    tiles: Any, data: Any, volume: int
) -> None:
    height, width = tiles.shape
    breach = (data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1)))
    wet = spill(tiles, [breach], volume)
    cells = [cell for _, cell in wet]
    assert len(cells) == len(set(cells)) <= volume
    assert not {Tile(int(tiles[y, x])) for x, y in cells} & DRY
    assert [steps for steps, _ in wet] == sorted(steps for steps, _ in wet)
    water = {(x, y) for y, x in zip(*np.nonzero(tiles <= Tile.WATER), strict=True)}
    reached = set(cells) | {(int(x), int(y)) for x, y in water} | {breach}
    for x, y in cells:
        near = {(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)}
        assert (x, y) == breach or near & reached
    assert wet == spill(tiles, [breach], volume)


@given(st.sets(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=120), st.integers(1, 9))
def test_slices_and_patches_cover_every_cell_once(cells: set[Any], count: int) -> None:
    wet = [(n, cell) for n, cell in enumerate(sorted(cells))]
    parts = slices(wet, count)
    assert [cell for part in parts for cell in part] == [cell for _, cell in wet]
    assert len(parts) <= count
    for part in parts:
        covered = [
            (x + dx, y + dy) for x, y, w, h in patches(part) for dy in range(h) for dx in range(w)
        ]
        assert sorted(covered) == sorted(part)


def break_dam(c: Company, enter: Any) -> None:
    body = enter(c)
    world = c.ledger.world
    lever = next(
        int(e)
        for e in world.columns.id[world.columns.live_rows()]
        if world.view().name(int(e)) == "dam_lever"
    )
    row = world.columns.row_of(lever)
    state = world._state
    x, y = int(world.columns.x[row]), int(world.columns.y[row])
    state.put(state.row(body), x=x, y=y, way_x=x, way_y=y, goal_x=x, goal_y=y)
    c.director.tell(Propose(Input("use", body, "client:ann", 1, {"target": lever})))


def test_the_broken_dam_floods_the_fields_over_seconds_and_no_tick_waits(
    company: Make, enter: Any
) -> None:
    c = company()
    break_dam(c, enter)
    fields: list[int] = []

    def watch(world: Any) -> None:
        fields.append(int((world.tiles[45:56, 2:16] == Tile.FIELD).sum()))

    c.run_headless(200, watch)
    world = c.ledger.world
    assert world.globals["dam_broken"] == 1
    assert world.globals["flood"] == 1
    assert fields[0] == fields[10] == 154
    assert fields[-1] == 0
    assert len(set(fields)) > 5
    assert fields == sorted(fields, reverse=True)
    assert not (world.tiles[45:56, 17:] == Tile.WATER).any()
    assert c.builder_counts.floods == 1
    c.run_headless(c.settings.flood_slices * c.settings.flood_every_ticks + 2400)
    assert world.globals["flood"] == 0


def test_the_flood_is_computed_off_the_dispatcher_when_live(
    company: Make, make_world: Any, monkeypatch: Any
) -> None:
    done = threading.Event()
    threads: list[str] = []

    def watched(tiles: Any, breach: Any, volume: int) -> Any:
        threads.append(threading.current_thread().name)
        return spill(tiles, breach, volume)

    def watch(frame: Any) -> None:
        if any(event.kind == "tiles" for event in frame.events) and frame.tick > 1:
            done.set()

    monkeypatch.setattr(terrain_builder, "spill", watched)
    c = company(headless=False)
    c.subscribe(watch)
    question = c.ledger.questions.ask("flood", 0, 1, 1)
    tiles = np.array(make_world().tiles)
    tiles[44, 8:10] = Tile.MUD
    c.ledger.builder.tell(DamBroken(1, 1, question.token, ((8, 44), (9, 44)), tiles))
    assert done.wait(30)
    (thread,) = threads
    assert not thread.startswith(c.dispatcher.name)
