"""Vampires: they lie in their castle by day and hunt those who are out at night."""

from __future__ import annotations

from plugins.api import TILE, AdapterFile, Species, hookimpl
from plugins.builtin import adapted


@hookimpl
def greenroom_species() -> list[Species]:
    return [
        Species(
            "vampire",
            "undead",
            hp=120,
            attack=14,
            defence=6,
            speed=56,
            perception=20 * TILE,
            diet=("villager", "hunter", "traveller"),
            hostile_to=("guard",),
            considerations=(
                "shun_the_sun",
                "fight_back",
                "flee_if_weak",
                "nurse_wounds",
                "obey_retreat",
                "keep_close",
                "hunt",
                "prowl",
                "wander",
                "idle",
            ),
            tactics=("flank", "focus", "protect", "hold", "retreat"),
            voice="courtly",
            reflex_lines=(
                "The night is young.",
                "You smell of bread and fear.",
                "Come closer.",
            ),
            speaks=True,
            symbol="V",
            colour="#a03050",
            hunger=3,
            fatigue=2,
            essential=True,
            shuns_floors=True,
        )
    ]


@hookimpl
def greenroom_adapters() -> list[AdapterFile]:
    return adapted("vampire")
