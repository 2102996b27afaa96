"""The authority: state changes only in `World.step(inputs)`, the same way every time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from world import clock, detail, frames, lives, movement, needs, reflexes
from world.commit import Commit
from world.compiled import CompiledScene, GroupInfo, Place
from world.effects import Bear
from world.entities import Columns
from world.errors import SceneError
from world.events import Event
from world.frame import Frame, Situation
from world.inputs import Accepted, Input, Rejection
from world.maths import TILE, Ints
from world.moment import Moment
from world.paths import Paths
from world.rehearsal import rehearse
from world.rules import Rules, in_order
from world.ruleset import Ruleset
from world.situations import situation
from world.state import State
from world.view import View

NAV_INTERVAL = 100
"""Ticks between two looks of path-finding at a changed map."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one tick did. `inputs` are the accepted ones in the order applied: the journal's list."""

    tick: int
    events: tuple[Event, ...]
    rejections: tuple[Rejection, ...]
    accepted: tuple[Accepted, ...]
    hash: int
    inputs: tuple[Input, ...]


class World:
    """A living world. Not thread-safe: one owner steps it and reads it between steps.

    Raises SceneError if the scene names a species or place that does not exist.
    """

    def __init__(self, scene: CompiledScene, ruleset: Ruleset, seed: int, epoch: int = 1) -> None:
        self._take(State.empty(scene, ruleset, seed))
        self._state.epoch = epoch
        self._populate(scene)

    def _take(self, state: State, known: Paths | None = None) -> None:
        self._state = state
        self._events: list[Event] = []
        self._view = View(state)
        self._paths, self._paths_shared = known or Paths(state.nav), known is not None
        self._detail = detail.Detail(state, self._paths, self._events)
        self._commit = Commit(state, self._view, self._events, self._detail.wake_all)
        self._rules = Rules(state, self._view, self._commit, self._detail.try_wake)
        self._frames = frames.Frames(state)
        self._reflexes = reflexes.Reflexes(state, self._view, self._commit)
        self._last_events: tuple[Event, ...] = ()
        self._last_hash: int | None = None

    def _populate(self, scene: CompiledScene) -> None:
        state = self._state
        for n, spawn in enumerate(scene.spawns):
            spots = {}
            for role, key in (("home", spawn.home), ("work", spawn.work)):
                if key and key not in state.places:
                    raise SceneError(f"{spawn.name or spawn.species}: no place {key!r} for {role}")
                place = state.places.get(key)
                spots[role] = (place.x, place.y) if place else None
            bear = Bear(
                species=spawn.species,
                x=spawn.x,
                y=spawn.y,
                name=spawn.name,
                group=spawn.group,
                home=spots["home"],
                work=spots["work"],
                persona_key=spawn.persona_key,
            )
            wrong = self._commit.check((bear,))
            if wrong is not None:
                raise SceneError(f"{spawn.name or spawn.species}: {wrong.reason}")
            self._commit.bear(bear, 0, n, quiet=True)
        self._events.clear()

    # -- facts ---------------------------------------------------------------------------------

    @property
    def tick(self) -> int:
        """The number of the last step; 0 before the first."""
        return self._state.tick

    @property
    def seed(self) -> int:
        """What all randomness is keyed by."""
        return self._state.seed

    @property
    def epoch(self) -> int:
        """Which life of the world this is; a load opens a new one. Not part of the hash."""
        return self._state.epoch

    @epoch.setter
    def epoch(self, value: int) -> None:
        self._state.epoch = value

    @property
    def ruleset(self) -> Ruleset:
        """The rules the world lives by."""
        return self._state.rules

    @property
    def scene(self) -> str:
        """The name of the scene it began with."""
        return self._state.scene

    @property
    def day_ticks(self) -> int:
        """The length of a game day."""
        return self._state.day_ticks

    @property
    def width(self) -> int:
        """Cells from west to east."""
        return self._state.width

    @property
    def height(self) -> int:
        """Cells from north to south."""
        return self._state.height

    @property
    def tiles(self) -> NDArray[np.uint8]:
        """uint8[height, width], a read-only view of the map."""
        view = self._state.tiles.view()
        view.setflags(write=False)
        return view

    @property
    def columns(self) -> Columns:
        """The columns behind views that refuse writing; take them anew after each step."""
        self._view.refresh()
        return self._view.c

    @property
    def names(self) -> Mapping[int, str]:
        """Names by id; entities without one are missing. A copy."""
        return dict(self._state.names)

    @property
    def personas(self) -> Mapping[int, str]:
        """Persona keys by id. A copy."""
        return dict(self._state.personas)

    @property
    def places(self) -> Mapping[str, Place]:
        """The named places by key. A copy."""
        return dict(self._state.places)

    @property
    def groups(self) -> Mapping[int, GroupInfo]:
        """The named groups by number. A copy."""
        return dict(self._state.groups)

    @property
    def globals(self) -> Mapping[str, int]:
        """Named numbers of the world. A copy."""
        return dict(self._state.globals)

    @property
    def detail_tiles(self) -> int:
        """How far around a player all are lived in full, in tiles; 0: everywhere, which is how a world begins.

        It is the global `world.detail.KEY`, so an input sets it.
        """
        return self._detail.tiles

    @property
    def far(self) -> NDArray[np.bool_]:
        """bool[columns.high]: who is lived in strides, and may be up to 100 ticks behind. A copy."""
        lived: NDArray[np.bool_] = self._state.far.lived[: self._state.columns.high] >= 0
        return lived

    def is_far(self, entity: int) -> bool:
        """Whether there is such an entity, and it is lived in strides."""
        row = self._state.row(entity)
        return row >= 0 and bool(self._state.far.lived[row] >= 0)

    @property
    def player_starts(self) -> tuple[tuple[int, int], ...]:
        """Points in units where players enter."""
        return self._state.player_starts

    @property
    def faults(self) -> Mapping[str, str]:
        """Considerations that failed and count as 0, each with its last error. Not state."""
        return dict(self._reflexes.faults)

    @property
    def time_of_day(self) -> str:
        """One of `clock.TIMES`."""
        return clock.time_of_day(self.tick, self.day_ticks)

    def view(self) -> View:
        """All state to read, as rules and plugins see it."""
        self._view.refresh()
        return self._view

    # -- living --------------------------------------------------------------------------------

    def step(self, inputs: Sequence[Input] = ()) -> StepResult:
        """Live one tick. Total: whatever the inputs are, it returns and the world goes on."""
        state = self._state
        state.tick += 1
        self._events.clear()
        state.names_changed = {}
        state.tile_changes = []
        self._view.refresh()
        ordered, unfit = in_order(inputs)
        rejections = list(unfit)
        accepted: list[Accepted] = []
        for value in ordered:
            outcome = self._rules.apply(value)
            if isinstance(outcome, Accepted):
                accepted.append(outcome)
            else:
                rejections.append(outcome)
        if state.tick % NAV_INTERVAL == 0:
            changed = state.refresh_nav()
            if changed.size:
                self._follow_ground(changed)
        self._detail.catch_up()
        if state.tick % reflexes.DECIDE_EVERY == 0:
            lives.pass_on(state, self._commit)
            self._view.refresh()
            self._reflexes.decide()
        if state.tick % detail.LOOK_EVERY == 0:
            self._detail.look()
        self._reflexes.act()
        movement.walk(state, self._paths, self._events)
        needs.drift(state, self._events)
        self._tell_time()
        self._last_events = tuple(self._events)
        self._last_hash = state.hash()
        return StepResult(
            tick=state.tick,
            events=self._last_events,
            rejections=tuple(rejections),
            accepted=tuple(accepted),
            hash=self._last_hash,
            inputs=tuple(a.input for a in accepted),
        )

    def _tell_time(self) -> None:
        tick, day = self._state.tick, self._state.day_ticks
        now = clock.time_of_day(tick, day)
        if now != clock.time_of_day(tick - 1, day):
            self._events.append(Event(tick, "time_of_day", 0, 0, {"name": now}))

    def warm(self) -> None:
        """Do what takes long the first time before it is needed; changes nothing but the time of later steps.

        Compiles what is compiled, finds memory for moments, and finds the ways to every home, workplace and place.
        Takes a second or so for a village, some more the first time on a machine.
        """
        rehearse(self._state.rules)
        self._state.moment()
        c, state = self._state.columns, self._state
        rows = c.live_rows()
        cells = {(p.y // TILE) * state.width + p.x // TILE for p in state.place_list}
        for x, y in ((c.home_x, c.home_y), (c.work_x, c.work_y)):
            cells.update((y[rows] // TILE * state.width + x[rows] // TILE).tolist())
        self._paths.warm(sorted(int(cell) for cell in cells))

    # -- reading -------------------------------------------------------------------------------

    def hash(self) -> int:
        """64 bits over all state, kept up as it changes."""
        return self._state.hash()

    def full_hash(self) -> int:
        """The same number computed from nothing but the state."""
        return self._state.full_hash()

    def frame(self, full: bool = False) -> Frame:
        """The public columns after the last step; `full` adds all names and all tiles."""
        return self._frames.frame(self._last_events, full)

    def situation(self, entity: int, radius: int = 16 * TILE) -> Situation | None:
        """What the entity can know of its moment; None if there is no such entity."""
        self._view.refresh()
        return situation(self._state, self._view, entity, radius)

    def get_state(self) -> dict[str, Any]:
        """Arrays and plain values with which `from_state` lives on, hash for hash."""
        return self._state.get_state()

    def moment(self) -> Moment:
        """The same, copied in a small part of the time, to be looked at by any thread: `moment().state()`."""
        return self._state.moment()

    def copy_ahead(self, left: int) -> None:
        """Do a share of the next `moment`, which is wanted in `left` ticks, so that little is left for that one."""
        self._state.copy_ahead(left)

    def hash_of(self, entities: Ints) -> int:
        """64 bits over those of the entities (int64 ids) that are here, as of the last step; 0 for nobody."""
        rows = self._state.columns.rows_of(entities)
        return self._state.hash_of(rows[rows >= 0])

    def fork(self, entities: Ints | None = None) -> World:
        """A world that goes its own way from here; the same inputs lead both to the same states.

        With `entities` (int64 ids) it holds nobody else: they live as they would among all, as long as none of
        the others could influence them (see influence.py).
        """
        state = self._state
        rows = state.columns.live_rows()
        if entities is not None:
            rows = np.sort(state.columns.rows_of(entities))
            rows = rows[rows >= 0]
        # What is known of ways is a pure function of the map, and serves both until the ground changes for one.
        other = World.__new__(World)
        other._take(state.fork(rows), self._paths)
        self._paths_shared = True
        return other

    def _follow_ground(self, cells: Ints) -> None:
        if self._paths_shared:
            self._paths, self._paths_shared = Paths(self._state.nav), False
            self._detail.paths = self._paths
        else:
            self._paths.update(self._state.nav, cells)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], ruleset: Ruleset) -> World:
        """Raises StateError if it is damaged or needs what the rules lack."""
        world = cls.__new__(cls)
        world._take(State.from_state(state, ruleset))
        return world
