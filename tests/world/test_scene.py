"""Scenes: each mistake is named with file, key and mend; what compiles can be lived in."""

import hashlib
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.errors import UsageError
from greenroom.scenes import built_in, find
from world.compiled import CommonKnowledge, CompiledScene
from world.errors import SceneError
from world.generate.roads import reachable
from world.maths import TILE
from world.scene import Scene, compile_scene, load
from world.tiles import KINDS, WALKABLE, Tile

PEOPLE = frozenset({"villager", "guard", "hunter"})
THINGS = frozenset({"well", "hearth", "shrine", "dam_lever"})
SPECIES = PEOPLE | THINGS | {"wolf", "vampire", "sheep", "deer", "hare"}
VALLEY = find("valley")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return load(VALLEY)


def compiled(scene: Scene, seed: int | None = None, npcs: int | None = None) -> CompiledScene:
    return compile_scene(scene, SPECIES, seed, npcs)


def digest(made: CompiledScene) -> str:
    parts = (
        made.tiles.tobytes(),
        repr(sorted(made.places.items())).encode(),
        repr(made.spawns).encode(),
        repr(made.player_starts).encode(),
        repr(sorted(made.personas.items())).encode(),
    )
    return hashlib.blake2b(b"".join(parts)).hexdigest()


# What is in the valley


def test_the_valley_holds_who_it_promises(scene: Scene) -> None:
    made = compiled(scene)
    counts = Counter(spawn.species for spawn in made.spawns)
    assert sum(counts[kind] for kind in PEOPLE) == 12
    assert counts["wolf"] == 7 and counts["vampire"] == 4
    assert counts["sheep"] >= 20 and counts["deer"] >= 5 and counts["hare"] >= 5
    assert counts.keys() >= THINGS
    assert made.size == (192, 192) and made.tiles.shape == (192, 192)
    assert made.tiles.dtype == np.uint8 and made.tiles.max() < KINDS
    assert made.day_ticks == 24_000 and len(made.player_starts) == 2


def test_whoever_speaks_has_a_persona_and_the_packs_are_groups(scene: Scene) -> None:
    made = compiled(scene)
    speakers = [s for s in made.spawns if s.species in PEOPLE | {"vampire"}]
    assert all(made.personas[s.persona_key].name == s.name for s in speakers)
    wolves = [s for s in made.spawns if s.species == "wolf"]
    groups = {s.group for s in wolves}
    assert len(groups) == 1
    pack = made.groups[groups.pop()]
    assert pack.species == "wolf" and pack.leader in {s.name for s in wolves}
    coven = {s.group for s in made.spawns if s.species == "vampire"}
    assert [made.groups[g].leader for g in coven] == ["Lady Isaura"]


def test_the_mill_stands_above_the_village_and_the_den_north_of_the_mill(scene: Scene) -> None:
    places = compiled(scene).places
    assert places["fang_hollow"].y < places["mill_pond"].y < places["mill_dam"].y
    assert places["mill_dam"].y < places["low_fields"].y < places["green"].y
    assert places["pasture"].x > places["green"].x > places["castle_varn"].x


