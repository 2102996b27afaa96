"""People: villagers, the watch, hunters, players' travellers, and the things they use."""

from __future__ import annotations

import numpy as np

from plugins.api import (
    TILE,
    AdapterFile,
    Emit,
    Need,
    Outcome,
    Paint,
    Refusal,
    SetGlobal,
    Species,
    Tile,
    View,
    hookimpl,
)
from plugins.builtin import adapted

_DAM_REACH = 16
_DAILY = (
    "flee_threat",
    "take_shelter",
    "nurse_wounds",
    "sleep_at_night",
    "eat_at_home",
    "go_to_work",
    "meet_in_the_evening",
    "wander",
    "idle",
)
_ARMED = ("fight_back", "defend", "obey_retreat", "keep_close", "nurse_wounds", "eat_at_home")


def _refresh(need: str, amount: int, busy: str) -> object:
    def use(view: View, row: int, thing: int) -> Outcome | Refusal:
        return Outcome((Need(view.id(row), need, amount),), {"did": busy})

    return use


def _pull_dam_lever(view: View, row: int, thing: int) -> Outcome | Refusal:
    """Open the dam: its stones turn to mud, and the water is free."""
    cx, cy = int(view.c.x[thing]) // TILE, int(view.c.y[thing]) // TILE
    x0, y0 = max(0, cx - _DAM_REACH), max(0, cy - _DAM_REACH)
    part = view.tiles[y0 : cy + _DAM_REACH + 1, x0 : cx + _DAM_REACH + 1]
    ys, xs = np.nonzero(part == Tile.DAM)
    if not ys.size:
        return Refusal("no_valid_target", "the dam is broken already")
    top, left = int(ys.min()), int(xs.min())
    block = part[top : int(ys.max()) + 1, left : int(xs.max()) + 1].copy()
    block[block == Tile.DAM] = Tile.MUD
    h, w = block.shape
    where = {"x": x0 + left, "y": y0 + top, "w": w, "h": h}
    return Outcome(
        (
            Paint(x0 + left, y0 + top, w, h, block.tobytes()),
            Emit("dam_broken", view.id(row), view.id(thing), where),
            SetGlobal("dam_broken", 1),
        ),
        where,
    )


def _thing(name: str, symbol: str, colour: str, use: object = None) -> Species:
    return Species(
        name,
        "things",
        hp=1,
        speed=0,
        reach=0,
        perception=0,
        symbol=symbol,
        colour=colour,
        hunger=0,
        fatigue=0,
        alive=False,
        on_use=use,  # type: ignore[arg-type]
    )


@hookimpl
def greenroom_species() -> list[Species]:
    return [
        Species(
            "villager",
            "village",
            hp=40,
            attack=3,
            defence=1,
            speed=42,
            perception=12 * TILE,
            considerations=_DAILY,
            voice="plain",
            reflex_lines=(
                "Good day to you.",
                "I have work to do.",
                "Mind the wolves after dark.",
                "Ask at the Lantern, they know everything.",
            ),
            speaks=True,
            symbol="v",
            colour="#f2e3c2",
            hunger=8,
            fatigue=5,
            essential=True,
        ),
        Species(
            "guard",
            "village",
            hp=90,
            attack=12,
            defence=6,
            speed=46,
            reach=448,
            perception=16 * TILE,
            hostile_to=("wolf", "vampire"),
            considerations=(
                *_ARMED,
                "patrol_at_night",
                "nap_at_noon",
                "go_to_work",
                "wander",
                "idle",
            ),
            tactics=("focus", "protect", "hold", "retreat"),
            voice="stern",
            reflex_lines=(
                "Keep to the road.",
                "All quiet, so far.",
                "Be indoors when the bell rings.",
            ),
            speaks=True,
            symbol="G",
            colour="#5b8fd9",
            hunger=8,
            fatigue=5,
            essential=True,
            brave=True,
        ),
        Species(
            "hunter",
            "village",
            hp=70,
            attack=13,
            defence=4,
            speed=48,
            reach=5 * TILE,
            perception=18 * TILE,
            hostile_to=("wolf",),
            considerations=(
                *_ARMED,
                "flee_if_weak",
                "take_shelter",
                "sleep_at_night",
                "go_to_work",
                "meet_in_the_evening",
                "wander",
                "idle",
            ),
            tactics=("focus", "flank", "retreat"),
            voice="dry",
            reflex_lines=("Tracks everywhere.", "Quiet. You scare the game.", "Hm."),
            speaks=True,
            symbol="H",
            colour="#6f9a4f",
            hunger=8,
            fatigue=5,
            essential=True,
            brave=True,
        ),
        Species(
            "traveller",
            "travellers",
            hp=100,
            attack=10,
            defence=4,
            speed=50,
            reach=448,
            perception=16 * TILE,
            considerations=("idle",),
            speaks=True,
            symbol="@",
            colour="#ffffff",
            essential=True,
            brave=True,
        ),
        _thing("well", "o", "#6aa5d8", _refresh("fatigue", -60, "drank")),
        _thing("hearth", "^", "#e2793b", _refresh("fear", -150, "got warm")),
        _thing("shrine", "+", "#f5e08a", _refresh("mood", 150, "prayed")),
        _thing("food", "%", "#c58a4a", _refresh("hunger", -400, "ate")),
        _thing("dam_lever", "/", "#8a8a8a", _pull_dam_lever),
    ]


@hookimpl
def greenroom_adapters() -> list[AdapterFile]:
    return adapted("villager")
