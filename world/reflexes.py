"""The reflex floor: utility AI over columns, for all whose time to decide has come at once."""

from __future__ import annotations

from itertools import pairwise
from math import isqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from world import tactics
from world.combat import STRIKE_COOLDOWN, damage
from world.commit import LOOK_UP, Commit
from world.detail import may_decide
from world.entities import Ints, Rows
from world.events import Event
from world.kernels import choices
from world.kernels.kinds import Bools
from world.maths import TILE
from world.paths import clear
from world.ruleset import Aim, Consideration
from world.senses import perceive
from world.state import State
from world.tiles import Tile
from world.view import View

DECIDE_EVERY: Final = 4
"""Decisions fall due on every fourth tick, so that many are taken in one go."""
CHASE_EVERY: Final = 4
_LOYALTY: Final = 40
STEADY: Final = 150
"""In the face of danger: what a fresh choice is worth beyond its reasons, and what was given up for it is worth less."""
STEADY_TICKS: Final = 200
"""For how long a choice made in the face of danger is fresh."""
MAX_FAULTS: Final = 64


class Reflexes:
    """Decides and acts for every body that no player moves."""

    def __init__(self, state: State, view: View, commit: Commit) -> None:
        self._state = state
        self._view = view
        self._commit = commit
        self.faults: dict[str, str] = {}

    # -- deciding ----------------------------------------------------------------------------

    def decide(self) -> None:
        """Let all who are due perceive, weigh and choose; meant for every DECIDE_EVERY-th tick."""
        state = self._state
        c = state.columns
        n = c.high
        rows = (c.next_decision[:n] <= state.tick).nonzero()[0]
        if state.far.count:
            rows = rows[may_decide(state, rows)]
        rows = rows[(c.died[rows] < 0) & (c.downed_until[rows] < 0) & (c.player[rows] == 0)]
        if not rows.size:
            return
        perceive(self._view, self._view.index, rows)
        in_danger = self._notice(rows)
        free = self._unbound(rows)
        if free.any():
            self._choose(rows[free], in_danger[free])

    def _notice(self, rows: Rows) -> Bools:
        """Remember threats, and tell when one comes into sight and when the last is gone.

        Says of each whether it saw one when it decided last, and does so still.
        """
        state, view = self._state, self._view
        c = state.columns
        other = view.sense.threat_row[rows]
        now = np.where(other >= 0, c.id[np.maximum(other, 0)], 0)
        before = c.threat[rows]
        state.write("threat", rows, now)
        scared = rows[(now > 0)]
        if scared.size:
            state.write("fear", scared, np.minimum(1000, c.fear[scared] + 20))
        told = state.rules.tables.speaks[c.species[rows]] | (c.group[rows] > 0)
        changed = (((now > 0) != (before > 0)) & told).nonzero()[0]
        for i in changed[np.argsort(c.id[rows[changed]])].tolist():
            entity = int(c.id[rows[i]])
            if now[i]:
                tiles = isqrt(int(view.sense.threat_d2[rows[i]])) // TILE
                species = state.rules.species_names[int(c.species[other[i]])]
                data = {"species": species, "distance": tiles}
                self._commit.events.append(Event(state.tick, "threat", entity, int(now[i]), data))
            else:
                self._commit.events.append(Event(state.tick, "calm", entity))
        out: Bools = (now > 0) & (before > 0)
        return out

    def _unbound(self, rows: Rows) -> Bools:
        """Whose choice is theirs to make: a mind's choice holds until its time or danger."""
        state = self._state
        c = state.columns
        held: Bools = c.action_until[rows] > state.tick
        if not held.any():
            return ~held
        half = c.perception[rows] // 2
        danger = self._view.sense.threat_d2[rows] < half * half
        brave = state.rules.tables.brave[c.species[rows]]
        strikes = state.rules.tables.act_strikes[c.action[rows]]
        flees = c.action[rows] == state.rules.activity_code["flee"]
        held &= ~danger | brave | strikes | flees
        kept = rows[held]
        later = np.minimum(c.action_until[kept], state.tick + LOOK_UP)
        state.write("next_decision", kept, later)
        return ~held

    def _choose(self, rows: Rows, in_danger: Bools) -> None:
        """Let each take up what is worth most to it, one consideration after the other.

        What each is at weighs a little heavier, and the more so while a choice in danger is fresh: reasons to fight and to flee
        hang on a body's place and on who stands by, and the first steps of either change both, so whoever weighed them
        anew each time would turn on the spot. So what was chosen is kept to and what was given up for it is not taken up
        again, unless it is better by a clear margin, or time has passed.
        """
        state = self._state
        c, rules = state.columns, state.rules
        best = np.empty(rows.size, dtype=np.int64)
        choices.best(
            self._scores(rows), rows, c.intent, c.left, c.since, in_danger,
            state.tick, _LOYALTY, STEADY, STEADY_TICKS, best,
        )  # fmt: skip
        # Stable, so that who chooses the same stays in order.
        order = np.argsort(best, kind="stable")
        many = np.bincount(best - choices.NOTHING, minlength=len(rules.considerations) + 1)
        ends = many.cumsum().tolist()
        for k, (first, last) in enumerate(pairwise([0, *ends]), choices.NOTHING):
            if first < last:
                # An aim may look at what those before have just taken up, so it is asked for only now.
                chosen = rows[order[first:last]]
                aim = self._aim(rules.considerations[k], chosen) if k >= 0 else _here(state, chosen)
                self._take_up(chosen, k, aim)

    def _scores(self, rows: Rows) -> Ints:
        """int64[considerations, rows]: what each says, 0 for those a species doesn't heed."""
        rules = self._state.rules
        uses = rules.tables.uses[self._state.columns.species[rows]]
        scores = np.zeros((len(rules.considerations), rows.size), dtype=np.int64)
        for k in np.flatnonzero(uses.any(axis=0)).tolist():
            at = uses[:, k].nonzero()[0]
            scores[k, at] = self._score(rules.considerations[k], rows[at])
        return scores

    def _score(self, reason: Consideration, rows: Rows) -> Ints:
        """What a consideration says; a fault counts as 0 and is remembered."""
        try:
            score = reason.score(self._view, rows)
            if score.shape != rows.shape or score.dtype.kind not in "iub":
                raise TypeError(f"scores must be {rows.size} whole numbers")
            return score
        except Exception as error:
            # It may come from a mod; the tick goes on and the fault is named.
            self._blame(reason.name, error)
            return np.zeros(rows.size, dtype=np.int64)

    def _aim(self, reason: Consideration, rows: Rows) -> Aim:
        """Where it sends them, as int64 arrays of its own; a fault lets them stay, and is remembered."""
        try:
            aim = reason.aim(self._view, rows)
            parts = [aim.goal_x, aim.goal_y, aim.target]
            parts += [] if aim.pace is None else [aim.pace]
            for part in parts:
                if part.shape != rows.shape or part.dtype.kind not in "iu":
                    raise TypeError(f"an aim must hold {rows.size} whole numbers")
            return Aim(*(part.astype(np.int64) for part in parts))
        except Exception as error:
            # As above: a mod's fault must not stop the tick.
            self._blame(reason.name, error)
            return _here(self._state, rows)

    def _blame(self, name: str, error: Exception) -> None:
        if name in self.faults or len(self.faults) < MAX_FAULTS:
            self.faults[name] = repr(error)[:200]

    def _take_up(self, rows: Rows, intent: int, aim: Aim) -> None:
        state = self._state
        c, tables = state.columns, state.rules.tables
        code = int(tables.consideration_activity[intent]) if intent >= 0 else 0
        flees = state.rules.activity_code["flee"]
        if code == flees:
            for row in rows[(c.action[rows] != flees) & (c.threat[rows] > 0)].tolist():
                self._tell("fled", row)
        pace = np.full(rows.size, tables.act_pace[code]) if aim.pace is None else aim.pace
        choices.take_up(
            rows, aim.goal_x, aim.goal_y, aim.target, pace,
            intent, code, int(tables.act_interval[code]), bool(tables.act_chases[code]),
            state.tick, state.max_x, state.max_y,
            c.x, c.y, c.way_x, c.way_y, c.goal_x, c.goal_y, c.pace, c.stuck, c.phase,
            c.target, c.action, c.intent, c.left, c.since, c.action_until, c.next_decision,
        )  # fmt: skip
        state.touch_cold(rows)
        state.touch_hot(rows)

    def _tell(self, kind: str, row: int) -> None:
        c = self._state.columns
        if self._state.rules.tables.speaks[c.species[row]] or c.group[row] > 0:
            self._commit.events.append(
                Event(self._state.tick, kind, int(c.id[row]), int(c.threat[row]))
            )

    # -- acting ------------------------------------------------------------------------------

    def act(self) -> None:
        """Let those who are after someone follow and strike."""
        state = self._state
        c, tables = state.columns, state.rules.tables
        rows = (c.target[: c.high] != 0).nonzero()[0]
        rows = rows[tables.act_strikes[c.action[rows]] | tables.act_chases[c.action[rows]]]
        if not rows.size:
            return
        if state.far.count:
            self._commit.wake(c.target[rows].tolist())
        victims = c.rows_of(c.target[rows])
        lost = (victims < 0) | (c.died[victims] >= 0) | (c.downed_until[victims] >= 0)
        lost |= tables.shuns_floors[c.species[rows]] & (
            state.tiles[c.y[victims] // TILE, c.x[victims] // TILE] == Tile.FLOOR
        )
        if lost.any():
            self._let_go(rows[lost])
            rows, victims = rows[~lost], victims[~lost]
            if not rows.size:
                return
        dx, dy = c.x[victims] - c.x[rows], c.y[victims] - c.y[rows]
        close = dx * dx + dy * dy <= c.reach[rows] * c.reach[rows]
        striking = tables.act_strikes[c.action[rows]] & (c.attack[rows] > 0)
        ready = close & striking & (c.cooldown_until[rows] <= state.tick)
        self._follow(rows, victims, close)
        if ready.any():
            self._strike(rows[ready], victims[ready])

    def _let_go(self, rows: Rows) -> None:
        state = self._state
        state.write("target", rows, 0)
        state.write("pace", rows, 0)
        state.write("action_until", rows, 0)
        state.write("next_decision", rows[state.columns.player[rows] == 0], state.tick)

    def _follow(self, rows: Rows, victims: Rows, close: NDArray[np.bool_]) -> None:
        state = self._state
        c = state.columns
        chases = state.rules.tables.act_chases[c.action[rows]] & (c.player[rows] == 0)
        stops = rows[close & chases & (c.pace[rows] > 0)]
        if stops.size:
            state.write("pace", stops, 0)
        after = chases & ~close
        after &= (c.pace[rows] == 0) | ((state.tick + c.phase[rows]) % CHASE_EVERY == 0)
        if not after.any():
            return
        # A place around a victim hangs on all who are after it, not on whose turn it is to turn.
        x, y = tactics.approach(self._view, rows[chases], victims[chases])
        turns = after[chases]
        rows, x, y = rows[after], x[turns], y[turns]
        seen = clear(state.tiles, c.x[rows], c.y[rows], x, y)
        waits = (c.x[rows] == c.way_x[rows]) & (c.y[rows] == c.way_y[rows])
        turn = seen | waits | (c.pace[rows] == 0)
        there = (x == c.x[rows]) & (y == c.y[rows])
        pace = np.where(there, 0, state.rules.tables.act_pace[c.action[rows]])
        turned = rows[turn]
        c.goal_x[turned], c.goal_y[turned] = x[turn], y[turn]
        c.way_x[turned] = np.where(seen[turn], x[turn], c.x[turned])
        c.way_y[turned] = np.where(seen[turn], y[turn], c.y[turned])
        c.pace[rows] = np.where(turn, pace, c.pace[rows])
        state.touch_hot(rows)

    def _strike(self, rows: Rows, victims: Rows) -> None:
        state = self._state
        c = state.columns
        hurt = damage(self._view, rows, victims)
        state.write("cooldown_until", rows, state.tick + STRIKE_COOLDOWN)
        order = np.argsort(c.id[rows])
        rows, victims, hurt = rows[order], victims[order], hurt[order]
        for row, victim, amount in zip(rows.tolist(), victims.tolist(), hurt.tolist(), strict=True):
            if state.on_feet(victim) and state.on_feet(row):
                self._commit.harm(int(c.id[victim]), amount, int(c.id[row]))


def _here(state: State, rows: Rows) -> Aim:
    c = state.columns
    return Aim(c.x[rows].copy(), c.y[rows].copy(), np.zeros(rows.size, dtype=np.int64))
