"""Reports of separate runs become one, with the counts a reader needs beside the picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.llm import reports, run
from foundation.errors import UsageError


def report(model: str, side: str, wait: float, n: int = 5, threads: int = 2) -> dict[str, Any]:
    machine = {"system": "Linux", "processor": "x86_64", "threads": threads}
    points = [
        {"side": side, "busy": busy, "n": n, "wanted": 5, "p50_ms": wait, "p95_ms": 2 * wait}
        for busy in (1, 128)
    ]
    result = {"metric": f"{model}: wait", "unit": "ms", "value": wait, "peer": "idle", "ratio": 1.0}
    return {
        "bench": "llm",
        "machine": machine,
        "scale": 1.0,
        "models": {model: 7},
        "plans": {model: {"lines": 5}},
        "opponents": {side: {"threads": threads}},
        "missing": [{"what": "example", "reason": "left out"}],
        "notes": ["mind this"],
        "curve": {model: points},
        "results": [result],
    }


def test_models_measured_in_separate_runs_are_drawn_side_by_side(tmp_path: Path) -> None:
    paths = [tmp_path / "house.json", tmp_path / "250m.json"]
    paths[0].write_text(json.dumps(report("house", "greenroom", 10.0)))
    paths[1].write_text(json.dumps(report("250m", "greenroom", 20.0)))
    joined = run(measured=paths, chart=tmp_path / "curve.png")
    assert list(joined["curve"]) == ["house", "250m"]
    assert [row["metric"] for row in joined["results"]] == ["house: wait", "250m: wait"]
    assert joined["plans"].keys() == joined["models"].keys() == {"house", "250m"}
    assert joined["notes"] == ["mind this"]
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_side_measured_again_replaces_its_own_points_and_no_others() -> None:
    both = reports.join(
        [
            report("house", "greenroom", 10.0),
            report("house", "llama-server", 30.0),
            report("house", "greenroom", 12.0),
        ]
    )
    found = [(row["side"], row["p50_ms"]) for row in both["curve"]["house"]]
    assert sorted(found) == [
        *(("greenroom", 12.0), ("greenroom", 12.0)),
        *(("llama-server", 30.0), ("llama-server", 30.0)),
    ]
    assert [row["value"] for row in both["results"]] == [12.0]


def test_what_one_report_could_not_compare_gives_way_to_the_one_that_could() -> None:
    without, beside = (report("house", "greenroom", 10.0) for _ in range(2))
    without["results"] = [{"metric": "house: wait", "value": 9.0, "unmeasured": "idle"}]
    for pair in ([without, beside], [beside, without]):
        assert [row["value"] for row in reports.join(pair)["results"]] == [10.0]


def test_figures_of_different_machines_are_not_put_side_by_side() -> None:
    with pytest.raises(UsageError, match="different machines"):
        reports.join([report("house", "a", 1.0), report("250m", "a", 1.0, threads=8)])


@pytest.mark.parametrize("text", ["", "[]", '{"bench": "store"}'])
def test_a_file_that_is_no_report_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"other\.json"):
        run(measured=[path])


def test_the_footer_says_of_how_many_lines_each_point_is() -> None:
    found = reports.join([report("house", "greenroom", 10.0), report("house", "slow", 9e4, n=1)])
    found["curve"]["house"][-1]["n"] = 3
    assert "lines a point: house greenroom 5, slow 1/3 ·" in reports.footer(found)
    assert "2 threads on Linux x86_64" in reports.footer(found)
