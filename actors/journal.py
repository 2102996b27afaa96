"""Hands each tick's record to storage, in order and without a hole, and checkpoints now and then."""

from __future__ import annotations

import logging
from typing import Final

from actors.ledger import Ledger
from actors.telling import Told
from foundation.errors import GreenroomError, LimitError
from world.errors import StorageError
from world.store.records import record_of
from world.world import StepResult

__all__ = ["Journal"]

AHEAD: Final = 40
"""Ticks before a checkpoint in which its state is copied bit by bit."""

logger = logging.getLogger(__name__)


class Journal:
    """What storage can't take at once waits, boundedly, in the ledger's backlog."""

    def __init__(self, ledger: Ledger, told: Told) -> None:
        self._ledger = ledger
        self._told = told

    @property
    def blocked(self) -> bool:
        """Whether going on would leave a hole: the world has to pause until storage is back."""
        return len(self._ledger.backlog) >= self._ledger.settings.records_waiting

    def record(self, result: StepResult) -> None:
        """Hand a step over; without a store what it accepted is told at once."""
        ledger = self._ledger
        if ledger.store is None:
            self._told.all(ledger.desk.release(result.tick))
            return
        ledger.backlog.append(record_of(result, ledger.world.epoch))
        self.hand_over()

    def hand_over(self) -> None:
        """Give storage what waits."""
        ledger = self._ledger
        if ledger.store is None:
            return
        wait = ledger.settings.patience_s if ledger.headless else 0.0
        while ledger.backlog:
            try:
                ledger.store.append(ledger.backlog[0], timeout=wait)
            except LimitError:
                ledger.counts["records_held"] += 1
                return
            except StorageError as error:
                ledger.storage_fault = str(error)
                ledger.counts["storage_faults"] += 1
                return
            ledger.backlog.popleft()
            ledger.storage_fault = ""

    def keep(self, state_hash: int) -> None:
        """Checkpoint the state when it is due, and copy it bit by bit before; a way back begins with each checkpoint."""
        left = self._ledger.settings.checkpoint_ticks - len(self._ledger.rewind)
        if left <= 0:
            self._checkpoint(state_hash)
        elif left <= AHEAD:
            self._ledger.world.copy_ahead(left)

    def _checkpoint(self, state_hash: int) -> None:
        ledger = self._ledger
        moment = ledger.rewind.mark(ledger.world)
        if ledger.store is None or ledger.backlog:
            return
        try:
            give_way = ledger.right_of_way.give_way
            ledger.store.checkpoint(moment, state_hash=state_hash, give_way=give_way)
        except GreenroomError as error:
            ledger.counts["checkpoint_faults"] += 1
            logger.warning("no checkpoint at tick %d: %s", ledger.world.tick, error)
