"""Floor plans and bestiaries as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from greenroom.report.palette import FAINT, INK, PANEL, PAPER, RULE, SANS, SERIF, new_figure
from world.generate.bestiary import MonsterBase
from world.generate.rooms import FloorPlan, RoomBase
from world.maths import TILE
from world.tiles import Tile

DPI = 140

_FLOORS: Final = ("#efe3c8", "#e8dbc0", "#f2e8d2", "#e5dcc9", "#ece0cb", "#e9e1cd")
_HALO: Final = [withStroke(linewidth=2.2, foreground="#f7f2e7", alpha=0.95)]

_STATS: Final[tuple[tuple[str, str, float], ...]] = (
    ("hp", "health", 1.0),
    ("attack", "attack", 1.0),
    ("defence", "defence", 1.0),
    ("speed", "speed, tiles/s", 20.0 / TILE),
    ("perception", "sight, tiles", 1.0 / TILE),
    ("courage", "courage, %", 0.1),
    ("cunning", "cunning, %", 0.1),
    ("hunger", "hunger, %", 0.1),
)
_BARS: Final = (
    "#a8576b",
    "#c8553d",
    "#50648c",
    "#3f7f86",
    "#5f7f5a",
    "#b08a2e",
    "#8a6fa8",
    "#a8743d",
)


def draw_rooms(plan: FloorPlan, path: Path, title: str) -> None:
    """Write a floor plan as PNG: walls, doors, rooms by name, what stands where and a key to it."""
    height, width = plan.tiles.shape
    wide, head = 9.2, 0.8
    tall = min(max(wide * height / width, 3.6), 16.0)
    whole = tall + head
    figure = new_figure(wide + 2.6, whole, DPI)
    share = wide / (wide + 2.6)
    axes = figure.add_axes((0.02, 0.02, share - 0.03, tall / whole - 0.02))
    axes.set_xlim(-0.3, width + 0.3)
    axes.set_ylim(height + 0.3, -0.3)
    axes.set_aspect("equal", anchor="NW")
    axes.set_axis_off()
    axes.add_patch(Rectangle((0.12, 0.18), width, height, facecolor="#3a332b", alpha=0.18, lw=0))
    axes.add_patch(Rectangle((0, 0), width, height, facecolor="#5b4a3d", edgecolor=INK, lw=1.2))
    for room in plan.rooms:
        _room(axes, room)
    for y, x in np.argwhere(plan.tiles == Tile.FLOOR).tolist():
        if not any(_holds(room, x, y) for room in plan.rooms):
            axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#cdb48a", lw=0))
    kinds = sorted({feature.kind for room in plan.rooms for feature in room.features})
    points = min(72.0 * (wide - 0.4) / (width + 0.6), 72.0 * tall / (height + 0.6))
    for room in plan.rooms:
        _room_words(axes, room, kinds, points)
    line = 1.0 - 0.5 * head / whole
    figure.text(0.02, line, title, fontsize=16, color=INK, fontfamily=SERIF, va="center")
    note = f"{width} x {height} tiles, {len(plan.rooms)} rooms"
    figure.text(0.98, line, note, fontsize=9, color=FAINT, fontfamily=SANS, va="center", ha="right")
    key = figure.add_axes((share + 0.01, 0.02, 0.98 - share, tall / whole - 0.02))
    _key(key, kinds, tall)
    figure.savefig(path, facecolor=PAPER)


def _key(axes: Axes, kinds: Sequence[str], inches: float) -> None:
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(inches, 0)
    axes.text(0.0, 0.12, "What stands there", fontsize=11, color=INK, fontfamily=SERIF, va="center")
    axes.plot([0, 1], [0.28, 0.28], color=RULE, linewidth=0.9)
    room = int((inches - 0.4) / 0.205)
    for number, kind in enumerate(kinds[:room]):
        y = 0.46 + 0.205 * number
        axes.text(0.09, y, str(number + 1), fontsize=8.5, color=FAINT, fontfamily=SANS, va="center",
                  ha="right")  # fmt: skip
        axes.text(0.14, y, kind, fontsize=9, color=INK, fontfamily=SANS, va="center")


def _holds(room: RoomBase, x: int, y: int) -> bool:
    return room.x <= x < room.x + room.width and room.y <= y < room.y + room.height


def _room(axes: Axes, room: RoomBase) -> None:
    colour = _FLOORS[room.index % len(_FLOORS)]
    axes.add_patch(Rectangle((room.x, room.y), room.width, room.height, facecolor=colour, lw=0))
    shade = 0.16
    axes.add_patch(Rectangle((room.x, room.y), room.width, shade, facecolor=INK, alpha=0.13, lw=0))
    axes.add_patch(Rectangle((room.x, room.y), shade, room.height, facecolor=INK, alpha=0.13, lw=0))


def _room_words(axes: Axes, room: RoomBase, kinds: Sequence[str], points: float) -> None:
    """Number the things and name the room; `points` is a tile's edge in typographic points."""
    for feature in room.features:
        axes.add_patch(
            Rectangle(
                (feature.x + 0.14, feature.y + 0.14), 0.72, 0.72, facecolor="#d8bd8f",
                edgecolor="#8a6c45", linewidth=0.7,
            )
        )  # fmt: skip
        axes.text(
            feature.x + 0.5, feature.y + 0.52, str(kinds.index(feature.kind) + 1), ha="center",
            va="center", fontsize=min(8.0, points * 0.42), color="#5b4426", fontfamily=SANS,
        )  # fmt: skip
    words = room.name.removeprefix("the ").split()
    lines = words if room.width * points < 95 else [" ".join(words)]
    axes.text(
        room.x + room.width / 2, room.y + room.height / 2, "\n".join(lines), ha="center",
        va="center", fontsize=min(10.0, max(5.0, points * 0.46)), color=INK, fontfamily=SERIF,
        path_effects=_HALO, linespacing=1.05,
    )  # fmt: skip


