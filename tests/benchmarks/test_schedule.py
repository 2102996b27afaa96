"""The schedule bench: runs over a simulated server, and what their traces say could have been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actors.trace import COLUMNS, Recorder, Trace, common
from benchmarks import _replay, schedule
from benchmarks._server import FLAT, Batching, Curve, Unlimited
from benchmarks._valleys import side_by_side
from foundation.errors import UsageError
from greenroom import worlds
from plugins.manager import load_builtin_and_installed
from world.maths import TILE
from world.world import World

SECOND = Curve("a second a step", False, (1, 512), (1.0, 1.0), 0.0)


def trace(calls: list[tuple[int, int, int, int]], waits: list[tuple[int, int]]) -> Trace:
    """Calls of (being, asked, due, reply's tokens), each with one token to read: a step reads it and writes the first."""
    rows = [[being, asked, due, 0, 0, 1, 1, reply] for being, asked, due, reply in calls]
    return Trace(
        100,
        np.array(rows, dtype=np.int64).reshape(-1, len(COLUMNS)),
        np.array(waits, dtype=np.int64).reshape(-1, 2),
    )


TWO = trace([(1, 0, 20, 5), (2, 0, 20, 3), (1, 30, 50, 2), (2, 40, 60, 7)], [(2, 0), (3, 1)])
"""Two beings that never meet, twice asked each."""
MET = trace([(1, 0, 20, 5), (2, 30, 50, 3), (3, 30, 50, 4)], [(1, 0)])
"""The second was told of the first, the third was not."""


def test_lock_step_waits_in_each_tick_for_all_that_is_due_in_it() -> None:
    # Tick 20 waits 5 s for both first calls; tick 50 waits 2 s for the third, while the fourth has begun at tick 40.
    assert _replay.lock_step(TWO, Batching(SECOND)) == 5 + 7
    assert _replay.lock_step(MET, Batching(SECOND)) == 5 + 4


def test_the_oracle_asks_as_soon_as_what_a_call_waits_for_is_answered() -> None:
    assert _replay.oracle(TWO, Unlimited(SECOND)) == max(5 + 2, 3 + 7)
    assert _replay.oracle(TWO, Batching(SECOND)) == 10
    assert _replay.oracle(MET, Batching(SECOND)) == 5 + 3


def test_with_one_slot_all_calls_follow_one_another_however_they_are_asked() -> None:
    for one in (TWO, MET):
        total = sum(one.column("reply"))
        assert _replay.lock_step(one, Batching(SECOND, slots=1)) == total
        assert _replay.oracle(one, Batching(SECOND, slots=1)) == total


def test_what_is_withdrawn_leaves_its_slot_to_others() -> None:
    server = Batching(SECOND, slots=1)
    for call in range(3):
        server.submit(call, 1, 0, 5, (call,))
    server.cancel(0)
    server.cancel(2)
    assert server.next() == [1]
    assert server.now == 5
    assert server.next() == []


def test_what_is_kept_of_a_prompt_is_not_read_anew() -> None:
    curve = Curve("a second a token", False, (1, 512), (1.0, 512.0), 0.0)
    server = Batching(curve)
    server.submit(0, 10, 8, 1, ())
    server.next()
    assert server.now == 2
    prompts = [np.array([1, 2, 3, 9]), np.array([1, 2, 4])]
    assert common(prompts, np.array([1, 2, 3, 4, 5])) == 3
    assert common(prompts, np.array([1, 2, 4])) == 2
    assert common([], np.array([1, 2, 4])) == 0


def test_a_run_that_asks_ahead_is_the_same_world_in_less_of_the_servers_time() -> None:
    count = schedule.tokens()
    crowd = schedule.Crowd("25 NPCs", 1, 25, 1_400, 1.3)
    recorder = Recorder(*count)
    lock = schedule.live(crowd, 1_400, 0, FLAT, count, recorder)
    ours = schedule.live(crowd, 1_400, 400, FLAT, count)
    recorded = recorder.trace()
    assert ours.state_hash == lock.state_hash
    assert ours.seconds < lock.seconds
    assert lock.calls == len(recorded.calls) > 5
    # The trace, replayed without the world, takes exactly what living it took.
    within = recorded.answered_within()
    assert _replay.lock_step(within, Batching(FLAT)) == pytest.approx(lock.seconds)
    alone = _replay.oracle(within, Unlimited(FLAT))
    assert 0 < alone <= _replay.oracle(within, Batching(FLAT)) <= lock.seconds
    due, asked = recorded.column("due"), recorded.column("asked")
    assert all(due[before] <= asked[call] for call, before in recorded.waits.tolist())


def test_valleys_side_by_side_are_lived_apart_and_no_call_is_made_in_vain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nobody goes on boldly, so each valley is lived ahead only as far as it is sure.
    monkeypatch.setattr(schedule, "room_for", lambda curve: 0)
    count = schedule.tokens()
    crowd = schedule.Crowd("three valleys", 3, 12, 1_300, 1.0)
    lock = schedule.live(crowd, 1_300, 0, FLAT, count)
    ours = schedule.live(crowd, 1_300, 1_000, FLAT, count)
    assert ours.state_hash == lock.state_hash
    assert ours.calls == lock.calls > 5
    assert ours.in_vain == 0
    assert ours.seconds < lock.seconds


def test_side_by_side_each_scene_keeps_its_people_places_and_packs() -> None:
    ruleset = load_builtin_and_installed().ruleset()
    alone = [worlds.compiled("valley", ruleset, seed, 14) for seed in (7, 8, 9)]
    together = side_by_side(alone, 2)
    wide, tall = alone[0].size
    assert together.size == (2 * wide, 2 * tall)
    assert np.array_equal(together.tiles[tall:, :wide], alone[2].tiles)
    assert len(together.spawns) == sum(len(scene.spawns) for scene in alone)
    assert len(together.personas) == sum(len(scene.personas) for scene in alone)
    assert len(together.groups) == sum(len(scene.groups) for scene in alone)
    for spawn in together.spawns:
        part = (spawn.x // TILE // wide, spawn.y // TILE // tall)
        for key in filter(None, (spawn.home, spawn.work)):
            place = together.places[key]
            assert (place.x // TILE // wide, place.y // TILE // tall) == part
    assert World(together, ruleset, 7).names


def test_what_a_run_does_not_wait_for_is_no_part_of_its_replay() -> None:
    late = trace([(1, 0, 20, 5), (2, 70, 90, 3), (1, 85, 105, 2)], [(2, 0)]).answered_within()
    assert late.column("due") == [20, 90]
    assert late.waits.size == 0


def test_a_trace_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    again = Trace.read(TWO.write(tmp_path / "run.npz"))
    assert again.ticks == TWO.ticks
    assert np.array_equal(again.calls, TWO.calls)
    assert np.array_equal(again.waits, TWO.waits)
    (tmp_path / "other").write_bytes(b"no trace")
    with pytest.raises(UsageError):
        Trace.read(tmp_path / "other")
