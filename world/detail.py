"""Level of detail: whom no player is near and nothing happens to lives in strides, not tick by tick.

It is on while the global `KEY` holds a distance in tiles. Who is near is a pure function of the state, looked at every
LOOK_EVERY ticks; docs/detail.md says what is lived exactly and what only alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from world import movement, needs
from world.entities import NEVER, Ints, Rows
from world.events import Event
from world.far import NEAR, STIRRED
from world.kernels.kinds import Bools
from world.maths import TILE
from world.paths import Paths
from world.state import MAX_SIDE, State

KEY: Final = "detail_tiles"
"""The global that holds how far around a player all are lived in full, in tiles; absent or 0: everywhere."""
LOOK_EVERY: Final = 20
"""Ticks between two looks at who is near; a multiple of `reflexes.DECIDE_EVERY`. Off stage nobody decides in between."""
TURNS: Final = 5
"""Looks between two turns of a far one to take a stride and to decide: as seldom as most activities are reconsidered."""
MARGIN: Final = 8 * TILE
"""How much farther than it became near somebody must be to become far."""
CALM: Final = 400
"""Ticks for which one who was struck stays near."""
_SQUARE: Final = 8 * TILE


def may_decide(state: State, rows: Rows) -> Bools:
    """Whose turn it is in this tick: always that of the near, at each look that of the stirred, then that of some far ones."""
    lived = state.far.lived[rows]
    out: Bools = lived == NEAR
    if state.tick % LOOK_EVERY == 0:
        look = state.tick // LOOK_EVERY
        out |= (lived == STIRRED) | (state.columns.phase[rows] % TURNS == look % TURNS)
    return out


@dataclass(frozen=True, slots=True)
class Woken:
    """What wakes undo by: the rows, and how they were."""

    rows: Rows
    columns: Ints
    lived: Ints
    events: int


class Detail:
    """Lets rows of one world become far and near, and catches them up. Not thread-safe, as the world is not."""

    def __init__(self, state: State, paths: Paths, events: list[Event]) -> None:
        self._state = state
        self.paths = paths
        self._events = events
        tables = state.rules.tables
        self._rouses = tables.act_strikes | tables.act_chases
        self._rouses[state.rules.activity_code["flee"]] = True

    @property
    def tiles(self) -> int:
        """How far around a player all are lived in full; 0: everywhere."""
        return min(max(0, self._state.globals.get(KEY, 0)), MAX_SIDE)

    # -- catching up ---------------------------------------------------------------------------

    def catch_up(self) -> None:
        """Let the far whose turn it is live up to the tick before this one; all become near when it is off."""
        state, far = self._state, self._state.far
        if not far.count:
            return
        if not self.tiles:
            rows = state.awake.all()
            rows = rows[far.lived[rows] != NEAR]
            self.wake(rows)
            far.write(rows, NEAR)
            return
        if state.tick % LOOK_EVERY:
            return
        rows = state.awake.all()
        rows = rows[(far.lived[rows] >= 0) & may_decide(state, rows)]
        self._live(rows, state.tick - 1)
        # Its turn comes as often as most would decide, so that it is as late as the near are when the hour or a need calls.
        state.write(
            "next_decision", rows, np.minimum(state.columns.next_decision[rows], state.tick)
        )

    def wake(self, rows: Rows) -> None:
        """Stir far rows: lived up to the tick before this one, they live this one in full."""
        state = self._state
        rows = rows[state.far.lived[rows] >= 0]
        if not rows.size:
            return
        self._live(rows, state.tick - 1)
        state.far.write(rows, STIRRED)

    def wake_all(self, entities: Sequence[int]) -> None:
        """Stir whoever of these ids is far."""
        if self._state.far.count:
            self.wake(np.array(sorted(self._far_rows(entities)), dtype=np.intp))

    def try_wake(self, entities: Sequence[int]) -> Callable[[], None]:
        """The same, with a way back: what is returned makes them far again as if nothing had been.

        Only of use while nothing else was written since.
        """
        state = self._state
        if not state.far.count:
            return _nothing
        rows = np.array(sorted(self._far_rows(entities)), dtype=np.intp)
        if not rows.size:
            return _nothing
        c = state.columns
        before = Woken(rows, c.data[:, rows].copy(), state.far.lived[rows], len(self._events))
        self.wake(rows)

        def undo() -> None:
            c.data[:, rows] = before.columns
            state.touch(rows)
            state.far.write(rows, before.lived)
            del self._events[before.events :]

        return undo

    def _far_rows(self, entities: Sequence[int]) -> set[int]:
        state = self._state
        rows = {state.row(entity) for entity in entities} - {-1}
        return {row for row in rows if state.far.lived[row] >= 0}

    def _live(self, rows: Rows, to: int) -> None:
        """Walk and change needs, turn by turn, up to and with tick `to`."""
        state = self._state
        c, far = state.columns, state.far
        rows = rows[far.lived[rows] < to]
        if not rows.size:
            return
        lived = far.lived[rows]
        # Nobody walks while it is at what it does, so how long each was under way is all that needs ask of it.
        stands = lived + movement.leap(state, self.paths, rows, to - lived, self._events)
        turn = needs.next_turn(c.phase[rows], lived)
        while (due := turn <= to).any():
            at = rows[due]
            needs.change(state, at, turn[due], turn[due] > stands[due], self._events)
            turn = turn + needs.PERIOD
        far.write(rows, to)

    # -- who is near ---------------------------------------------------------------------------

    def look(self) -> None:
        """See who has become near and who far; meant for every LOOK_EVERY-th tick, before anybody acts or walks."""
        tiles = self.tiles
        if not tiles:
            return
        state = self._state
        c, far = state.columns, state.far
        everyone = state.awake.all()
        able = (c.phase[everyone] >= 0) & (c.player[everyone] == 0) & (c.died[everyone] < 0)
        able &= (c.downed_until[everyone] < 0) & (c.next_decision[everyone] < NEVER)
        rows = everyone[able]
        was = far.lived[rows]
        close = self._close(rows, was != NEAR, tiles * TILE)
        stirred = self._interesting(rows)
        self._join_groups(rows, close, stirred)
        self.wake(rows[(close | stirred) & (was >= 0)])
        self._write(rows[close & (was != NEAR)], NEAR)
        self._write(rows[~close & stirred & (was == NEAR)], STIRRED)
        self._write(rows[~close & ~stirred & (was < 0)], state.tick - 1)
        # Who fell in a fight is up and about no more, and who comes to is seen at the next look.
        rest = everyone[~able]
        self._write(rest[far.lived[rest] != NEAR], NEAR)

    def _write(self, rows: Rows, lived: int) -> None:
        if rows.size:
            self._state.far.write(rows, lived)

    def _close(self, rows: Rows, off: Bools, reach: int) -> Bools:
        """Whether each is within reach of a player, by squares of the map; with the margin for who is not `off` stage."""
        state = self._state
        c = state.columns
        players = (c.player[: c.high] == 1).nonzero()[0]
        wide, tall = state.max_x // _SQUARE + 1, state.max_y // _SQUARE + 1
        if not players.size:
            return np.zeros(rows.size, dtype=np.bool_)
        away = _square_distances(c.x[players], wide), _square_distances(c.y[players], tall)
        close = np.zeros((2, tall, wide), dtype=np.bool_)
        for dx, dy in zip(*away, strict=True):
            box = _span(dy, reach + MARGIN), _span(dx, reach + MARGIN)
            d2 = dy[box[0], None] ** 2 + dx[None, box[1]] ** 2
            close[0][box] |= d2 <= reach * reach
            close[1][box] |= d2 <= (reach + MARGIN) ** 2
        out: Bools = close[np.where(off, 0, 1), c.y[rows] // _SQUARE, c.x[rows] // _SQUARE]
        return out

    def _interesting(self, rows: Rows) -> Bools:
        """Whoever fights, flees, is in danger, is meant by one who is, does what a mind chose, or was asked for."""
        state = self._state
        c, tick = state.columns, state.tick
        busy = self._rouses[c.action[rows]]
        out = busy | (c.threat[rows] > 0) | (c.action_until[rows] > tick)
        out |= (c.aggressor[rows] > 0) & (tick - c.hurt_at[rows] <= CALM)
        out |= (c.order_until[rows] > tick) & (c.group[rows] > 0)
        out |= state.far.kept[rows] > tick
        victims = c.rows_of(np.unique(c.target[rows[busy]]))
        meant = np.zeros(c.high, dtype=np.bool_)
        meant[victims[victims >= 0]] = True
        return out | meant[rows]

    def _join_groups(self, rows: Rows, close: Bools, stirred: Bools) -> None:
        """A group is near or stirred as a whole: it follows its leader and fights by its tactic."""
        groups = self._state.columns.group[rows]
        for called in (close, stirred):
            named = np.unique(groups[called & (groups > 0)])
            if named.size:
                called |= np.isin(groups, named)


def _nothing() -> None:
    """There is nothing to undo."""


def _span(away: Ints, reach: int) -> slice:
    """The squares along one axis that are within reach."""
    within = (away <= reach).nonzero()[0]
    return slice(int(within[0]), int(within[-1]) + 1)


def _square_distances(at: Ints, count: int) -> Ints:
    """How far each point is from each of `count` squares along one axis: int64[points, count], 0 inside."""
    low = np.arange(count, dtype=np.int64) * _SQUARE
    point = at[:, None]
    out: Ints = np.maximum(0, np.maximum(low - point, point - (low + _SQUARE - 1)))
    return out
