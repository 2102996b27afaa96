"""The map as a sheet: painted land, footfall, trails, who is where, names without overlaps, a legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle, Polygon, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from scipy import ndimage

from greenroom.report.painting import paint
from greenroom.report.palette import FAINT, INK, PAPER, RULE, SANS, SERIF, colour_of, new_figure
from greenroom.report.run import RunData
from greenroom.report.telling import clock, told
from world.compiled import Place
from world.maths import TILE

WIDTH, HEIGHT, DPI = 13.6, 11.0, 140
"""The sheet in inches, and dots to an inch."""

_PIXELS: Final = 1_700
_MOST_LABELS: Final = 60

_GRAND: Final = frozenset({"castle", "den", "pass"})
_UNNAMED: Final = frozenset({"house"})

_AROUND: Final[tuple[tuple[float, float, str, str], ...]] = (
    (0.0, -1.0, "center", "bottom"),
    (0.0, 1.0, "center", "top"),
    (1.0, 0.0, "left", "center"),
    (-1.0, 0.0, "right", "center"),
    (0.8, -0.8, "left", "bottom"),
    (-0.8, -0.8, "right", "bottom"),
    (0.8, 0.8, "left", "top"),
    (-0.8, 0.8, "right", "top"),
)


@dataclass(frozen=True, slots=True)
class Dots:
    """Entities of one look: positions in tiles."""

    label: str
    colour: str
    size: float
    marker: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]


def draw_map(run: RunData, path: Path) -> None:
    """Write the sheet as PNG, WIDTH * DPI by HEIGHT * DPI pixels."""
    figure = new_figure(WIDTH, HEIGHT, DPI)
    axes = figure.add_axes((0.022, 0.028, 0.772, 0.944))
    _land(axes, run.tiles)
    _footfall(axes, run)
    _trails(axes, run)
    dots = _population(run)
    for group in dots:
        _scatter(axes, group)
    renderer = _renderer(figure.canvas)
    crowd = np.concatenate(
        [np.column_stack([group.x, group.y]) for group in dots] or [np.zeros((0, 2))]
    )
    _labels(axes, run.places, crowd, renderer)
    _frame(axes, run.tiles.shape)
    _legend(figure.add_axes((0.812, 0.028, 0.172, 0.944)), run, dots)
    figure.savefig(path, facecolor=PAPER)


def draw_land(tiles: NDArray[np.uint8], path: Path, title: str, note: str) -> None:
    """Write a map without people: the painted land with a title under it."""
    height, width = tiles.shape
    figure = new_figure(9.0, 9.0 * height / width + 0.6, DPI)
    share = 0.6 / (9.0 * height / width + 0.6)
    axes = figure.add_axes((0.03, share, 0.94, 0.97 - share))
    _land(axes, tiles)
    _frame(axes, tiles.shape)
    figure.text(0.03, share * 0.42, title, color=INK, fontsize=14, fontfamily=SERIF, va="center")
    figure.text(
        0.97, share * 0.42, note, color=FAINT, fontsize=9, fontfamily=SANS, va="center", ha="right"
    )
    figure.savefig(path, facecolor=PAPER)


def _renderer(canvas: object) -> RendererAgg:
    assert isinstance(canvas, FigureCanvasAgg), "figures here are drawn by Agg"
    renderer: RendererAgg = canvas.get_renderer()  # type: ignore[no-untyped-call]
    return renderer


def _land(axes: Axes, tiles: NDArray[np.uint8]) -> None:
    height, width = tiles.shape
    scale = max(2, min(12, _PIXELS // max(height, width)))
    axes.imshow(paint(tiles, scale), extent=(0, width, height, 0), interpolation="lanczos")
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _footfall(axes: Axes, run: RunData) -> None:
    """Darken the ground a little where many feet went."""
    height, width = run.tiles.shape
    if not run.footfall.any():
        return
    worn = ndimage.gaussian_filter(np.log1p(run.footfall.astype(np.float64)), 0.8)
    alpha = 0.34 * np.clip(worn / max(float(np.percentile(worn, 99.7)), 1e-9), 0.0, 1.0) ** 1.4
    sheet = np.zeros((height, width, 4))
    sheet[..., :3] = (0.55, 0.30, 0.12)
    sheet[..., 3] = alpha
    axes.imshow(sheet, extent=(0, width, height, 0), interpolation="bicubic")


def _trails(axes: Axes, run: RunData) -> None:
    """Draw the last day's way of whoever is rare: packs, covens; a crowd's ways are its footfall."""
    names = [look.name for look in run.species]
    for trail in run.trails:
        points = trail.points / TILE
        pieces = np.stack([points[:-1], points[1:]], axis=1)
        near = np.abs(pieces[:, 0] - pieces[:, 1]).max(axis=1) < 24
        colour = colour_of(names[trail.species], names)
        axes.add_collection(
            LineCollection(
                list(pieces[near]), colors=colour, linewidths=0.9, alpha=0.38, capstyle="round"
            )
        )


def _population(run: RunData) -> list[Dots]:
    """Group the living by species, the many first so that the few are drawn over them."""
    names = [look.name for look in run.species]
    groups = []
    for number, look in enumerate(run.species):
        mine = (run.final_species == number) & ~run.final_dead
        if not mine.any():
            continue
        count = int(mine.sum())
        size = 30.0 if count <= 60 else 17.0 if count <= 400 else 8.0
        if not look.alive:
            size = 20.0
        groups.append(
            Dots(
                label=look.name,
                colour=colour_of(look.name, names) if look.alive else "#f1e6c8",
                size=size,
                marker="o" if look.alive else "D",
                x=run.final_x[mine] / TILE,
                y=run.final_y[mine] / TILE,
            )
        )
    return sorted(groups, key=lambda group: (-len(group.x), group.label))


def _scatter(axes: Axes, dots: Dots) -> None:
    axes.scatter(
        dots.x,
        dots.y,
        s=dots.size,
        c=dots.colour,
        marker=dots.marker,
        linewidths=0.7 if dots.size > 10 else 0.4,
        edgecolors="#fffaf0" if dots.colour != "#f5f1e4" else "#6b6252",
        zorder=4,
    )


def _labels(
    axes: Axes, places: Sequence[Place], crowd: NDArray[np.float64], renderer: RendererAgg
) -> None:
    """Name the places, grand ones first, where a name hides no other and few of those about.

    A name that fits nowhere is left out.
    """
    named = [place for place in places if place.kind not in _UNNAMED]
    named.sort(key=lambda place: (place.kind not in _GRAND, -place.radius, place.name))
    taken: list[Bbox] = []
    bounds = axes.get_window_extent(renderer).padded(-6.0)
    pixels = axes.transData.transform(crowd) if len(crowd) else crowd
    for place in named[:_MOST_LABELS]:
        grand = place.kind in _GRAND
        label = axes.text(
            0.0,
            0.0,
            place.name[:1].upper() + place.name[1:],
            color=INK,
            fontsize=11.5 if grand else 8.6,
            fontfamily=SERIF,
            fontstyle="italic" if grand else "normal",
            path_effects=[withStroke(linewidth=2.6, foreground="#fbf6ea", alpha=0.92)],
            zorder=6,
        )
        best: tuple[float, float, str, str] | None = None
        least = np.inf
        for x, y, across, down, cost in _candidates(place):
            box = _place(label, x, y, across, down, renderer)
            if not _within(box, bounds) or any(box.overlaps(other) for other in taken):
                continue
            hidden = cost + _covered(box, pixels)
            if hidden < least:
                best, least = (x, y, across, down), hidden
        if best is None:
            label.remove()
            continue
        taken.append(_place(label, *best, renderer))


def _candidates(place: Place) -> Iterator[tuple[float, float, str, str, float]]:
    """Yield spots for a name around its place, with what each costs: the farther, the dearer."""
    x, y = place.x / TILE, place.y / TILE
    radius = min(place.radius / TILE, 10.0)
    for number, reach in enumerate((0.75, 1.0, 1.35)):
        for side, (dx, dy, across, down) in enumerate(_AROUND):
            yield (
                x + dx * radius * reach,
                y + dy * radius * reach,
                across,
                down,
                number + side * 0.1,
            )


def _place(label: Text, x: float, y: float, across: str, down: str, renderer: RendererAgg) -> Bbox:
    label.set_position((x, y))
    label.set_horizontalalignment(across)  # type: ignore[arg-type]
    label.set_verticalalignment(down)  # type: ignore[arg-type]
    return label.get_window_extent(renderer).padded(3.0)


def _within(box: Bbox, bounds: Bbox) -> bool:
    return bool(
        box.x0 > bounds.x0 and box.x1 < bounds.x1 and box.y0 > bounds.y0 and box.y1 < bounds.y1
    )


def _covered(box: Bbox, pixels: NDArray[np.float64]) -> float:
    """Return how many of the points lie under a box."""
    if not len(pixels):
        return 0.0
    inside = (pixels > (box.x0, box.y0)) & (pixels < (box.x1, box.y1))
    return float(inside.all(axis=1).sum())


def _frame(axes: Axes, shape: tuple[int, ...]) -> None:
    """Rule a frame, a scale of fifty tiles and an arrow to the north."""
    height, width = shape
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(INK)
        spine.set_linewidth(1.1)
    length = 50 if width >= 150 else 20 if width >= 60 else 5
    unit = width / 192
    left, low = 6 * unit, height - 6 * unit
    halo = [withStroke(linewidth=2.4, foreground="#fbf6ea", alpha=0.9)]
    for number in range(5):
        axes.add_patch(
            Rectangle(
                (left + number * length / 5, low - 0.8 * unit),
                length / 5,
                1.6 * unit,
                facecolor=INK if number % 2 == 0 else "#fbf6ea",
                edgecolor=INK,
                linewidth=0.6,
                zorder=7,
            )
        )
    axes.text(
        left + length / 2,
        low - 1.8 * unit,
        f"{length} tiles",
        ha="center",
        va="bottom",
        fontsize=8,
        color=INK,
        fontfamily=SANS,
        path_effects=halo,
        zorder=7,
    )
    x, y = width - 8 * unit, 12 * unit
    axes.add_patch(
        Circle((x, y), 4.6 * unit, facecolor="#fbf6ea", edgecolor=INK, lw=0.7, alpha=0.8, zorder=7)
    )
    for side, colour in ((-1.5, INK), (1.5, "#fbf6ea")):
        axes.add_patch(
            Polygon(
                [(x, y - 4.0 * unit), (x + side * unit, y + 2.6 * unit), (x, y + 1.4 * unit)],
                closed=True,
                facecolor=colour,
                edgecolor=INK,
                linewidth=0.6,
                zorder=8,
            )
        )
    axes.text(
        x,
        y - 5.4 * unit,
        "N",
        ha="center",
        va="bottom",
        fontsize=9,
        color=INK,
        fontfamily=SERIF,
        path_effects=halo,
        zorder=8,
    )


def _legend(axes: Axes, run: RunData, dots: Sequence[Dots]) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    ticks = run.last_tick - run.first_tick
    axes.text(0.0, 0.0, run.scene.replace("_", " ").capitalize(), fontsize=22, color=INK,
              fontfamily=SERIF, va="top")  # fmt: skip
    facts = (
        clock(run.last_tick, run.day_ticks),
        f"after {ticks:,} ticks",
        f"seed {run.seed}",
        f"state {run.state_hash}",
    )
    for line, fact in enumerate(facts):
        axes.text(
            0.0, 0.052 + 0.019 * line, fact, fontsize=9, color=FAINT, fontfamily=SANS, va="top"
        )
    y = 0.165
    y = _legend_part(axes, "Who is where", [d for d in dots if d.marker == "o"], y)
    things = [d for d in dots if d.marker != "o"]
    if things:
        y = _legend_part(axes, "Things", things, y + 0.018)
    if run.moments:
        y = _lately(axes, run, y + 0.022)
    y += 0.02
    axes.plot([0.0, 1.0], [y, y], color=RULE, linewidth=0.8)
    notes = [
        "Lines: ways of the rarer kinds",
        "through the last day",
        "Brown: ground much walked on",
    ]
    for line, note in enumerate(notes):
        axes.text(
            0.0,
            y + 0.014 + 0.018 * line,
            note,
            fontsize=8.5,
            color=FAINT,
            fontfamily=SANS,
            va="top",
        )


def _lately(axes: Axes, run: RunData, y: float) -> float:
    """List the latest moments, newest first, as many as there is room for."""
    axes.text(0.0, y, "Lately", fontsize=12, color=INK, fontfamily=SERIF, va="center")
    axes.plot([0.0, 1.0], [y + 0.016, y + 0.016], color=RULE, linewidth=0.8)
    y += 0.036
    room = max(0, min(14, int((0.9 - y) / 0.031)))
    for moment in list(run.moments)[::-1][:room]:
        text = told(moment)
        axes.text(0.0, y, clock(moment.tick, run.day_ticks), fontsize=7.5, color=FAINT,
                  fontfamily=SANS, va="center")  # fmt: skip
        axes.text(0.0, y + 0.0135, text if len(text) <= 34 else text[:33] + "…", fontsize=9,
                  color=INK, fontfamily=SANS, va="center")  # fmt: skip
        y += 0.031
    return y


def _legend_part(axes: Axes, title: str, dots: Sequence[Dots], y: float) -> float:
    axes.text(0.0, y, title, fontsize=12, color=INK, fontfamily=SERIF, va="center")
    axes.plot([0.0, 1.0], [y + 0.016, y + 0.016], color=RULE, linewidth=0.8)
    y += 0.036
    for group in dots:
        pale = group.colour in ("#f5f1e4", "#f1e6c8")
        axes.scatter([0.045], [y], s=44, c=group.colour, marker=group.marker,
                     edgecolors="#6b6252" if pale else "#fffaf0", linewidths=0.8)  # fmt: skip
        axes.text(0.13, y, group.label.replace("_", " "), fontsize=10, color=INK, fontfamily=SANS,
                  va="center")  # fmt: skip
        axes.text(1.0, y, f"{len(group.x):,}", fontsize=10, color=FAINT, fontfamily=SANS,
                  va="center", ha="right")  # fmt: skip
        y += 0.0235
    return y
