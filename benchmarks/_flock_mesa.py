"""The same birds by Mesa, on each of its two continuous spaces: what a user of Mesa would write by the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mesa import Agent, Model
from mesa.experimental.continuous_space import ContinuousSpace, ContinuousSpaceAgent
from mesa.space import ContinuousSpace as PlainSpace

from benchmarks._flock import STEPS, Floats, Rules


def _turned(heading: Floats, deltas: Floats, away: Floats, headings: Floats, r: Rules) -> Floats:
    """A bird's new heading by where its neighbours are, how far, and where they head."""
    turn = deltas.sum(axis=0) * r.cohere
    turn -= deltas[away < r.apart].sum(axis=0) * r.separate
    turn += headings.sum(axis=0) * r.match
    new: Floats = heading + turn / len(deltas)
    new /= np.linalg.norm(new)
    return new


class Bird(ContinuousSpaceAgent):  # type: ignore[misc]
    """A bird in the space of arrays (`mesa.experimental.continuous_space`)."""

    def __init__(self, model: Any, position: Floats, heading: Floats) -> None:
        super().__init__(model.space, model)
        self.position = position
        self.heading = heading
        self.rules = model.rules

    def step(self) -> None:
        """Look around, turn, move."""
        r = self.rules
        others, away = self.get_neighbors_in_radius(radius=r.sight)
        # A bird without neighbours keeps its heading, which is of length 1 already.
        if others:
            deltas = self.space.calculate_difference_vector(self.position, agents=others)
            headings = np.array([other.heading for other in others])
            self.heading = _turned(self.heading, deltas, away, headings, r)
        self.position += self.heading * r.speed


class PlainBird(Agent):  # type: ignore[misc]
    """A bird in the older space (`mesa.space`), which asks for one agent at a time what isn't asked here."""

    def __init__(self, model: Any, position: Floats, heading: Floats) -> None:
        super().__init__(model)
        self.heading = heading
        self.rules = model.rules
        model.space.place_agent(self, position)

    def step(self) -> None:
        """Look around, turn, move."""
        r, space = self.rules, self.model.space
        others = [other for other in space.get_neighbors(self.pos, r.sight) if other is not self]
        if others:
            deltas = np.array([other.pos for other in others]) - self.pos
            deltas -= np.rint(deltas / space.size) * space.size
            away = np.sqrt((deltas * deltas).sum(axis=1))
            headings = np.array([other.heading for other in others])
            self.heading = _turned(self.heading, deltas, away, headings, r)
        space.move_agent(self, self.pos + self.heading * r.speed)

    @property
    def position(self) -> Floats:
        """Where it is."""
        found: Floats = self.pos
        return found


class Birds(Model):  # type: ignore[misc]
    """A model of birds at given places, or at random ones."""

    def __init__(
        self, rules: Rules, seed: int, plain: bool = False, born: Sequence[Floats] | None = None
    ) -> None:
        super().__init__(seed=seed)
        self.rules = rules
        if born is None:
            positions = self.rng.random((rules.birds, 2)) * rules.side
            headings = self.rng.uniform(-1, 1, (rules.birds, 2))
            headings /= np.linalg.norm(headings, axis=1, keepdims=True)
        else:
            positions, headings = np.stack(born[:2], axis=1), np.stack(born[2:], axis=1)
        self.space: Any
        if plain:
            self.space = PlainSpace(rules.side, rules.side, torus=True)
            PlainBird.create_agents(self, rules.birds, position=positions, heading=headings)
        else:
            self.space = ContinuousSpace(
                [[0, rules.side], [0, rules.side]],
                torus=True,
                random=self.random,
                n_agents=rules.birds,
            )
            Bird.create_agents(self, rules.birds, position=positions, heading=headings)

    def step(self) -> None:
        """Let all act, in a random order of Mesa's."""
        self.agents.shuffle_do("step")

    def fly(self, steps: int = STEPS) -> None:
        """Live so many steps."""
        for _ in range(steps):
            self.step()

    def act(self, order: Sequence[int]) -> None:
        """One step in which the birds act in a given order."""
        birds = list(self.agents)
        for bird in order:
            birds[bird].step()

    def arrays(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Where the birds are and head, as a flock has it: x, y, vx, vy."""
        at = np.array([bird.position for bird in self.agents])
        heading = np.array([bird.heading for bird in self.agents])
        return at[:, 0], at[:, 1], heading[:, 0], heading[:, 1]
