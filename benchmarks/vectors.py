"""Neighbours a second among 100,000 vectors, beside exact numpy, at a recall that is measured too."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from world.lore.vectors import VectorOptions, VectorStore

ROWS = 100_000
DIMS = 384
FRESH_SHARE = 0.02
"""Of the rows, so many are put after the merge, and are searched in the tail."""
QUERIES = 400
AT_ONCE = 25
"""Queries that one side asks before the other has its turn: so both share what else the machine does."""
ROUNDS = 3
K = 10
SEED = 7
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Memories:
    """Makes vectors as sentence embedders do: topics, within them themes, within those sentences.

    Coordinates fall off as rank to the power -0.4, topics are of Zipf's sizes, and 35, 35 and 30 % of
    the variance lie in topic, theme and sentence: a sentence's nearest of 100,000 has a cosine of
    about 0.75 with it and the tenth 0.63. Random vectors without such structure have no neighbours
    worth finding, and tight clusters make finding them too easy.
    """

    dims: int
    spread: Vectors
    topics: Vectors
    themes: Vectors
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, chance: np.random.Generator, dims: int) -> Memories:
        topics, themes = 400, 20
        spread = (1.0 + np.arange(dims, dtype=np.float32)) ** np.float32(-0.4)
        spread /= np.sqrt(np.sum(spread**2))
        weights = 1.0 / (5.0 + np.arange(topics))
        return cls(
            dims,
            spread,
            chance.standard_normal((topics, dims), dtype=np.float32) * spread,
            chance.standard_normal((topics, themes, dims), dtype=np.float32) * spread,
            weights / weights.sum(),
        )

    def draw(self, chance: np.random.Generator, rows: int) -> Vectors:
        """float32[rows, dims], of unit length."""
        topic = chance.choice(len(self.topics), size=rows, p=self.weights)
        theme = chance.integers(0, self.themes.shape[1], rows)
        made = chance.standard_normal((rows, self.dims), dtype=np.float32) * self.spread
        made *= np.float32(0.30**0.5)
        made += np.float32(0.35**0.5) * (self.topics[topic] + self.themes[topic, theme])
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        return made


def run(folder: str | Path | None = None, *, scale: float = 1.0) -> dict[str, Any]:
    """Measure in a process of its own, in which numpy too has one thread.

    Writes to `folder` (default: the working folder). Returns {bench, machine, results: [{metric, unit,
    value, …}]}; `scale` makes the store smaller, and the ratio with it.
    """
    root = Path(__file__).resolve().parents[1]
    inherited = os.environ.get("PYTHONPATH")
    paths = os.pathsep.join([str(root), *([inherited] if inherited else [])])
    told = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "benchmarks.vectors", "--here", "--json"),
            *("--scale", str(scale), "--folder", str(folder or Path.cwd())),
        ],
        env={**os.environ, "PYTHONPATH": paths, **dict.fromkeys(ONE_THREAD, "1")},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def measure(folder: str | Path | None = None, *, scale: float = 1.0) -> dict[str, Any]:
    """What `run` returns, measured here, with whatever threads numpy has."""
    rows = max(5_000, int(ROWS * scale))
    # nothing is merged before it is asked for, so that the build is one and can be timed
    options = VectorOptions(tail_rows=2 * rows, tail_limit=2 * rows)
    chance = np.random.default_rng(SEED)
    memories = Memories.of(chance, DIMS)
    vectors, queries = memories.draw(chance, rows), memories.draw(chance, QUERIES)
    fresh = int(rows * FRESH_SHARE)
    with (
        tempfile.TemporaryDirectory(prefix=".bench-vectors-", dir=folder or Path.cwd()) as name,
        VectorStore(name, DIMS, options=options) as store,
    ):
        store.put_many(range(rows - fresh), vectors[: rows - fresh])
        began = time.perf_counter()
        if not store.merge(3600):
            raise RuntimeError(f"the merge failed: {store.status()}")
        merged_s = time.perf_counter() - began
        status = store.status()
        if status["index_error"]:
            raise RuntimeError(f"no index was built: {status['index_error']}")
        seen = _insert(store, range(rows - fresh, rows), vectors)
        ours, peer, found, true = _race(store, vectors, queries)
    recall = np.mean([len(a & b) / K for a, b in zip(found, true, strict=True)])
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, one used"
    return {
        "bench": "vectors",
        "machine": f"{machine}, Python {platform.python_version()}, numpy {np.__version__},"
        f" Annoy {version('annoy')}",
        "results": [
            {
                "metric": f"queries among {rows:,} vectors of {DIMS}, {fresh:,} of them in the tail",
                "unit": "1/s",
                "value": round(ours, 1),
                "peer": "numpy, exact: one product, argpartition",
                "peer_value": round(peer, 1),
                "ratio": round(ours / peer, 2),
                "at_least": 5,
            },
            {
                "metric": f"recall@{K}",
                "unit": "share",
                "value": round(float(recall), 4),
                "at_least": 0.95,
            },
            {"metric": "inserts found at once", "unit": "share", "value": seen, "at_least": 1.0},
            {
                "metric": f"merge of {rows - fresh:,} vectors, {options.trees} trees, in a process beside",
                "unit": "s",
                "value": round(merged_s, 1),
            },
            {
                "metric": "files",
                "unit": "bytes a vector",
                "value": round(float(str(status["bytes"])) / (rows - fresh)),
            },
        ],
    }


def _insert(store: VectorStore, keys: range, vectors: Vectors) -> float:
    """Put each and look for it at once; the share found first."""
    found = 0
    for key in keys:
        store.put(key, vectors[key])
        found += store.search(vectors[key], k=1)[0].key == key
    return found / len(keys)


def _race(
    store: VectorStore, vectors: Vectors, queries: Vectors
) -> tuple[float, float, list[set[int]], list[set[int]]]:
    """Queries a second of the store and of numpy, medians over turns of each; what each found."""

    def ours(query: Vectors) -> set[int]:
        return {int(hit.key) for hit in store.search(query, k=K)}

    def exact(query: Vectors) -> set[int]:
        scores = vectors @ query
        best = np.argpartition(scores, len(scores) - K)[len(scores) - K :]
        return set(best[np.argsort(-scores[best])].tolist())

    def timed(ask: Callable[[Vectors], set[int]], some: Vectors) -> tuple[float, list[set[int]]]:
        began = time.perf_counter()
        found = [ask(query) for query in some]
        return len(some) / (time.perf_counter() - began), found

    rates: list[tuple[float, float]] = []
    found: list[set[int]] = []
    true: list[set[int]] = []
    for first in [*range(0, QUERIES, AT_ONCE)] * ROUNDS:
        some = queries[first : first + AT_ONCE]
        our_rate, our_found = timed(ours, some)
        peer_rate, peer_found = timed(exact, some)
        rates.append((our_rate, peer_rate))
        found += our_found
        true += peer_found
    mine, theirs = (sorted(column)[len(rates) // 2] for column in zip(*rates, strict=True))
    return mine, theirs, found, true


def main() -> None:
    """Print the measurement, as a table or with `--json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--here", action="store_true", help="in this process, all BLAS threads")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where to write")
    arguments = parser.parse_args()
    found = (measure if arguments.here else run)(arguments.folder, scale=arguments.scale)
    if arguments.json:
        print(json.dumps(found, indent=2))
        return
    for one in found["results"]:
        beside = f", {one['ratio']} times {one['peer_value']}" if "peer" in one else ""
        print(f"{one['metric']}: {one['value']} {one['unit']}{beside}")


if __name__ == "__main__":
    main()
