"""The example plugin as a module, the rules with it, and a meadow to let its ravens live on."""

from __future__ import annotations

import configparser
import importlib.util
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from plugins.manager import PluginManager, load_builtin_and_installed
from world.compiled import CompiledScene, Place, Spawn
from world.maths import TILE
from world.ruleset import Ruleset
from world.tiles import Tile
from world.world import World

ROOT = Path(__file__).parents[2]
SIZE = 64


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def ravens_file() -> Path:
    """Where the plugin's code is."""
    return ROOT / "examples" / "plugins" / "ravens" / "greenroom_ravens.py"


@pytest.fixture(scope="session")
def ravens(ravens_file: Path) -> Iterator[ModuleType]:
    """The plugin's module, imported from its file; nothing is installed."""
    name = "greenroom_ravens"
    spec = importlib.util.spec_from_file_location(name, ravens_file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]


@pytest.fixture
def installed(ravens_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What pip would leave in site-packages for the plugin, on the path for one test; its version."""
    config = configparser.ConfigParser()
    config.read(ravens_file.parent / "setup.cfg", encoding="utf-8")
    name, version = config["metadata"]["name"], config["metadata"]["version"]
    module = config["options"]["py_modules"]
    entries = config["options.entry_points"]["greenroom.plugins"].strip()
    site = tmp_path / "site"
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[greenroom.plugins]\n{entries}\n")
    shutil.copy(ravens_file.with_name(f"{module}.py"), site)
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(str(site))
    return version


@pytest.fixture
def pond(root: Path, tmp_path: Path) -> Path:
    """A copy of the mill pond with the ravens that docs/plugins.md adds to its scene."""
    page = (root / "docs" / "plugins.md").read_text(encoding="utf-8")
    herd = re.search(r"^```toml ravens in a scene\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert herd is not None
    folder = tmp_path / "millpond"
    shutil.copytree(root / "examples" / "scenes" / "millpond", folder)
    with (folder / "scene.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n{herd[1]}")
    return folder


@pytest.fixture
def manager() -> PluginManager:
    """The built-in plugins, ready to be joined by another."""
    loaded = load_builtin_and_installed()
    assert loaded.errors == [] and "ravens" not in loaded.names
    return loaded


@pytest.fixture(scope="session")
def rules(ravens: ModuleType) -> Ruleset:
    """The built-in rules with the ravens among them."""
    loaded = load_builtin_and_installed()
    assert loaded.register(ravens, "ravens", "0.1.0"), loaded.errors
    return loaded.ruleset()


def meadow(*spawns: Spawn) -> CompiledScene:
    """64 x 64 tiles of grass with a lonely oak in the middle, where ravens are at home."""
    oak = Place("oak", "the oak", 32 * TILE, 32 * TILE, 2 * TILE, "edge")
    tiles = np.full((SIZE, SIZE), Tile.GRASS, dtype=np.uint8)
    start = ((20 * TILE, 20 * TILE),)
    return CompiledScene("meadow", (SIZE, SIZE), tiles, {"oak": oak}, spawns, start, seed=1)


@pytest.fixture(scope="session")
def make_world(rules: Ruleset) -> Callable[..., World]:
    """(spawns …) -> a world on the meadow; a spawn is (species, x cell, y cell, name)."""

    def make(*spawns: tuple[str, int, int, str], seed: int = 1) -> World:
        return World(
            meadow(
                *(
                    Spawn(species, x * TILE, y * TILE, name, home="oak" if x == y == 32 else "")
                    for species, x, y, name in spawns
                )
            ),
            rules,
            seed,
        )

    return make
