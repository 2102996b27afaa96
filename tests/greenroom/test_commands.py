"""What commands say when something is wrong, and which settings they heed."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from foundation.errors import UsageError
from greenroom import console, headless, scenes, worlds
from greenroom.cli import app
from greenroom.commands import inspect, simulate
from greenroom.headless import RunRequest


def test_brackets_in_a_message_and_its_mend_are_told_whole(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @console.command
    def fail() -> None:
        raise UsageError("a [path] of brackets", "pip install 'greenroom[cloud]'")

    with pytest.raises(typer.Exit) as ended:
        fail()
    told = capsys.readouterr().err
    assert "a [path] of brackets" in told
    assert "greenroom[cloud]" in told
    assert ended.value.exit_code == 2


def test_a_file_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @console.command
    def write() -> None:
        (tmp_path / "nowhere" / "file").write_text("x")

    with pytest.raises(typer.Exit) as ended:
        write()
    assert "nowhere" in capsys.readouterr().err
    assert ended.value.exit_code == 1


def test_a_disk_that_is_full_is_told_though_no_file_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @console.command
    def write() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(typer.Exit) as ended:
        write()
    assert os.strerror(errno.ENOSPC) in capsys.readouterr().err
    assert ended.value.exit_code == 1


def test_what_is_told_of_a_world_may_hold_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    inspect._show_values({"name": "[/] Ann [bold]"}, json=False)
    assert "[/] Ann [bold]" in capsys.readouterr().err


def test_a_runs_folder_is_told_whole_so_that_it_can_be_copied(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = "/runs/[of] " + "a long way down/" * 9
    report = {"scene": "[mine]", "seed": 1, "ticks": 5, "seconds": 1.0, "ticks_per_second": 5.0}
    simulate._summarise(report | {"state_hash": "ab", "out": out})
    told = capsys.readouterr().err.splitlines()
    assert f"Prove it: greenroom replay {out}" in told
    assert told[0].startswith("[mine], seed 1")


def test_simulate_heeds_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[RunRequest] = []

    def remember(request: RunRequest, on_tick: object) -> None:
        asked.append(request)
        raise UsageError("far enough")

    monkeypatch.setattr(headless, "simulate", remember)
    monkeypatch.setenv("GREENROOM_MODELS__LOCAL_ONLY", "true")
    CliRunner().invoke(app, ["simulate", "--out", str(tmp_path / "run")])
    assert [request.models.local_only for request in asked] == [True]


def test_a_scene_that_changed_since_its_world_was_made_is_told(tmp_path: Path) -> None:
    scene = tmp_path / "scene"
    shutil.copytree(scenes.find("valley"), scene)
    for warned in (False, False, True):
        if warned:
            page = scene / "scene.toml"
            page.write_text(
                page.read_text(encoding="utf-8") + "\n# another word\n", encoding="utf-8"
            )
        opened = worlds.open_world(tmp_path / "world", scene=str(scene))
        opened.store.close()
        assert any("has changed" in warning for warning in opened.warnings) is warned


def test_a_benchmark_gets_the_options_it_takes_and_refuses_those_none_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[dict[str, object]] = []

    def run(*, scale: float = 1.0, only: tuple[str, ...] = ()) -> dict[str, object]:
        asked.append({"scale": scale, "only": only})
        missing = {"what": "llama-server", "reason": "not [here]", "hint": "install it"}
        return {"results": [], "missing": [missing], "notes": ["mind [this]"]}

    monkeypatch.setattr("benchmarks.llm.run", run)
    runner = CliRunner()
    heeded = runner.invoke(app, ["bench", "llm", "--scale", "0.5", "--only", "house"])
    assert heeded.exit_code == 0, heeded.output
    assert asked == [{"scale": 0.5, "only": ["house"]}]
    refused = runner.invoke(app, ["bench", "store", "--only", "house"])
    assert refused.exit_code == 2
    assert len(asked) == 1
