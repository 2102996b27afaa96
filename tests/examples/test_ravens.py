"""The ravens of the tutorial: they live in a world and do what the page says."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from plugins.manager import PluginManager, load_builtin_and_installed
from world.inputs import Input
from world.maths import RING, TILE, compass
from world.ruleset import Ruleset
from world.world import World

MakeWorld = Callable[..., World]


def ravens_of(world: World) -> np.ndarray:
    """The rows of the ravens."""
    c = world.columns
    return np.flatnonzero(
        (c.species == world.ruleset.species_code["raven"]) & (c.id > 0) & (c.died < 0)
    )


def tiles_from(world: World, name: str) -> np.ndarray:
    """How far each raven is from someone, in tiles."""
    c = world.columns
    row = c.row_of(next(entity for entity, given in world.names.items() if given == name))
    rows = ravens_of(world)
    return np.hypot(c.x[rows] - c.x[row], c.y[rows] - c.y[row]) / TILE


def test_ravens_hop_off_when_someone_who_speaks_is_close(make_world: MakeWorld) -> None:
    world = make_world(*[("raven", 32, 32, "")] * 6, ("guard", 31, 32, "Dag"))
    farthest = tiles_from(world, "Dag")
    assert (farthest < 2).all()
    for _ in range(100):
        world.step()
        farthest = np.maximum(farthest, tiles_from(world, "Dag"))
    assert (farthest > 6).all()


def doing(world: World) -> set[str]:
    names = world.ruleset.activity_names
    return {names[code] for code in world.columns.action[ravens_of(world)]}


def entity(world: World, name: str) -> int:
    return next(entity for entity, given in world.names.items() if given == name)


class Ann:
    """A player's body on the meadow, and the inputs that moved it."""

    def __init__(self, world: World, x: int, y: int) -> None:
        self.world = world
        self.inputs: dict[int, list[Input]] = {}
        body = {"species": "traveller", "x": x * TILE, "y": y * TILE, "name": "Ann", "player": True}
        self.propose("spawn", 0, "director", **body)
        self.id = entity(world, "Ann")

    def propose(self, kind: str, entity: int, proposer: str, **body: object) -> str:
        """Step with one input; "" or the code it was refused with."""
        value = Input(kind, entity, proposer, self.world.tick, body)
        self.inputs[self.world.tick + 1] = [value]
        result = self.world.step([value])
        return result.rejections[0].code if result.rejections else ""

    def does(self, kind: str, **body: object) -> str:
        return self.propose(kind, self.id, "client:ann", **body)

    def waits(self, ticks: int) -> None:
        for _ in range(ticks):
            self.world.step()

    def kills(self, name: str) -> None:
        victim = entity(self.world, name)
        for _ in range(20):
            c = self.world.columns
            row = c.row_of(victim)
            if c.died[row] >= 0:
                return
            self.does("move", x=int(c.x[row]), y=int(c.y[row]))
            self.waits(20)
            self.does("attack", target=victim)
        raise AssertionError(f"{name} lives")


def test_ravens_gather_over_the_dead_and_go_round_but_not_while_a_person_stands_by(
    make_world: MakeWorld,
) -> None:
    world = make_world(*[("raven", 32, 32, "")] * 6, ("sheep", 20, 20, "Dolly"))
    ann = Ann(world, 19, 20)
    ann.kills("Dolly")
    ann.waits(100)
    assert (tiles_from(world, "Ann") > 5).all(), "they keep off while Ann stands by"
    ann.does("move", x=2 * TILE, y=2 * TILE)
    ann.waits(60)
    directions: set[int] = set()
    for _ in range(200):
        world.step()
        if "Dolly" not in world.names.values():
            break
        near = tiles_from(world, "Dolly") < 3
        c = world.columns
        rows = ravens_of(world)[near]
        sheep = c.row_of(entity(world, "Dolly"))
        heading = compass(c.x[rows] - c.x[sheep], c.y[rows] - c.y[sheep])
        directions.update(heading.tolist())
    assert "circle" in doing(world)
    assert len(directions) >= len(RING) // 2, "they have gone round more than half the ring"


def test_ravens_leave_the_healthy_alone(make_world: MakeWorld) -> None:
    world = make_world(*[("raven", 32, 32, "")] * 6, ("sheep", 30, 30, "Dolly"))
    done: set[str] = set()
    for _ in range(300):
        world.step()
        done |= doing(world)
    assert "circle" not in done and "wander" in done


