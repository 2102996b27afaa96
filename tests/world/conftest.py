"""A small hamlet to try the rules on: two houses, a river with one bridge, a pack, a dam."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import settings

from plugins.manager import build_ruleset
from world.compiled import CompiledScene, GroupInfo, Place, Spawn
from world.inputs import Input
from world.maths import TILE
from world.ruleset import Ruleset
from world.tiles import Tile
from world.world import World

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")

SIZE = 64
MakeWorld = Callable[..., World]


def _middle(x: int, y: int) -> tuple[int, int]:
    return x * TILE + TILE // 2, y * TILE + TILE // 2


def _place(key: str, name: str, x: int, y: int, radius: int, kind: str) -> Place:
    return Place(key, name, *_middle(x, y), radius * TILE, kind)


def _house(tiles: np.ndarray, x: int, y: int) -> None:
    tiles[y - 3 : y + 4, x - 3 : x + 4] = Tile.WALL
    tiles[y - 2 : y + 3, x - 2 : x + 3] = Tile.FLOOR
    tiles[y + 3, x] = Tile.FLOOR


def hamlet(spawns: tuple[Spawn, ...]) -> CompiledScene:
    tiles = np.full((SIZE, SIZE), Tile.GRASS, dtype=np.uint8)
    tiles[:, 44:] = Tile.FOREST
    tiles[:, 32:35] = Tile.WATER
    tiles[30, 32:35] = Tile.BRIDGE
    tiles[8, 32:35] = Tile.DAM
    tiles[18, 5:32] = Tile.ROAD
    _house(tiles, 10, 10)
    _house(tiles, 20, 10)
    places = {
        p.key: p
        for p in (
            _place("cottage", "the cottage", 10, 10, 3, "house"),
            _place("inn", "the inn", 20, 10, 3, "inn"),
            _place("field", "the field", 14, 40, 5, "field"),
            _place("green", "the green", 15, 22, 4, "green"),
            _place("den", "the den", 56, 54, 4, "den"),
        )
    }
    return CompiledScene(
        name="hamlet",
        size=(SIZE, SIZE),
        tiles=tiles,
        places=places,
        spawns=spawns,
        player_starts=(_middle(15, 22),),
        seed=1,
        day_ticks=24_000,
        groups={1: GroupInfo("the grey pack", "wolf", "Ash"), 2: GroupInfo("the watch", "guard")},
    )


def spawn(species: str, x: int, y: int, **more: str | int) -> Spawn:
    return Spawn(species, *_middle(x, y), **more)  # type: ignore[arg-type]


FOLK = (
    spawn("villager", 10, 10, name="Ada", home="cottage", work="field", persona_key="ada"),
    spawn("villager", 11, 10, name="Ben", home="cottage", work="green"),
    spawn("villager", 20, 10, name="Cat", home="inn", work="inn"),
    spawn("guard", 16, 22, name="Dag", home="inn", work="green", group=2),
    spawn("wolf", 56, 54, name="Ash", home="den", group=1),
    spawn("wolf", 57, 54, home="den", group=1),
    spawn("wolf", 55, 55, home="den", group=1),
    spawn("deer", 50, 20),
    spawn("deer", 52, 21),
    spawn("hare", 40, 40),
    spawn("vampire", 60, 4, name="Vlad"),
    spawn("well", 15, 24, name="the well"),
    spawn("dam_lever", 30, 8, name="the lever"),
)


@pytest.fixture(scope="session")
def rules() -> Ruleset:
    return build_ruleset()


@pytest.fixture(scope="session")
def make_world(rules: Ruleset) -> MakeWorld:
    def make(*spawns: Spawn, seed: int = 1) -> World:
        return World(hamlet(spawns or FOLK), rules, seed)

    return make


@pytest.fixture(scope="session")
def at() -> Callable[..., Spawn]:
    """(species, x cell, y cell, …) -> Spawn."""
    return spawn


@pytest.fixture(scope="session")
def middle() -> Callable[[int, int], tuple[int, int]]:
    """The point in the middle of a cell."""
    return _middle


@pytest.fixture(scope="session")
def who() -> Callable[[World, str], int]:
    """(world, name or species) -> id of the first that bears it."""

    def find(world: World, name: str) -> int:
        for entity, given in world.names.items():
            if given == name:
                return entity
        code = world.ruleset.species_code[name]
        c = world.columns
        row = next(r for r in c.live_rows() if c.species[r] == code)
        return int(c.id[row])

    return find


@pytest.fixture(scope="session")
def propose() -> Callable[..., Input]:
    """(kind, entity, n, proposer, **body) -> Input."""

    def make(
        kind: str, entity: int, n: int = 0, proposer: str = "director", **body: object
    ) -> Input:
        return Input(kind, entity, proposer, n, body)

    return make
