"""docs/plugins.md says what is: its code is the example's own, its tables and messages are real."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest
from rich.console import Console

from greenroom import console
from greenroom.commands.plugins import list_plugins
from plugins import hookspecs
from plugins.errors import PluginError
from plugins.manager import HOOKS, PluginManager, load_builtin_and_installed
from world.considerations import CORE
from world.effects import Effect
from world.inputs import Input
from world.maths import TILE
from world.ruleset import Ruleset
from world.scene import compile_scene, load
from world.world import World

BLOCK = re.compile(r"^```(\w*) ?(.*)\n((?:.*\n)*?)```$", re.MULTILINE)


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def blocks(page: str) -> list[tuple[str, str]]:
    """(file name or mark, text) of each fenced block, in order."""
    return [(mark.removeprefix("file="), text) for _, mark, text in BLOCK.findall(page)]


def column(page: str, heading: str, number: int = 0) -> list[str]:
    """The code spans of one column of the table under a heading."""
    part = page.split(f"\n{heading}\n", 1)[1]
    part = re.split(r"^#", part, maxsplit=1, flags=re.MULTILINE)[0]
    rows = [line for line in part.splitlines() if line.startswith("| `")]
    cells = [line.strip("|").split("|")[number].strip() for line in rows]
    return [cell.strip("` ") for cell in cells]


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Text -> the plugin's module made from it."""

    def make(text: str) -> ModuleType:
        module = ModuleType("ravens_variant")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(text, "greenroom_ravens.py", "exec"), module.__dict__)
        return module

    return make


@pytest.fixture
def told_of(source: Callable[[str], ModuleType]) -> Callable[[PluginManager, str], str]:
    """(manager, text) -> what it says of a plugin with that source; "" if it takes it."""

    def load_from(manager: PluginManager, text: str) -> str:
        class Entry:
            name = "ravens"
            dist = None

            @staticmethod
            def load() -> ModuleType:
                return source(text)

        manager.load(Entry())  # type: ignore[arg-type]  # what an entry point is to the manager
        manager.ruleset()
        return "; ".join(str(error) for error in manager.errors)

    return load_from


@pytest.fixture
def rules_with(source: Callable[[str], ModuleType]) -> Callable[[str], Ruleset]:
    """Text -> the built-in rules and those of a plugin with that source, which loads."""

    def build(text: str) -> Ruleset:
        manager = load_builtin_and_installed()
        assert manager.register(source(text), "ravens"), manager.errors
        return manager.ruleset()

    return build


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} should stand once in the file"
    return text.replace(old, new)


# Its code


def test_each_block_that_names_a_file_is_a_part_of_that_file(
    blocks: list[tuple[str, str]], root: Path
) -> None:
    named = [(mark, text) for mark, text in blocks if "/" in mark]
    assert {Path(mark).name for mark, _ in named} >= {
        "setup.cfg",
        "pyproject.toml",
        "greenroom_ravens.py",
        "test_ravens.py",
    }
    for mark, text in named:
        whole = (root / mark).read_text(encoding="utf-8")
        assert f"\n{text}" in f"\n{whole}", f"the page's {mark} is not the file's:\n{text}"


def test_who_types_all_blocks_in_order_has_the_whole_plugin(
    blocks: list[tuple[str, str]], root: Path
) -> None:
    folder = root / "examples" / "plugins" / "ravens"
    files = [path for path in folder.iterdir() if path.suffix in (".py", ".cfg", ".toml")]
    assert len(files) == 3
    for path in files:
        typed = [text for mark, text in blocks if mark == str(path.relative_to(root))]
        lines = [line for text in typed for line in text.splitlines() if line.strip()]
        whole = path.read_text(encoding="utf-8").splitlines()
        assert lines == [line for line in whole if line.strip()], path.name


def test_the_first_step_alone_is_switched_off_as_the_page_says(
    blocks: list[tuple[str, str]],
    manager: PluginManager,
    ravens_file: Path,
    root: Path,
    source: Callable[[str], ModuleType],
) -> None:
    mark = str(ravens_file.relative_to(root))
    first = next(text for at, text in blocks if at == mark)
    assert manager.register(source(first), "ravens")
    rules = manager.ruleset()
    assert "raven" not in rules.species and "wolf" in rules.species
    after = next(text for (at, _), (_, text) in pairwise(blocks) if at == mark)
    assert [f"{error}\n" for error in manager.errors] == [after]


# Its tables


def test_the_page_tells_of_every_hook_and_of_no_other(page: str) -> None:
    told = column(page, "## The hooks, on one page")
    assert sorted(told) == sorted(HOOKS)
    assert all(hasattr(hookspecs, hook) for hook in told)


def test_the_page_tells_of_every_ready_made_consideration_once(page: str) -> None:
    assert sorted(column(page, "### Scores")) == sorted(reason.name for reason in CORE)


