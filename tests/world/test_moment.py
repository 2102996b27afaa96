"""A moment is the whole state of one tick, whatever comes after it and whichever thread looks at it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from world.buffers import Buffer
from world.detail import KEY
from world.draft import Draft
from world.entities import HOT, INDEX, NAMES
from world.inputs import Input
from world.maths import TILE
from world.moment import Moment, Table
from world.ruleset import Ruleset
from world.store import Store, TickRecord, WorldMeta
from world.store.checkpoints import freeze
from world.tiles import Tile
from world.world import NAV_INTERVAL, World

MakeWorld = Callable[..., World]
acts = st.lists(
    st.tuples(
        st.sampled_from(["step", "many", "spawn", "crowd", "despawn", "paint", "name", "far"]),
        st.integers(0, 60),
    ),
    min_size=1,
    max_size=10,
)


def inputs(world: World, act: str, n: int) -> list[Input]:
    ids = world.columns.id[world.columns.live_rows()].tolist()
    at = {"x": (4 + n) * TILE, "y": 40 * TILE}
    match act:
        case "spawn":
            body = {"species": "deer", "name": f"Doe {n}", **at}
            return [Input("spawn", 0, "director", n, body)]
        case "crowd":
            # More than the columns have room for: they grow.
            return [Input("spawn", 0, "director", k, {"species": "hare", **at}) for k in range(120)]
        case "despawn" if len(ids) > 3:
            return [Input("despawn", e, "director", 0) for e in ids[n % len(ids) :][: 1 + n % 5]]
        case "paint":
            data = bytes([Tile.ROAD, Tile.SAND])
            return [
                Input("tiles", 0, "director", n, {"x": n, "y": n, "w": 2, "h": 1, "data": data})
            ]
        case "name":
            return [Input("name", ids[n % len(ids)], "director", n, {"text": f"Name {n}"})]
        case "far":
            return [Input("global", 0, "director", n, {"key": KEY, "value": n % 2 * 12})]
    return []


def plain(value: Any) -> Any:
    if isinstance(value, Table | list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return (value.dtype.str, value.tolist()) if isinstance(value, np.ndarray) else value


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(acts, st.data())
def test_a_moment_is_the_whole_state_of_its_tick_whatever_comes_after_it(
    make_world: MakeWorld,
    rules: Ruleset,
    acts: list[tuple[str, int]],
    data: st.DataObject,
) -> None:
    world = make_world()
    held: list[tuple[Moment, Any, int]] = []
    for act, n in acts:
        world.step(inputs(world, act, n))
        for _ in range({"step": 1, "many": NAV_INTERVAL}.get(act, 0)):
            world.step()
        for left in data.draw(st.lists(st.integers(1, 12), max_size=2), label="ahead"):
            world.copy_ahead(left)
            world.step()
        if not data.draw(st.booleans(), label="a moment"):
            continue
        gone = data.draw(st.booleans(), label="one is let go")
        if len(held) > 3 or (held and gone):
            del held[data.draw(st.integers(0, len(held) - 1))]
        held.append((world.moment(), plain(world.get_state()), world.full_hash()))
        for moment, state, _ in held:
            assert plain(moment.state()) == state
    for moment, state, state_hash in held:
        assert moment.tick == state["tick"]
        assert World.from_state(moment.state(), rules).full_hash() == state_hash


@given(st.data())
def test_a_copy_that_was_made_ahead_holds_what_was_written_meanwhile(data: st.DataObject) -> None:
    source = np.zeros((len(NAMES), 40), dtype=np.int64)
    draft, high = Draft(Buffer(source.shape, source.dtype)), 20
    for n, left in enumerate(data.draw(st.lists(st.integers(1, 15), max_size=12)), 1):
        flags = np.zeros((2, 40), dtype=np.bool_)
        for half, part in ((0, HOT), (1, [name for name in NAMES if name not in HOT])):
            written = data.draw(st.lists(st.integers(0, high - 1), max_size=15))
            names = [INDEX[name] for name in part]
            for row in written:
                source[names, row] += n
            flags[half, written] = True
        draft.touch(*flags)
        draft.advance(source[:, :high], {}, {}, left)
        if high < 40 and data.draw(st.booleans()):
            source[:, high] = n
            draft.touch_row(high)
            high += 1
        assert draft.shape == source.shape
    copy, *texts = draft.finish(source[:, :high], {7: "Ann"}, {})
    assert (copy == source[:, :high]).all()
    assert texts == [{7: "Ann"}, {}]


def test_a_state_that_was_got_may_be_changed_and_a_moment_may_not(make_world: MakeWorld) -> None:
    world = make_world()
    moment, state = world.moment(), world.get_state()
    state["rows"]["columns"]["x"][:] = 0
    state["tiles"][:] = 0
    state["names"].clear()
    told = moment.state()
    assert told["rows"]["columns"]["x"].any()
    assert told["tiles"].any()
    assert len(told["names"])
    arrays = [*told["rows"]["columns"].values(), told["tiles"], told["nav"]]
    assert not any(values.flags.writeable for values in arrays)


def test_maps_are_copied_again_only_when_something_was_painted(make_world: MakeWorld) -> None:
    world = make_world()
    first = world.moment()
    for _ in range(NAV_INTERVAL):
        world.step()
    assert world.moment().tiles is first.tiles
    world.step(inputs(world, "paint", 5))
    second = world.moment()
    assert second.tiles[5, 5] == Tile.ROAD != first.tiles[5, 5]
    assert second.nav is first.nav
    for _ in range(NAV_INTERVAL):
        world.step()
    assert world.moment().nav[5, 5] == Tile.ROAD != second.nav[5, 5]
    fork = world.fork()
    fork.step(inputs(fork, "paint", 9))
    assert fork.moment().tiles[9, 9] == Tile.ROAD != world.moment().tiles[9, 9]


def test_a_checkpoint_made_of_a_moment_is_that_of_the_state_byte_for_byte(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.step([i for n in (1, 2) for i in inputs(world, "spawn", n)])
    one, other = freeze(world.moment().state()), freeze(world.get_state())
    assert one.head == other.head
    assert [a.tobytes() for a in one.arrays] == [a.tobytes() for a in other.arrays]
    assert (one.offsets, one.size) == (other.offsets, other.size)


def test_a_checkpoint_is_of_its_moment_however_late_storage_makes_it(
    tmp_path: Path, make_world: MakeWorld, rules: Ruleset
) -> None:
    world = make_world()
    way, asked = threading.Event(), threading.Event()

    def give_way() -> None:
        asked.set()
        assert way.wait(30)

    with Store.open(tmp_path / "w", create=WorldMeta(scene="hamlet", seed=1)) as store:
        store.checkpoint(world.moment(), state_hash=world.hash(), give_way=give_way)
        assert asked.wait(30)
        start = world.full_hash()
        for n in range(5):
            # Each uses memory of the ones before, but never that of the one that waits.
            result = world.step(inputs(world, "paint", n))
            assert world.moment().tick == n + 1
            store.append(TickRecord(world.tick, 1, result.hash, ()))
        assert world.full_hash() != start
        way.set()
        store.flush()
        kept = World.from_state(store.load_checkpoint(0), rules)
        assert kept.full_hash() == start
        assert [info.hash for info in store.checkpoints()] == [start]
