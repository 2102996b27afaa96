"""Godot's mirror of the entities follows the server's snapshots and deltas exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_bridge.interest import WIRE, View, delta, snapshot

pytestmark = pytest.mark.godot

World = dict[int, dict[str, int]]
"""The columns of each entity, by id."""


def view_of(world: World, tick: int) -> View:
    ids = sorted(world)
    columns = {
        name: np.array([world[id_][name] if name != "id" else id_ for id_ in ids], dtype=kind)
        for name, kind in WIRE.items()
    }
    return View(tick, 1, "noon", columns)


def names_of(world: World) -> dict[int, str]:
    return {id_: f"No. {id_}" for id_ in world if id_ % 3}


def frames_of(worlds: list[World]) -> list[bytes]:
    """A snapshot of the first world and the deltas that lead through the others."""
    views = [view_of(world, tick) for tick, world in enumerate(worlds, 1)]
    frames = [{"t": "snapshot", "d": snapshot(views[0], names_of(worlds[0]), bytes(4))}]
    for before, now, world in zip(views, views[1:], worlds[1:], strict=False):
        frames.append({"t": "delta", "d": delta(before, now, names_of(world), {})})
    return [msgpack.packb(frame) for frame in frames]


def through_godot(play: Any, folder: Path, frames: list[bytes]) -> list[Any]:
    given_frames = folder / "states.json"
    given_frames.write_text(json.dumps([frame.hex() for frame in frames]))
    return list(play("mirror", given_frames).finish())


def shown(world: World) -> dict[str, Mapping[str, Any]]:
    names = names_of(world)
    return {
        str(id_): {"id": id_, "name": names.get(id_, ""), **values} for id_, values in world.items()
    }


def values_of(kind: np.dtype[Any]) -> st.SearchStrategy[int]:
    info = np.iinfo(kind)
    return st.integers(int(info.min), min(int(info.max), 2**48 - 1))


entities = st.fixed_dictionaries(
    {name: values_of(kind) for name, kind in WIRE.items() if name != "id"}
)
ids = st.integers(1, 40) | st.integers(1, 2**48 - 1)
worlds_in_a_row = st.lists(st.dictionaries(ids, entities, max_size=25), min_size=8, max_size=16)


@given(worlds=worlds_in_a_row)
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
def test_after_every_delta_the_mirror_holds_what_the_server_sees(
    worlds: list[World], play: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = through_godot(play, tmp_path_factory.mktemp("states"), frames_of(worlds))

    for world, line in zip(worlds, lines, strict=True):
        assert line.what == "state", line
        assert line.data["entities"] == shown(world)
    for before, now, line in zip(worlds, worlds[1:], lines[1:], strict=False):
        assert set(line.data["entered"]) == set(now) - set(before)
        assert set(line.data["left"]) == set(before) - set(now)


VECTORS = Path(__file__).parents[1] / "vectors"


def test_the_client_knows_what_the_vectors_say_after_each_state(play: Any, tmp_path: Path) -> None:
    state = json.loads((VECTORS / "index.json").read_text())["state"]
    frames = [(VECTORS / f"{step['apply']}.bin").read_bytes().hex() for step in state["after"]]
    given_states = tmp_path / "states.json"
    given_states.write_text(
        json.dumps({"width": state["width"], "height": state["height"], "frames": frames})
    )

    lines = play("states", given_states).finish()

    for step, line in zip(state["after"], lines, strict=True):
        assert line.data == {key: value for key, value in step.items() if key != "apply"}


ONE: World = {7: {name: 1 for name in WIRE if name != "id"}}


def damaged(**changes: Any) -> bytes:
    body = snapshot(view_of(ONE, 1), {}, bytes(4))
    return bytes(msgpack.packb({"t": "snapshot", "d": {**body, **changes}}))


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (damaged(n=2), "the count says 2"),
        (damaged(n=-1), "more than"),
        (damaged(x=b"\x00" * 3), "column x"),
        (damaged(hp=None), "column hp"),
        (damaged(id=b"\x00" * 5), "8 bytes"),
        (damaged(id=bytes(8)), "ascend"),
        (damaged(n="many"), "without a count"),
    ],
)
def test_a_malformed_snapshot_is_refused_and_leaves_what_was(
    frame: bytes, reason: str, play: Any, tmp_path: Path
) -> None:
    good = frames_of([ONE])[0]

    first, second = through_godot(play, tmp_path, [good, frame])

    assert first.what == "state"
    assert second.what == "refused"
    assert reason in second.data["reason"]
    assert second.data["size"] == 1


def test_a_change_to_someone_out_of_sight_is_refused(play: Any, tmp_path: Path) -> None:
    stray = {"hp": {"i": (8).to_bytes(8, "little"), "v": (5).to_bytes(4, "little")}}
    frame = msgpack.packb({"t": "delta", "d": {"tick": 2, "change": stray}})

    _, second = through_godot(play, tmp_path, [frames_of([ONE])[0], frame])

    assert "not watched" in second.data["reason"]


def test_columns_of_a_newer_server_are_passed_over(play: Any, tmp_path: Path) -> None:
    change = {
        "aura": {"i": (7).to_bytes(8, "little"), "v": b"\x01"},
        "hp": {"i": (7).to_bytes(8, "little"), "v": (5).to_bytes(4, "little")},
    }
    frame = msgpack.packb({"t": "delta", "d": {"tick": 2, "change": change}})

    _, second = through_godot(play, tmp_path, [frames_of([ONE])[0], frame])

    assert second.data["entities"]["7"]["hp"] == 5
