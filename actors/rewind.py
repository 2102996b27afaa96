"""The way back to the last whole tick, should a step ever fail halfway through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

from actors.errors import ActorError
from world.inputs import Input
from world.moment import Moment
from world.ruleset import Ruleset
from world.world import World

__all__ = ["Rewind"]

FREED: Final = 2
"""Ticks before the mark whose inputs are let go with each tick after it."""

Lived: TypeAlias = tuple[tuple[Input, ...], int]
"""What a tick committed, and its hash."""


class Rewind:
    """A state and the inputs committed since; `mark` starts anew and bounds what is kept."""

    def __init__(self, world: World) -> None:
        self._ruleset: Ruleset = world.ruleset
        self._steps: list[Lived] = []
        self._past: list[Lived] = []
        self._before: Moment | None = None
        self._moment = world.moment()

    def mark(self, world: World) -> Moment:
        """Keep this state as the one to go back to, and return it."""
        self._before, self._moment = self._moment, world.moment()
        # The moment before, and a minute's inputs, would take milliseconds of this tick to be freed.
        self._past += self._steps
        self._steps = []
        return self._moment

    def stepped(self, inputs: Sequence[Input], state_hash: int) -> None:
        """Keep what a whole step committed, and the hash it led to."""
        self._steps.append((tuple(inputs), state_hash))
        del self._past[-FREED:]
        self._before = None

    def __len__(self) -> int:
        return len(self._steps)

    def world(self) -> World:
        """The world as it was after the last whole step.

        Raises:
            ActorError: the steps led elsewhere this time.
        """
        world = World.from_state(self._moment.state(), self._ruleset)
        for inputs, state_hash in self._steps:
            result = world.step(inputs)
            if result.hash != state_hash:
                raise ActorError(
                    f"tick {result.tick} came out otherwise when it was lived again",
                    "load the last checkpoint",
                )
        return world
