"""The company's bounds and latencies, in one place."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from foundation.strict import StrictModel

__all__ = ["CompanySettings"]

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class CompanySettings(StrictModel):
    """Times are in seconds unless named ticks; a tick is 1/20 s.

    `decisions` model decisions at most are in flight, `speeches` answers to players. An answer to a
    player comes within `speech_s`, by reflex if no model is done by then; the director vouches for
    it `grace_s` later should the NPC itself have failed. `think_ticks`, `speak_ticks` and
    `plan_ticks` are the virtual latencies after which a headless run admits answers; it waits at
    most `patience_s` for one. A group's own tactic is reconsidered every `group_ticks`, a plan asked
    for every `plan_every_ticks` and obeyed for `obey_ticks`. Minds turn to a new part of the day within `turn_ticks`
    of its beginning, each at its own moment. A headless run looks `ahead_ticks` ahead for whom it can ask (0: in lock-step),
    and while fewer than `ahead_room` calls are under way it also makes such as may be in vain: few for a server whose steps grow
    with their rows, 64 for one that answers 64 as fast as one. With `cached_openings` a cache in front of
    the models may answer the first line of a conversation (see opening.py).
    """

    decisions: Count = 4
    speeches: Count = 64
    speeches_per_npc: Count = 4
    speech_s: Seconds = 8.0
    decision_s: Seconds = 6.0
    plan_s: Seconds = 4.0
    grace_s: Seconds = 1.0
    think_ticks: Count = 20
    speak_ticks: Count = 30
    plan_ticks: Count = 20
    patience_s: Seconds = 60.0
    ahead_ticks: Annotated[int, Field(ge=0, le=24_000)] = 0
    ahead_room: Annotated[int, Field(ge=0, le=64)] = 4
    turn_ticks: Annotated[int, Field(ge=0, le=24_000)] = 1000
    percepts_a_tick: Count = 8
    percepts_waiting: Count = 1024
    proposals_waiting: Count = 4096
    outcomes_waiting: Count = 20_000
    records_waiting: Count = 600
    checkpoint_ticks: Count = 1200
    group_ticks: Count = 20
    plan_every_ticks: Count = 100
    obey_ticks: Count = 100
    alarm_ticks: Count = 200
    flood_cells: Count = 1600
    flood_slices: Count = 24
    flood_every_ticks: Count = 5
    speech_tokens: Count = 96
    window: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    cached_openings: bool = False
    speech_temperature: Annotated[float, Field(ge=0, le=2)] = 0.6
