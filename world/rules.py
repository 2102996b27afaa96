"""Propose, then commit or reject: every input passes here, in one order, and none can break a step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgpack
from pydantic import ValidationError

from foundation.strict import StrictModel
from world.actions import (
    SYSTEM,
    AttendBody,
    DespawnBody,
    GlobalBody,
    NameBody,
    OrderBody,
    ResetBody,
    SpawnBody,
    TilesBody,
)
from world.commit import Commit
from world.effects import (
    Attend,
    Bear,
    Cooldown,
    Order,
    Outcome,
    Paint,
    Refusal,
    Remove,
    Rename,
    Reset,
    SetGlobal,
)
from world.inputs import Accepted, Input, Rejection, well_formed
from world.ruleset import TACTICS, ActionSpec
from world.state import State
from world.view import View

MAX_BODY: Final = 32_768
"""Bytes of a body, packed."""


def in_order(inputs: Iterable[Input]) -> tuple[list[Input], list[Rejection]]:
    """Well-formed inputs in the order (entity, proposer, n), and the others rejected.

    Inputs that agree in all three are ordered by their packed bytes, so that the order they were
    handed in never shows.
    """
    fit: list[tuple[tuple[int, str, int, bytes], Input]] = []
    unfit: list[Rejection] = []
    for value in inputs:
        if not isinstance(value, Input) or not well_formed(value):
            unfit.append(Rejection(value, "bad_body", "the input's envelope is malformed"))
            continue
        try:
            packed = msgpack.packb([value.kind, sorted(value.body.items())], strict_types=False)
            value.proposer.encode()
        except (TypeError, ValueError, OverflowError, RecursionError):
            unfit.append(Rejection(value, "bad_body", "the body holds more than plain values"))
            continue
        if len(packed) > MAX_BODY:
            unfit.append(Rejection(value, "bad_body", f"the body is over {MAX_BODY} bytes"))
            continue
        fit.append(((value.entity, value.proposer, value.n, packed), value))
    fit.sort(key=lambda pair: pair[0])
    return [value for _, value in fit], unfit


class Rules:
    """Applies inputs to one world.

    `wake` makes near whoever of the ids is far, and returns how to undo it.
    """

    def __init__(
        self,
        state: State,
        view: View,
        commit: Commit,
        wake: Callable[[Sequence[int]], Callable[[], None]],
    ) -> None:
        self._state = state
        self._view = view
        self._commit = commit
        self._wake = wake

    def apply(self, value: Input) -> Accepted | Rejection:
        """Commit one well-formed input or say why not. Never raises; a rejection changes nothing."""
        # Whoever acts or is meant is judged as it is now. A refusal is in no journal, so it must leave no trace.
        meant = value.body.get("target", value.body.get("to"))
        undo = self._wake([value.entity, meant] if type(meant) is int else [value.entity])
        result = self._judge(value)
        wrong = result if isinstance(result, Refusal) else self._commit.check(result.effects)
        if wrong is not None or isinstance(result, Refusal):
            undo()
            assert wrong is not None
            return Rejection(value, wrong.code, wrong.reason)
        creator = value.entity or _creator(value.proposer)
        born = self._commit.write(result.effects, creator, value.n)
        detail: dict[str, Any] = dict(result.detail)
        if born:
            row = self._state.row(born[0])
            c = self._state.columns
            detail |= {"entity": born[0], "x": int(c.x[row]), "y": int(c.y[row])}
        return Accepted(value, detail)

    def _judge(self, value: Input) -> Outcome | Refusal:
        system = SYSTEM.get(value.kind)
        spec = self._state.rules.actions.get(value.kind)
        model = system or (spec.model if spec else None)
        if model is None:
            return Refusal("unknown_action", f"there is no action {value.kind!r}")
        try:
            body = model.model_validate(dict(value.body))
        except ValidationError as error:
            return Refusal("bad_body", _first(error))
        except Exception as error:
            # A mod's model may hold validators of its own, or be left half defined.
            why = f"the body of {value.kind!r} can't be checked: {error!r}"
            return Refusal("bad_body", why[:200])
        if system is not None:
            return self._system(value, body)
        assert spec is not None
        return self._action(value, spec, body)

    def _action(self, value: Input, spec: ActionSpec, body: StrictModel) -> Outcome | Refusal:
        state, view = self._state, self._view
        row = state.row(value.entity)
        if row < 0:
            return Refusal("no_such_entity", f"there is no entity {value.entity}")
        refusal = self._owns(value, row) or self._can_act(row)
        if refusal is None and spec.needs_target:
            refusal = self._reaches(row, spec, getattr(body, "target", 0))
        if refusal is None and spec.cooldown and state.columns.cooldown_until[row] > state.tick:
            wait = int(state.columns.cooldown_until[row]) - state.tick
            refusal = Refusal("cooling_down", f"ready in {wait} ticks")
        if refusal is not None:
            return refusal
        try:
            result = spec.handler(view, row, body)
        except Exception as error:
            # A handler may come from a mod; the tick goes on and the mod's fault is named.
            return Refusal("blocked", f"the action {spec.name!r} failed: {error!r}"[:200])
        if isinstance(result, Refusal):
            return result
        if not isinstance(result, Outcome) or not isinstance(result.effects, tuple):
            return Refusal("blocked", f"the action {spec.name!r} gave no outcome")
        if spec.cooldown:
            cool = Cooldown(value.entity, state.tick + spec.cooldown)
            result = Outcome((*result.effects, cool), result.detail)
        return result

    def _owns(self, value: Input, row: int) -> Refusal | None:
        """Clients move players' bodies only, an NPC's mind only its own, a group only its members."""
        kind, _, name = value.proposer.partition(":")
        c = self._state.columns
        if kind == "client" and not c.player[row]:
            return Refusal("not_yours", "clients act through players' bodies only")
        if kind == "npc" and (name != str(value.entity) or c.player[row]):
            return Refusal("not_yours", f"{value.proposer} can't act for {value.entity}")
        if kind == "group" and name != str(int(c.group[row])):
            return Refusal("not_yours", f"{value.entity} is not of {value.proposer}")
        return None

    def _can_act(self, row: int) -> Refusal | None:
        c = self._state.columns
        if c.died[row] >= 0:
            return Refusal("dead", "the dead don't act")
        if c.downed_until[row] >= 0:
            return Refusal("dead", "it is knocked out")
        if not self._state.rules.tables.alive[c.species[row]]:
            return Refusal("no_such_entity", "things don't act")
        return None

    def _reaches(self, row: int, spec: ActionSpec, target: int) -> Refusal | None:
        state, view = self._state, self._view
        other = state.row(target)
        if other < 0 or other == row:
            return Refusal("no_valid_target", "there is no such target")
        if not state.on_feet(other):
            return Refusal("no_valid_target", f"{view.name(target)} is down already")
        living = bool(state.rules.tables.alive[state.columns.species[other]])
        if living == (spec.name == "use"):
            return Refusal("no_valid_target", f"{view.name(target)} is not for that")
        reach = spec.reach or int(state.columns.reach[row])
        if view.distance2(row, other) > reach * reach:
            return Refusal("out_of_range", f"{view.name(target)} is out of reach")
        return None

    def _system(self, value: Input, body: StrictModel) -> Outcome | Refusal:
        kind, _, name = value.proposer.partition(":")
        ordered = isinstance(body, OrderBody) and kind == "group" and name == str(body.group)
        if kind in ("client", "npc") or (kind == "group" and not ordered):
            return Refusal("not_yours", f"{value.proposer} can't propose {value.kind!r}")
        if isinstance(body, SpawnBody):
            return Outcome((Bear(**dict(body)),))
        if isinstance(body, TilesBody):
            return Outcome((Paint(**dict(body)),))
        if isinstance(body, OrderBody):
            return self._order(body)
        if isinstance(body, GlobalBody):
            return Outcome((SetGlobal(body.key, body.value),))
        if isinstance(body, ResetBody):
            return self._reset(value, body)
        if isinstance(body, (DespawnBody, NameBody, AttendBody)):
            if self._state.row(value.entity) < 0:
                return Refusal("no_such_entity", f"there is no entity {value.entity}")
            if isinstance(body, AttendBody):
                return Outcome((Attend(value.entity, self._state.tick + body.ticks),))
            if isinstance(body, NameBody):
                return Outcome((Rename(value.entity, body.text),))
            return Outcome((Remove(value.entity),))
        return Outcome(())

    def _order(self, body: OrderBody) -> Outcome | Refusal:
        state = self._state
        c = state.columns
        members = (c.group[: c.high] == body.group) & (c.died[: c.high] < 0)
        if not members.any():
            return Refusal("no_valid_target", f"group {body.group} has no living member")
        focus = state.row(body.focus) if body.focus else 0
        if focus < 0 or (body.focus and not state.on_feet(focus)):
            return Refusal("no_valid_target", f"{body.focus} is nobody to focus on")
        if body.tactic not in TACTICS:
            return Refusal("bad_body", f"there is no tactic {body.tactic!r}")
        until = state.tick + body.ticks
        return Outcome((Order(body.group, body.tactic, body.focus, until),))

    def _reset(self, value: Input, body: ResetBody) -> Outcome | Refusal:
        row = self._state.row(value.entity)
        if row < 0:
            return Refusal("no_such_entity", f"there is no entity {value.entity}")
        if self._state.columns.player[row]:
            return Refusal("not_yours", "a player's body is its player's")
        refusal = self._can_act(row)
        return refusal or Outcome((Reset(value.entity, body.reason, body.home),))


def _creator(proposer: str) -> int:
    """A number for a proposer that is no entity; stable across runs."""
    return int.from_bytes(proposer.encode()[:64].ljust(8, b"\0")[:8], "little")


def _first(error: ValidationError) -> str:
    """The first thing wrong with a body, as one line."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}"[:200] if where else str(first["msg"])[:200]
