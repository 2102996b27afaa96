"""Area of interest and deltas: a client that applies what it is sent holds exactly what it may see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from bridge_fakes import make_frame
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_bridge import near
from engine_bridge.codec import JsonCodec, MsgpackCodec
from engine_bridge.errors import ProtocolError
from engine_bridge.interest import WIRE, Interest, View, delta, snapshot, view_of
from engine_bridge.messages import Delta, Snapshot
from engine_bridge.mirror import Mirror

EVERYTHING = Interest(body=0, radius=0, all=True, most=1)
TILES = bytes(12)

rows = st.fixed_dictionaries(
    {},
    optional={
        name: st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
        for name, kind in WIRE.items()
        if name != "id"
    },
)
entities = st.integers(1, 40) | st.integers(2**53, 2**53 + 3)
"""Also ids that a float can't tell from one another."""
worlds = st.dictionaries(st.integers(1, 2**48 - 1), rows, max_size=12)


def mirror_rows(mirror: Mirror) -> dict[int, dict[str, int]]:
    return {
        entity.id: {name: getattr(entity, name) for name in WIRE if name != "id"}
        for entity in mirror.entities.values()
    }


def view_rows(view: View) -> dict[int, dict[str, int]]:
    return {
        int(entity): {name: int(view.columns[name][i]) for name in WIRE if name != "id"}
        for i, entity in enumerate(view.ids)
    }


@settings(max_examples=150)
@given(st.lists(worlds, min_size=1, max_size=6), st.sampled_from([MsgpackCodec(), JsonCodec()]))
def test_a_snapshot_and_the_deltas_after_it_make_the_newest_state(
    states: list[dict[int, dict[str, int]]], codec: Any
) -> None:
    mirror = Mirror(4, 3)
    before: View | None = None
    for tick, state in enumerate(states):
        names = {entity: f"n{entity}" for entity in state if entity % 2}
        now = view_of(make_frame(state, tick=tick, time=f"t{tick % 2}"))
        if before is None:
            body = snapshot(now, names, TILES)
            Snapshot.model_validate(body)
            mirror.snapshot(codec.decode(codec.encode(body)))
        else:
            body = delta(before, now, names, {})
            Delta.model_validate(body)
            mirror.delta(codec.decode(codec.encode(body)))
        before = now
        assert mirror_rows(mirror) == view_rows(now)
        assert {e.id: e.name for e in mirror.entities.values() if e.name} == names
        assert (mirror.tick, mirror.time) == (now.tick, now.time)


@settings(max_examples=100)
@given(worlds, st.data())
def test_a_delta_holds_only_what_changed(
    state: dict[int, dict[str, int]], data: st.DataObject
) -> None:
    before = view_of(make_frame(state))
    moved = data.draw(st.sets(st.sampled_from(sorted(state)))) if state else set()
    after = {
        entity: {**row, "hp": row.get("hp", 0) ^ 1} if entity in moved else row
        for entity, row in state.items()
    }
    body = delta(before, view_of(make_frame(after, tick=2)), {}, {})
    if not moved:
        assert body == {"tick": 2}
        return
    assert set(body) == {"tick", "change"}
    assert set(body["change"]) == {"hp"}
    assert set(np.frombuffer(body["change"]["hp"]["i"], "<u8").tolist()) == moved


def test_columns_are_packed_little_endian_in_the_types_of_the_wire() -> None:
    view = view_of(make_frame({258: {"x": -2, "mood": -1, "flags": 5, "target": 2**47}}))
    body = snapshot(view, {258: "Ann"}, TILES)
    assert body["n"] == 1
    assert body["id"] == bytes([2, 1, 0, 0, 0, 0, 0, 0])
    assert body["x"] == b"\xfe\xff\xff\xff"
    assert body["mood"] == b"\xff\xff"
    assert body["flags"] == b"\x05"
    assert body["target"] == (2**47).to_bytes(8, "little")
    assert body["names"] == {"258": "Ann"}


def line_of(n: int, apart: int = 256) -> dict[int, dict[str, int]]:
    """Entities 1..n in a row, `apart` units from one to the next."""
    return {i: {"x": i * apart, "y": 1000} for i in range(1, n + 1)}


def ids(view: View) -> list[int]:
    seen: list[int] = view.ids.tolist()
    return seen


@settings(deadline=None)
@given(st.sets(entities), st.lists(entities))
def test_a_view_knows_whom_it_holds(here: set[int], wanted: list[int]) -> None:
    view = view_of(make_frame({entity: {} for entity in here}))
    rows = {entity: row for row, entity in enumerate(sorted(here))}
    assert [view.row(entity) for entity in wanted] == [rows.get(entity) for entity in wanted]


@settings(deadline=None)
@given(st.sets(entities), st.sets(entities), st.lists(st.tuples(entities, entities)))
def test_an_event_is_witnessed_by_who_saw_or_sees_its_actor_or_its_target(
    before: set[int], now: set[int], events: list[tuple[int, int]]
) -> None:
    old, new = (near.shut(np.array(sorted(seen), dtype=np.uint64)) for seen in (before, now))
    actors, targets = (near.shut(np.array(ids, dtype=np.uint64)) for ids in _pairs(events))
    assert near.witnessed(old, new, actors, targets).tolist() == [
        bool({actor, target} & (before | now)) for actor, target in events
    ]


