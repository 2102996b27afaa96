"""What a run leaves behind: series thinned as they grow, counts, footfall and trails, in bounded memory."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from greenroom.report.report import write_report
from greenroom.report.run import EventRow, RunData, Series, SpeciesLook, Trail
from world.compiled import Place
from world.events import Event
from world.frame import FLAG_DEAD, Frame
from world.maths import TILE
from world.ruleset import Ruleset

MOST_SAMPLES: Final = 2_000
MOST_TRAILS: Final = 64
RARE: Final = 12
"""A species of so many or fewer has its ways drawn."""

TRAIL_POINTS: Final = 400
MOST_KINDS: Final = 64
"""Kinds of events counted by name; more than that are counted as "other"."""

MOST_MOMENTS: Final = 300

_NEEDS: Final = ("hunger", "fatigue", "fear")

_MOMENTS: Final = frozenset({"died", "downed", "dam_broken", "order", "recovered"})
"""Kinds of events that a reader wants to find one by one."""


class RecordedWorld(Protocol):
    """What a recorder needs of a world; `world.world.World` has it."""

    @property
    def tick(self) -> int: ...

    @property
    def seed(self) -> int: ...

    @property
    def scene(self) -> str: ...

    @property
    def day_ticks(self) -> int: ...

    @property
    def ruleset(self) -> Ruleset: ...

    @property
    def tiles(self) -> NDArray[np.uint8]: ...

    @property
    def places(self) -> Mapping[str, Place]: ...

    @property
    def names(self) -> Mapping[int, str]: ...

    @property
    def columns(self) -> Any: ...


@dataclass(slots=True)
class _Bucket:
    """One sample in the making: `ticks` ticks from `first`."""

    first: int
    ticks: int = 0
    last: int = 0
    step_sum: float = 0.0
    step_max: float = 0.0
    events: Counter[str] = field(default_factory=Counter)
    population: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    levels: dict[str, float] = field(default_factory=dict)

    def absorb(self, later: _Bucket) -> None:
        """Take in the sample after this one: sums add up, levels are those at the end."""
        self.ticks += later.ticks
        self.last = later.last
        self.step_sum += later.step_sum
        self.step_max = max(self.step_max, later.step_max)
        self.events += later.events
        self.population, self.levels = later.population, later.levels


class RunRecorder:
    """Listens to a run tick by tick and draws its report at the end.

    Memory is bounded whatever the run's length: at most MOST_SAMPLES samples are kept; when they are
    full, neighbours are joined and each further sample covers twice as many ticks. Step times go into
    a histogram besides, so that the percentiles of the whole run are exact to 5 %.
    """

    def __init__(self, world: RecordedWorld) -> None:
        self._world = world
        self._buckets: list[_Bucket] = []
        self._stride = 1
        self._totals: Counter[str] = Counter()
        self._moments: deque[EventRow] = deque(maxlen=MOST_MOMENTS)
        self._steps = _StepTimes()
        self._footfall = np.zeros(world.tiles.shape, dtype=np.int64)
        self._trails: dict[int, deque[tuple[int, int]]] = {}
        self._trail_every = max(1, world.day_ticks // TRAIL_POINTS)
        self._frame: Frame | None = None
        self._first_tick = world.tick

    @property
    def samples(self) -> int:
        """How many samples are kept now."""
        return len(self._buckets)

    def follow(self, world: RecordedWorld) -> None:
        """Go on with this object: a step that failed was undone into another one."""
        self._world = world

    def sample(self, frame: Frame, step_ms: float, events: Iterable[Event]) -> None:
        """Take in one tick: its frame, how long its step took in milliseconds, and its events."""
        self._frame = frame
        if not self._buckets or self._buckets[-1].ticks >= self._stride:
            self._open(frame.tick)
        bucket = self._buckets[-1]
        bucket.ticks += 1
        bucket.last = frame.tick
        bucket.step_sum += step_ms
        bucket.step_max = max(bucket.step_max, step_ms)
        self._steps.add(step_ms)
        for event in events:
            kind = event.kind
            if kind not in self._totals and len(self._totals) >= MOST_KINDS:
                kind = "other"
            bucket.events[kind] += 1
            self._totals[kind] += 1
            if event.kind in _MOMENTS:
                self._remember(event, frame)
        if bucket.ticks >= self._stride:
            self._measure(bucket, frame)
        if frame.tick % self._trail_every == 0:
            self._trace(frame)

    def _open(self, tick: int) -> None:
        if self._buckets and not self._buckets[-1].levels and self._frame is not None:
            self._measure(self._buckets[-1], self._frame)
        if len(self._buckets) >= MOST_SAMPLES:
            for early, late in zip(self._buckets[::2], self._buckets[1::2], strict=True):
                early.absorb(late)
            self._buckets = self._buckets[::2]
            self._stride *= 2
        self._buckets.append(_Bucket(tick))

    def _remember(self, event: Event, frame: Frame) -> None:
        by = event.data.get("by")
        other = event.target or (by if isinstance(by, int) else 0)
        who, whom = self._called(event.entity, frame), self._called(other, frame)
        self._moments.append(EventRow(event.tick, event.kind, who, whom))

    def _called(self, entity: int, frame: Frame) -> str:
        """Return a name, or "a wolf" for one without, or "" for nobody."""
        if not entity:
            return ""
        name = self._world.names.get(entity)
        if name:
            return name
        row = int(np.searchsorted(frame.id, np.uint64(entity)))
        if row < len(frame.id) and int(frame.id[row]) == entity:
            species = self._world.ruleset.species_names[int(frame.species[row])]
            return f"a {species.replace('_', ' ')}"
        return ""

    def _measure(self, bucket: _Bucket, frame: Frame) -> None:
        alive = (frame.flags & FLAG_DEAD) == 0
        count = len(self._world.ruleset.species_names)
        bucket.population = np.bincount(frame.species[alive], minlength=count)
        minded = alive & (self._alive_species()[frame.species])
        moods = frame.mood[minded]
        if len(moods):
            low, middle, high = np.percentile(moods, (10, 50, 90)).tolist()
            bucket.levels |= {"mood_low": low, "mood": middle, "mood_high": high}
        columns = self._world.columns
        rows = columns.live_rows()
        rows = rows[self._alive_species()[columns.species[rows]] & (columns.died[rows] < 0)]
        for need in _NEEDS:
            bucket.levels[need] = float(getattr(columns, need)[rows].mean()) if len(rows) else 0.0

    def _alive_species(self) -> NDArray[np.bool_]:
        rules = self._world.ruleset
        return np.array([rules.species[name].alive for name in rules.species_names], dtype=np.bool_)

    def _trace(self, frame: Frame) -> None:
        """Count a footstep on the tile of each who moves, and lengthen the trails of the named."""
        moving = self._alive_species()[frame.species] & ((frame.flags & FLAG_DEAD) == 0)
        y, x = frame.y[moving] // TILE, frame.x[moving] // TILE
        rows, columns = self._world.tiles.shape
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        np.add.at(self._footfall, (y[inside], x[inside]), 1)
        here = dict(zip(frame.id.tolist(), range(len(frame.id)), strict=True))
        for entity in [entity for entity in self._trails if entity not in here]:
            del self._trails[entity]
        self._choose(frame)
        for entity, trail in self._trails.items():
            row = here[entity]
            if not frame.flags[row] & FLAG_DEAD:
                trail.append((int(frame.x[row]), int(frame.y[row])))

    def _choose(self, frame: Frame) -> None:
        """Follow those of rare species, packs and covens, while there is room; a crowd has its footfall."""
        counts = np.bincount(frame.species, minlength=len(self._world.ruleset.species_names))
        rare = self._alive_species() & (counts <= RARE)
        for entity in frame.id[rare[frame.species]].tolist():
            if len(self._trails) >= MOST_TRAILS:
                return
            if entity not in self._trails:
                self._trails[entity] = deque(maxlen=TRAIL_POINTS)

    def data(self) -> RunData:
        """Return what was recorded. Raises ValueError before the first sample."""
        frame, world = self._frame, self._world
        if frame is None:
            raise ValueError("nothing was recorded: give the recorder a tick first")
        if not self._buckets[-1].levels:
            self._measure(self._buckets[-1], frame)
        rules = world.ruleset
        looks = tuple(
            SpeciesLook(name, rules.species[name].colour, rules.species[name].alive)
            for name in rules.species_names
        )
        return RunData(
            scene=world.scene,
            seed=world.seed,
            first_tick=self._first_tick,
            last_tick=frame.tick,
            day_ticks=world.day_ticks,
            state_hash=f"{frame.hash:016x}",
            tiles=np.array(world.tiles),
            places=tuple(world.places.values()),
            species=looks,
            series=self._series(len(looks)),
            event_totals=dict(self._totals.most_common()),
            moments=tuple(self._moments),
            step_ms=self._steps.summary(),
            final_species=frame.species.astype(np.int64),
            final_x=frame.x.astype(np.int64),
            final_y=frame.y.astype(np.int64),
            final_dead=(frame.flags & FLAG_DEAD) != 0,
            final_names=tuple(world.names.get(int(i), "") for i in frame.id.tolist()),
            footfall=self._footfall.copy(),
            trails=self._trail_data(frame),
        )

    def _series(self, species: int) -> Series:
        buckets = self._buckets
        kinds = [kind for kind, _ in self._totals.most_common()]
        level = {
            name: np.array([bucket.levels.get(name, 0.0) for bucket in buckets])
            for name in ("mood_low", "mood", "mood_high", *_NEEDS)
        }
        return Series(
            tick=np.array([bucket.last for bucket in buckets], dtype=np.int64),
            ticks=np.array([bucket.ticks for bucket in buckets], dtype=np.int64),
            population=np.array(
                [np.resize(bucket.population, species) for bucket in buckets], dtype=np.int64
            ).reshape(len(buckets), species),
            levels=level,
            events={
                kind: np.array([bucket.events[kind] for bucket in buckets], dtype=np.int64)
                for kind in kinds
            },
            step_mean=np.array([bucket.step_sum / bucket.ticks for bucket in buckets]),
            step_max=np.array([bucket.step_max for bucket in buckets]),
        )

    def _trail_data(self, frame: Frame) -> tuple[Trail, ...]:
        at = {int(i): n for n, i in enumerate(frame.id.tolist())}
        names = self._world.names
        return tuple(
            Trail(names.get(entity, ""), int(frame.species[at[entity]]), np.array(points))
            for entity, points in self._trails.items()
            if len(points) > 1 and entity in at
        )

    def write(self, out_dir: Path) -> dict[str, Any]:
        """Write `report.json`, `map.png`, `charts.png` and `report.html`; return the JSON's content.

        Raises ValueError before the first sample, OSError where the folder can't be written.
        """
        return write_report(self.data(), Path(out_dir))


class _StepTimes:
    """A histogram of milliseconds in steps of 5 %, from a microsecond to some three hours."""

    _RATIO = 1.05
    _LEAST = 1e-3

    def __init__(self) -> None:
        self._counts = np.zeros(480, dtype=np.int64)
        self._sum = 0.0
        self._max = 0.0

    def add(self, step_ms: float) -> None:
        ratio = max(step_ms, self._LEAST) / self._LEAST
        slot = int(np.log(ratio) / np.log(self._RATIO))
        self._counts[min(slot, len(self._counts) - 1)] += 1
        self._sum += step_ms
        self._max = max(self._max, step_ms)

    def summary(self) -> dict[str, float]:
        """Return mean, p50, p95, p99 and max in milliseconds."""
        count = int(self._counts.sum())
        if not count:
            return {}
        heap = np.cumsum(self._counts)

        def quantile(share: float) -> float:
            slot = int(np.searchsorted(heap, share * count))
            return min(float(self._LEAST * self._RATIO ** (slot + 0.5)), self._max)

        return {
            "mean": self._sum / count,
            "p50": quantile(0.50),
            "p95": quantile(0.95),
            "p99": quantile(0.99),
            "max": self._max,
        }
