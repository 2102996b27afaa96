"""Effects made real: checked as a whole first, then written, each with the events that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgpack
import numpy as np

from world import maths
from world.effects import (
    Attend,
    Bear,
    Begin,
    Cooldown,
    Effect,
    Emit,
    Harm,
    Need,
    Order,
    Paint,
    Refusal,
    Remove,
    Rename,
    Reset,
    SetGlobal,
)
from world.entities import INDEX, MAX_ENTITIES, NEEDS, NEVER
from world.events import Event
from world.maths import TILE, Purpose
from world.ruleset import TACTICS
from world.state import State
from world.tiles import KINDS
from world.view import View

CORPSE_TICKS: Final = 400
DOWNED_TICKS: Final = 1200
PLAYER_DOWNED_TICKS: Final = 200
LOOK_UP: Final = 40
"""Ticks after which one who is bound by a choice looks for danger again."""
MAX_GLOBALS: Final = 256
MAX_NAME: Final = 48
MAX_EFFECTS: Final = 256
MAX_EMIT: Final = 2048
FULL_MEAL: Final = 700
SHARED_MEAL: Final = 450
_TABLE: Final = 6 * TILE


def entity_values(state: State, view: View, effect: Bear, entity: int) -> dict[str, int]:
    """The columns of a new entity of a species at or near a point."""
    rules = state.rules
    code = rules.species_code[effect.species]
    s = rules.species_list[code]
    x, y = view.standable(effect.x, effect.y) or (effect.x, effect.y)
    home = view.standable(*(effect.home or (x, y))) or (x, y)
    work = view.standable(*(effect.work or (x, y))) or (x, y)
    phase = maths.keyed(state.seed, entity, 0, Purpose.PHASE)
    thinks = s.alive and not effect.player
    cell = state.place_grid[y // TILE, x // TILE]
    return {
        "species": code,
        "faction": int(rules.tables.faction[code]),
        "group": effect.group,
        "x": x, "y": y, "way_x": x, "way_y": y, "goal_x": x, "goal_y": y,
        "home_x": home[0], "home_y": home[1], "work_x": work[0], "work_y": work[1],
        "hp": s.hp, "max_hp": s.hp, "attack": s.attack, "defence": s.defence,
        "speed": s.speed, "reach": s.reach, "perception": s.perception,
        "hunger": maths.below_int(maths.mix(phase), 400) if thinks else 0,
        "fatigue": maths.below_int(maths.mix(phase + 1), 200) if thinks else 0,
        "mood": 200 if thinks else 0,
        "born": state.tick,
        "player": int(effect.player),
        "next_decision": state.tick + 1 + phase % 40 if thinks else NEVER,
        "place": int(cell),
        "phase": phase % 100 if s.alive else -1,
    }  # fmt: skip


class Commit:
    """Checks and writes effects of one world. Checking changes nothing; writing cannot fail.

    `wake` makes near whoever of the ids is far: nobody is written to who has not lived up to now.
    """

    def __init__(
        self,
        state: State,
        view: View,
        events: list[Event],
        wake: Callable[[Sequence[int]], None] = lambda entities: None,
    ) -> None:
        self._state = state
        self._view = view
        self.events = events
        self.wake = wake
        self._check: dict[type[Any], Callable[[Any], str]] = {
            Begin: self._check_begin,
            Need: self._check_need,
            Harm: self._check_harm,
            Cooldown: self._check_cooldown,
            Emit: self._check_emit,
            Paint: self._check_paint,
            Bear: self._check_bear,
            Remove: lambda e: self._known(e.entity),
            Order: self._check_order,
            SetGlobal: self._check_global,
            Rename: self._check_rename,
            Reset: lambda e: self._text_fits(e.reason) or self._known(e.entity),
            Attend: self._check_attend,
        }
        self._write: dict[type[Any], Callable[[Any], int]] = {
            Begin: self._begin,
            Need: self._need,
            Harm: lambda e: self.harm(e.entity, e.amount, e.by),
            Cooldown: self._cooldown,
            Emit: self._emit,
            Paint: self._paint,
            Bear: self._bear,
            Remove: lambda e: self.remove(e.entity),
            Order: self._order,
            SetGlobal: self._global,
            Rename: self._rename,
            Reset: self._reset,
            Attend: self._attend,
        }

    def check(self, effects: Sequence[Effect]) -> Refusal | None:
        """The first thing that is wrong with them, or None: then `write` takes them all."""
        if len(effects) > MAX_EFFECTS:
            return Refusal("blocked", f"{len(effects)} effects at once, at most {MAX_EFFECTS}")
        room = MAX_ENTITIES - len(self._state.columns)
        if sum(type(e) is Bear for e in effects) > room:
            return Refusal("blocked", "the world is full")
        for effect in effects:
            checker = self._check.get(type(effect))
            try:
                wrong = checker(effect) if checker else f"{type(effect).__name__} is no effect"
            except (TypeError, ValueError, AttributeError, OverflowError) as error:
                wrong = f"{type(effect).__name__} is damaged: {error}"
            if wrong:
                return Refusal("blocked", wrong[:200])
        return None

    def write(self, effects: Sequence[Effect], creator: int, n: int) -> list[int]:
        """Commit checked effects in order; returns the ids of those born."""
        born: list[int] = []
        self._creator, self._n = creator, n
        for effect in effects:
            self.wake([getattr(effect, name, 0) for name in ("entity", "target", "by")])
            made = self._write[type(effect)](effect)
            if made:
                born.append(made)
        return born

    # -- checks: "" or what is wrong ---------------------------------------------------------

    def _known(self, entity: int) -> str:
        return "" if self._state.row(entity) >= 0 else f"no entity {entity}"

    def _on_map(self, x: int, y: int) -> bool:
        state = self._state
        return type(x) is int and type(y) is int and 0 <= x <= state.max_x and 0 <= y <= state.max_y

    def _check_begin(self, e: Begin) -> str:
        if e.activity not in self._state.rules.activity_code:
            return f"no activity {e.activity!r}"
        if e.goal is not None and not self._on_map(*e.goal):
            return f"goal {e.goal} is off the map"
        if type(e.until) is not int or not 0 <= e.until <= self._state.tick + 10**6:
            return f"until {e.until} is out of bounds"
        if e.target and self._known(e.target):
            return self._known(e.target)
        return self._known(e.entity)

    def _check_need(self, e: Need) -> str:
        if e.need != "hp" and e.need not in NEEDS:
            return f"no need {e.need!r}"
        if type(e.amount) is not int or abs(e.amount) > 10**6:
            return f"amount {e.amount} is out of bounds"
        return self._known(e.entity)

    def _check_harm(self, e: Harm) -> str:
        if type(e.amount) is not int or not 0 <= e.amount <= 10**6:
            return f"amount {e.amount} is out of bounds"
        if type(e.by) is not int or not 0 <= e.by < 2**48:
            return "by is no entity"
        return self._known(e.entity)

    def _check_cooldown(self, e: Cooldown) -> str:
        if type(e.until) is not int or not 0 <= e.until <= self._state.tick + 10**6:
            return f"until {e.until} is out of bounds"
        return self._known(e.entity)

    def _check_emit(self, e: Emit) -> str:
        if not isinstance(e.kind, str) or not 0 < len(e.kind) <= 32:
            return "an event needs a short kind"
        ids_fit = all(type(i) is int and 0 <= i < 2**48 for i in (e.entity, e.target))
        if not ids_fit or len(msgpack.packb(dict(e.data))) > MAX_EMIT:
            return f"event {e.kind!r} holds too much or no ids"
        return ""

    def _check_paint(self, e: Paint) -> str:
        state = self._state
        if any(type(v) is not int for v in (e.x, e.y, e.w, e.h)) or not isinstance(e.data, bytes):
            return "tiles need whole numbers and bytes"
        if min(e.x, e.y) < 0 or min(e.w, e.h) < 1:
            return "tiles off the map"
        if e.x + e.w > state.width or e.y + e.h > state.height:
            return "tiles off the map"
        if len(e.data) != e.w * e.h:
            return f"{len(e.data)} bytes for {e.w} x {e.h} tiles"
        if max(e.data) >= KINDS:
            return f"the byte {max(e.data)} is no tile"
        return ""

    def _check_bear(self, e: Bear) -> str:
        state = self._state
        if e.species not in state.rules.species_code:
            return f"no species {e.species!r}"
        for spot in ((e.x, e.y), e.home, e.work):
            if spot is not None and not self._on_map(*spot):
                return f"{spot} is off the map"
        if type(e.group) is not int or not 0 <= e.group < 2**31:
            return f"group {e.group} is out of bounds"
        if self._view.standable(e.x, e.y) is None:
            return "nobody can stand there"
        return self._text_fits(e.name) or self._text_fits(e.persona_key)

    def _text_fits(self, text: str) -> str:
        if not isinstance(text, str) or len(text) > 64:
            return "a name is too long or no text"
        text.encode()
        return ""

    def _check_order(self, e: Order) -> str:
        if e.tactic not in TACTICS:
            return f"no tactic {e.tactic!r}"
        if type(e.until) is not int or not 0 <= e.until <= self._state.tick + 10**6:
            return f"until {e.until} is out of bounds"
        if type(e.focus) is not int or not 0 <= e.focus < 2**48 or type(e.group) is not int:
            return "focus or group is out of bounds"
        return ""

    def _check_attend(self, e: Attend) -> str:
        if type(e.until) is not int or not 0 <= e.until <= self._state.tick + 10**6:
            return f"until {e.until} is out of bounds"
        return self._known(e.entity)

    def _check_global(self, e: SetGlobal) -> str:
        held = self._state.globals
        if not isinstance(e.key, str) or not 0 < len(e.key) <= 32:
            return "a global needs a short key"
        e.key.encode()
        if type(e.value) is not int or abs(e.value) > 2**53:
            return f"value {e.value} is out of bounds"
        if e.key not in held and len(held) >= MAX_GLOBALS:
            return f"{MAX_GLOBALS} globals at most"
        return ""

    def _check_rename(self, e: Rename) -> str:
        return self._text_fits(e.name) or self._known(e.entity)

    # -- writing -----------------------------------------------------------------------------

    def _tell(self, kind: str, entity: int, target: int = 0, **data: Any) -> None:
        self.events.append(Event(self._state.tick, kind, entity, target, data))

    def _begin(self, e: Begin) -> int:
        state = self._state
        row = state.row(e.entity)
        if row < 0 or not state.on_feet(row):
            return 0
        c = state.columns
        here = (int(c.x[row]), int(c.y[row]))
        goal = e.goal or here
        code = state.rules.activity_code[e.activity]
        player = bool(c.player[row])
        pace = 100 if player else int(state.rules.tables.act_pace[code])
        state.put(
            row,
            action=code,
            intent=-1,
            action_until=e.until,
            next_decision=NEVER if player else min(e.until, state.tick + LOOK_UP),
            target=e.target,
            way_x=here[0],
            way_y=here[1],
            goal_x=goal[0],
            goal_y=goal[1],
            pace=pace if goal != here or e.target else 0,
            stuck=0,
        )
        return 0

    def _need(self, e: Need) -> int:
        row = self._state.row(e.entity)
        if row >= 0 and self._state.on_feet(row):
            c = self._state.columns
            low, high = NEEDS.get(e.need, (1, int(c.max_hp[row])))
            value = int(c.data[INDEX[e.need], row]) + e.amount
            self._state.put(row, **{e.need: min(max(value, low), high)})
        return 0

    def harm(self, entity: int, amount: int, by: int) -> int:
        """Take hp; tells who struck, and who went down or died."""
        state = self._state
        row = state.row(entity)
        if row < 0 or not state.on_feet(row):
            return 0
        c = state.columns
        hp = max(0, int(c.hp[row]) - amount)
        self._tell("attacked", by, entity, damage=amount, hp=hp)
        changes = {"hp": hp, "aggressor": by, "hurt_at": state.tick}
        changes["fear"] = min(1000, int(c.fear[row]) + 200)
        if not c.player[row] and c.next_decision[row] < NEVER:
            changes |= {"action_until": 0, "next_decision": state.tick + 1}
        state.put(row, **changes)
        if hp == 0:
            self._fell(row, entity, by)
        return 0

    def _fell(self, row: int, entity: int, by: int) -> None:
        state = self._state
        c, tables = state.columns, state.rules.tables
        species = int(c.species[row])
        still = {
            "pace": 0, "stuck": 0, "target": 0, "threat": 0, "intent": -1, "action_until": 0,
            "way_x": int(c.x[row]), "way_y": int(c.y[row]),
            "goal_x": int(c.x[row]), "goal_y": int(c.y[row]),
        }  # fmt: skip
        state.membership += 1
        eater = state.row(by)
        if c.player[row] or tables.essential[species]:
            until = state.tick + (PLAYER_DOWNED_TICKS if c.player[row] else DOWNED_TICKS)
            code = state.rules.activity_code["downed"]
            state.put(row, downed_until=until, action=code, next_decision=until, **still)
            self._tell("downed", entity, by, by=by, until=until)
        else:
            code = state.rules.activity_code["dead"]
            gone = state.tick + CORPSE_TICKS
            state.put(row, died=state.tick, action=code, next_decision=gone, **still)
            self._tell("died", entity, by, by=by)
            delay = state.rules.species_list[species].birth_delay
            if delay:
                draw = maths.keyed(state.seed, entity, state.tick, Purpose.BIRTH)
                due = state.tick + delay // 2 + maths.below_int(draw, delay)
                h = [int(v[row]) for v in (c.home_x, c.home_y, c.work_x, c.work_y, c.group)]
                state.expect_birth((due, species, h[0], h[1], h[2], h[3], h[4], entity))
        if eater >= 0 and tables.eats[int(c.species[eater]), species]:
            self._feed(eater, row)

    def _feed(self, eater: int, prey: int) -> None:
        """The one who struck eats, and so do mates of its group that stand close."""
        state = self._state
        c = state.columns
        group = int(c.group[eater])
        table = [eater]
        if group:
            n = c.high
            near = (c.x[:n] - c.x[prey]) ** 2 + (c.y[:n] - c.y[prey]) ** 2 <= _TABLE * _TABLE
            near &= (c.group[:n] == group) & (c.died[:n] < 0) & (c.downed_until[:n] < 0)
            near &= (c.species[:n] == c.species[eater]) & (c.id[:n] != 0)
            table += [int(r) for r in np.flatnonzero(near) if r != eater]
            self.wake(c.id[table].tolist())
        for row in table:
            meal = FULL_MEAL if row == eater else SHARED_MEAL
            state.put(row, hunger=max(0, int(c.hunger[row]) - meal))
            self._tell("ate", int(c.id[row]), int(c.id[prey]))

    def _cooldown(self, e: Cooldown) -> int:
        row = self._state.row(e.entity)
        if row >= 0:
            self._state.put(row, cooldown_until=e.until)
        return 0

    def _emit(self, e: Emit) -> int:
        self._tell(e.kind, e.entity, e.target, **e.data)
        return 0

    def _paint(self, e: Paint) -> int:
        if self._state.paint(e.x, e.y, e.w, e.h, e.data):
            self._tell("tiles", 0, 0, x=e.x, y=e.y, w=e.w, h=e.h)
        return 0

    def standable(self, x: int, y: int) -> tuple[int, int] | None:
        """Where someone can stand at or near a point."""
        return self._view.standable(x, y)

    def _bear(self, e: Bear) -> int:
        return self.bear(e, self._creator, self._n)

    def bear(self, e: Bear, creator: int, n: int, quiet: bool = False) -> int:
        """Make a checked new entity and return its id."""
        state = self._state
        probe = 0
        entity = maths.new_id(state.seed, creator, state.tick, n)
        while entity in state.columns:
            probe += 1
            entity = maths.new_id(state.seed, creator, state.tick, n, probe)
        values = entity_values(state, self._view, e, entity)
        state.add(entity, values, e.name, e.persona_key)
        self._view.refresh()
        if not quiet:
            self._tell(
                "spawned", entity, 0, species=e.species, name=e.name, player=e.player, born=False
            )
        return entity

    def remove(self, entity: int) -> int:
        """Take an entity out of the world, if it is there."""
        if self._state.row(entity) >= 0:
            self._state.remove(entity)
            self._tell("despawned", entity)
        return 0

    def _order(self, e: Order) -> int:
        state = self._state
        c = state.columns
        rows = np.flatnonzero((c.group[: c.high] == e.group) & (c.died[: c.high] < 0))
        self.wake(c.id[rows].tolist())
        state.write("tactic", rows, TACTICS.index(e.tactic))
        state.write("focus", rows, e.focus)
        state.write("order_until", rows, e.until)
        free = rows[(c.next_decision[rows] < NEVER) & (c.downed_until[rows] < 0)]
        state.write("next_decision", free, state.tick + 1)
        self._tell("order", 0, e.focus, group=e.group, tactic=e.tactic)
        return 0

    def _attend(self, e: Attend) -> int:
        row = self._state.row(e.entity)
        if row >= 0:
            self._state.far.keep(row, e.until)
        return 0

    def _global(self, e: SetGlobal) -> int:
        self._state.set_global(e.key, e.value)
        return 0

    def _rename(self, e: Rename) -> int:
        self._state.rename(e.entity, e.name)
        return 0

    def _reset(self, e: Reset) -> int:
        state = self._state
        row = state.row(e.entity)
        if row < 0 or not state.on_feet(row):
            return 0
        c = state.columns
        x, y = int(c.x[row]), int(c.y[row])
        if e.home:
            x, y = self._view.standable(int(c.home_x[row]), int(c.home_y[row])) or (x, y)
        state.put(
            row,
            action=0, intent=-1, action_until=0, target=0, next_decision=state.tick + 1,
            x=x, y=y, way_x=x, way_y=y, goal_x=x, goal_y=y, pace=0, stuck=0,
            place=int(state.place_grid[y // TILE, x // TILE]),
        )  # fmt: skip
        self._tell("reset", e.entity, 0, reason=e.reason, home=e.home)
        return 0
