"""Whom a tick calls on to think, and which groups are told and planned for: the same for the run and for who lives it ahead."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from actors.attention import Attention
from actors.battlefield import Alarms, distances_to_players, group_view
from actors.fighters import GroupView
from actors.settings import CompanySettings
from world.compiled import GroupInfo
from world.events import Event
from world.frame import Situation
from world.reflexes import DECIDE_EVERY
from world.world import StepResult, World

__all__ = ["groups_told", "minds_called", "wants_plan"]


def minds_called(
    attention: Attention, world: World, settings: CompanySettings, busy: Collection[int]
) -> Iterator[tuple[int, Event, Situation]]:
    """Who is to be asked now, why, and its situation; `busy` are those whose answers are awaited.

    Nobody in a tick in which all decide.
    """
    if _decides(world.tick):
        return
    free = min(settings.decisions - len(busy), settings.percepts_a_tick)
    for entity, event in attention.pick(
        free, world.tick, lambda entities: distances_to_players(world, entities)
    ):
        situation = world.situation(entity)
        if situation is None or not situation.alive or situation.downed or entity in busy:
            continue
        # Nobody would see what one who is lived in strides decides; a model's time is for others.
        if not world.is_far(entity):
            yield entity, event, situation


def groups_told(
    alarms: Alarms,
    result: StepResult,
    world: World,
    groups: Collection[int],
    info: Mapping[int, GroupInfo],
) -> Iterator[tuple[int, GroupView]]:
    """Which of the `groups` are to be told now how things stand, and how they do; none in a tick in which all decide."""
    alarms.notice(result.events, world, groups)
    if _decides(world.tick):
        return
    for group in alarms.due(result.tick):
        view = group_view(world, group, info.get(group)) if group in groups else None
        if view is not None:
            yield group, view


def wants_plan(alarms: Alarms, view: GroupView, planning: bool) -> bool:
    """Whether a plan is to be asked for a group that was told; `planning`: whether one is awaited."""
    return bool(view.foes) and not planning and alarms.plan_due(view.group, view.tick)


def _decides(tick: int) -> bool:
    """Whether that is one of the ticks that take longest: what is learnt in it is passed on in the next."""
    return tick % DECIDE_EVERY == 0
