"""Builds a segment's index in a process of its own: `python -m world.lore.index_child`.

Annoy's `build` lets go of the interpreter lock, its `add_item` and `save` do not, and a full disk
ends a process that writes to a memory map: none of that belongs beside a tick. The job is one line
of JSON on stdin {vectors, rows, dims, seed, trees, tree_file, links, link_file}; when stdin closes,
whoever asked is gone, and so is this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

import annoy
import numpy as np

from world.lore.neighbours import nearest_rows

NICE = 10

Job = dict[str, str | int]


def build(job: Job) -> None:
    """Write trees and links over the rows, one thread, the same for the same seed; synced."""
    rows, dims, seed = int(job["rows"]), int(job["dims"]), int(job["seed"])
    vectors = np.memmap(str(job["vectors"]), dtype="<f4", mode="r", shape=(rows, dims))
    index = annoy.AnnoyIndex(dims, "angular")
    index.set_seed(seed)
    for row in range(rows):
        index.add_item(row, vectors[row].tolist())
    index.build(int(job["trees"]), 1)
    tree_file, link_file = Path(str(job["tree_file"])), Path(str(job["link_file"]))
    index.save(str(tree_file))
    links = nearest_rows(vectors.view(np.ndarray), int(job["links"]), seed)
    link_file.write_bytes(links.astype("<i4").tobytes())
    for path in (tree_file, link_file):
        with path.open("r+b") as file:
            os.fsync(file.fileno())


def _end_with_asker() -> None:
    sys.stdin.read()
    os._exit(3)


def main() -> None:
    """Take the job; the exit status tells how it went."""
    with contextlib.suppress(AttributeError, OSError):  # Windows has no nice
        os.nice(NICE)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_asker, daemon=True).start()
    build(job)
    # not the interpreter's own end, which would wait for the thread above
    os._exit(0)


if __name__ == "__main__":
    main()