def draw_bestiary(monsters: Sequence[MonsterBase], path: Path, title: str) -> None:
    """Write a bestiary as PNG: a row for each monster, a bar for each thing it can do."""
    rows = max(1, len(monsters))
    tall = 0.46 * rows + 1.5
    figure = new_figure(13.0, tall, DPI)
    axes = figure.add_axes((0.02, 0.04, 0.96, 0.92))
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(rows + 0.2, -2.4)
    axes.text(0.0, -1.9, title, fontsize=16, color=INK, fontfamily=SERIF, va="center")
    left, right = 0.30, 1.0
    span = (right - left) / len(_STATS)
    for column, (stat, head, scale) in enumerate(_STATS):
        x = left + column * span
        most = max((getattr(beast, stat) for beast in monsters), default=1) or 1
        axes.text(x, -0.72, head, fontsize=8.2, color=FAINT, fontfamily=SANS, va="center")
        for row, beast in enumerate(monsters):
            value = getattr(beast, stat)
            wide = span * 0.64 * value / most
            axes.add_patch(Rectangle((x, row - 0.13), span * 0.64, 0.26, facecolor="#ece4d2", lw=0))
            axes.add_patch(
                Rectangle((x, row - 0.13), wide, 0.26, facecolor=_BARS[column], alpha=0.82, lw=0)
            )
            shown = value * scale
            axes.text(
                x + span * 0.68, row, f"{shown:.1f}" if stat == "speed" else f"{shown:.0f}",
                fontsize=8, color=INK, fontfamily=SANS, va="center",
            )  # fmt: skip
    axes.plot([0, 1], [-0.42, -0.42], color=RULE, linewidth=0.9)
    for row, beast in enumerate(monsters):
        if row % 2:
            axes.add_patch(
                Rectangle((-0.01, row - 0.5), 1.02, 1.0, facecolor=PANEL, zorder=0, lw=0)
            )
        axes.text(
            0.0, row - 0.14, beast.byname, fontsize=10.5, color=INK, fontfamily=SERIF, va="center"
        )
        axes.text(
            0.0, row + 0.22, f"{beast.grade} {beast.monster_type.replace('_', ' ')}: {', '.join(beast.temper)}",
            fontsize=7.6, color=FAINT, fontfamily=SANS, va="center",
        )  # fmt: skip
    figure.savefig(path, facecolor=PAPER)
