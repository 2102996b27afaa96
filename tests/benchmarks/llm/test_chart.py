"""The curve's picture: written for any number of models, in words a reader takes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.llm.chart import _COLOURS, draw, duration


def rows(*sides: str) -> list[dict[str, object]]:
    return [
        {"side": side, "busy": busy, "p50_ms": 3.0 * busy, "p95_ms": 4.0 * busy}
        for side in sides
        for busy in (1, 8, 32, 128)
    ]


@pytest.mark.parametrize(
    "curve",
    [
        {"house": rows("greenroom")},
        {"house": rows("greenroom", "llama-server"), "250m": rows("greenroom"), "1b": []},
        {},
    ],
)
def test_a_picture_is_written_whatever_was_measured(
    tmp_path: Path, curve: dict[str, list[dict[str, object]]]
) -> None:
    path = draw(curve, tmp_path / "new" / "curve.png", footer="two threads")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_every_side_has_a_colour_of_its_own_however_many_there_are(tmp_path: Path) -> None:
    sides = ("greenroom", "llama_cpp.Llama", "llama-server", "example server")
    assert len({*_COLOURS}) >= len(sides)
    draw({"house": rows(*sides), "250m": rows(*sides, "a fifth")}, tmp_path / "curve.png")


def test_durations_read_at_once() -> None:
    assert [duration(ms) for ms in (1.23, 55.9, 760.0, 996.0, 14_900.0, 312_000.0)] == [
        "1.2 ms",
        "56 ms",
        "760 ms",
        "1 s",
        "15 s",
        "312 s",
    ]
