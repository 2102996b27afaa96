"""The scenes that come with Greenroom, found by name."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path

from world.errors import SceneError

__all__ = ["built_in", "find"]


def built_in() -> dict[str, Path]:
    """Return the folders of the scenes shipped, by name."""
    root = Path(str(files(__name__)))
    return {
        folder.name: folder
        for folder in sorted(root.iterdir())
        if (folder / "scene.toml").is_file()
    }


def find(name: str) -> Path:
    """Return the folder of a scene: a built-in one by its name, else the folder (or scene.toml) of that path.

    A bare name means the built-in scene even where a folder of that name lies in the working
    directory; write `./valley` for the folder. Raises SceneError naming what is there.
    """
    scenes = built_in()
    if name in scenes:
        return scenes[name]
    path = Path(name).expanduser()
    if path.name == "scene.toml":
        path = path.parent
    if (path / "scene.toml").is_file():
        return path
    if path.is_dir():
        raise SceneError(
            f"{path}: the folder holds no scene.toml", "a scene is a folder with scene.toml"
        )
    close = difflib.get_close_matches(name, scenes, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"built-in scenes: {', '.join(scenes)}."
    raise SceneError(
        f"there is no scene {name!r}", f"{hint} Or give a folder that holds scene.toml"
    )
