"""An engine at rest gives freed memory back: after work, seldom, and really."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from models.llama.heap import EVERY_S, Heap

HOLES = """
import psutil
from models.llama.heap import Heap

kept = [bytes(600) for _ in range(200_000)]
full = psutil.Process().memory_info().rss
del kept[:-1]  # the last one lies at the end of the heap and holds the rest of it in place
heap = Heap()
heap.worked()
heap.rest(0.0)
print(full - psutil.Process().memory_info().rss)
"""


def test_the_heap_is_trimmed_once_for_each_time_of_work_and_not_too_often() -> None:
    trims: list[None] = []
    heap = Heap(lambda: trims.append(None))
    heap.rest(0.0)
    assert len(trims) == 0
    heap.worked()
    heap.rest(1.0)
    heap.rest(100.0)
    assert len(trims) == 1
    heap.worked()
    heap.rest(100.0)
    heap.worked()
    heap.rest(100.0 + EVERY_S / 2)
    assert len(trims) == 2
    heap.rest(100.0 + EVERY_S)
    assert len(trims) == 3


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc_trim is glibc's")
def test_memory_that_was_freed_is_the_systems_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) > 80 * 2**20
