"""Draws the curve: how long a player waits for the first token while more and more NPCs are busy."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

Rows = Sequence[Mapping[str, Any]]

_COLOURS = ("#1b6f5c", "#b58a00", "#c2571a", "#5a5aa8")
_INK, _PALE = "#333333", "#666666"
_DASHES = (0, (4, 2))
_TITLES = {
    "house": "house model, 4 M weights",
    "250m": "250 M random weights",
    "1b": "1.2 B random weights",
}
# Where a side's own name doesn't say how it was driven (see loop.py).
_LABELS = {"llama_cpp.Llama": "llama_cpp.Llama loop, the player's line first"}
_WAITS = ("p50_ms", "p95_ms")
_LETTERS_AN_INCH = 14
# The least distance of two labels, as a part of the panel's height.
_LABEL_GAP = 0.05


def draw(curve: Mapping[str, Rows], path: Path, *, footer: str = "") -> Path:
    """One panel a model, one colour a side; solid p50, dashed p95, waits on a logarithmic axis.

    `curve` maps a model's name to rows {side, busy, p50_ms, p95_ms}. The picture's format follows
    the path's suffix.
    """
    panels = {name: rows for name, rows in curve.items() if rows}
    sides = list(dict.fromkeys(row["side"] for rows in panels.values() for row in rows))
    colours = {side: _COLOURS[at % len(_COLOURS)] for at, side in enumerate(sides)}
    width = max(7.0, 4.2 * len(panels) + 0.6)
    figure, grid = pyplot.subplots(
        1,
        max(1, len(panels)),
        figsize=(width, 4.8),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    axes = grid[0]
    for axis, (name, rows) in zip(axes, panels.items(), strict=False):
        _panel(axis, _TITLES.get(name, name), rows, colours)
    waits = [max(0.1, row[key]) for rows in panels.values() for row in rows for key in _WAITS]
    if waits:
        # From a whole power of ten, so that every panel has a line to read heights by.
        axes[0].set_ylim(10 ** math.floor(math.log10(min(waits))), max(waits) * 1.6)
    for axis, rows in zip(axes, panels.values(), strict=False):
        _label_ends(axis, rows, colours)
    axes[0].set_ylabel("until the first token", color=_INK)
    keys = [
        Line2D([], [], color=colour, linewidth=2, label=_LABELS.get(side, side))
        for side, colour in colours.items()
    ]
    keys.append(Line2D([], [], color=_PALE, label="half of the lines (p50)"))
    keys.append(Line2D([], [], color=_PALE, linestyle=_DASHES, label="95 of 100 lines (p95)"))
    figure.suptitle(
        "How long a player waits for the first token of an answer", color=_INK, fontsize=13
    )
    figure.legend(
        handles=keys, loc="outside lower center", ncols=3 if len(panels) > 1 else 2, frameon=False,
        fontsize=9, labelcolor=_INK, title_fontsize=7.5, alignment="center",
        title=textwrap.fill(
            footer, int(_LETTERS_AN_INCH * width), break_on_hyphens=False
        ) or None,
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path


def _panel(axis: Axes, title: str, rows: Rows, colours: Mapping[str, str]) -> None:
    steps = sorted({row["busy"] for row in rows})
    for side, colour in colours.items():
        points = _points(rows, side)
        at = [steps.index(point["busy"]) for point in points]
        p50 = [point["p50_ms"] for point in points]
        p95 = [point["p95_ms"] for point in points]
        axis.fill_between(at, p50, p95, color=colour, alpha=0.08, linewidth=0)
        axis.plot(at, p50, color=colour, marker="o", markersize=4.5)
        axis.plot(
            at, p95, color=colour, marker="o", markersize=4.5, markerfacecolor="white",
            linestyle=_DASHES,
        )  # fmt: skip
    axis.set_yscale("log")
    axis.set_xticks(range(len(steps)), [str(step) for step in steps])
    axis.set_xlim(-0.25, len(steps) - 0.35)
    axis.set_xlabel("NPCs busy meanwhile", color=_INK)
    axis.set_title(title, fontsize=11, color=_INK)
    axis.yaxis.set_major_formatter(lambda value, _: duration(value))
    axis.yaxis.set_minor_formatter(lambda *_: "")
    axis.grid(True, which="major", axis="y", color="#dddddd", linewidth=0.7)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=_INK)


def _label_ends(axis: Axes, rows: Rows, colours: Mapping[str, str]) -> None:
    """Write each side's last p95 beside its point, far enough apart to be read."""
    low, high = (math.log10(edge) for edge in axis.get_ylim())
    steps = sorted({row["busy"] for row in rows})
    ends = [(points[-1], side) for side in colours if (points := _points(rows, side))]
    above = math.inf
    for point, side in sorted(ends, key=lambda end: -end[0]["p95_ms"]):
        height = min(math.log10(point["p95_ms"]), above - _LABEL_GAP * (high - low))
        above = height
        axis.annotate(
            duration(point["p95_ms"]), (steps.index(point["busy"]), 10**height), xytext=(7, 0),
            textcoords="offset points", color=colours[side], fontsize=8.5, va="center",
        )  # fmt: skip


def _points(rows: Rows, side: str) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["side"] == side), key=lambda row: int(row["busy"]))


def duration(ms: float) -> str:
    """Milliseconds as a reader takes them in at once: "56 ms", "1.4 s"."""
    if ms >= 9950:
        return f"{ms / 1000:.0f} s"
    return f"{ms / 1000:.2g} s" if ms >= 995 else f"{ms:.2g} ms" if ms < 10 else f"{ms:.0f} ms"
