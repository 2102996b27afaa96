"""The script that finds or installs Godot says what is missing, and with which exit code."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools/install_godot.sh"
PATH = "/usr/bin:/bin"


def find(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments],
        env={"PATH": PATH, "HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def fake_godot(folder: Path, version: str) -> Path:
    binary = folder / "godot-of-ones-own"
    binary.write_text(f"#!/bin/sh\necho {version}\n")
    binary.chmod(0o755)
    return binary


def test_it_takes_the_godot_that_the_environment_names(tmp_path: Path) -> None:
    binary = fake_godot(tmp_path, "4.10.1.stable.official")

    found = find("--find", GODOT_BIN=str(binary))

    assert found.returncode == 0
    assert found.stdout == f"{binary}\n"
    assert "4.10.1.stable" in found.stderr


@pytest.mark.parametrize("version", ["4.5.1.stable.official", "3.6.stable", "banana", ""])
def test_it_refuses_a_named_godot_that_is_too_old_or_none(tmp_path: Path, version: str) -> None:
    found = find("--find", GODOT_BIN=str(fake_godot(tmp_path, version)))

    assert found.returncode == 3
    assert found.stdout == ""
    assert "no Godot 4.6 or newer" in found.stderr


def test_it_says_so_when_the_named_godot_does_not_exist() -> None:
    found = find("--find", GODOT_BIN="/nonexistent/godot")

    assert found.returncode == 3
    assert "can't be started" in found.stderr


def test_it_finds_a_new_enough_godot_on_the_path_and_passes_over_an_old_one(
    tmp_path: Path,
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, version, name in ((old, "4.2.stable", "godot4"), (new, "4.6.stable", "godot")):
        folder.mkdir()
        fake_godot(folder, version).rename(folder / name)

    found = find("--find", PATH=f"{old}:{new}:{PATH}")

    assert found.stdout == f"{new / 'godot'}\n"
    assert "passing over" in found.stderr


def test_without_any_it_names_the_mend_and_installs_nothing(tmp_path: Path) -> None:
    found = find("--find", GREENROOM_GODOT_ROOT=str(tmp_path / "root"))

    assert found.returncode == 3
    assert "set GODOT_BIN" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_argument_is_wrong_usage() -> None:
    assert find("--frobnicate").returncode == 2
