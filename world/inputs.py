"""The only thing that changes a world: typed inputs, packed for the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MAX_KIND: Final = 32
MAX_PROPOSER: Final = 64
MAX_ENTITY: Final = 2**48 - 1

RejectionCode = Literal[
    "no_such_entity",
    "dead",
    "no_valid_target",
    "out_of_range",
    "cooling_down",
    "blocked",
    "unknown_action",
    "bad_body",
    "not_yours",
    "too_late",
]
"""Why an input was refused; the wire's error codes of the same names."""


@dataclass(frozen=True, slots=True)
class Input:
    """One proposal.

    `kind` is an action of the vocabulary ("move", "say" …) or a system kind ("spawn", "tiles" …).
    `entity` is who acts (0 for the world itself). `proposer` names the mind, client or director,
    "npc:<id>", "client:<name>", "group:<id>", "director" …; `n` is that proposer's own counter.
    Inputs of a tick are applied in the order (entity, proposer, n).
    """

    kind: str
    entity: int
    proposer: str
    n: int
    body: Mapping[str, Any] = field(default_factory=dict)

    def pack(self) -> list[Any]:
        """Plain values for msgpack: [kind, entity, proposer, n, body]."""
        return [self.kind, self.entity, self.proposer, self.n, dict(self.body)]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Input:
        """The inverse of `pack`. Raises ValueError if the list was not made by it."""
        if len(packed) != 5 or not isinstance(packed[4], dict):
            raise ValueError("not a packed input")
        kind, entity, proposer, n, body = packed
        return cls(kind, entity, proposer, n, body)


def well_formed(value: Input) -> bool:
    """Whether the envelope (not the body) has the right types and keeps the bounds."""
    return (
        isinstance(value.kind, str)
        and 0 < len(value.kind) <= MAX_KIND
        and isinstance(value.proposer, str)
        and 0 < len(value.proposer) <= MAX_PROPOSER
        and type(value.entity) is int
        and 0 <= value.entity <= MAX_ENTITY
        and type(value.n) is int
        and 0 <= value.n < 2**63
        and isinstance(value.body, Mapping)
    )


@dataclass(frozen=True, slots=True)
class Rejection:
    """An input the rules refused: a stable code and a sentence for people and models."""

    input: Input
    code: RejectionCode
    reason: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """An input the rules committed; `detail` holds plain values, such as {"entity": new id}."""

    input: Input
    detail: Mapping[str, Any]
