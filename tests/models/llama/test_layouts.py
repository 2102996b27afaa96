"""The faster layout is told from its times; measurements are remembered, bounded, and ignored when damaged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.llama import layout_file
from models.llama.layout_file import MOST, Notebook
from models.llama.layouts import MARGIN, Circumstances, Layouts, Timing

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


def timed(unified: tuple[float, float], streams: tuple[float, float], **changes: Any) -> Layouts:
    figures: dict[str, Any] = {
        "rows": 8, "tokens": 256, "steps": 16, "repeats": 5, "kept": 6016, "seconds": 9.5,
        "bounded": False,
    }  # fmt: skip
    return Layouts(
        unified=Timing(read_ms=unified[0], step_ms=unified[1]),
        streams=Timing(read_ms=streams[0], step_ms=streams[1]),
        **{**figures, **changes},
    )


def here(**changes: Any) -> Circumstances:
    found: dict[str, Any] = {
        "model": "1a2b3c4d 4096", "threads": 3, "gpu_layers": 0, "kv_type": "f16",
        "library": "0.3.36", "cpu": "a CPU",
    }  # fmt: skip
    return Circumstances(**{**found, **changes})


@pytest.mark.parametrize(
    ("unified", "streams", "faster"),
    [
        ((1.0, 8.0), (0.5, 4.0), "streams"),
        ((1.0, 8.0), (2.0, 16.0), "unified"),
        ((1.0, 8.0), (0.96, 7.68), None),
        ((1.0, 8.0), (1.04, 8.32), None),
        # 64 tokens read and 32 answered: 64 + 32 ms against 48 + 40, then against 48 + 48.
        ((1.0, 8.0), (0.75, 10.0), "streams"),
        ((1.0, 8.0), (0.75, 12.0), None),
    ],
)
def test_a_layout_wins_a_whole_request_by_a_margin_or_not_at_all(
    unified: tuple[float, float], streams: tuple[float, float], faster: str | None
) -> None:
    assert timed(unified, streams).faster == faster


milliseconds = st.floats(1e-6, 1e6)
timings = st.tuples(milliseconds, milliseconds)


@given(timings, timings)
def test_whoever_wins_saves_at_least_the_margin_and_loses_when_both_change_places(
    one: tuple[float, float], other: tuple[float, float]
) -> None:
    found, turned = timed(one, other), timed(other, one)
    swapped = {"unified": "streams", "streams": "unified", None: None}
    assert turned.faster == swapped[found.faster]
    if found.faster is not None:
        loser = found.request_ms("unified" if found.faster == "streams" else "streams")
        assert found.request_ms(found.faster) <= (1 - MARGIN) * loser


def test_the_verdict_says_who_wins_and_that_time_ran_out() -> None:
    assert timed((1.0, 8.0), (0.5, 4.0)).verdict.startswith("streams save 50%")
    assert timed((1.0, 8.0), (2.0, 16.0)).verdict.startswith("unified memory saves 50%")
    assert "so the rule stands" in timed((1.0, 8.0), (1.0, 8.0)).verdict
    hit = timed((1.0, 8.0), (0.5, 4.0), repeats=2, tokens=32, steps=4, bounded=True).verdict
    assert "the time bound was hit: 2 of 5 repeats, each of 32 tokens and 4 steps" in hit


@pytest.mark.parametrize("figure", [0.0, -1.0, float("nan"), float("inf")])
def test_times_that_no_clock_tells_are_refused(figure: float) -> None:
    with pytest.raises(ValidationError):
        Timing(read_ms=figure, step_ms=1.0)


def test_what_was_measured_is_found_again_under_the_same_circumstances_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "layouts.json"
    measured = timed((1.0, 8.0), (0.5, 4.0))
    layout_file.write(path, layout_file.read(path).noting(here(), measured, NOW))
    kept = layout_file.read(path)
    entry = kept.find(here())
    assert entry is not None and entry.layouts == measured
    assert entry.at == "2026-11-21T12:30:00+00:00"
    for change in (
        {"model": "1a2b3c4d 4097"}, {"threads": 4}, {"gpu_layers": 1}, {"kv_type": "q8_0"},
        {"library": "0.3.37"}, {"cpu": "another"}, {"gpu_layers": 1, "gpus": ("a card",)},
    ):  # fmt: skip
        assert kept.find(here(**change)) is None
    assert [each.name for each in path.parent.iterdir()] == ["layouts.json"]


def test_a_later_measurement_takes_the_place_of_an_earlier_one() -> None:
    first, second = timed((1.0, 8.0), (0.5, 4.0)), timed((1.0, 8.0), (2.0, 16.0))
    notebook = Notebook().noting(here(), first, NOW).noting(here(), second, NOW)
    assert [entry.layouts for entry in notebook.entries] == [second]


def test_past_the_bound_the_oldest_measurement_goes(tmp_path: Path) -> None:
    path = tmp_path / "layouts.json"
    notebook = Notebook()
    for n in range(MOST + 2):
        notebook = notebook.noting(here(model=f"model {n}"), timed((1.0, 8.0), (0.5, 4.0)), NOW)
    layout_file.write(path, notebook)
    kept = layout_file.read(path)
    assert len(kept.entries) == MOST
    assert kept.find(here(model="model 1")) is None
    assert kept.find(here(model="model 2")) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"entries": 3}',
        '{"entries": [{"at": "now"}]}',
        "\xff\xfe",
        "x" * (1 << 20) * 2,
    ],
)
def test_a_damaged_file_is_named_ignored_and_written_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "layouts.json"
    path.write_text(text, encoding="latin-1")
    found = layout_file.read(path)
    assert found.entries == () and found.trouble.startswith(str(path))
    layout_file.write(path, found.noting(here(), timed((1.0, 8.0), (0.5, 4.0)), NOW))
    mended = layout_file.read(path)
    assert not mended.trouble and len(mended.entries) == 1


@given(st.data())
def test_no_single_changed_byte_makes_reading_raise(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("bytes") / "layouts.json"
    layout_file.write(path, Notebook().noting(here(), timed((1.0, 8.0), (0.5, 4.0)), NOW))
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    found = layout_file.read(path)
    assert len(found.entries) == (0 if found.trouble else 1)


def test_a_folder_in_the_file_s_place_is_trouble_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "layouts.json"
    path.mkdir()
    assert "can't be read" in layout_file.read(path).trouble
    with pytest.raises(OSError):
        layout_file.write(path, Notebook())
    assert [each.name for each in tmp_path.iterdir()] == ["layouts.json"]


def test_the_trouble_of_one_reading_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "layouts.json"
    layout_file.write(path, Notebook(trouble="damaged"))
    assert json.loads(path.read_text()) == {"entries": []}
