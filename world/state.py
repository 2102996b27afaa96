"""Everything that is state, and the only ways to write it: each keeps the hash in step."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from world import hashing
from world.awake import DEEDS, Awake
from world.buffers import Buffers
from world.clock import DAY_TICKS
from world.compiled import CompiledScene, GroupInfo, Place
from world.draft import Draft
from world.entities import HOT, INDEX, NEVER, Columns, Ints, Rows
from world.errors import StateError
from world.far import Far
from world.frame import TileChange
from world.maths import MASK, TILE, mix
from world.moment import Cells, Moment, Table
from world.ruleset import Ruleset
from world.tiles import KINDS

LAYOUT: Final = 1
MAX_SIDE: Final = 4096
_PLACE: Final = ("x", "y")
_TILES, _NAV, _NAMES, _PERSONAS, _GLOBALS, _BIRTHS = 11, 12, 13, 14, 15, 16

Birth = tuple[int, int, int, int, int, int, int, int]
"""due tick, species, home x, home y, work x, work y, group, whom it follows."""


class State:
    """The numbers of a world. Code outside the rules reads it through a `View`."""

    def __init__(
        self,
        rules: Ruleset,
        seed: int,
        tiles: NDArray[np.uint8],
        places: Mapping[str, Place],
        groups: Mapping[int, GroupInfo],
        player_starts: tuple[tuple[int, int], ...],
        scene: str,
        day_ticks: int = DAY_TICKS,
    ) -> None:
        height, width = tiles.shape
        if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
            raise StateError(f"a map of {width} x {height} cells; 1..{MAX_SIDE} a side fit")
        if int(tiles.max()) >= KINDS:
            raise StateError(f"the map holds the byte {int(tiles.max())}, which is no tile")
        if not 240 <= day_ticks <= 2**31:
            raise StateError(f"a day of {day_ticks} ticks", "at least 240")
        self.rules = rules
        self.seed = seed & MASK
        self.epoch = 1
        self.tick = 0
        self.day_ticks = day_ticks
        self.scene = scene
        self.tiles = np.array(tiles, dtype=np.uint8, order="C")
        self.nav = self.tiles.copy()
        self.width, self.height = int(width), int(height)
        self.max_x, self.max_y = width * TILE - 1, height * TILE - 1
        self.places = dict(places)
        self.place_list = tuple(self.places.values())
        self.groups = dict(groups)
        self.player_starts = player_starts
        self.columns = Columns(256)
        self.names: dict[int, str] = {}
        self.personas: dict[int, str] = {}
        self.globals: dict[str, int] = {}
        self.births: list[Birth] = []
        self.membership = 0
        self.moves = 0
        self.names_changed: dict[int, str] = {}
        self.tile_changes: list[TileChange] = []
        self.far = Far(self.columns)
        self.awake = Awake(self.columns, self.far)
        self._rows = hashing.RowHashes(self.columns)
        self._tiles_hash = hashing.map_hash(self.tiles, _TILES)
        self._nav_hash = hashing.map_hash(self.nav, _NAV)
        self._names_hash = 0
        self._small_hash = 0
        self._buffers: dict[str, Buffers] = {}
        self._map_copies: dict[str, Cells] = {}
        self._draft: Draft | None = None
        self.place_grid = self._make_place_grid()

    # -- writing -----------------------------------------------------------------------------

    def put(self, row: int, **values: int) -> None:
        """Write some columns of one row."""
        self.moves += any(name in values for name in _PLACE)
        for name, value in values.items():
            self.columns.data[INDEX[name], row] = value
        self.awake.stir(row)
        self._rows.cold_dirty[row] = True
        self._rows.hot_dirty[row] = True

    def write(self, name: str, rows: Rows, values: Ints | int) -> None:
        """Write one column of many rows (each at most once)."""
        self.columns.data[INDEX[name], rows] = values
        self.moves += name in _PLACE
        if name in DEEDS:
            self.awake.stir(rows)
        if name in HOT:
            self._rows.hot_dirty[rows] = True
        else:
            self._rows.cold_dirty[rows] = True

    def touch_hot(self, rows: Rows) -> None:
        """Say that hot columns of the rows were written in place."""
        self.moves += 1
        self._rows.hot_dirty[rows] = True

    def touch_cold(self, rows: Rows) -> None:
        """Say that other columns of the rows were written in place."""
        self._rows.cold_dirty[rows] = True

    def touch(self, rows: Rows) -> None:
        """Say that any columns of the rows were written in place."""
        self.moves += 1
        self._rows.hot_dirty[rows] = True
        self._rows.cold_dirty[rows] = True

    def add(self, entity: int, values: Mapping[str, int], name: str = "", persona: str = "") -> int:
        """A new entity; returns its row. Raises ValueError if the id is taken or the world full."""
        row = self.columns.add(entity, values)
        self._rows.grown()
        self.far.grown()
        if self._draft is not None and self._draft.shape != self.columns.data.shape:
            self._draft = None
        self.awake.come(row)
        self._rows.hot_dirty[row] = self._rows.cold_dirty[row] = True
        self.membership += 1
        if name:
            self.rename(entity, name)
        if persona:
            self.personas[entity] = persona
            self._names_hash += hashing.text_hash(entity, persona, _PERSONAS)
            if self._draft is not None:
                self._draft.personas[entity] = persona
        return row

    def remove(self, entity: int) -> None:
        """Take an entity out. Raises KeyError if there is none."""
        row = self.columns.row_of(entity)
        if row >= 0:
            self.far.removed(row)
            if self._draft is not None:
                self._draft.touch_row(row)
            self.awake.gone(row)
        self._rows.removed(self.columns.remove(entity))
        self.rename(entity, "")
        persona = self.personas.pop(entity, "")
        if self._draft is not None:
            self._draft.personas.pop(entity, None)
        if persona:
            self._names_hash -= hashing.text_hash(entity, persona, _PERSONAS)
        self.membership += 1

    def rename(self, entity: int, name: str) -> None:
        """Give or take a name."""
        old = self.names.pop(entity, "")
        if self._draft is not None:
            self._draft.names.pop(entity, None)
        if old:
            self._names_hash -= hashing.text_hash(entity, old, _NAMES)
        if name:
            self.names[entity] = name
            self._names_hash += hashing.text_hash(entity, name, _NAMES)
            if self._draft is not None:
                self._draft.names[entity] = name
        if old != name:
            self.names_changed[entity] = name
            self.membership += 1

    def paint(self, x: int, y: int, w: int, h: int, data: bytes) -> bool:
        """Write tiles; True if any changed. The caller has checked the bounds."""
        new = np.frombuffer(data, dtype=np.uint8).reshape(h, w)
        old = self.tiles[y : y + h, x : x + w]
        dy, dx = np.nonzero(new != old)
        if not dy.size:
            return False
        flat = ((dy + y) * self.width + dx + x).astype(np.int64)
        self._tiles_hash += hashing.cells_hash(flat, new[dy, dx], _TILES)
        self._tiles_hash -= hashing.cells_hash(flat, old[dy, dx], _TILES)
        old[...] = new
        self._map_copies.pop("tiles", None)
        self.tile_changes.append((x, y, w, h, bytes(data)))
        return True

    def refresh_nav(self) -> Ints:
        """Let path-finding see the map as it is now; returns the cells (flat, int64[n]) that had changed."""
        nav, tiles = self.nav.reshape(-1), self.tiles.reshape(-1)
        cells = np.flatnonzero(nav != tiles)
        if cells.size:
            self._nav_hash += hashing.cells_hash(cells, tiles[cells], _NAV)
            self._nav_hash -= hashing.cells_hash(cells, nav[cells], _NAV)
            nav[cells] = tiles[cells]
            self._map_copies.pop("nav", None)
        return cells

    def expect_birth(self, birth: Birth) -> None:
        """Let a successor arrive later."""
        heapq.heappush(self.births, birth)
        self._small_hash += hashing.tuple_hash(birth, _BIRTHS)

    def due_births(self) -> list[Birth]:
        """Take out the births that are due."""
        due: list[Birth] = []
        while self.births and self.births[0][0] <= self.tick:
            birth = heapq.heappop(self.births)
            self._small_hash -= hashing.tuple_hash(birth, _BIRTHS)
            due.append(birth)
        return due

    def set_global(self, key: str, value: int) -> None:
        """Set a named number."""
        if key in self.globals:
            self._small_hash -= hashing.number_hash(key, self.globals[key], _GLOBALS)
        self.globals[key] = value
        self._small_hash += hashing.number_hash(key, value, _GLOBALS)

    # -- hashing -----------------------------------------------------------------------------

    def _small_parts(self) -> int:
        parts = [hashing.tuple_hash(b, _BIRTHS) for b in self.births]
        parts += [hashing.number_hash(k, v, _GLOBALS) for k, v in self.globals.items()]
        return sum(parts)

    def _close(self, rows: int, cells: int, nav: int, names: int, small: int) -> int:
        word = mix(self.seed ^ mix(self.tick)) ^ mix(self.day_ticks)
        return mix((rows + mix(cells) + mix(nav + 1) + names + small + word) & MASK)

    def hash(self) -> int:
        """64 bits over all state, from what changed since it was last asked for."""
        if self._draft is not None:
            self._draft.touch(self._rows.hot_dirty, self._rows.cold_dirty)
        return self._close(
            self._rows.fold(),
            self._tiles_hash & MASK,
            self._nav_hash & MASK,
            self._names_hash,
            self._small_hash + self.far.hash(),
        )

    def hash_of(self, rows: Rows) -> int:
        """64 bits over what these rows hold, as of the last `hash`; equal for the same entities in other rows."""
        return self._rows.of(rows)

    def take_changed(self) -> tuple[Rows, Rows]:
        """The rows whose hot and whose other columns changed between the last two times this was asked, up to the last hash.

        Of those in use; one that came is among the others.
        """
        rows = self._rows
        hot, cold = (self._used(changed) for changed in (rows.folded_hot, rows.folded_cold))
        return hot, cold

    def _used(self, changed: NDArray[np.bool_]) -> Rows:
        rows = changed.nonzero()[0]
        changed[rows] = False
        used: Rows = rows[self.columns.id[rows] != 0]
        return used

    def full_hash(self) -> int:
        """The same number from nothing but the state itself."""
        names = hashing.texts_hash(self.names, _NAMES)
        names += hashing.texts_hash(self.personas, _PERSONAS)
        return self._close(
            self._rows.full(),
            hashing.map_hash(self.tiles, _TILES),
            hashing.map_hash(self.nav, _NAV),
            names,
            self._small_parts() + self.far.full_hash(),
        )

    # -- keeping -----------------------------------------------------------------------------

    def moment(self) -> Moment:
        """All of it as it is now, copied into memory that is at hand."""
        draft, self._draft = self._started(), None
        data = self.columns.data[:, : self.columns.high]
        columns, names, personas = draft.finish(data, self.names, self.personas)
        tiles, nav = self._map_copy("tiles", self.tiles), self._map_copy("nav", self.nav)
        return self._moment(columns, tiles, nav, names, personas)

    def copy_ahead(self, left: int) -> None:
        """Do a share of the next moment's work, which is wanted in `left` ticks."""
        self._draft = self._started()
        data = self.columns.data[:, : self.columns.high]
        self._draft.advance(data, self.names, self.personas, left)

    def _started(self) -> Draft:
        """The draft under way, told of all that was written; a new one where there is none."""
        if self._draft is None:
            return Draft(self._buffer("columns", self.columns.data).take())
        self._draft.touch(self._rows.hot_dirty, self._rows.cold_dirty)
        return self._draft

    def get_state(self) -> dict[str, Any]:
        """Arrays and plain values (str keys only), all copied; `from_state` lives on from it."""
        columns = self.columns.data[:, : self.columns.high].copy()
        tiles, nav = self.tiles.copy(), self.nav.copy()
        state = self._moment(columns, tiles, nav, self.names, self.personas).state()
        return {k: list(v) if isinstance(v, Table) else v for k, v in state.items()}

    def _moment(
        self,
        columns: Ints,
        tiles: Cells,
        nav: Cells,
        names: Mapping[int, str],
        personas: Mapping[int, str],
    ) -> Moment:
        rules, high = self.rules, self.columns.high
        return Moment(
            tick=self.tick,
            plain={
                "layout": LAYOUT,
                "tick": self.tick,
                "seed": self.seed,
                "epoch": self.epoch,
                "day_ticks": self.day_ticks,
                "scene": self.scene,
                "globals": dict(self.globals),
                "player_starts": [list(p) for p in self.player_starts],
                "species": list(rules.species_names),
                "factions": list(rules.faction_names),
                "activities": list(rules.activity_names),
                "considerations": [c.name for c in rules.considerations],
            },
            columns=columns,
            lived=self.far.lived[:high].copy(),
            kept=self.far.kept[:high].copy(),
            tiles=tiles,
            nav=nav,
            names=names,
            personas=personas,
            births=tuple(self.births),
            places=self.place_list,
            groups=self.groups,
        )

    def _buffer(self, name: str, like: NDArray[Any]) -> Buffers:
        buffers = self._buffers.get(name)
        if buffers is None or buffers.shape != like.shape:
            buffers = self._buffers[name] = Buffers(like.shape, like.dtype)
        return buffers

    def _map_copy(self, name: str, cells: Cells) -> Cells:
        """The last copy as long as nothing has been painted."""
        if name not in self._map_copies:
            self._map_copies[name] = self._buffer(name, cells).copy(cells)
        return self._map_copies[name]

    @classmethod
    def from_state(cls, state: Mapping[str, Any], rules: Ruleset) -> State:
        """Raises StateError naming what the rules lack or what is damaged."""
        if state.get("layout") != LAYOUT:
            raise StateError(f"state layout {state.get('layout')!r}, this version reads {LAYOUT}")
        try:
            new = cls(
                rules,
                int(state["seed"]),
                np.asarray(state["tiles"], dtype=np.uint8),
                {p[0]: Place(*p) for p in state["places"]},
                {int(g[0]): GroupInfo(*g[1:]) for g in state["groups"]},
                tuple((int(x), int(y)) for x, y in state["player_starts"]),
                str(state["scene"]),
                int(state["day_ticks"]),
            )
            new.tick = int(state["tick"])
            new.epoch = int(state["epoch"])
            nav = np.array(state["nav"], dtype=np.uint8, order="C")
            columns = Columns.from_state(state["rows"])
            far = Far.from_state(state.get("far"), columns)
            names = {int(e): str(n) for e, n in state["names"]}
            personas = {int(e): str(k) for e, k in state["personas"]}
            new.globals = {str(k): int(v) for k, v in state["globals"].items()}
            new.births = [_birth(b) for b in state["births"]]
            tables = [
                ("species", [str(s) for s in state["species"]], rules.species_names),
                ("faction", [str(s) for s in state["factions"]], rules.faction_names),
                ("action", [str(s) for s in state["activities"]], rules.activity_names),
                *(
                    (
                        column,
                        [str(s) for s in state["considerations"]],
                        tuple(c.name for c in rules.considerations),
                    )
                    for column in ("intent", "left")
                ),
            ]
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as damage:
            raise StateError(f"a saved state is damaged: {damage!r}") from damage
        if nav.shape != new.tiles.shape:
            raise StateError("a saved state is damaged: two maps of different sizes")
        for column, was, now in tables:
            _translate(columns, column, was, now)
        new.births = [(b[0], _code(b[1], tables[0][1], tables[0][2]), *b[2:]) for b in new.births]
        heapq.heapify(new.births)
        new.nav = nav
        new.columns = columns
        new.far = far
        new.awake = Awake(columns, far)
        new._rows = hashing.RowHashes(columns)
        new._nav_hash = hashing.map_hash(nav, _NAV)
        new.names = names
        new.names_changed = dict(names)
        new.personas = personas
        new._names_hash = hashing.texts_hash(names, _NAMES)
        new._names_hash += hashing.texts_hash(personas, _PERSONAS)
        new._small_hash = new._small_parts()
        return new

    def fork(self, rows: Rows) -> State:
        """Another state with the entities in these rows and no others; the map and all that is nobody's are copied.

        Successors that are expected are those of whoever would be born within it: all of them.
        """
        new = copy.copy(self)
        new.tiles, new.nav = self.tiles.copy(), self.nav.copy()
        new.columns = self.columns.of(rows)
        new.far = self.far.of(rows, new.columns)
        new.awake = Awake(new.columns, new.far)
        new._rows = hashing.RowHashes(new.columns)
        ids = new.columns.id[: rows.size].tolist()
        new.names = {e: self.names[e] for e in ids if e in self.names}
        new.personas = {e: self.personas[e] for e in ids if e in self.personas}
        new.globals, new.births = dict(self.globals), list(self.births)
        new.names_changed, new.tile_changes = dict(new.names), []
        new._buffers, new._map_copies, new._draft = {}, {}, None
        if rows.size < len(self.columns):
            new._names_hash = hashing.texts_hash(new.names, _NAMES)
            new._names_hash += hashing.texts_hash(new.personas, _PERSONAS)
        return new

    @classmethod
    def empty(cls, scene: CompiledScene, rules: Ruleset, seed: int) -> State:
        """The scene's map and places, nobody in it yet."""
        return cls(
            rules,
            seed,
            scene.tiles,
            scene.places,
            scene.groups,
            scene.player_starts,
            scene.name,
            scene.day_ticks,
        )

    # -- reading -----------------------------------------------------------------------------

    def row(self, entity: int) -> int:
        """The row of an id, -1 if there is none."""
        return self.columns.row_of(entity)

    def on_feet(self, row: int) -> bool:
        """Alive and not knocked out."""
        return bool(self.columns.died[row] < 0 and self.columns.downed_until[row] < 0)

    def _make_place_grid(self) -> NDArray[np.int64]:
        grid = np.full((self.height, self.width), -1, dtype=np.int64)
        best = np.full((self.height, self.width), NEVER, dtype=np.int64)
        for i, place in enumerate(self.place_list):
            left, right = (place.x - place.radius) // TILE, (place.x + place.radius) // TILE
            top, bottom = (place.y - place.radius) // TILE, (place.y + place.radius) // TILE
            box = np.s_[max(0, top) : bottom + 1, max(0, left) : right + 1]
            height, width = grid[box].shape
            ys, xs = np.mgrid[
                max(0, top) : max(0, top) + height, max(0, left) : max(0, left) + width
            ]
            d2 = (xs * TILE + TILE // 2 - place.x) ** 2 + (ys * TILE + TILE // 2 - place.y) ** 2
            closer = (d2 <= place.radius * place.radius) & (d2 < best[box])
            grid[box][closer] = i
            best[box][closer] = d2[closer]
        return grid


def _birth(values: Any) -> Birth:
    due, species, hx, hy, wx, wy, group, follows = (int(v) for v in values)
    return (due, species, hx, hy, wx, wy, group, follows)


def _code(code: int, was: list[str], now: tuple[str, ...]) -> int:
    if not 0 <= code < len(was) or was[code] not in now:
        raise StateError(f"a saved state needs species {was[code : code + 1]}", "load its mod")
    return now.index(was[code])


def _translate(columns: Columns, column: str, was: list[str], now: tuple[str, ...]) -> None:
    """Rewrite codes of an older order of names into the order of the rules at hand."""
    if tuple(was) == now:
        return
    values = columns.data[INDEX[column]]
    rows = columns.live_rows()
    used = sorted({int(v) for v in values[rows]} - {-1})
    table = {-1: -1}
    for code in used:
        name = was[code] if 0 <= code < len(was) else "?"
        if name in now:
            table[code] = now.index(name)
        elif column in ("action", "intent", "left"):
            table[code] = 0 if column == "action" else -1
        else:
            raise StateError(
                f"a saved state needs the {column} {name!r}, which the rules lack",
                "load the mod that defines it",
            )
    values[rows] = np.array([table[int(v)] for v in values[rows]], dtype=np.int64)
