"""Writes vectors as fast as it can, merging all the while, and announces what is synced, until killed."""

from __future__ import annotations

import os
import sys

import numpy as np
from direct_builder import DirectBuilder

from world.lore.vectors import Key, Meta, VectorOptions, VectorStore

DIMS = 8
KEYS = 61
OPTIONS = VectorOptions(tail_rows=24, exact_rows=16, trees=2)


def vector_of(n: int) -> np.ndarray:
    """The one vector that change n can write."""
    made = np.random.default_rng(n).standard_normal(DIMS).astype(np.float32)
    return made / np.linalg.norm(made)


def change(n: int, held: set[Key] | dict[Key, int]) -> tuple[str, Key]:
    """What change n does to a store that holds these keys."""
    key: Key = n * 7919 % KEYS
    if n % 3 == 0:
        key = f"key {key}"
    return ("delete" if n % 5 == 0 and key in held else "put"), key


def contents_after(changes: int) -> dict[Key, int]:
    """Each key that lives after so many changes, and the change that wrote it."""
    held: dict[Key, int] = {}
    for n in range(1, changes + 1):
        what, key = change(n, held)
        if what == "delete":
            del held[key]
        else:
            held[key] = n
    return held


def open_store(path: str) -> VectorStore:
    return VectorStore(path, DIMS, options=OPTIONS, builder=DirectBuilder())


def main() -> None:
    store = open_store(sys.argv[1])
    n = int(store.status()["changes"])  # type: ignore[call-overload]
    held: set[Key] = set(contents_after(n))
    os.write(1, b"open\n")
    while True:
        n += 1
        what, key = change(n, held)
        if what == "delete":
            store.delete(key)
            held.discard(key)
        else:
            store.put(key, vector_of(n), Meta(time=n))
            held.add(key)
        if n % 4 == 0:
            store.sync()
            os.write(1, f"synced {n}\n".encode("ascii"))


if __name__ == "__main__":
    main()
