"""Builds an Annoy index in a process of its own: `python -m world.lore.annoy_child` with a job on stdin.

Annoy's `build` lets go of the interpreter lock, its `add_item` and `save` do not, and a full disk
ends a process that writes to a memory map: none of that belongs beside a tick. The job is one line
of JSON {vectors, index, rows, dims, trees, seed}; when stdin closes, whoever asked is gone, and so
is this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading

import annoy
import numpy as np

NICE = 10


def build(job: dict[str, str | int]) -> None:
    """Write the index over `rows` vectors, one thread, the same for the same seed; synced."""
    rows, dims = int(job["rows"]), int(job["dims"])
    vectors = np.memmap(str(job["vectors"]), dtype="<f4", mode="r", shape=(rows, dims))
    index = annoy.AnnoyIndex(dims, "angular")
    index.set_seed(int(job["seed"]))
    for row in range(rows):
        index.add_item(row, vectors[row].tolist())
    index.build(int(job["trees"]), 1)
    index.save(str(job["index"]))
    with open(str(job["index"]), "r+b") as file:  # noqa: PTH123
        os.fsync(file.fileno())


def _end_with_asker() -> None:
    sys.stdin.read()
    os._exit(3)


def main() -> None:
    """Take the job, tell "done" on stdout."""
    with contextlib.suppress(AttributeError, OSError):  # Windows has no nice
        os.nice(NICE)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_asker, daemon=True).start()
    build(job)
    print("done", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