def test_a_called_raven_comes_stays_ten_seconds_and_minds_its_distance_again(
    make_world: MakeWorld,
) -> None:
    world = make_world(*[("raven", 32, 32, "")] * 6)
    ann = Ann(world, 20, 32)
    assert ann.does("caw", voice="loud") == ""
    assert world.situation(ann.id) is not None and doing(world) == {"circle"}
    ann.waits(150)
    assert (tiles_from(world, "Ann") < 4).all(), "they have come"
    ann.waits(150)
    assert (tiles_from(world, "Ann") > 5).all(), "they are off again"


def test_the_one_who_caws_is_told_how_many_came_and_everyone_hears_it(
    make_world: MakeWorld,
) -> None:
    world = make_world(*[("raven", 32, 32, "")] * 6)
    ann = Ann(world, 20, 32)
    result = world.step([Input("caw", ann.id, "client:ann", 1, {})])
    assert result.accepted[0].detail == {"came": 6}
    cawed = next(event for event in result.events if event.kind == "cawed")
    assert cawed.entity == ann.id and len(cawed.data["heard_by"]) == 6


@pytest.mark.parametrize(
    ("x", "body", "code"),
    [
        (20, {"voice": "low"}, "no_valid_target"),
        (26, {"voice": "low"}, ""),
        (4, {}, "no_valid_target"),
        (20, {"voice": "shrill"}, "bad_body"),
        (20, {"volume": 3}, "bad_body"),
    ],
)
def test_a_caw_is_heard_by_its_loudness_and_checked_by_its_schema(
    make_world: MakeWorld, x: int, body: dict[str, object], code: str
) -> None:
    world = make_world(*[("raven", 32, 32, "")] * 6)
    assert Ann(world, x, 32).does("caw", **body) == code


def test_a_second_caw_has_to_wait(make_world: MakeWorld) -> None:
    ann = Ann(make_world(*[("raven", 32, 32, "")] * 6), 26, 32)
    assert ann.does("caw") == ""
    assert ann.does("caw") == "cooling_down"
    ann.waits(200)
    assert ann.does("caw") in ("", "no_valid_target")


def test_a_world_with_ravens_lived_again_has_every_hash_again(
    make_world: MakeWorld, rules: Ruleset
) -> None:
    def live() -> tuple[list[int], World]:
        world = make_world(
            *[("raven", 32, 32, "")] * 6, ("sheep", 20, 20, "Dolly"), ("wolf", 44, 44, "Ash")
        )
        ann = Ann(world, 19, 20)
        ann.kills("Dolly")
        ann.does("caw")
        return [world.step().hash for _ in range(300)], world

    (once, world), (again, _) = live(), live()
    assert once == again
    assert world.hash() == world.full_hash() and world.faults == {}
    state = world.get_state()
    saved = World.from_state(state, rules)
    assert [world.step().hash for _ in range(50)] == [saved.step().hash for _ in range(50)]


# The package


def test_the_plugin_imports_plugins_api_alone_and_no_other_part_of_greenroom(
    ravens_file: Path, root: Path
) -> None:
    own = {path.parent.name for path in root.glob("*/__init__.py")}
    assert {"world", "actors", "plugins"} <= own
    imported = set()
    for node in ast.walk(ast.parse(ravens_file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or ".")
    assert {name for name in imported if name.split(".")[0] in own} == {"plugins.api"}
    assert {name.split(".")[0] for name in imported} <= {"plugins", "numpy", "typing", "__future__"}


def test_greenroom_finds_the_package_by_the_entry_point_in_its_setup_cfg(installed: str) -> None:
    manager = load_builtin_and_installed()
    rules = manager.ruleset()
    assert manager.errors == [] and manager.versions["ravens"] == installed
    assert "raven" in rules.species and "caw" in rules.actions


def test_the_ravens_change_nothing_for_a_world_without_them(
    manager: PluginManager, ravens: ModuleType
) -> None:
    before = manager.ruleset()
    assert manager.register(ravens, "ravens")
    after = manager.ruleset()
    assert set(after.species) - set(before.species) == {"raven"}
    assert set(after.actions) - set(before.actions) == {"caw"}
    assert {c.name for c in after.considerations} - {c.name for c in before.considerations} == {
        "shy_of_people",
        "circle_the_fallen",
    }
    assert set(after.activity_names) - set(before.activity_names) == {"circle"}
    assert before.digest() != after.digest()
