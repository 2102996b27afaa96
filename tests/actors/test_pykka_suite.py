"""Pykka's own tests, of the very release that is installed, run against our actor."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OURS = """

# From here on by Greenroom: the runtime under test is its actor, and nothing else is changed.
from actors.dispatch import GreenActor, GreenFuture, default_dispatcher


@pytest.fixture(scope="session")
def runtime() -> Runtime:
    return Runtime(
        name="greenroom",
        actor_class=GreenActor,
        event_class=threading.Event,
        future_class=GreenFuture,
        sleep_func=time.sleep,
    )


def pytest_terminal_summary(terminalreporter: Any) -> None:
    kinds = default_dispatcher().metrics().values()
    terminalreporter.write_line(f"our actors handled {sum(kind.handled for kind in kinds)} messages")
"""


def _source() -> Path:
    """The source archive of the installed Pykka, from a cache or from the package index."""
    release = version("pykka")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "greenroom" / "pykka"
    kept = cache / f"pykka-{release}.tar.gz"
    if kept.exists():
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        wanted = ["--no-binary", "pykka", "--dest", folder, f"pykka=={release}"]
        try:
            told = subprocess.run([*pip, *wanted], capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            pytest.skip(f"the source of Pykka {release} did not come within two minutes")
        found = list(Path(folder).glob("*.tar.gz"))
        if not found:
            why = told.stderr.strip().splitlines()[-1:] or ["pip did not say why"]
            pytest.skip(f"the source of Pykka {release} can't be had here: {why[0]}")
        found[0].replace(kept)
    return kept


@pytest.mark.timeout(300)
def test_pykkas_own_tests_pass_for_our_actor(tmp_path: Path) -> None:
    if find_spec("pytest_mock") is None:
        pytest.skip("Pykka's tests need pytest-mock: pip install pytest-mock")
    with tarfile.open(_source()) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    conftest = folder / "tests" / "conftest.py"
    conftest.write_text(conftest.read_text() + OURS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rfE", "-p", "no:cacheprovider", "tests"],
        cwd=folder,
        # Their package is called `tests` as ours is, so theirs goes first. Pykka is the installed one.
        env={**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    # Less would mean that the tests were not found, or ran on somebody else's actors.
    assert _number(r"(\d+) passed", done.stdout) >= 100
    assert _number(r"our actors handled (\d+) messages", done.stdout) >= 100


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found is not None, text[-2000:]
    return int(found[1])
