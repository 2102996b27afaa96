"""The example scene: it compiles, its people and its pack live, and its journal runs again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from plugins.manager import build_ruleset
from world.compiled import CompiledScene
from world.inputs import Input
from world.maths import TILE
from world.replay import replay
from world.ruleset import Ruleset
from world.scene import Scene, compile_scene, load
from world.store import Store, WorldMeta, record_of
from world.tiles import WALKABLE, Tile
from world.world import World

PEOPLE = {"Hedda Sloe", "Tamsin Brock", "Odo Furze", "Ysolt Fenn", "Wat Lamb"}


@pytest.fixture(scope="module")
def scene(root: Path) -> Scene:
    return load(root / "examples" / "scenes" / "millpond")


@pytest.fixture(scope="module")
def built_in() -> Ruleset:
    return build_ruleset()


@pytest.fixture(scope="module")
def made(scene: Scene, built_in: Ruleset) -> CompiledScene:
    return compile_scene(scene, built_in.species_names)


def test_the_mill_pond_holds_five_people_and_one_pack(made: CompiledScene) -> None:
    assert made.size == (56, 56)
    assert {s.name for s in made.spawns if s.persona_key} == PEOPLE
    assert [group.leader for group in made.groups.values()] == ["Mother Alder"]
    counts = Counter(spawn.species for spawn in made.spawns)
    assert counts == {
        "villager": 4,
        "guard": 1,
        "wolf": 4,
        "sheep": 8,
        "hare": 4,
        "well": 1,
        "hearth": 1,
        "dam_lever": 1,
    }
    assert all(WALKABLE[made.tiles[s.y // TILE, s.x // TILE]] for s in made.spawns)
    assert (made.tiles == Tile.DAM).any() and (made.tiles == Tile.BRIDGE).any()


@pytest.mark.parametrize("seed", [0, 1, 7, 2**63 - 1])
@pytest.mark.parametrize("npcs", [0, 5, 60])
def test_it_compiles_with_any_seed_and_number_of_villagers(
    scene: Scene, built_in: Ruleset, seed: int, npcs: int
) -> None:
    made = compile_scene(scene, built_in.species_names, seed, npcs)
    assert sum(bool(spawn.persona_key) for spawn in made.spawns) == npcs


def test_two_thousand_ticks_of_work_company_and_a_hunt(
    made: CompiledScene, built_in: Ruleset
) -> None:
    world = World(made, built_in, made.seed)
    names = built_in.activity_names
    done: dict[str, set[str]] = {species: set() for species in built_in.species_names}
    times: list[str] = []
    for _ in range(2_000):
        events = world.step().events
        times += [event.data["name"] for event in events if event.kind == "time_of_day"]
        if world.tick % 8 == 0:
            c = world.columns
            for row in c.live_rows().tolist():
                done[built_in.species_names[c.species[row]]].add(names[c.action[row]])
    assert times == ["morning", "noon", "afternoon", "evening", "night"]
    assert done["villager"] >= {"work", "gather", "rest"}
    assert done["guard"] >= {"patrol"} and done["sheep"] >= {"graze"}
    assert done["wolf"] >= {"rest", "hunt"}
    assert set(world.names.values()) >= PEOPLE
    assert world.faults == {} and world.hash() == world.full_hash()


def test_a_visitor_at_the_well_is_heard_and_the_journal_gives_every_hash_again(
    made: CompiledScene, built_in: Ruleset, tmp_path: Path
) -> None:
    world = World(made, built_in, made.seed)
    meta = WorldMeta(scene="millpond", seed=made.seed, ruleset_digest=built_in.digest())
    x, y = made.player_starts[0]
    ann = {"species": "traveller", "x": x, "y": y, "name": "Ann", "player": True}
    well = made.places["green"]
    plan = {
        1: ("spawn", ann),
        5: ("move", {"x": well.x, "y": well.y}),
        400: ("say", {"to": 0, "text": "Is anyone about?"}),
        420: ("fly", {}),
    }
    seen: Counter[str] = Counter()
    hashes: list[int] = []
    with Store.open(tmp_path, create=meta) as store:
        store.checkpoint(world.get_state(), state_hash=world.hash())
        body = 0
        for tick in range(1, 601):
            kind, fields = plan.get(tick, ("", {}))
            entity = 0 if kind == "spawn" else body
            inputs = [Input(kind, entity, "director", tick, fields)] if kind else []
            result = world.step(inputs)
            for accepted in result.accepted:
                body = accepted.detail.get("entity", body)
            seen.update(event.kind for event in result.events)
            seen.update(refused.code for refused in result.rejections)
            hashes.append(result.hash)
            store.append(record_of(result, store.epoch))
    assert seen["said"] == seen["spawned"] == seen["unknown_action"] == 1
    again = replay(tmp_path, built_in)
    assert (again.first_difference, again.reason) == (None, "")
    assert (again.ticks, again.final_hash) == (600, hashes[-1])
    assert len(set(hashes)) == 600
