"""What may be told of a world and of those in it, as plain values for clients and operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.messages import HZ
from world.frame import Situation
from world.maths import TILE
from world.tiles import Tile
from world.world import World

__all__ = ["about", "public"]


def public(situation: Situation) -> dict[str, Any]:
    """The part of a situation that anyone may see."""
    return {
        "tick": situation.tick,
        "name": situation.name,
        "species": situation.species,
        "time": situation.time,
        "place": situation.place,
        "mood": situation.mood,
        "action": situation.action,
        "hp": situation.hp,
        "max_hp": situation.max_hp,
        "x": situation.x,
        "y": situation.y,
        "group": situation.group_name,
        "near": [{"id": near.id, "name": near.name} for near in situation.near],
        "trouble": list(situation.trouble),
        "player": situation.player,
        "alive": situation.alive,
        "downed": situation.downed,
    }


def about(world: World, server: str) -> Mapping[str, Any]:
    """What holds for the whole of an epoch: sizes, names in the order of their codes, the vocabulary."""
    rules = world.ruleset
    return {
        "scene": world.scene,
        "width": world.width,
        "height": world.height,
        "tile": TILE,
        "hz": HZ,
        "day_ticks": world.day_ticks,
        "epoch": world.epoch,
        "server": server,
        "species": [
            {"name": s.name, "symbol": s.symbol, "colour": s.colour, "speaks": s.speaks}
            for s in rules.species_list
        ],
        "factions": list(rules.faction_names),
        "activities": list(rules.activity_names),
        "actions": list(rules.actions),
        "tiles": [tile.name.lower() for tile in Tile],
    }
