"""One request inside the engine: its prompt, how far it is, and what it may still say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.llama.thinking import Reasoning
from models.text import TextStream

RESERVE = 64
"""Cells set aside for a reply under way; longer ones take their chance with what is free."""


class Steering(Protocol):
    """Keeps a reply inside its grammar (see guide.py)."""

    @property
    def finished(self) -> bool: ...

    def allowed(self) -> NDArray[np.bool_]: ...

    def accept(self, token: int) -> list[int]: ...


@dataclass(slots=True, eq=False)
class Job:
    """A request the engine has taken.

    `tokens` is the prompt and every token chosen so far, `fed` how many of them the sequence
    holds. `sequence` is -1 while it waits. `turn` is its place in its class (see schedule.py).
    """

    id: int
    arrival: int
    priority: int
    deadline: float
    tokens: list[int]
    prompt: NDArray[np.int32]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    text: TextStream
    guide: Steering | None = None
    thought: Reasoning | None = None
    adapter: str = ""
    species: str = ""
    asker: str = ""
    wanted: int = 0
    turn: float = 0.0
    sequence: int = -1
    fed: int = 0
    generated: int = 0
    cached: int = -1
    dropped: tuple[int, ...] = ()
    alternatives: int = 0
    logprobs: list[list[Any]] | None = None

    @property
    def rank(self) -> tuple[int, int, float, float, int]:
        """Sorts the most urgent first, then what is wanted first, whose turn it is, what is due first, the earliest."""
        return (self.priority, self.wanted, self.turn, self.deadline, self.arrival)

    @property
    def cost(self) -> float:
        """What it takes of its asker's share, in tokens written; a prompt's cost about an eighth."""
        return self.max_tokens + len(self.prompt) / 8

    @property
    def spoken(self) -> int:
        """Tokens of the reply, without hidden reasoning."""
        return self.generated - (self.thought.tokens if self.thought else 0)

    @property
    def reading(self) -> bool:
        """Whether its prompt is still being decoded."""
        return self.fed < len(self.prompt)

    @property
    def outstanding(self) -> int:
        """Cells it still needs, as far as they are set aside."""
        return len(self.tokens) - self.fed + self.reserved

    @property
    def reserved(self) -> int:
        """Cells set aside for what it may still say."""
        return min(self.max_tokens - self.spoken, RESERVE)


@dataclass(frozen=True, slots=True)
class Ask:
    """The fields of an `ask` frame, checked."""

    id: int
    messages: Sequence[tuple[str, str]]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    stop: tuple[str, ...]
    grammar: str | None
    priority: int
    wanted: int
    seconds_left: float
    asker: str
    adapter: str
    window: int
    importance: tuple[int, ...]
    think: int
    logprobs: int

    @classmethod
    def unpack(cls, frame: Mapping[str, Any]) -> Ask:
        """Raises KeyError, TypeError or ValueError when the frame is no `ask`."""
        return cls(
            id=int(frame["id"]),
            messages=[(str(role), str(content)) for role, content in frame["messages"]],
            max_tokens=max(1, int(frame["max_tokens"])),
            temperature=float(frame["temperature"]),
            top_p=float(frame["top_p"]),
            seed=int(frame["seed"]),
            stop=tuple(str(text) for text in frame["stop"]),
            grammar=frame["grammar"],
            priority=int(frame["priority"]),
            wanted=int(frame["wanted"]),
            seconds_left=float(frame["seconds_left"]),
            asker=str(frame["asker"]),
            adapter=str(frame["adapter"]),
            window=int(frame["window"]),
            importance=tuple(int(each) for each in frame["importance"]),
            think=int(frame["think"]),
            logprobs=int(frame["logprobs"]),
        )