def test_the_dam_bars_the_river_with_its_lever_beside_it(scene: Scene) -> None:
    for seed in (7, 8, 9):
        made = compiled(scene, seed)
        rows = sorted(set(np.argwhere(made.tiles == Tile.DAM)[:, 0].tolist()))
        wet = np.isin(made.tiles, (Tile.WATER, Tile.DEEP_WATER))
        for row in rows:
            columns = np.flatnonzero(made.tiles[row] == Tile.DAM)
            assert not wet[row, columns[0] - 3 : columns[-1] + 4].any(), "no water runs past it"
        lever = next(s for s in made.spawns if s.species == "dam_lever")
        dam = np.argwhere(made.tiles == Tile.DAM)
        away = np.abs(dam - [lever.y // TILE, lever.x // TILE]).max(axis=1).min()
        assert away <= 4


def test_the_low_fields_lie_by_the_river_below_the_dam(scene: Scene) -> None:
    made = compiled(scene)
    low = made.places["low_fields"]
    x, y, reach = low.x // TILE, low.y // TILE, low.radius // TILE
    around = made.tiles[y - reach : y + reach, x - reach : x + reach]
    assert (around == Tile.FIELD).sum() > 60
    water = np.argwhere(np.isin(made.tiles, (Tile.WATER, Tile.DEEP_WATER)))
    assert np.abs(water - [y, x]).max(axis=1).min() <= reach + 3


# Every place can be walked to


def assert_livable(made: CompiledScene) -> None:
    green = made.places["green"]
    walked = reachable(made.tiles, green.x // TILE, green.y // TILE)
    assert WALKABLE[made.tiles[walked]].all()
    for place in made.places.values():
        assert walked[place.y // TILE, place.x // TILE], place.key
    for spawn in made.spawns:
        assert walked[spawn.y // TILE, spawn.x // TILE], spawn
        assert not spawn.home or spawn.home in made.places
        assert not spawn.work or spawn.work in made.places
    for x, y in made.player_starts:
        assert walked[y // TILE, x // TILE]


def test_breadth_first_search_walks_from_the_green_to_every_home_and_workplace(
    scene: Scene,
) -> None:
    made = compiled(scene)
    green = made.places["green"]
    start = (green.y // TILE, green.x // TILE)
    seen, edge = {start}, [start]
    while edge:
        y, x = edge.pop()
        for there in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= there[0] < made.size[1] and 0 <= there[1] < made.size[0]
            if inside and there not in seen and WALKABLE[made.tiles[there]]:
                seen.add(there)
                edge.append(there)
    for place in made.places.values():
        assert (place.y // TILE, place.x // TILE) in seen, place.key


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_any_seed_gives_a_valley_that_can_be_lived_in(seed: int) -> None:
    assert_livable(compiled(load(VALLEY), seed, 40))


@pytest.mark.parametrize("npcs", [500, 2_000])
def test_hundreds_of_villagers_find_houses_and_work(scene: Scene, npcs: int) -> None:
    made = compiled(scene, npcs=npcs)
    villagers = [s for s in made.spawns if s.species in PEOPLE]
    assert len(villagers) == npcs == len({s.name for s in villagers})
    assert len({s.persona_key for s in villagers}) == npcs
    assert all(s.home and s.work for s in villagers)
    houses = Counter(s.home for s in villagers if s.home.startswith("house_"))
    assert max(houses.values()) - min(houses.values()) <= 1, "houses are filled evenly"
    assert len({s.work for s in villagers}) > 10
    assert_livable(made)


def test_fewer_villagers_are_the_first_of_the_file(scene: Scene) -> None:
    made = compiled(scene, npcs=3)
    assert [s.name for s in made.spawns if s.species in PEOPLE] == [
        "Marta Kell",
        "Tobin Ash",
        "Elsa Wren",
    ]
    assert not [s for s in compiled(scene, npcs=0).spawns if s.species in PEOPLE]


def test_who_bears_arms_is_of_an_armed_species_where_the_rules_have_one(scene: Scene) -> None:
    made = compiled(scene, npcs=300)
    trades = {s.species: set() for s in made.spawns if s.species in PEOPLE}  # type: dict[str, set[str]]
    for spawn in made.spawns:
        if spawn.species in trades:
            trades[spawn.species].add(made.personas[spawn.persona_key].trade)
    assert trades["guard"] == {"watch captain", "spear of the watch"}
    assert trades["hunter"] == {"hunter", "trapper"}


@pytest.mark.parametrize("npcs", [-1, 20_001])
def test_a_number_of_villagers_out_of_bounds_is_refused(scene: Scene, npcs: int) -> None:
    with pytest.raises(UsageError, match="0 to 20000"):
        compiled(scene, npcs=npcs)


# Same seed, same world


def test_a_seed_compiles_the_same_each_time_and_another_seed_otherwise(scene: Scene) -> None:
    first, again, other = (compiled(scene, seed, 60) for seed in (5, 5, 6))
    assert digest(first) == digest(again) != digest(other)
    assert digest(compiled(scene)) == digest(compiled(scene, scene.seed))


def test_the_compiled_scene_does_not_depend_on_the_cpus_features(scene: Scene) -> None:
    script = (
        "import pickle, sys; from pathlib import Path; from world.scene import load, compile_scene;"
        f"made = compile_scene(load(Path({str(VALLEY)!r})), {sorted(SPECIES)!r}, 5, 60);"
        "parts = (made.tiles.tobytes(), dict(made.places), made.spawns, made.player_starts,"
        " dict(made.personas)); sys.stdout.buffer.write(pickle.dumps(parts))"
    )
    environment = dict(os.environ, NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment,
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    tiles, places, spawns, starts, personas = pickle.loads(done.stdout)
    here = compiled(scene, 5, 60)
    assert tiles == here.tiles.tobytes()
    assert places == here.places and spawns == here.spawns
    assert starts == here.player_starts and personas == here.personas


# Mistakes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(VALLEY, tmp_path / "valley"))


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new, 1))


MISTAKES: list[tuple[str, str, str, str, str]] = [
    ("villagers.toml", 'home = "mill"', 'home = "mil"',
     r"villagers.toml: villager\[3\] 'josef'.home: there is no place 'mil'", "did you mean 'mill'?"),
    ("villagers.toml", 'work = "jetty"', 'work = "moon"',
     r"villager\[8\] 'sanna'.work: there is no place 'moon'", "known places: bakery, bridge"),
    ("villagers.toml", '{ to = "hanne", kind = "pupil"', '{ to = "hane", kind = "pupil"',
     r"villager\[2\] 'elsa'.relations\[0\].to: there is no character 'hane'", "did you mean 'hanne'?"),
    ("villagers.toml", '{ to = "nina", kind = "daughter"', '{ to = "josef", kind = "daughter"',
     r"villager\[3\] 'josef'.relations\[0\].to: a relation to oneself", "somebody else"),
    ("villagers.toml", 'key = "tobin"', 'key = "marta"',
     r"villagers.toml: villager\[1\].key: 'marta' is used twice", "its own"),
    ("villagers.toml", 'key = "tobin"', 'key = "isaura"',
     r"villagers.toml: villager\[1\].key: 'isaura' is used twice", "its own"),
    ("villagers.toml", 'temper = "gruff and honest"', 'tempre = "gruff and honest"',
     r"villager\[1\] 'tobin'.tempre: unknown key", "did you mean 'temper'?"),
    ("villagers.toml", "trust = 600", "trust = 6000",
     r"villager\[0\] 'marta'.secret.trust: .*1000", "6000"),
    ("villagers.toml", "feeling = 500", 'feeling = "much"',
     r"villager\[0\] 'marta'.relations\[0\] 'tobin'.feeling: .*integer", "much"),
    ("villagers.toml", 'name = "Marta Kell"', "name = ",
     r"villagers.toml: not TOML: .*line 6", "mend the line"),
    ("scene.toml", "seed = 7", "", r"scene.toml: seed: missing", "add seed"),
    ("scene.toml", "seed = 7", "seed = 2026-11-20", r"scene.toml: a scene holds no date", "text"),
    ("scene.toml", "width = 192", "width = 9", r"scene.toml: width: .*48", "it is 9"),
    ("scene.toml", "seed = 7", f'seed = 7\ncommon_knowledge = "{"x" * 1201}"',
     r"scene.toml: common_knowledge: .*at most 1200 characters", "it is 'xxx"),
    ("scene.toml", 'leader = "Grey Ashka"', f'common_knowledge = "{"x" * 1201}"',
     r"group\[0\] 'greyback'.common_knowledge: .*at most 1200 characters", "it is 'xxx"),
    ("scene.toml", "rim = 13", "rimm = 13",
     r"scene.toml: terrain.rimm: unknown key", "did you mean 'rim'?"),
    ("scene.toml", 'ground = "forest"', 'ground = "forrest"',
     r"terrain.region\[0\] 'the Grimwood'.ground", "did you mean 'forest'?"),
    ("scene.toml", 'kind = "inn"', 'kind = "in"',
     r"place\[2\] 'lantern'.kind: there is no kind 'in'", "did you mean 'inn'?"),
    ("scene.toml", 'centre = "green"', 'centre = "greens"',
     r"settlement.centre: there is no place 'greens'", "did you mean 'green'?"),
    ("scene.toml", "at = [105, 94]", "at = [103, 192]",
     r"place\[2\] 'lantern'.at: \[103, 192\] is off the map", "y 2 to 189"),
    ("scene.toml", "at = [105, 94]", "at = [80, 102]",
     r"place\[2\] 'lantern'.at: \[80, 102\] lies in the water", "nearest dry tile is"),
    ("scene.toml", "player_starts = [[110, 113]", "player_starts = [[80, 110]",
     r"player_starts\[0\]: \[80, 110\] lies in the water", "nearest dry tile is"),
    ("scene.toml", 'key = "lantern"', 'key = "green"', r"place\[2\].key: 'green' is used twice", "its own"),
    ("scene.toml", 'leader = "Grey Ashka"', 'leader = "Grey Aska"',
     r"group\[0\] 'greyback'.leader: no member is called 'Grey Aska'", "did you mean 'Grey Ashka'?"),
    ("scene.toml", 'species = "wolf"\ncount = 7', 'species = "sheep"\ncount = 7',
     r"group\[0\] 'greyback'.species: a group of 'wolf' has a member of 'sheep'", "one species"),
    ("scene.toml", 'species = "dam_lever"', 'species = "dam_levr"',
     r"object\[3\].species: there is no species 'dam_levr'", "did you mean 'dam_lever'?"),
    ("scene.toml", "count = 7", "count = 3",
     r"herd\[0\] 'wolf'.names: 7 names for 3", "raise count"),
    ("scene.toml", 'at = "fang_hollow"\nspread', 'at = "fang_holow"\nspread',
     r"herd\[0\] 'wolf'.at: there is no place 'fang_holow'", "did you mean 'fang_hollow'?"),
    ("scene.toml", "at = [80, 102]\nsize = [5, 2]", "at = [170, 102]\nsize = [5, 2]",
     r"place 'bridge'.at: no river to put a bridge into", "row that the river crosses"),
    ("scene.toml", "at = [105, 94]\nsize = [12, 9]", "at = [105, 94]\nsize = [90, 90]",
     r"place 'lantern'.at: 90x90 tiles around \[105, 94\] run over|no room for 90x90", "move"),
    ("scene.toml", 'kind = "bridge"', 'kind = "jetty"',
     r"place\[16\] 'west_fields'.at: the west fields can't be reached on foot", "add a bridge"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "message", "mend"), MISTAKES, ids=[m[3][:60] for m in MISTAKES]
)
def test_a_mistake_is_named_with_its_file_its_key_and_the_mend(
    folder: Path, file: str, old: str, new: str, message: str, mend: str
) -> None:
    change(folder / file, old, new)
    with pytest.raises(SceneError) as refused:
        compiled(load(folder))
    assert re.search(message, refused.value.message), refused.value.message
    assert mend in str(refused.value), str(refused.value)


def test_what_everyone_of_a_world_and_of_a_group_knows_is_compiled(folder: Path) -> None:
    assert compiled(load(folder)).common == CommonKnowledge()
    change(folder / "scene.toml", "seed = 7", 'seed = 7\ncommon_knowledge = "Dark times."')
    scene = load(folder)
    number = [group.key for group in scene.groups].index("greyback") + 1
    change(folder / "scene.toml", 'leader = "Grey Ashka"', 'common_knowledge = "Three fords."')
    assert compiled(load(folder)).common == CommonKnowledge("Dark times.", {number: "Three fords."})


def test_several_mistakes_are_told_at_once(folder: Path) -> None:
    change(folder / "villagers.toml", 'home = "lantern"', 'home = "x"')
    change(folder / "villagers.toml", 'home = "forge"', 'home = "y"')
    with pytest.raises(SceneError) as refused:
        load(folder)
    assert "'marta'" in refused.value.message and "'tobin'" in refused.value.message


def test_a_scene_without_villagers_is_a_scene(folder: Path) -> None:
    (folder / "villagers.toml").unlink()
    change(folder / "scene.toml", '  { to = "hanne", kind = "sister", feeling = 400 },\n', "")
    made = compiled(load(folder))
    assert not PEOPLE & {s.species for s in made.spawns}


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / "scene.toml").unlink(), "scene.toml: there is no such file"),
    (lambda f: (f / "scene.toml").write_bytes(b"\xff\xfe"), "not UTF-8"),
    (lambda f: (f / "scene.toml").write_bytes(b"#" * (5 << 20)), "larger than"),
    (lambda f: (f / "scene.toml").write_text("a = " + "[" * 5_000 + "]" * 5_000), "scene.toml"),
    (lambda f: shutil.rmtree(f), "no such folder"),
]


@pytest.mark.parametrize(("breaks", "message"), BROKEN, ids=[m for _, m in BROKEN])
def test_a_broken_folder_is_named(
    folder: Path, breaks: Callable[[Path], object], message: str
) -> None:
    breaks(folder)
    with pytest.raises(SceneError, match=message):
        load(folder)


def test_a_scene_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    assert "valley" in built_in()
    shutil.copytree(VALLEY, tmp_path / "mine")
    assert find(str(tmp_path / "mine")) == tmp_path / "mine"
    assert find(str(tmp_path / "mine" / "scene.toml")) == tmp_path / "mine"
    assert load(tmp_path / "mine" / "scene.toml").name == "valley"
    with pytest.raises(SceneError, match="did you mean 'valley'"):
        find("vally")
    with pytest.raises(SceneError, match=r"no scene\.toml"):
        find(str(tmp_path))
