"""What waits for the next step, and the outcomes that wait until their tick is durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from actors.messages import OnOutcome, Outcome
from world.inputs import Input
from world.world import StepResult

__all__ = ["Desk", "Telling"]

Telling = tuple[OnOutcome, Outcome]
"""Whom to tell what."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    input: Input
    on_outcome: OnOutcome | None
    on_commit: OnOutcome | None


class Desk:
    """Takes proposals, hands a tick's over in one go, and keeps accepted outcomes until synced.

    At most `limit` proposals wait, the later due ones included; at most `outcomes` outcomes do.
    """

    def __init__(self, limit: int, outcomes: int) -> None:
        self._limit = limit
        self._outcomes = outcomes
        self._next: list[_Waiting] = []
        self._due: dict[int, list[_Waiting]] = {}
        self._waiting = 0
        self._stepping: list[_Waiting] = []
        self._unsynced: deque[tuple[int, OnOutcome, Outcome]] = deque()

    @property
    def waiting(self) -> int:
        """How many proposals wait."""
        return self._waiting

    @property
    def unsynced(self) -> int:
        """How many accepted outcomes wait for storage."""
        return len(self._unsynced)

    @property
    def full(self) -> bool:
        """Whether a further proposal would be refused."""
        return self._waiting >= self._limit or len(self._unsynced) >= self._outcomes

    def take(
        self,
        proposal: Input,
        on_outcome: OnOutcome | None = None,
        *,
        due: int = 0,
        on_commit: OnOutcome | None = None,
    ) -> bool:
        """Keep a proposal for the next step, or for the first at or after `due`; False when full."""
        if self.full:
            return False
        waiting = _Waiting(proposal, on_outcome, on_commit)
        if due:
            self._due.setdefault(due, []).append(waiting)
        else:
            self._next.append(waiting)
        self._waiting += 1
        return True

    def admit(self, tick: int) -> list[Input]:
        """All that is to be part of this tick; `settle` must follow."""
        taken, self._next = self._next, []
        for due in sorted(due for due in self._due if due <= tick):
            taken += self._due.pop(due)
        self._waiting -= len(taken)
        self._stepping = taken
        return [waiting.input for waiting in taken]

    def proposals(self) -> dict[int, list[Input]]:
        """What waits, by the tick it is due in; 0 for the next one."""
        found = {due: [waiting.input for waiting in those] for due, those in self._due.items()}
        return found | {0: [waiting.input for waiting in self._next]}

    def settle(self, result: StepResult) -> tuple[list[Telling], list[Telling]]:
        """Match a step's result with what was admitted.

        Returns:
            whom to tell at the commit (accepted or not), and whom to tell of refusals at once;
            accepted outcomes are kept until `release`.
        """
        outcomes: dict[int, Outcome] = {}
        for accepted in result.accepted:
            entity = int(accepted.detail.get("entity", accepted.input.entity))
            outcomes[id(accepted.input)] = Outcome(
                result.tick, True, entity=entity, detail=accepted.detail
            )
        for refused in result.rejections:
            outcomes[id(refused.input)] = Outcome(
                result.tick, False, refused.code, refused.reason, refused.input.entity
            )
        commits: list[Telling] = []
        refusals: list[Telling] = []
        for waiting in self._stepping:
            outcome = outcomes.get(id(waiting.input)) or Outcome(
                result.tick,
                False,
                "internal",
                "the tick was lived without it",
                waiting.input.entity,
            )
            if waiting.on_commit is not None:
                commits.append((waiting.on_commit, outcome))
            if waiting.on_outcome is None:
                continue
            if outcome.accepted:
                self._unsynced.append((result.tick, waiting.on_outcome, outcome))
            else:
                refusals.append((waiting.on_outcome, outcome))
        self._stepping = []
        return commits, refusals

    def release(self, tick: int) -> list[Telling]:
        """The accepted outcomes of all ticks up to `tick`, in order."""
        told: list[Telling] = []
        while self._unsynced and self._unsynced[0][0] <= tick:
            _, on_outcome, outcome = self._unsynced.popleft()
            told.append((on_outcome, outcome))
        return told

    def clear(self) -> list[Callable[[Outcome], None]]:
        """Forget all that waits, as at the end of an epoch; returns who waited for an outcome or a commit."""
        asked = self.clear_proposals()
        asked += [on_outcome for _, on_outcome, _ in self._unsynced]
        self._unsynced.clear()
        return asked

    def clear_proposals(self) -> list[Callable[[Outcome], None]]:
        """Forget what no step has taken; what one accepted is still told when it is durable."""
        waiting = [*self._next, *(w for due in sorted(self._due) for w in self._due[due])]
        asked = [w.on_commit for w in waiting if w.on_commit is not None]
        asked += [w.on_outcome for w in waiting if w.on_outcome is not None]
        self._next, self._due, self._waiting = [], {}, 0
        return asked