def _pairs(events: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [actor for actor, _ in events], [target for _, target in events]


def test_a_client_sees_whoever_is_within_its_radius_and_no_other() -> None:
    world = view_of(make_frame(line_of(9)))
    assert ids(Interest(5, 2 * 256, False, 100).select(world, None)) == [3, 4, 5, 6, 7]


def test_who_was_seen_stays_in_sight_for_two_more_tiles() -> None:
    interest = Interest(5, 2 * 256, False, 100)
    close = view_of(make_frame(line_of(9)))
    seen = interest.select(close, None)
    farther = view_of(make_frame(line_of(9, apart=400)))
    assert ids(interest.select(farther, None)) == [4, 5, 6]
    assert ids(interest.select(farther, seen)) == [3, 4, 5, 6, 7]
    gone = view_of(make_frame(line_of(9, apart=600)))
    assert ids(interest.select(gone, seen)) == [4, 5, 6]


def test_of_too_many_the_nearest_are_seen_and_the_body_always() -> None:
    world = view_of(make_frame(line_of(9)))
    assert ids(Interest(5, 100 * 256, False, 3).select(world, None)) == [4, 5, 6]


def test_without_a_body_nothing_is_in_sight() -> None:
    world = view_of(make_frame(line_of(9)))
    assert ids(Interest(77, 100 * 256, False, 3).select(world, None)) == []


def test_a_spectator_sees_everyone() -> None:
    world = view_of(make_frame(line_of(9)))
    assert EVERYTHING.select(world, None) is world


def test_distance_does_not_overflow_at_the_ends_of_the_map() -> None:
    far = 2**31 - 1
    world = view_of(make_frame({1: {"x": 0, "y": 0}, 2: {"x": far, "y": far}}))
    assert ids(Interest(1, 1024 * 256, False, 100).select(world, None)) == [1]


def test_rows_that_come_in_any_order_are_put_in_order_of_id() -> None:
    frame = make_frame({1: {"hp": 1}, 2: {"hp": 2}})
    flipped = {name: getattr(frame, name)[::-1] for name in WIRE}
    from dataclasses import replace

    view = view_of(replace(frame, **flipped))
    assert ids(view) == [1, 2]
    assert view.columns["hp"].tolist() == [1, 2]


def test_a_new_name_is_told_to_those_who_see_its_bearer_already() -> None:
    before, now = (view_of(make_frame(line_of(2), tick=tick)) for tick in (5, 9))
    names = {1: "Ann", 2: "Ben"}
    assert delta(before, now, names, {1: 7, 2: 3})["names"] == {"1": "Ann"}
    assert "names" not in delta(before, now, names, {1: 5})


@pytest.mark.parametrize(
    "body",
    [
        {"tick": 2, "leave": (9).to_bytes(8, "little")},
        {"tick": 2, "leave": b"123"},
        {"tick": 2, "change": {"hp": {"i": (9).to_bytes(8, "little"), "v": bytes(4)}}},
        {"tick": 2, "change": {"hp": {"i": (1).to_bytes(8, "little"), "v": b""}}},
        {"tick": 2, "change": {"gold": {"i": b"", "v": b""}}},
        {"tick": 2, "names": {"9": "Nobody"}},
    ],
)
def test_a_mirror_refuses_a_delta_that_does_not_fit_it(body: dict[str, Any]) -> None:
    mirror = Mirror(4, 3)
    mirror.snapshot(snapshot(view_of(make_frame({1: {}})), {}, TILES))
    with pytest.raises(ProtocolError):
        mirror.delta(body)


def test_a_patch_changes_its_rectangle_and_nothing_else() -> None:
    mirror = Mirror(4, 3)
    mirror.patch({"x": 1, "y": 1, "w": 2, "h": 2, "data": b"\x01\x02\x03\x04"})
    assert bytes(mirror.tiles) == bytes([0, 0, 0, 0, 0, 1, 2, 0, 0, 3, 4, 0])
    with pytest.raises(ProtocolError):
        mirror.patch({"x": 3, "y": 0, "w": 2, "h": 1, "data": b"\x01\x02"})


coordinate = st.one_of(st.integers(0, 64 * 256), st.integers(-(2**31), 2**31 - 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=60), st.data())
def test_a_client_sees_the_nearest_of_those_within_reach_and_keeps_whom_it_saw(
    points: list[tuple[int, int]], data: st.DataObject
) -> None:
    state = {n + 1: {"x": x, "y": y} for n, (x, y) in enumerate(points)}
    body = data.draw(st.sampled_from(sorted(state)))
    seen = data.draw(st.sets(st.sampled_from(sorted(state))))
    interest = Interest(
        body, data.draw(st.integers(0, 98 * 256)), False, data.draw(st.integers(1, 60))
    )
    before = view_of(make_frame({entity: {} for entity in seen}))
    mine = points[body - 1]
    far = {n + 1: (x - mine[0]) ** 2 + (y - mine[1]) ** 2 for n, (x, y) in enumerate(points)}
    within = [
        entity
        for entity, d2 in far.items()
        if d2 <= interest.radius**2 or (entity in seen and d2 <= (interest.radius + 512) ** 2)
    ]
    nearest = sorted(within, key=lambda entity: (entity != body, far[entity], entity))
    world = view_of(make_frame(state))
    assert ids(interest.select(world, before)) == sorted(nearest[: interest.most])
