"""Headless runs: the same seed gives the same world, a replay gives the same hashes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import UsageError
from greenroom import headless, worlds
from greenroom.app import App
from greenroom.headless import RunRequest
from greenroom.settings import ModelSettings, Settings, WorldSettings
from plugins.manager import build_ruleset
from world.replay import replay

GREENROOM = Path(sys.executable).with_name("greenroom")
TICKS = 400
# The names numpy heeds: every vector extension of today's x86-64 that its kernels differ by.
PLAIN_CPU = {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}


def run(*arguments: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(GREENROOM), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | (env or {}),
        timeout=150,
        check=False,
    )


def simulate(out: Path, seed: int = 7, env: dict[str, str] | None = None) -> dict[str, Any]:
    flags = ("--scene", "valley", "--ticks", TICKS, "--seed", seed, "--no-models", "--json")
    done = run("simulate", *map(str, flags), "--out", out, env=env)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return simulate(tmp_path_factory.mktemp("runs") / "first")


def test_the_same_seed_gives_the_same_world(first: dict[str, Any], tmp_path: Path) -> None:
    assert simulate(tmp_path / "again")["state_hash"] == first["state_hash"]


def test_another_seed_gives_another_world(first: dict[str, Any], tmp_path: Path) -> None:
    assert simulate(tmp_path / "other", seed=8)["state_hash"] != first["state_hash"]


def test_the_world_is_the_same_without_vector_extensions(
    first: dict[str, Any], tmp_path: Path
) -> None:
    assert simulate(tmp_path / "plain", env=PLAIN_CPU)["state_hash"] == first["state_hash"]


def test_a_replay_finds_every_hash_again(first: dict[str, Any]) -> None:
    done = run("replay", first["out"], "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["same"], result["ticks"], result["first_tick"]) == (True, TICKS, 1)
    assert result["final_hash"] == first["state_hash"]


def test_a_run_leaves_pictures_and_a_report(first: dict[str, Any]) -> None:
    out = Path(first["out"])
    assert json.loads((out / "report.json").read_text())
    for picture in ("map.png", "charts.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG"), picture


def test_a_second_run_into_the_same_folder_is_refused(first: dict[str, Any]) -> None:
    done = run("simulate", "--ticks", "10", "--no-models", "--out", first["out"])
    assert done.returncode == 2
    assert "already holds a world" in done.stderr
    assert "name another folder" in done.stderr


def test_a_run_into_the_folder_of_a_served_world_is_refused(tmp_path: Path) -> None:
    worlds.open_world(tmp_path).store.close()
    asked = RunRequest("valley", 5, None, None, ModelSettings(enabled=False), tmp_path)
    with pytest.raises(UsageError, match="holds a served world"):
        headless.simulate(asked, lambda tick: None)
    assert not (tmp_path / worlds.RUN_WORLD).exists()


def test_the_world_of_a_run_is_found_in_it_and_no_other_is_taken_for_it(tmp_path: Path) -> None:
    run, served = tmp_path / "run", tmp_path / "served"
    worlds.open_world(run / worlds.RUN_WORLD).store.close()
    worlds.open_world(served).store.close()
    shutil.copytree(run / worlds.RUN_WORLD, served / worlds.RUN_WORLD)
    (tmp_path / "neither" / worlds.RUN_WORLD).mkdir(parents=True)
    assert worlds.world_folder(run) == run / worlds.RUN_WORLD
    assert worlds.world_folder(served) == served
    assert worlds.world_folder(tmp_path / "neither") == tmp_path / "neither"
    serving = App(Settings(world=WorldSettings(data=run)))
    assert serving.folder == run / worlds.RUN_WORLD


def test_an_unknown_scene_is_named_with_what_is_there(tmp_path: Path) -> None:
    done = run("simulate", "--scene", "vally", "--ticks", "10", "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "vally" in done.stderr
    assert "did you mean 'valley'" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("faults", [None, 3])
def test_who_lets_all_decide_at_once_gets_room_for_all(tmp_path: Path, faults: int | None) -> None:
    def bounds(decisions: int) -> tuple[int, int]:
        wanted = headless.RunRequest(
            "valley", TICKS, 7, None, ModelSettings(), tmp_path, faults, 1000, 4, decisions
        )
        found = headless._bounds(wanted, False)
        return found.decisions, found.percepts_a_tick

    assert bounds(headless.DECISIONS) == (4, 8)
    assert bounds(500) == (500, 500)


def test_a_run_under_seeded_faults_is_lived_whole_and_its_replay_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the command's, so that a short run meets every fault.
    monkeypatch.setattr(headless, "FAULT_RATE", 0.05)
    wanted = headless.RunRequest("valley", 2000, 7, None, ModelSettings(), tmp_path / "run", 5)
    report = headless.simulate(wanted, lambda tick: None)
    assert report["ticks"] == 2000
    assert set(report["faults"]["injected"]) == {"crash", "delay", "full", "lost"}
    assert report["faults"]["restarts"] > 0
    assert report["faults"]["stuck"] == {}
    assert report["model"] == "scripted (no model)"
    again = replay(tmp_path / "run" / worlds.RUN_WORLD, build_ruleset())
    assert again.first_difference is None, again.reason
    assert f"{again.final_hash:016x}" == report["state_hash"]


def test_faults_and_a_model_of_ones_own_are_refused(tmp_path: Path) -> None:
    done = run("simulate", "--faults", "5", "--no-models", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "--faults" in done.stderr
