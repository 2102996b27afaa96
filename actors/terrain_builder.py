"""The terrain builder: reshapes the land while the world runs, here by the flood behind a broken dam.

The water's way is computed on the blocking pool; its slices are proposed for ticks to come, so
that the land goes under over seconds and a replay sees the same water.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import pykka

from actors.actor import GreenActor, receives
from actors.blocking import Failed, Finished
from actors.errors import MailboxFull, PoolFull
from actors.flood import Patch, patches, slices, spill
from actors.messages import Answer, DamBroken, Propose
from actors.settings import CompanySettings
from world.inputs import Input
from world.tiles import Tile

__all__ = ["BuilderCounts", "TerrainBuilder"]

EBB_TICKS = 2400
"""Ticks after the last slice until people no longer speak of rising water."""


@dataclass(slots=True)
class BuilderCounts:
    """What the builder has done."""

    floods: int = 0
    flooded_cells: int = 0
    failures: int = 0


class TerrainBuilder(GreenActor):
    """Proposes `tiles` inputs; owns no land itself."""

    def __init__(
        self,
        director: pykka.ActorRef[Any],
        settings: CompanySettings,
        counts: BuilderCounts,
    ) -> None:
        super().__init__()
        self._director = director
        self._settings = settings
        self._counts = counts

    @receives(DamBroken)
    def dam_broken(self, message: DamBroken) -> None:
        """Have the flood computed."""
        volume, count = self._settings.flood_cells, self._settings.flood_slices

        def compute() -> list[list[Patch]]:
            wet = spill(message.tiles, message.cells, volume)
            return [patches(cells) for cells in slices(wet, count)]

        try:
            self._dispatcher.run_blocking(compute, self.actor_ref, message)
        except PoolFull:
            self._dispatcher.tell_after(1.0, self.actor_ref, message)

    @receives(Finished)
    def computed(self, message: Finished) -> None:
        """Propose the slices, each for its tick."""
        broken: DamBroken = message.tag
        waves: list[list[Patch]] = message.value
        start = broken.tick + self._settings.plan_ticks
        every = self._settings.flood_every_ticks
        self._counts.floods += 1
        n = broken.tick * 4096
        for wave, blocks in enumerate(waves):
            for x, y, w, h in blocks:
                n += 1
                self._counts.flooded_cells += w * h
                body = {"x": x, "y": y, "w": w, "h": h, "data": bytes([Tile.WATER]) * (w * h)}
                flooded = Input("tiles", 0, "builder", n, body)
                self._tell(Propose(flooded, due=start + wave * every, epoch=broken.epoch))
        if not waves:
            self._tell(Answer(broken.token, broken.epoch))
            return
        ebb = start + len(waves) * every + EBB_TICKS
        self._tell(Propose(self._say_rising(n + 2, 0), due=ebb, epoch=broken.epoch))
        self._tell(Answer(broken.token, broken.epoch, self._say_rising(n + 1, 1)))

    @receives(Failed)
    def failed(self, message: Failed) -> None:
        """The water has found no way; the world goes on dry."""
        self._counts.failures += 1
        self._tell(Answer(message.tag.token, message.tag.epoch))
        raise message.error

    def _say_rising(self, n: int, rising: int) -> Input:
        return Input("global", 0, "builder", n, {"key": "flood", "value": rising})

    def _tell(self, message: Propose | Answer) -> None:
        with contextlib.suppress(pykka.ActorDeadError, MailboxFull):
            self._director.tell(message)
