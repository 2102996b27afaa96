"""A segment's index: Annoy's trees for where to begin, links between near rows for where to go on.

Built in a child process, loaded memory-mapped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from world.errors import StorageError
from world.lore.attributes import Vectors

_LAST_WORDS = 400
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class IndexJob:
    """What to build: over float32[rows, dims] in `vectors`, `trees` to one file, `links` to the other."""

    vectors: Path
    rows: int
    dims: int
    trees: int
    links: int
    tree_file: Path
    link_file: Path
    seed: int = 1

    def plain(self) -> dict[str, str | int]:
        """As JSON takes it, paths absolute."""
        return {
            "vectors": str(self.vectors.resolve()),
            "rows": self.rows,
            "dims": self.dims,
            "trees": self.trees,
            "links": self.links,
            "tree_file": str(self.tree_file.resolve()),
            "link_file": str(self.link_file.resolve()),
            "seed": self.seed,
        }


class Builder(Protocol):
    """Makes index files."""

    def build(self, job: IndexJob) -> None:
        """Write both files, synced. Raises `StorageError`."""

    def stop(self) -> None:
        """End what is under way, from another thread; `build` raises."""


def available() -> bool:
    """Whether Annoy is installed; without it every search is exact, and slower."""
    return importlib.util.find_spec("annoy") is not None


class Index:
    """The index of one segment. Raises `StorageError` when its files can't be used.

    Both parts trust their files: hand over only those whose digests were checked. `links` is
    int32[rows, links], memory-mapped.
    """

    def __init__(self, tree_file: Path, link_file: Path, *, rows: int, dims: int) -> None:
        import annoy

        self._trees: Any = annoy.AnnoyIndex(dims, "angular")
        try:
            self._trees.load(str(tree_file))
            links = np.memmap(link_file, dtype="<i4", mode="r")
        except (OSError, ValueError) as error:
            raise StorageError(f"{tree_file} can't be loaded: {error}") from error
        if self._trees.get_n_items() != rows or len(links) == 0 or len(links) % rows:
            raise StorageError(f"{tree_file} or {link_file} is not over {rows} rows")
        self.links: NDArray[np.int32] = links.view(np.ndarray).reshape(rows, -1)

    def begin(self, query: Vectors, count: int, effort: int) -> NDArray[np.int64]:
        """At most `count` rows near the query, of about `effort` that are looked at.

        Lets go of the interpreter lock meanwhile.
        """
        # a list: Annoy makes a number object of every element of an array
        found = self._trees.get_nns_by_vector(query.tolist(), count, effort)
        return np.array(found, dtype=np.int64)


class ChildBuilder:
    """Builds each index in a child process of one thread, which ends with this one."""

    def __init__(self, timeout_s: float = 7200.0) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def build(self, job: IndexJob) -> None:
        """See `Builder`."""
        root = Path(__file__).resolve().parents[2]
        inherited = os.environ.get("PYTHONPATH")
        paths = os.pathsep.join([str(root), *([inherited] if inherited else [])])
        try:
            process = subprocess.Popen(
                # -P keeps a folder named world/ in the current directory from shadowing this package
                [sys.executable, "-P", "-m", "world.lore.index_child"],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": paths, **dict.fromkeys(_ONE_THREAD, "1")},
            )
        except OSError as error:
            raise StorageError(f"no process to build an index in: {error}") from error
        self._process = process
        with process:
            if self._stopped:
                process.kill()
            self._wait(process, json.dumps(job.plain()) + "\n")

    def _wait(self, process: subprocess.Popen[str], job: str) -> None:
        assert process.stdin and process.stderr
        try:
            process.stdin.write(job)
            process.stdin.flush()
            process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        except BrokenPipeError:
            process.wait()
        if process.returncode != 0:
            words = process.stderr.read()[-_LAST_WORDS:].strip().splitlines()
            raise StorageError(
                f"the index was not built: the process ended with {process.returncode}"
                + (f", saying: {words[-1]}" if words else "")
            )

    def stop(self) -> None:
        """See `Builder`."""
        self._stopped = True
        process = self._process
        if process is not None and process.poll() is None:
            process.kill()
