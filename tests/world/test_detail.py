"""Who is far from all players lives in strides, and is found as if it had been lived tick by tick."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from world.detail import KEY, LOOK_EVERY
from world.entities import COLUMNS, NAMES, NEVER
from world.inputs import Input
from world.maths import TILE
from world.replay import catch_up, replay
from world.ruleset import Ruleset
from world.store import Reader, Store, WorldMeta, record_of
from world.store.copies import branch
from world.store.recovery import recover
from world.world import World

At = Callable[..., Any]
MakeWorld = Callable[..., World]
MORNING, NOON, EVENING = 1_200, 6_000, 14_000


def detail(tiles: int, n: int = 0) -> Input:
    return Input("global", 0, "director:detail", n, {"key": KEY, "value": tiles})


def enters(x: int, y: int, n: int = 0) -> Input:
    at = {"x": x * TILE, "y": y * TILE}
    return Input("spawn", 0, "director:join", n, {"species": "traveller", "player": True, **at})


def peaceful(at: At, count: int = 60) -> list[Any]:
    """Folk whom nobody hunts, two of three with a bed and a trade."""
    kinds = ("villager", "villager", "sheep")
    homes = (("cottage", "field"), ("inn", "green"), ("cottage", "green"), ("inn", "inn"))
    made = []
    for n in range(count):
        home, work = homes[n % 4]
        spot = (8 + n * 7 % 20, 24 + n * 3 % 16)
        kind = kinds[n % 3]
        made.append(at(kind, *spot) if kind == "sheep" else at(kind, *spot, home=home, work=work))
    return made


def wild(at: At) -> list[Any]:
    """The same beside packs and game on the other bank, and a watch."""
    pack = [at("wolf", 54 + n, 52, home="den", group=1) for n in range(4)]
    game = [at(("deer", "hare")[n % 2], 40 + n * 5 % 22, 4 + n * 11 % 55) for n in range(24)]
    watch = [at("guard", 15 + n, 20, home="inn", work="green", group=2) for n in range(3)]
    return [*peaceful(at, 36), *pack, *game, *watch]


def lived_on(make_world: MakeWorld, spawns: list[Any], tick: int, seed: int = 1) -> World:
    """A world of that hour, the first minute of which is lived in full."""
    made = make_world(*spawns, seed=seed)
    world = World.from_state(made.get_state() | {"tick": tick - 60}, made.ruleset)
    for _ in range(60):
        world.step()
    return world


def copy(world: World) -> World:
    return World.from_state(world.get_state(), world.ruleset)


# -- what is lived in strides is what would have been lived ------------------------------------


@pytest.mark.parametrize("hour", [MORNING, NOON, EVENING])
def test_until_it_decides_again_a_far_one_is_bit_for_bit_where_and_how_it_would_be(
    make_world: MakeWorld, at: At, hour: int
) -> None:
    full = lived_on(make_world, peaceful(at), hour - 1)
    far = copy(full)
    full.step()
    far.step([detail(16)])
    living = full.columns.next_decision[: full.columns.high] < NEVER
    assert (far.far == living).all()
    start = full.get_state()["rows"]["columns"]
    undecided = living.copy()
    compared = walked = changed = 0
    for n in range(1, 91):
        before = undecided & (
            far.columns.next_decision[: far.columns.high] == start["next_decision"]
        )
        full.step()
        undecided &= full.columns.next_decision[: full.columns.high] == start["next_decision"]
        if n in (1, 7, 19, 20, 45, 62, 90):
            near = copy(far)
            near.step([detail(0, n)])
            assert not near.far.any()
            for name in NAMES:
                a, b = (getattr(w.columns, name)[: w.columns.high][before] for w in (full, near))
                assert np.array_equal(a, b), (n, name)
            c = full.columns
            compared += int(before.sum())
            walked += int((c.x[: c.high][before] != start["x"][before]).sum())
            changed += int((c.mood[: c.high][before] != start["mood"][before]).sum())
        far.step()
    assert compared > 150
    assert changed > 20
    assert walked > 20 or hour != MORNING


def test_a_world_in_which_all_are_near_keeps_the_state_and_the_hash_that_it_always_had(
    make_world: MakeWorld, at: At
) -> None:
    one, other = make_world(*wild(at)), make_world(*wild(at))
    other.step([detail(16)])
    one.step([detail(0)])
    assert "far" not in one.get_state()
    for _ in range(60):
        one.step()
        other.step()
    assert "far" in other.get_state()
    other.step([detail(0, 1)])
    assert "far" not in other.get_state()
    assert other.hash() == other.full_hash()
    assert not other.far.any()


# -- who is far, and who is not ----------------------------------------------------------------


def test_near_are_those_around_players_and_nobody_flickers_at_the_edge(
    make_world: MakeWorld, at: At
) -> None:
    ada = at("villager", 12, 40, home="field", work="field")
    hare = at("hare", 60, 8)
    world = make_world(ada, hare)
    world.step([detail(20), enters(12, 40)])
    for _ in range(LOOK_EVERY):
        world.step()
    c = world.columns
    player = int(np.flatnonzero(c.player[: c.high])[0])
    assert world.far.tolist() == [False, True, False]
    # To and fro over the edge, more often than anyone looks: who is near stays so for eight tiles more.
    edge = (int(c.x[0]) // TILE // 8 + 1) * 8 + 20
    for n, x in enumerate((edge + 3, edge - 3) * 3):
        state = world.get_state()
        state["rows"]["columns"]["x"] = state["rows"]["columns"]["x"].copy()
        state["rows"]["columns"]["x"][player] = x * TILE
        world = World.from_state(state, world.ruleset)
        for _ in range(LOOK_EVERY):
            world.step()
        assert not world.far[0], n
    away = copy(world)
    c = away.columns
    away.step([Input("despawn", int(c.id[player]), "director:leave", 0, {})])
    for _ in range(LOOK_EVERY):
        away.step()
    assert away.far[:2].all()


def test_an_input_finds_a_far_one_caught_up_and_a_refused_one_leaves_no_trace(
    make_world: MakeWorld, at: At
) -> None:
    world = lived_on(make_world, peaceful(at), MORNING)
    world.step([detail(16)])
    for _ in range(3 * LOOK_EVERY + 7):
        world.step()
    entity = int(world.columns.id[0])
    untouched, refused, woken = copy(world), copy(world), copy(world)
    off = {"x": 2**20, "y": 5}
    untouched.step()
    result = refused.step([Input("move", entity, f"npc:{entity}", 1, off)])
    assert [r.code for r in result.rejections] == ["blocked"]
    assert refused.hash() == untouched.hash() == refused.full_hash()
    assert refused.far[0]
    goes = Input("move", entity, f"npc:{entity}", 1, {"x": 10 * TILE, "y": 30 * TILE})
    assert not woken.step([goes]).rejections
    assert not woken.far[0]
    assert woken.far[1]
    full = copy(world)
    full.step([detail(0, 1)])
    # Its walk began where it was by then, not where its last stride had ended.
    assert abs(int(full.columns.x[0]) - int(woken.columns.x[0])) <= 2 * TILE


def test_who_does_what_a_mind_chose_or_was_asked_for_is_lived_in_full_until_that_is_over(
    make_world: MakeWorld, at: At
) -> None:
    world = lived_on(make_world, peaceful(at, 6), NOON)
    first, second = (int(e) for e in world.columns.id[:2])
    world.step([detail(16), Input("wait", first, f"npc:{first}", 1, {})])
    world.step([Input("attend", second, "director:attend", 1, {"ticks": 100})])
    far = {}
    for _ in range(300):
        world.step()
        far[world.tick - NOON] = world.far[:3].tolist()
    assert far[80] == [False, False, True]
    assert far[140] == [False, True, True]
    assert far[280] == [True, True, True]
    refused = world.step([Input("attend", first, f"npc:{first}", 2, {"ticks": 5})])
    assert [r.code for r in refused.rejections] == ["not_yours"]


def test_off_stage_a_hunt_is_lived_in_full_and_can_end_in_death(
    make_world: MakeWorld, at: At
) -> None:
    pack = [at("wolf", 50 + n, 40, home="den", group=1) for n in range(3)]
    world = make_world(*pack, at("sheep", 48, 44), at("villager", 10, 40, home="field"))
    state = world.get_state()
    state["rows"]["columns"]["hunger"][:3] = 900
    world = World.from_state(state, world.ruleset)
    world.step([detail(16)])
    told = []
    stirred = 0
    for _ in range(600):
        told += world.step().events
        stirred += int(not world.far[:3].any())
    assert {"attacked", "died", "ate"} <= {event.kind for event in told}
    assert stirred > 30
    assert world.far[4]
    assert world.hash() == world.full_hash()


# -- restores, replays, branches, rows ----------------------------------------------------------


def walks(world: World, n: int) -> list[Input]:
    """A player that comes, walks through the hamlet and leaves, twice; some mind acts off stage."""
    c = world.columns
    players = c.id[np.flatnonzero(c.player[: c.high])].tolist()
    if n == 1:
        return [detail(12)]
    if n % 400 == 50:
        return [enters(6, 56, n)]
    if players and n % 400 == 350:
        return [Input("despawn", players[0], "director:leave", n, {})]
    if players and n % 60 == 0:
        body = {"x": (6 + n * 7 % 50) * TILE, "y": (20 + n // 60 * 9 % 36) * TILE}
        return [Input("move", players[0], "client:walker", n, body)]
    if n % 23 == 0:
        # Mostly refused: out of reach.
        entity, other = int(c.id[n % 19]), int(c.id[n % 31])
        return [Input("attack", entity, f"npc:{entity}", n, {"target": other})]
    if n % 35 == 0:
        entity = int(c.id[n % 20])
        return [Input("work", entity, f"npc:{entity}", n, {})]
    return []


def test_a_restored_world_lives_on_as_the_one_it_was_taken_from(
    make_world: MakeWorld, at: At
) -> None:
    world = lived_on(make_world, wild(at), EVENING)
    others: list[World] = []
    counts = set()
    for n in range(1, 801):
        inputs = walks(world, n)
        hashes = {w.step(inputs).hash for w in (world, *others)}
        assert len(hashes) == 1, n
        counts.add(int(world.far.sum()))
        if n % 97 == 0:
            others = [*others[-2:], copy(world)]
            assert others[-1].full_hash() == others[-1].hash() == world.full_hash()
    assert len(counts) > 20


def in_other_rows(state: dict[str, Any], seed: int) -> dict[str, Any]:
    high = state["rows"]["high"] + 20
    order = np.random.default_rng(seed).permutation(high)[: state["rows"]["high"]]
    columns = {}
    for name, values in state["rows"]["columns"].items():
        columns[name] = np.full(high, COLUMNS[name][1], dtype=np.int64)
        columns[name][order] = values
    return state | {"rows": {"high": high, "columns": columns}}


def test_who_is_far_and_what_becomes_of_them_hangs_on_no_rows(
    make_world: MakeWorld, at: At
) -> None:
    world = lived_on(make_world, wild(at), EVENING)
    other = World.from_state(in_other_rows(world.get_state(), 5), world.ruleset)
    for n in range(1, 501):
        # What `walks` takes from rows must be said of the same beings.
        inputs = walks(world, n)
        assert world.step(inputs).hash == other.step(inputs).hash, n
        if n == 300:
            other = World.from_state(in_other_rows(other.get_state(), 6), world.ruleset)
    assert world.far.sum() == other.far.sum() > 0


def test_the_journal_its_replay_and_a_branch_agree_hash_for_hash(
    make_world: MakeWorld, at: At, rules: Ruleset, tmp_path: Path
) -> None:
    world = lived_on(make_world, wild(at), EVENING)
    with Store.open(tmp_path / "a", create=WorldMeta(scene="hamlet", seed=1)) as store:
        store.checkpoint(world.get_state(), state_hash=world.hash())
        for n in range(1, 701):
            store.append(record_of(world.step(walks(world, n)), 1), timeout=30)
            if n == 330:
                assert 0 < world.far.sum() < len(world.columns)
                store.checkpoint(world.get_state(), state_hash=world.hash())
        store.flush()
        branch(store.reader, tmp_path / "b")
    for folder in ("a", "b"):
        found = replay(tmp_path / folder, rules)
        assert (found.reason, found.ticks, found.final_hash) == ("", 700, world.hash())
        with Reader.open(tmp_path / folder) as reader:
            kept = recover(reader, reader.end()[0], None)
            assert kept.state is not None
            assert "far" in kept.state
            again = World.from_state(kept.state, rules)
            assert catch_up(again, kept.records) == world.tick
            assert again.hash() == again.full_hash() == world.hash()
