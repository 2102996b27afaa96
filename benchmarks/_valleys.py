"""Many scenes side by side on one map, each with its own people: one world as wide as needed, as dense as one scene."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from world.compiled import (
    CommonKnowledge,
    CompiledScene,
    GroupInfo,
    PersonaCard,
    Place,
    Spawn,
)
from world.maths import TILE


def side_by_side(scenes: Sequence[CompiledScene], across: int) -> CompiledScene:
    """One scene of scenes of the same size and day, `across` in a row, west to east, then south.

    Places, personas and groups keep what they are under keys and numbers of their own, and nobody's home or
    work is in another one's part. Names are left alone, so people of the same name live far from one another.
    Seed and name are the first one's.
    """
    first = scenes[0]
    width, height = first.size
    rows = -(-len(scenes) // across)
    tiles = np.zeros((rows * height, across * width), dtype=np.uint8)
    tiles[:] = first.tiles[0, 0]
    places: dict[str, Place] = {}
    spawns: list[Spawn] = []
    groups: dict[int, GroupInfo] = {}
    personas: dict[str, PersonaCard] = {}
    told: dict[int, str] = {}
    starts: list[tuple[int, int]] = []
    for n, scene in enumerate(scenes):
        left, top = n % across * width, n // across * height
        dx, dy = left * TILE, top * TILE
        tiles[top : top + height, left : left + width] = scene.tiles
        above = max(groups, default=0)

        def key(name: str, n: int = n) -> str:
            return f"{n}/{name}" if name else ""

        places |= {
            key(p.key): replace(p, key=key(p.key), x=p.x + dx, y=p.y + dy)
            for p in scene.places.values()
        }
        spawns += [
            replace(
                s,
                x=s.x + dx,
                y=s.y + dy,
                home=key(s.home),
                work=key(s.work),
                group=s.group + above if s.group else 0,
                persona_key=key(s.persona_key),
            )
            for s in scene.spawns
        ]
        groups |= {above + number: group for number, group in scene.groups.items()}
        told |= {above + number: text for number, text in scene.common.groups.items()}
        personas |= {
            key(k): replace(
                card, key=key(k), relations=tuple(replace(r, to=key(r.to)) for r in card.relations)
            )
            for k, card in scene.personas.items()
        }
        starts += [(x + dx, y + dy) for x, y in scene.player_starts]
    return replace(
        first,
        size=(across * width, rows * height),
        tiles=tiles,
        places=places,
        spawns=tuple(spawns),
        player_starts=tuple(starts),
        groups=groups,
        personas=personas,
        common=CommonKnowledge(first.common.world, told),
    )
