"""Opens worlds: scene, rules and store brought together, new or as it was left."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import greenroom
from foundation.errors import UsageError
from greenroom import scenes
from plugins.manager import PluginManager, load_builtin_and_installed
from world import scene as scene_files
from world.compiled import CompiledScene
from world.replay import catch_up
from world.ruleset import Ruleset
from world.store.layout import DATA_NAME
from world.store.options import StoreOptions
from world.store.reader import Reader
from world.store.records import WorldMeta
from world.store.recovery import recover
from world.store.store import Store
from world.world import World

RUN_WORLD = "world"
"""Where in the folder of a run its world lies."""


@dataclass(frozen=True, slots=True)
class OpenWorld:
    """A world in its folder. `resumed` is the number of journal records stepped again, None if new."""

    world: World
    store: Store
    scene: CompiledScene
    ruleset: Ruleset
    plugins: PluginManager
    resumed: int | None
    warnings: tuple[str, ...]


def compiled(scene: str, ruleset: Ruleset, seed: int | None, npcs: int | None) -> CompiledScene:
    """The scene of that name or path, ready to live; its own seed when `seed` is None.

    Raises `SceneError`.
    """
    source = scene_files.load(scenes.find(scene))
    return scene_files.compile_scene(source, ruleset.species_names, seed, npcs)


def starter(ruleset: Ruleset) -> Callable[[WorldMeta], World]:
    """Makes the first tick's world from what a store's meta says it was made from."""
    return lambda meta: World(
        compiled(meta.scene, ruleset, meta.seed, meta.npcs), ruleset, meta.seed
    )


def open_world(
    folder: Path,
    *,
    scene: str | None = None,
    seed: int | None = None,
    npcs: int | None = None,
    fresh: bool = False,
    options: StoreOptions | None = None,
) -> OpenWorld:
    """The world in `folder`, recovered to its last durable tick, or a new one.

    What is given must agree with what the world was made from; what is not given is taken from it
    (a new world: the valley, and the scene's own seed). With `fresh` the folder must hold no world yet. Raises
    `UsageError`, `SceneError`, `StorageError`.
    """
    plugins = load_builtin_and_installed()
    ruleset = plugins.ruleset()
    known = _kept_meta(folder)
    if known is not None and fresh:
        raise UsageError(f"{folder} already holds a world", "name another folder, or remove it")
    if known is not None:
        wanted = None if scene is None else _lasting(scene)
        _agree(folder, known, scene=wanted, seed=seed, npcs=npcs)
    # The scene is compiled before the folder is made: a bad scene leaves nothing behind.
    if known is not None:
        meta = known
        ready = compiled(meta.scene, ruleset, meta.seed, meta.npcs)
    else:
        name = _lasting(scene or "valley")
        ready = compiled(name, ruleset, seed, npcs)
        meta = WorldMeta(
            scene=name,
            seed=ready.seed,
            npcs=npcs,
            scene_digest=_digest(name),
            ruleset_digest=ruleset.digest(),
            engine_version=greenroom.__version__,
            mod_versions=plugins.versions,
        )
    store = Store.open(folder, create=meta, options=options)
    try:
        recovery = store.recover()
        if recovery.state is None:
            world = World(ready, ruleset, meta.seed)
        else:
            world = World.from_state(recovery.state, ruleset)
        before = world.tick
        catch_up(world, recovery.records)
        if known is None:
            store.checkpoint(world.moment(), state_hash=world.hash())
        else:
            # What watchers saw after the last durable tick, if anything, is abandoned with its epoch.
            world.epoch = store.new_epoch()
            store.update_meta(
                ruleset_digest=ruleset.digest(),
                engine_version=greenroom.__version__,
                mod_versions=plugins.versions,
            )
    except BaseException:
        store.close()
        raise
    resumed = None if known is None else world.tick - before
    warnings = recovery.warnings
    if known is not None and known.scene_digest not in ("", _digest(meta.scene)):
        warnings += (
            f"the scene {meta.scene} has changed since the world in {folder} was made: whom it placed and "
            "what it built stays as it was (to begin anew, name another folder with --data)",
        )
    return OpenWorld(world, store, ready, ruleset, plugins, resumed, warnings)


def lived(reader: Reader, ruleset: Ruleset) -> World:
    """The world in a folder, stepped to its last durable tick with every hash compared.

    Raises `StorageError`, `ReplayError`, `StateError`.
    """
    recovery = recover(reader, reader.end()[0], None)
    if recovery.state is None:
        world = starter(ruleset)(reader.meta())
    else:
        world = World.from_state(recovery.state, ruleset)
    catch_up(world, recovery.records)
    return world


def world_folder(run: Path) -> Path:
    """Where the world lies: in the folder itself, or in the `world/` of a run of `simulate`."""
    inner = run / RUN_WORLD
    return inner if (inner / DATA_NAME).exists() and not (run / DATA_NAME).exists() else run


def _kept_meta(folder: Path) -> WorldMeta | None:
    if not (folder / DATA_NAME).exists():
        return None
    with Reader.open(folder) as reader:
        return reader.meta()


def _lasting(scene: str) -> str:
    """A scene's name, or its whole path, so that the world opens from any working directory."""
    return scene if scene in scenes.built_in() else str(scenes.find(scene).resolve())


def _digest(scene: str) -> str:
    """What tells one state of a scene's files from another."""
    pages = sorted(scenes.find(scene).glob("*.toml"))
    return hashlib.sha256(b"\0".join(page.read_bytes() for page in pages)).hexdigest()


def _agree(folder: Path, meta: WorldMeta, **given: object) -> None:
    for key, value in given.items():
        kept = getattr(meta, key)
        if value is not None and value != kept:
            made = f"without --{key}" if kept is None else f"with --{key} {kept}"
            raise UsageError(
                f"{folder} holds a world made {made}, not with {value}",
                f"leave --{key} out, or name another folder with --data",
            )
