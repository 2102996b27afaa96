"""The way back to the last whole tick, should a step ever fail halfway through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from actors.errors import ActorError
from world.inputs import Input
from world.ruleset import Ruleset
from world.world import World

__all__ = ["Rewind"]


class Rewind:
    """A state and the inputs committed since; `mark` starts anew and bounds what is kept."""

    def __init__(self, world: World) -> None:
        self._ruleset: Ruleset = world.ruleset
        self.mark(world)

    def mark(self, world: World) -> dict[str, Any]:
        """Keep this state as the one to go back to, and return it; its arrays refuse writing from now on."""
        self._state = world.get_state()
        _shut(self._state)
        self._steps: list[tuple[tuple[Input, ...], int]] = []
        return self._state

    def stepped(self, inputs: Sequence[Input], state_hash: int) -> None:
        """Keep what a whole step committed, and the hash it led to."""
        self._steps.append((tuple(inputs), state_hash))

    def __len__(self) -> int:
        return len(self._steps)

    def world(self) -> World:
        """The world as it was after the last whole step.

        Raises:
            ActorError: the steps led elsewhere this time.
        """
        world = World.from_state(self._state, self._ruleset)
        for inputs, state_hash in self._steps:
            result = world.step(inputs)
            if result.hash != state_hash:
                raise ActorError(
                    f"tick {result.tick} came out otherwise when it was lived again",
                    "load the last checkpoint",
                )
        return world


def _shut(state: Any) -> None:
    """Let the arrays of a state refuse writing, so that storage needs no copy of them."""
    for value in state.values() if isinstance(state, dict) else ():
        _shut(value)
        while isinstance(value, np.ndarray):
            value.setflags(write=False)
            value = value.base
