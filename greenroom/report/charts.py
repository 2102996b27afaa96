"""A run in four charts: who lives, how they feel, what happens, how long a step takes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from greenroom.report.palette import (
    EVENTS,
    FAINT,
    INK,
    NIGHT,
    PAPER,
    SANS,
    SERIF,
    colour_of,
    new_figure,
    quiet_axes,
)
from greenroom.report.run import RunData

WIDTH, HEIGHT, DPI = 15.0, 10.4, 130

_MOST_KINDS: Final = 9

_UNTOLD: Final = frozenset({"despawned", "moved_in", "tiles", "time_of_day"})
"""Kinds that the clock or bookkeeping brings: the table has them, the chart needn't."""

_COLUMNS: Final = 96
"""Spans of time in the chart of events."""

_NEEDS: Final = (("hunger", "#b08a2e"), ("fatigue", "#50648c"), ("fear", "#7d2248"))

Floats = NDArray[np.float64]


def draw_charts(run: RunData, path: Path) -> None:
    """Write the four charts as PNG, WIDTH * DPI by HEIGHT * DPI pixels."""
    figure = new_figure(WIDTH, HEIGHT, DPI)
    grid = figure.add_gridspec(
        2, 2, left=0.078, right=0.935, top=0.865, bottom=0.06, hspace=0.36, wspace=0.26
    )
    figure.text(
        0.078, 0.955, f"{run.scene.replace('_', ' ').capitalize()}, seed {run.seed}",
        fontsize=20, color=INK, fontfamily=SERIF, va="center",
    )  # fmt: skip
    ticks = run.last_tick - run.first_tick
    days = ticks / run.day_ticks
    figure.text(
        0.935, 0.955, f"{ticks:,} ticks, {days:.1f} game days · shaded: night",
        fontsize=9.5, color=FAINT, fontfamily=SANS, va="center", ha="right",
    )  # fmt: skip
    hours = run.series.tick / run.day_ticks * 24.0
    population = figure.add_subplot(grid[0, 0])
    minds = figure.add_subplot(grid[0, 1])
    events = figure.add_subplot(grid[1, 0])
    steps = figure.add_subplot(grid[1, 1])
    _population(population, run, hours)
    _minds(minds, run, hours)
    _events(events, run, hours)
    _steps(steps, run, hours)
    for axes in (population, minds, events, steps):
        _time_axis(axes, run, hours)
    figure.savefig(path, facecolor=PAPER)


