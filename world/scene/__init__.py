"""Scenes: a folder of TOML read, checked, and made ready to live."""

from world.scene.compiling import compile_scene
from world.scene.loading import load
from world.scene.schema import Scene

__all__ = ["Scene", "compile_scene", "load"]
