"""Two runs compared: the first tick in which they part is named, with whom it concerns and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from greenroom import worlds
from greenroom.cli import app
from world.inputs import Input
from world.store import TickRecord, record_of

Given = Callable[[worlds.OpenWorld, int], Sequence[Input]]


def nothing(opened: worlds.OpenWorld, tick: int) -> Sequence[Input]:
    return ()


def live(
    folder: Path,
    ticks: int,
    given: Given = nothing,
    alter: Callable[[TickRecord], TickRecord] = lambda record: record,
    **made: Any,
) -> Path:
    opened = worlds.open_world(folder, **({"seed": 3} | made))
    for _ in range(ticks):
        tick = opened.world.tick + 1
        result = opened.world.step(list(given(opened, tick)))
        assert not result.rejections
        opened.store.append(alter(record_of(result, opened.world.epoch)), timeout=10)
    opened.store.close()
    return folder


def note_at(tick: int, text: str) -> Given:
    def given(opened: worlds.OpenWorld, now: int) -> Sequence[Input]:
        return [Input("note", 0, "mod:owls", 1, {"text": text})] if now == tick else ()

    return given


def compared(a: Path, b: Path) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, ["diff", str(a), str(b), "--json"])
    assert result.exit_code in (0, 1), result.output
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live(tmp_path_factory.mktemp("plain") / "a", 60)


def test_the_same_life_lived_twice_is_the_same(plain: Path, tmp_path: Path) -> None:
    code, found = compared(plain, live(tmp_path / "b", 40))
    assert (code, found["same"], found["tick"]) == (0, True, None)
    assert (found["first_tick"], found["last_tick"], found["last_a"]) == (1, 40, 60)


def test_an_input_that_one_alone_was_given_is_named_with_its_proposer(
    plain: Path, tmp_path: Path
) -> None:
    def walk(opened: worlds.OpenWorld, tick: int) -> Sequence[Input]:
        if tick != 25:
            return ()
        columns = opened.world.columns
        entity = int(columns.id[columns.live_rows()[0]])
        row = columns.row_of(entity)
        goal = {"x": int(columns.x[row]) + 600, "y": int(columns.y[row])}
        return [Input("move", entity, f"npc:{entity}", 1, goal)]

    code, found = compared(plain, live(tmp_path / "b", 60, walk))
    assert (code, found["tick"], found["what"], found["cause"]) == (1, 25, "inputs", "inputs")
    assert found["only_a"] == []
    assert found["only_b"][0].startswith(f"move of {found['entity']}, proposed by npc:")
    assert "b alone was given 1 by npc:" in found["why"]


def test_another_seed_is_told_as_the_cause_with_the_first_value_that_differs(
    plain: Path, tmp_path: Path
) -> None:
    code, found = compared(plain, live(tmp_path / "b", 10, seed=4))
    assert (code, found["tick"], found["cause"]) == (1, 1, "seed")
    assert {"what": "seed", "a": "3", "b": "4"} in found["made"]
    assert found["cells"][0]["column"] in found["cells_columns"]
    assert found["cells"][0]["a"] != found["cells"][0]["b"]


def test_the_same_inputs_with_another_outcome_are_told_apart_from_those(
    plain: Path, tmp_path: Path
) -> None:
    def alter(record: TickRecord) -> TickRecord:
        return replace(record, hash=record.hash ^ 1) if record.tick == 30 else record

    code, found = compared(plain, live(tmp_path / "b", 60, alter=alter))
    assert (code, found["tick"], found["what"], found["cause"]) == (1, 30, "hash", "outcome")
    assert any("can't be stepped again to tick 30" in note for note in found["notes"])


def test_a_branch_parts_from_its_parent_where_it_was_given_something_else(tmp_path: Path) -> None:
    parent = live(tmp_path / "a", 30)
    made = CliRunner().invoke(app, ["branch", str(tmp_path / "b"), "--data", str(parent)])
    assert made.exit_code == 0, made.output
    live(parent, 20)
    live(tmp_path / "b", 20, note_at(42, "what if"))
    code, found = compared(parent, tmp_path / "b")
    assert (code, found["tick"], found["what"]) == (1, 42, "inputs")
    told = CliRunner().invoke(app, ["diff", str(parent), str(tmp_path / "b")])
    assert "they part at tick 42, in their inputs" in told.stderr
    assert "only in b: note of 0, proposed by mod:owls" in told.stderr


def test_a_tick_past_the_end_is_no_tick_to_replay_to(plain: Path) -> None:
    told = CliRunner().invoke(app, ["replay", str(plain), "--until", "61"])
    assert told.exit_code == 2
    assert "the last in the journal is 60" in told.stderr
    assert CliRunner().invoke(app, ["replay", str(plain), "--until", "17"]).exit_code == 0
