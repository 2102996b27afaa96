"""Annoy's part: an index built in a child process, loaded memory-mapped, asked for candidates."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from world.errors import StorageError
from world.lore.attributes import Vectors

_LAST_WORDS = 400


class Index(Protocol):
    """A frozen index over rows 0 to n - 1."""

    def candidates(self, query: Vectors, count: int, effort: int) -> NDArray[np.int64]:
        """At most `count` rows, likely the nearest, nearest first; `effort`: rows looked at."""


class Builder(Protocol):
    """Makes index files."""

    def build(
        self, vectors: Path, index: Path, *, rows: int, dims: int, trees: int, seed: int
    ) -> None:
        """Write `index` over the float32[rows, dims] in `vectors`, synced. Raises `StorageError`."""

    def stop(self) -> None:
        """End what is under way, from another thread; `build` raises."""


def available() -> bool:
    """Whether Annoy is installed; without it every search is exact, and slower."""
    return importlib.util.find_spec("annoy") is not None


class AnnoyIndex:
    """An index file, memory-mapped. Raises `StorageError` when Annoy refuses it.

    Annoy trusts its file: hand over only one whose digest was checked.
    """

    def __init__(self, path: Path, dims: int, rows: int) -> None:
        import annoy

        self._index: Any = annoy.AnnoyIndex(dims, "angular")
        try:
            self._index.load(str(path))
        except OSError as error:
            raise StorageError(f"{path} can't be loaded: {error}") from error
        if self._index.get_n_items() != rows:
            raise StorageError(f"{path} has {self._index.get_n_items()} rows instead of {rows}")

    def candidates(self, query: Vectors, count: int, effort: int) -> NDArray[np.int64]:
        """See `Index`; lets go of the interpreter lock while it looks."""
        # a list: Annoy makes a number object of every element of an array
        found = self._index.get_nns_by_vector(query.tolist(), count, effort)
        return np.array(found, dtype=np.int64)


class ChildBuilder:
    """Builds each index in a child process, which ends with this one."""

    def __init__(self, timeout_s: float = 3600.0) -> None:
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False

    def build(
        self, vectors: Path, index: Path, *, rows: int, dims: int, trees: int, seed: int
    ) -> None:
        """See `Builder`."""
        job = {
            "vectors": str(vectors.resolve()),
            "index": str(index.resolve()),
            "rows": rows,
            "dims": dims,
            "trees": trees,
            "seed": seed,
        }
        root = Path(__file__).resolve().parents[2]
        inherited = os.environ.get("PYTHONPATH")
        paths = os.pathsep.join([str(root), *([inherited] if inherited else [])])
        try:
            process = subprocess.Popen(
                # -P keeps a folder named world/ in the current directory from shadowing this package
                [sys.executable, "-P", "-m", "world.lore.annoy_child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": paths},
            )
        except OSError as error:
            raise StorageError(f"no process to build an index in: {error}") from error
        self._process = process
        with process:
            if self._stopped:
                process.kill()
            self._wait(process, json.dumps(job) + "\n")

    def _wait(self, process: subprocess.Popen[str], job: str) -> None:
        assert process.stdin and process.stdout and process.stderr
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
