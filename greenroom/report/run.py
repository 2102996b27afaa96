"""A run's record as plain data: what the map, the charts and the report are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from world.compiled import Place

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SpeciesLook:
    """How a species is called and coloured; `alive` is False for things."""

    name: str
    colour: str
    alive: bool


@dataclass(frozen=True, slots=True)
class EventRow:
    """A moment worth finding again."""

    tick: int
    kind: str
    who: str
    whom: str


@dataclass(frozen=True, slots=True, eq=False)
class Trail:
    """Where someone went, newest last: int64 of shape (n, 2), (x, y) in units."""

    name: str
    species: int
    points: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Samples over time, all of length n.

    `tick` is the last tick of each sample and `ticks` how many it covers. `population` has shape
    (n, species). `levels` holds mood_low, mood, mood_high (tenth, median, ninetieth percentile,
    -1000..1000) and mean hunger, fatigue, fear (0..1000) at the sample's end. `events` holds counts
    by kind. Step times are in milliseconds.
    """

    tick: Ints
    ticks: Ints
    population: Ints
    levels: Mapping[str, Floats]
    events: Mapping[str, Ints]
    step_mean: Floats
    step_max: Floats


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """All of a run that a report shows. `final_…` arrays have one entry per entity, positions in units.

    `footfall` counts visits by tile, shape (height, width).
    """

    scene: str
    seed: int
    first_tick: int
    last_tick: int
    day_ticks: int
    state_hash: str
    tiles: NDArray[np.uint8]
    places: tuple[Place, ...]
    species: tuple[SpeciesLook, ...]
    series: Series
    event_totals: Mapping[str, int]
    moments: tuple[EventRow, ...]
    step_ms: Mapping[str, float]
    final_species: Ints
    final_x: Ints
    final_y: Ints
    final_dead: NDArray[np.bool_]
    final_names: tuple[str, ...]
    footfall: Ints
    trails: tuple[Trail, ...]
