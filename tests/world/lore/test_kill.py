"""What was there when `sync` returned survives `kill -9` at any instant, merges under way or not."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import crash_writer_of_vectors
import numpy as np
from crash_writer_of_vectors import contents_after, open_store, vector_of

ROOT = Path(__file__).parents[3]
SCRIPT = Path(crash_writer_of_vectors.__file__)
KILLS = 6


def write_and_kill(path: Path, chance: random.Random) -> int:
    """Let a child write for a moment and kill it; the last change it announced, 0 if none."""
    paths = os.pathsep.join([str(ROOT), str(SCRIPT.parent)])
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        lines = [child.stdout.readline() for _ in range(chance.randrange(60))]
        time.sleep(chance.random() * 0.02)
        child.kill()
        lines += child.stdout.read().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    return int(whole[-1].split()[1]) if whole else 0


def test_what_was_synced_survives_being_killed(tmp_path: Path) -> None:
    chance = random.Random(11)
    merges = 0
    for _ in range(KILLS):
        heard = write_and_kill(tmp_path / "vectors", chance)
        with open_store(str(tmp_path / "vectors")) as store:
            changes = int(store.status()["changes"])  # type: ignore[call-overload]
            assert changes >= heard
            expected = contents_after(changes)
            assert len(store) == len(expected)
            for key, n in expected.items():
                found = store.get(key)
                assert found is not None
                assert found[1].time == n
                np.testing.assert_allclose(found[0], vector_of(n), atol=1e-6)
                assert store.search(vector_of(n), k=1)[0].key == key
            merges += len(store.status()["segments"])  # type: ignore[arg-type]
    assert merges > 0, "the writer was never killed after a merge"
