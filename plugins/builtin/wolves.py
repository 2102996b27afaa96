"""Wolves: they rest in the den by day, hunt in their pack from dusk, and close in as a ring."""

from __future__ import annotations

from plugins.api import TILE, AdapterFile, Species, hookimpl
from plugins.builtin import adapted


@hookimpl
def greenroom_species() -> list[Species]:
    return [
        Species(
            "wolf",
            "beasts",
            hp=60,
            attack=8,
            defence=4,
            speed=58,
            perception=18 * TILE,
            diet=("deer", "sheep", "hare"),
            hostile_to=("village", "travellers"),
            considerations=(
                "fight_back",
                "flee_if_weak",
                "nurse_wounds",
                "obey_retreat",
                "keep_close",
                "hunt",
                "raid",
                "prowl",
                "sleep_by_day",
                "wander",
                "idle",
            ),
            tactics=("surround", "flank", "focus", "hold", "protect", "retreat"),
            voice="growl",
            symbol="w",
            colour="#8d8d95",
            hunger=5,
            fatigue=5,
            birth_delay=24_000,
            shuns_floors=True,
        )
    ]


@hookimpl
def greenroom_adapters() -> list[AdapterFile]:
    return adapted("wolf")