def test_the_page_tells_of_every_effect(page: str) -> None:
    assert column(page, "### Effects") == [effect.__name__ for effect in get_args(Effect)]


# Its messages


def wrong(page: str) -> list[tuple[str, str, str]]:
    heading = "## When a plugin is wrong"
    return list(zip(*(column(page, heading, number) for number in range(3)), strict=True))


def test_each_wrong_line_is_told_in_the_words_on_the_page_and_the_rest_loads(
    page: str, ravens_file: Path, told_of: Callable[[PluginManager, str], str]
) -> None:
    whole = ravens_file.read_text(encoding="utf-8")
    rows = wrong(page)
    assert len(rows) >= 6
    for old, new, message in rows:
        manager = PluginManager()
        assert manager.register(ModuleType("others"), "others")
        assert told_of(manager, replaced(whole, old, new)) == message
        assert manager.names == ("others",)
        assert isinstance(manager.errors[0], PluginError) and manager.errors[0].plugin == "ravens"


def test_a_broken_variant_beside_the_built_ins_leaves_them_a_world(
    manager: PluginManager,
    ravens_file: Path,
    root: Path,
    told_of: Callable[[PluginManager, str], str],
) -> None:
    whole = ravens_file.read_text(encoding="utf-8")
    assert "'ravens'" in told_of(manager, whole.replace("hp=6", "hp=-6"))
    rules = manager.ruleset()
    assert "raven" not in rules.species
    scene = load(root / "examples" / "scenes" / "millpond")
    world = World(compile_scene(scene, rules.species_names), rules, scene.seed)
    assert all(world.step().hash for _ in range(40))


def lived_in(folder: Path, rules: Ruleset) -> World:
    scene = load(folder)
    return World(compile_scene(scene, rules.species_names), rules, scene.seed)


def test_a_handler_that_raises_is_a_refusal_in_the_words_on_the_page(
    page: str,
    ravens_file: Path,
    rules_with: Callable[[str], Ruleset],
    pond: Path,
) -> None:
    whole = ravens_file.read_text(encoding="utf-8")
    text = replaced(whole, "HEARD[body.voice] ** 2", "HEARD[body.voice] // 0")
    world = lived_in(pond, rules_with(text))
    body = {"species": "traveller", "x": 36 * TILE, "y": 46 * TILE, "name": "Ann", "player": True}
    born = world.step([Input("spawn", 0, "director", 0, body)]).accepted[0].detail["entity"]
    refused = world.step([Input("caw", born, "client:ann", 0, {})]).rejections[0]
    assert refused.code == "blocked"
    assert f"`{refused.reason}`" in page.replace("\n", " ")
    assert world.step().tick == 3, "the world goes on"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("rows) >= 0, 700, 0)", "rows) >= 0, 700, 0) / 2", "whole numbers"),
        ("rows) >= 0, 700, 0)", "rows)[:1] >= 0, 700, 0)", "whole numbers"),
        ("SHY = 6 * TILE", "SHY = None", "TypeError"),
    ],
)
def test_a_consideration_that_fails_counts_as_nothing_and_is_named(
    ravens_file: Path,
    rules_with: Callable[[str], Ruleset],
    pond: Path,
    old: str,
    new: str,
    fault: str,
) -> None:
    whole = ravens_file.read_text(encoding="utf-8")
    world = lived_in(pond, rules_with(replaced(whole, old, new)))
    done: set[int] = set()
    for _ in range(100):
        world.step()
        ravens = world.columns.species == world.ruleset.species_code["raven"]
        done.update(world.columns.action[ravens].tolist())
    assert fault in world.faults["shy_of_people"]
    assert world.ruleset.activity_code["wander"] in done, "its other reasons still count"


@pytest.mark.usefixtures("installed")
def test_plugins_list_prints_what_the_page_shows(
    blocks: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = io.StringIO()
    monkeypatch.setattr(console, "people", Console(file=printed, width=160))
    list_plugins(json=False)
    lines = [" ".join(line.split()) for line in printed.getvalue().splitlines()]
    shown = next(text for mark, text in blocks if mark == "plugins list")
    told = [" ".join(line.split()) for line in shown.splitlines()]
    assert told[:2] == lines[:2]
    assert told[2].split()[0] == lines[2].split()[0]


# Its scene


def test_the_ravens_live_a_day_at_the_mill_pond(rules: Ruleset, pond: Path) -> None:
    world = lived_in(pond, rules)
    names, code = rules.activity_names, rules.species_code["raven"]
    done: set[str] = set()
    for _ in range(world.day_ticks):
        world.step()
        if world.tick % 8 == 0:
            c = world.columns
            done.update(names[action] for action in c.action[(c.species == code) & (c.died < 0)])
    assert done >= {"wander", "rest"}
    assert world.faults == {} and world.hash() == world.full_hash()
