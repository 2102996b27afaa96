"""An index builder without a child process, whose start would be most of a small test."""

from __future__ import annotations

from world.lore import index_child
from world.lore.index import IndexJob


class DirectBuilder:
    """Builds in this process."""

    def build(self, job: IndexJob) -> None:
        index_child.build(job.plain())

    def stop(self) -> None:
        pass
