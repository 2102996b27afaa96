"""Two runs compared: the first tick that differs is named, with who, which column, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UsageError
from world.differences import Comparison, compare
from world.inputs import Input
from world.ruleset import Ruleset
from world.store import Store, StoreOptions, TickRecord, WorldMeta, record_of
from world.store.copies import branch
from world.world import World

Live = Callable[..., World]
Diff = Callable[..., Comparison]


@pytest.fixture(scope="module")
def live(make_world: Any) -> Live:
    def run(
        path: Path,
        ticks: int,
        inputs: Mapping[int, list[Input]] | None = None,
        *,
        seed: int = 1,
        change: Callable[[TickRecord], TickRecord] = lambda record: record,
        options: StoreOptions | None = None,
        checkpoint_every: int = 1000,
        **meta: Any,
    ) -> World:
        world: World = make_world(seed=seed)
        made = WorldMeta(scene="hamlet", seed=seed, **meta)
        with Store.open(path, create=made, options=options) as store:
            store.checkpoint(world.get_state(), state_hash=world.hash())
            for tick in range(1, ticks + 1):
                result = world.step((inputs or {}).get(tick, []))
                assert not result.rejections
                store.append(change(record_of(result, 1)), timeout=30)
                if tick % checkpoint_every == 0:
                    store.checkpoint(world.get_state())
                    store.flush()
        return world

    return run


@pytest.fixture(scope="module")
def diff(rules: Ruleset, make_world: Any) -> Diff:
    def run(first: Path, second: Path) -> Comparison:
        return compare(first, second, rules, lambda meta: make_world(seed=meta.seed))

    return run


def note(n: int, text: str) -> Input:
    return Input("note", 0, "director:note", n, {"text": text})


def move(entity: int, n: int, x: int, y: int) -> Input:
    return Input("move", entity, f"npc:{entity}", n, {"x": x, "y": y})


def test_two_runs_of_one_seed_are_the_same_as_far_as_both_go(
    tmp_path: Path, live: Live, diff: Diff
) -> None:
    live(tmp_path / "a", 60)
    live(tmp_path / "b", 40)
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.difference is None
    assert (found.first_tick, found.last_tick, found.state_tick) == (0, 40, None)


def test_another_seed_is_named_with_the_first_value_that_it_changes(
    tmp_path: Path, live: Live, diff: Diff
) -> None:
    live(tmp_path / "a", 20, seed=1)
    live(tmp_path / "b", 20, seed=2)
    told = diff(tmp_path / "a", tmp_path / "b").difference
    assert told is not None
    assert told.cause == "seed"
    assert "seed was 1 and 2" in told.why
    assert told.cells[0].column == "seed"


@pytest.mark.parametrize("tick", [1, 18, 20])
def test_an_input_that_one_run_has_alone_is_named_with_who_proposed_it(
    tmp_path: Path,
    live: Live,
    diff: Diff,
    who: Any,
    make_world: Any,
    tick: int,
) -> None:
    ada = who(make_world(), "Ada")
    live(tmp_path / "a", 20)
    live(tmp_path / "b", 20, {tick: [move(ada, 1, 5_000, 6_000)]})
    found = diff(tmp_path / "a", tmp_path / "b")
    told = found.difference
    assert told is not None
    assert (told.tick, told.what, told.cause, told.entity) == (tick, "inputs", "input", ada)
    assert "'move'" in told.why
    assert f"'npc:{ada}'" in told.why
    assert str(tmp_path / "b") in told.why
    assert found.state_tick == tick
    assert {cell.name for cell in told.cells} == {"Ada"}
    assert "goal_x" in {cell.column for cell in told.cells}


def test_of_two_different_inputs_both_are_named(
    tmp_path: Path, live: Live, diff: Diff, who: Any, make_world: Any
) -> None:
    ada = who(make_world(), "Ada")
    live(tmp_path / "a", 12, {7: [move(ada, 1, 5_000, 6_000)]})
    live(tmp_path / "b", 12, {7: [move(ada, 1, 5_000, 7_000)]})
    told = diff(tmp_path / "a", tmp_path / "b").difference
    assert told is not None
    assert told.tick == 7
    assert "6000" in told.why
    assert "7000" in told.why
    assert "goal_y" in {cell.column for cell in told.cells}


def test_a_note_is_a_difference_that_changes_no_state(
    tmp_path: Path, live: Live, diff: Diff
) -> None:
    live(tmp_path / "a", 30, {4: [note(1, "late")]})
    live(tmp_path / "b", 30)
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.difference is not None
    assert (found.difference.tick, found.difference.cells) == (4, ())
    assert found.state_tick is None


def test_the_state_may_part_later_than_the_journals(
    tmp_path: Path, live: Live, diff: Diff, who: Any, make_world: Any
) -> None:
    ada = who(make_world(), "Ada")
    live(tmp_path / "a", 30, {4: [note(1, "late")]})
    live(tmp_path / "b", 30, {9: [move(ada, 1, 5_000, 6_000)]})
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.difference is not None
    assert (found.difference.tick, found.state_tick) == (4, 9)


def test_what_came_out_otherwise_from_the_same_inputs_is_blamed_on_the_mod_that_changed(
    tmp_path: Path, live: Live, diff: Diff
) -> None:
    def other(record: TickRecord) -> TickRecord:
        if record.tick < 8:
            return record
        event = [record.tick, "hooted", 3, 0, {}]
        return TickRecord(record.tick, 1, record.hash ^ 1, record.inputs, (event,))

    live(tmp_path / "a", 12, mod_versions={"owls": "1.0", "base": "1"})
    live(tmp_path / "b", 12, change=other, mod_versions={"owls": "2.0", "base": "1"})
    told = diff(tmp_path / "a", tmp_path / "b").difference
    assert told is not None
    assert (told.tick, told.what, told.cause, told.entity) == (8, "events", "mods", 3)
    assert "'owls': '1.0'" in told.why
    assert "'owls': '2.0'" in told.why
    assert "base" not in told.why
    # and whose journal the rules at hand can't step
    assert f"{tmp_path / 'b'} can't be stepped" in told.why


def test_an_altered_outcome_without_a_reason_is_called_so(
    tmp_path: Path, live: Live, diff: Diff
) -> None:
    def forged(record: TickRecord) -> TickRecord:
        return TickRecord(record.tick, 1, record.hash ^ (record.tick == 5), record.inputs)

    live(tmp_path / "a", 9, change=lambda r: TickRecord(r.tick, 1, r.hash, r.inputs))
    live(tmp_path / "b", 9, change=forged)
    told = diff(tmp_path / "a", tmp_path / "b").difference
    assert told is not None
    assert (told.tick, told.what, told.cause) == (5, "hash", "altered")


def test_runs_whose_journals_begin_later_are_compared_from_the_first_common_tick(
    tmp_path: Path, live: Live, diff: Diff, who: Any, make_world: Any
) -> None:
    ada = who(make_world(), "Ada")
    short = {"checkpoint_every": 10, "options": StoreOptions(keep_checkpoints=2)}
    live(tmp_path / "a", 45)
    live(tmp_path / "b", 45, **short)
    same = diff(tmp_path / "a", tmp_path / "b")
    assert same.difference is None
    assert same.first_tick == 30
    live(tmp_path / "c", 45, {3: [move(ada, 1, 5_000, 6_000)]}, **short)
    told = diff(tmp_path / "a", tmp_path / "c").difference
    assert told is not None
    assert (told.tick, told.what, told.cause, told.entity) == (30, "start", "history", ada)
    live(tmp_path / "d", 20)
    with pytest.raises(UsageError, match="no tick in common"):
        diff(tmp_path / "c", tmp_path / "d")


def test_a_branch_is_told_with_the_tick_it_parted_at(
    tmp_path: Path, live: Live, diff: Diff
) -> None:
    live(tmp_path / "a", 25)
    with Store.open(tmp_path / "a") as store:
        branch(store.reader, tmp_path / "b")
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found.difference is None
    assert found.related == f"{tmp_path / 'b'} is a branch of {tmp_path / 'a'}, parted at tick 25"