def _time_axis(axes: Axes, run: RunData, hours: Floats) -> None:
    """Mark time by the clock on short runs and by days on long ones, and shade the nights."""
    first = run.first_tick / run.day_ticks * 24.0
    last = max(float(hours[-1]), first + 0.25)
    axes.set_xlim(first, last)
    if last - first <= 60:
        step = next(s for s in (1, 2, 3, 6, 12) if (last - first) / s <= 9 or s == 12)
        # The world begins at six in the morning: hour 0 of the run is 06:00 on the clock.
        start = int(np.ceil((first + 6) / step)) * step
        marks = np.arange(start, last + 6 + 0.01, step) - 6
        axes.set_xticks(marks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda h, _: f"{int(h + 6) % 24:02d}:00"))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(9, integer=True, steps=[1, 2, 5, 10]))
        days = np.arange(np.ceil(first / 24), last / 24 + 0.01)
        axes.set_xticks((days * 24)[:: max(1, len(days) // 9)])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda h, _: f"day {int(h // 24) + 1}"))
    for dusk in np.arange(np.floor(first / 24) * 24 - 9, last, 24):
        if dusk + 8 > first:
            axes.axvspan(max(dusk, first), min(dusk + 8, last), color=NIGHT, zorder=0, linewidth=0)


def _population(axes: Axes, run: RunData, hours: Floats) -> None:
    names = [look.name for look in run.species]
    quiet_axes(axes, "Who lives", "beings alive, by species")
    ends: list[tuple[float, str, str]] = []
    for number, look in enumerate(run.species):
        line = run.series.population[:, number]
        if not look.alive or not line.any():
            continue
        colour = colour_of(look.name, names)
        drawn = "#b3a98f" if look.name == "sheep" else colour
        axes.plot(hours, line, color=drawn, linewidth=1.8, drawstyle="steps-post")
        ends.append((float(line[-1]), look.name.replace("_", " "), drawn))
    top = float(run.series.population.max(initial=1))
    axes.set_ylim(0, top * 1.12 + 1)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    _end_labels(axes, ends)


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each line's name at its end, pushed apart where they would touch."""
    low, high = axes.get_ylim()
    if not ends:
        return
    gap = (high - low) * 0.052
    ends.sort()
    at = [end[0] for end in ends]
    for _ in range(60):
        moved = False
        for n in range(1, len(at)):
            if at[n] - at[n - 1] < gap - 1e-9:
                push = (gap - (at[n] - at[n - 1])) / 2
                at[n - 1], at[n], moved = at[n - 1] - push, at[n] + push, True
        floor = low + gap * 0.3
        if at[0] < floor:
            at[0] = floor
        if not moved:
            break
    for y, (value, name, colour) in zip(at, ends, strict=True):
        axes.annotate(
            f"{name} {value:,.0f}",
            (1.0, y),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
            fontfamily=SANS,
            annotation_clip=False,
        )


def _minds(axes: Axes, run: RunData, hours: Floats) -> None:
    quiet_axes(axes, "How they feel", "median mood with its middle four fifths; mean needs")
    levels = run.series.levels
    axes.fill_between(
        hours, levels["mood_low"], levels["mood_high"], color="#5f7f5a", alpha=0.18, linewidth=0
    )
    axes.plot(hours, levels["mood"], color="#4e6f4a", linewidth=1.9)
    ends = [(float(levels["mood"][-1]), "mood", "#4e6f4a")]
    for need, colour in _NEEDS:
        axes.plot(hours, levels[need], color=colour, linewidth=1.4)
        ends.append((float(levels[need][-1]), need, colour))
    lowest = min(0.0, float(levels["mood_low"].min(initial=0.0)))
    highest = max(float(values.max(initial=0.0)) for values in levels.values())
    axes.set_ylim(lowest - 60, max(highest, 400.0) + 60)
    axes.axhline(0, color=FAINT, linewidth=0.7)
    axes.yaxis.set_major_locator(MaxNLocator(7))
    _end_labels(axes, ends)


def _events(axes: Axes, run: RunData, hours: Floats) -> None:
    """Draw a row for each kind and a disc for each span of time, its area the count."""
    quiet_axes(axes, "What happens", "events by kind; a disc's area is their number")
    axes.grid(visible=False)
    kinds = [kind for kind in run.event_totals if kind not in _UNTOLD][:_MOST_KINDS]
    if not kinds:
        axes.text(
            0.5, 0.5, "nothing worth telling", transform=axes.transAxes, ha="center",
            color=FAINT, fontsize=10, fontfamily=SANS,
        )  # fmt: skip
        axes.set_yticks([])
        return
    first = run.first_tick / run.day_ticks * 24.0
    last = max(float(hours[-1]), first + 0.25)
    edges = np.linspace(first, last, _COLUMNS + 1)
    slot = np.clip(np.searchsorted(edges, hours, side="left") - 1, 0, _COLUMNS - 1)
    table = np.zeros((len(kinds), _COLUMNS))
    for row, kind in enumerate(kinds):
        np.add.at(table[row], slot, run.series.events[kind])
    middles = (edges[:-1] + edges[1:]) / 2
    widest = 15.0
    for row, kind in enumerate(kinds):
        busy = table[row] > 0
        # Each kind has its own scale: a death must not vanish beside a thousand meals.
        share = np.sqrt(table[row][busy] / table[row].max(initial=1.0))
        axes.axhline(row, color="#e6decc", linewidth=0.7, zorder=1)
        axes.scatter(
            middles[busy],
            np.full(int(busy.sum()), row),
            s=(widest * np.maximum(share, 0.18)) ** 2,
            color=EVENTS[row % len(EVENTS)],
            alpha=0.62,
            linewidths=0,
            zorder=3,
        )
        axes.annotate(
            f"{run.event_totals[kind]:,}",
            (1.0, row),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=FAINT,
            fontfamily=SANS,
            annotation_clip=False,
        )
    axes.set_ylim(len(kinds) - 0.4, -0.6)
    axes.set_yticks(range(len(kinds)), [kind.replace("_", " ") for kind in kinds])
    for label in axes.get_yticklabels():
        label.set_color(INK)
        label.set_fontsize(9)


def _steps(axes: Axes, run: RunData, hours: Floats) -> None:
    summary = run.step_ms
    note = " · ".join(
        f"{name} {summary[name]:.2f} ms" for name in ("p50", "p99", "max") if name in summary
    )
    quiet_axes(axes, "How long a tick takes", note)
    series = run.series
    axes.fill_between(
        hours, series.step_mean, series.step_max, color="#3f7f86", alpha=0.22, linewidth=0
    )
    axes.plot(hours, series.step_mean, color="#2f6f73", linewidth=1.5)
    positive = series.step_mean[series.step_mean > 0]
    low = float(positive.min()) if len(positive) else 0.1
    axes.set_yscale("log")
    axes.set_ylim(max(low * 0.6, 1e-3), max(float(series.step_max.max(initial=1.0)) * 1.6, 60.0))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ms, _: f"{ms:g} ms"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.axhline(50.0, color="#c8553d", linewidth=0.9, linestyle=(0, (4, 3)))
    axes.annotate(
        "50 ms: a tick at 20 Hz", (0.01, 50.0), xycoords=("axes fraction", "data"),
        xytext=(0, 3), textcoords="offset points", fontsize=8, color="#c8553d", fontfamily=SANS,
    )  # fmt: skip
    _end_labels_log(axes, series.step_mean[-1], series.step_max[-1])


def _end_labels_log(axes: Axes, mean: float, most: float) -> None:
    for value, name in ((mean, "mean"), (most, "slowest")):
        if name == "slowest" and most < mean * 1.35:
            continue
        axes.annotate(
            name, (1.0, max(value, 1e-3)), xycoords=("axes fraction", "data"), xytext=(6, 0),
            textcoords="offset points", va="center", fontsize=8.5, color="#2f6f73",
            fontfamily=SANS, annotation_clip=False,
        )  # fmt: skip
