"""An index builder without a child process, whose start would be most of a small test."""

from __future__ import annotations

from pathlib import Path

from world.lore import annoy_child


class DirectBuilder:
    """Builds in this process, counting."""

    def __init__(self) -> None:
        self.built = 0

    def build(
        self, vectors: Path, index: Path, *, rows: int, dims: int, trees: int, seed: int
    ) -> None:
        self.built += 1
        annoy_child.build(
            {
                "vectors": str(vectors),
                "index": str(index),
                "rows": rows,
                "dims": dims,
                "trees": trees,
                "seed": seed,
            }
        )

    def stop(self) -> None:
        pass
