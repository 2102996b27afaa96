"""Wildlife: deer, sheep and hares that graze, bolt, and come again."""

from __future__ import annotations

from plugins.api import TILE, Species, hookimpl

_WILD = ("bolt", "graze", "bed_down", "idle")


@hookimpl
def greenroom_species() -> list[Species]:
    return [
        Species(
            "deer",
            "wildlife",
            hp=24,
            speed=62,
            perception=10 * TILE,
            considerations=_WILD,
            symbol="d",
            colour="#b08050",
            birth_delay=9_000,
        ),
        Species(
            "sheep",
            "livestock",
            hp=18,
            speed=36,
            perception=8 * TILE,
            considerations=_WILD,
            symbol="s",
            colour="#f4f4ee",
            birth_delay=7_000,
        ),
        Species(
            "hare",
            "wildlife",
            hp=8,
            speed=66,
            perception=7 * TILE,
            considerations=_WILD,
            symbol="h",
            colour="#c9a982",
            birth_delay=4_000,
        ),
    ]
