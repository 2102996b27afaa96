"""How much is measured of a model, what one side did in one phase, and the report that grows of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from benchmarks.llm.drive import Run
from benchmarks.llm.results import Row

NPCS, REQUESTS = 64, 128
LINES = {"house": 120, "250m": 48, "1b": 16}
PHASES = ("shared", "distinct", "poisson", "structured", "speech")
OPPONENTS = {
    "loop": "llama_cpp.Llama",
    "server": "llama-server",
    "example": "llama-cpp-python example server",
}
BUSY = (1, 8, 32, 128)
SPEECH_S = 300.0
_SPEED = {"house": 1.0}
_SLOWER = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is asked of one model. `scale` 1 is for an idle machine; a smoke test takes 0.02.

    `given_lines` and `given_s` stand for the model's own `lines` and `speech_s` where they are not 0;
    `phases` are some of `PHASES`, `against` some of `OPPONENTS`.
    """

    name: str
    scale: float
    threads: int
    given_lines: int = 0
    given_s: float = 0.0
    phases: tuple[str, ...] = PHASES
    against: tuple[str, ...] = tuple(OPPONENTS)

    @property
    def count(self) -> int:
        """Requests in a phase."""
        return max(2, round(REQUESTS * self._amount))

    @property
    def npcs(self) -> int:
        """NPCs who ask."""
        return min(NPCS, self.count)

    @property
    def lines(self) -> int:
        """Lines a player speaks at each number of busy NPCs; a slow side gets through fewer in `speech_s`."""
        return self.given_lines or max(2, round(LINES[self.name] * self.scale))

    @property
    def busy(self) -> tuple[int, ...]:
        """The curve's steps; a smoke test has a crowd of four."""
        return BUSY if self.scale >= 0.1 else (1, 4)

    @property
    def speech_s(self) -> float:
        """How long the lines at one step may take; the one that is being answered then is waited for."""
        return self.given_s or max(5.0, SPEECH_S * self.scale)

    def told(self) -> dict[str, Any]:
        """The counts, as a report tells them."""
        return {
            "phases": list(self.phases),
            "requests": self.count,
            "npcs": self.npcs,
            "lines": self.lines,
            "busy": list(self.busy),
            "step_seconds": self.speech_s,
        }

    @property
    def _amount(self) -> float:
        return self.scale * _SPEED.get(self.name, _SLOWER)


@dataclass(slots=True)
class Outcome:
    """What one side did in one phase; `figures` are our engine's totals over it."""

    run: Run
    read: int | None = None
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Report:
    """What grows while the bench runs."""

    results: list[Row] = field(default_factory=list)
    missing: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    opponents: dict[str, dict[str, Any]] = field(default_factory=dict)
    curve: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def miss(self, what: str, reason: str, hint: str = "") -> None:
        """Note, once, that something could not be measured, and why."""
        found = {"what": what, "reason": reason, **({"hint": hint} if hint else {})}
        if found not in self.missing:
            self.missing.append(found)

    def note(self, text: str) -> None:
        """Note something a reader of the figures must know, once."""
        if text not in self.notes:
            self.notes.append(text)
