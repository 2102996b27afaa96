"""A small real world with the built-in rules, companies that clean up, and listeners to wait on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

from actors.company import Company
from actors.messages import Outcome
from actors.settings import CompanySettings
from plugins.manager import load_builtin_and_installed
from world.compiled import (
    CompiledScene,
    GroupInfo,
    PersonaCard,
    Place,
    Secret,
    Spawn,
)
from world.maths import TILE
from world.moment import Moment
from world.ruleset import Ruleset
from world.store.records import TickRecord
from world.tiles import Tile
from world.world import World

WAIT = 30.0

MARTA = PersonaCard(
    key="marta",
    name="Marta Kell",
    trade="innkeeper",
    place="Alderford",
    temper="warm and shrewd",
    persona="Marta keeps the Lantern, the only inn in Alderford.",
    knows=(
        "A bed at the Lantern costs three coppers and a bowl of stew costs one.",
        "Tobin Ash the blacksmith is mending the old bear traps.",
    ),
    secret=Secret("She once hid a deserter in her cellar.", 600),
)


@pytest.fixture(scope="session")
def ruleset() -> Ruleset:
    return load_builtin_and_installed().ruleset()


def tile(x: int, y: int) -> tuple[int, int]:
    return x * TILE + TILE // 2, y * TILE + TILE // 2


def scene() -> CompiledScene:
    """A meadow of 64x64 with an inn, a pack in the south-east, and a dam above low fields."""
    tiles = np.full((64, 64), Tile.GRASS, dtype=np.uint8)
    tiles[40:44, 2:16] = Tile.WATER
    tiles[44, 2:16] = Tile.ROCK
    tiles[44, 8:10] = Tile.DAM
    tiles[45:56, 2:16] = Tile.FIELD
    tiles[39, 1:17] = Tile.ROCK
    tiles[39:57, 1] = Tile.ROCK
    tiles[39:57, 16] = Tile.ROCK
    tiles[56, 1:17] = Tile.ROCK

    def spawn(species: str, x: int, y: int, name: str = "", **more: Any) -> Spawn:
        px, py = tile(x, y)
        return Spawn(species, px, py, name, **more)

    wolves = tuple(
        spawn("wolf", 54 + n % 3, 54 + n // 3, "Grey Ashka" if n == 0 else "", home="den", group=1)
        for n in range(5)
    )
    return CompiledScene(
        name="meadow",
        size=(64, 64),
        tiles=tiles,
        places={
            "lantern": Place("lantern", "the Lantern", *tile(20, 20), 3 * TILE, "inn"),
            "den": Place("den", "the den", *tile(55, 55), 2 * TILE, "den"),
        },
        spawns=(
            spawn(
                "villager",
                20,
                20,
                "Marta Kell",
                home="lantern",
                work="lantern",
                persona_key="marta",
            ),
            spawn("guard", 22, 20, "Orla Finch", home="lantern", work="lantern"),
            spawn("villager", 60, 4, "Far Away Fen"),
            spawn("deer", 24, 24),
            spawn("dam_lever", 18, 45),
            *wolves,
        ),
        player_starts=(tile(21, 21), tile(19, 21)),
        seed=7,
        groups={1: GroupInfo("the Greyback pack", "wolf", "Grey Ashka")},
        personas={"marta": MARTA},
    )


@pytest.fixture
def make_world(ruleset: Ruleset) -> Callable[..., World]:
    def make(seed: int = 7) -> World:
        return World(scene(), ruleset, seed)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    return make_world()


@pytest.fixture
def company(make_world: Callable[..., World]) -> Iterator[Callable[..., Company]]:
    """Makes started companies, headless unless told otherwise; all are stopped at the end."""
    made: list[Company] = []

    def make(
        *, headless: bool = True, start: bool = True, world: World | None = None, **options: Any
    ) -> Company:
        settings = options.pop("settings", None)
        if isinstance(settings, dict):
            settings = CompanySettings(**settings)
        company = Company(
            world or make_world(),
            personas=scene().personas,
            headless=headless,
            settings=settings,
            **options,
        )
        made.append(company)
        if start:
            company.start()
        return company

    yield make
    for one in made:
        one.stop(1.0)


class Heard:
    """A speech listener that remembers."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.text = ""
        self.source = ""
        self.reply: object | None = None
        self.rejected: tuple[str, str] | None = None
        self.ends = 0
        self.over = threading.Event()

    def on_text(self, text: str) -> None:
        assert not self.ends
        self.pieces.append(text)

    def on_done(self, text: str, source: str, reply: object | None) -> None:
        self.text, self.source, self.reply = text, source, reply
        self._end()

    def on_rejected(self, code: str, reason: str) -> None:
        self.rejected = (code, reason)
        self._end()

    def _end(self) -> None:
        self.ends += 1
        self.over.set()


class Outcomes:
    """An outcome listener that remembers."""

    def __init__(self) -> None:
        self.all: list[Outcome] = []
        self.came = threading.Event()

    def __call__(self, outcome: Outcome) -> None:
        self.all.append(outcome)
        self.came.set()

    @property
    def one(self) -> Outcome:
        (only,) = self.all
        return only


class SlowStore:
    """A store in memory that syncs only when told to."""

    def __init__(self) -> None:
        self.records: list[TickRecord] = []
        self.checkpoints: list[tuple[int, int | None]] = []
        self.kept: dict[tuple[int, str], list[dict[str, Any]]] = {}
        self.overloaded = False
        self.refuse: Exception | None = None
        self.synced_tick = -1
        self._callbacks: list[Callable[[int], None]] = []

    @property
    def last_tick(self) -> int:
        if self.records:
            return self.records[-1].tick
        return self.checkpoints[-1][0] if self.checkpoints else -1

    def append(self, record: TickRecord, *, timeout: float = 0.0) -> None:
        if self.refuse is not None:
            raise self.refuse
        record.pack()
        assert not self.records or record.tick == self.records[-1].tick + 1
        self.records.append(record)

    def on_synced(self, callback: Callable[[int], None]) -> Callable[[], None]:
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def sync(self) -> None:
        self.synced_tick = self.last_tick
        for callback in self._callbacks:
            callback(self.synced_tick)

    def checkpoint(
        self,
        state: Moment,
        *,
        state_hash: int | None = None,
        give_way: Callable[[], None] = lambda: None,
    ) -> None:
        self.checkpoints.append((state.tick, state_hash))

    def put_turn(self, npc_id: int, player: str, turn: Mapping[str, Any]) -> int:
        turns = self.kept.setdefault((npc_id, player), [])
        turns.append(dict(turn))
        return len(turns)

    def turns(self, npc_id: int, player: str, limit: int = 8) -> list[dict[str, Any]]:
        return self.kept.get((npc_id, player), [])[-limit:]


@pytest.fixture
def heard() -> type[Heard]:
    return Heard


@pytest.fixture
def outcomes() -> type[Outcomes]:
    return Outcomes


@pytest.fixture
def slow_store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def named() -> Callable[[Company, str], int]:
    """The id of the entity of that name."""

    def find(company: Company, name: str) -> int:
        return next(e for e, n in company.ledger.world.names.items() if n == name)

    return find


@pytest.fixture
def enter() -> Callable[..., int]:
    """Joins a player to a headless company and gives the body's id."""

    def join(company: Company, name: str = "Ann") -> int:
        told = Outcomes()
        company.join(name, told)
        company.run_headless(1)
        store = company.ledger.store
        if isinstance(store, SlowStore):
            store.sync()
            company.dispatcher.pump()
        assert told.one.accepted, told.one
        return told.one.entity

    return join
