"""One look for all pictures: ink on paper, a few quiet colours, type and frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PAPER: Final = "#f7f2e7"
PANEL: Final = "#fcf9f2"
INK: Final = "#3a332b"
FAINT: Final = "#8b8273"
RULE: Final = "#d9cfbb"
NIGHT: Final = "#e9e2d3"

SERIF: Final = ("DejaVu Serif",)
SANS: Final = ("DejaVu Sans",)

COLOURS: Final[dict[str, str]] = {
    "villager": "#c8553d",
    "guard": "#2f5d8a",
    "hunter": "#4e7a3c",
    "traveller": "#1d1a17",
    "wolf": "#4a4a52",
    "vampire": "#7d2248",
    "sheep": "#f5f1e4",
    "deer": "#9c6b3f",
    "hare": "#c9a06b",
}
"""Colours that were chosen to be told apart on the map; other species take QUIET in turn."""

QUIET: Final = ("#3f7f86", "#8a6fa8", "#b08a2e", "#5f7f5a", "#a8576b", "#50648c", "#7a6a4f")

EVENTS: Final = (
    "#2f6f73",
    "#c8553d",
    "#b08a2e",
    "#7d2248",
    "#5f7f5a",
    "#50648c",
    "#a8743d",
    "#8a6fa8",
)


def colour_of(name: str, names: Sequence[str]) -> str:
    """Return a species' colour; unknown ones take the next quiet one by their place among the unknown."""
    if name in COLOURS:
        return COLOURS[name]
    unknown = [other for other in names if other not in COLOURS]
    return QUIET[unknown.index(name) % len(QUIET)]


def new_figure(width: float, height: float, dpi: int) -> Figure:
    """Return a figure of `width` x `height` inches that shares nothing with any other thread."""
    figure = Figure(figsize=(width, height), dpi=dpi, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def quiet_axes(axes: Axes, title: str, note: str = "") -> None:
    """Give axes the house look: a title at the left, a note at the right, no box, faint rules."""
    axes.set_facecolor(PANEL)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(RULE)
    axes.grid(axis="y", color=RULE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelsize=8, length=0, pad=4)
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_fontfamily(SANS)
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontfamily=SERIF, pad=10)
    if note:
        axes.set_title(note, loc="right", color=FAINT, fontsize=8.5, fontfamily=SANS, pad=10)
