"""What `greenroom bench llm` can be told: the whole of `run`, checked before anything is measured."""

from __future__ import annotations

import inspect
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import llm
from benchmarks.llm.plan import OPPONENTS, PHASES, Plan
from foundation.errors import UsageError
from greenroom.cli import app

REPORT: dict[str, Any] = {
    "bench": "llm",
    "machine": {"system": "Linux", "processor": "x86_64", "threads": 2},
    "scale": 1.0,
    "curve": {},
    "results": [{"metric": "wait", "unit": "ms", "value": 1.5}],
}
EVERY = {
    "scale": 0.5,
    "only": ["house", "250m"],
    "phase": ["speech"],
    "against": ["loop", "server"],
    "lines": 7,
    "step_seconds": 9.0,
    "threads": 2,
    "gpu_layers": 0,
    "chart": Path("curve.png"),
    "measured": [Path("kept.json")],
}


def flags() -> list[str]:
    return [
        str(each)
        for key, value in EVERY.items()
        for one in (value if isinstance(value, list) else [value])
        for each in (f"--{key.replace('_', '-')}", one)
    ]


def test_the_command_can_say_everything_that_run_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = inspect.signature(llm.run).parameters
    heard: list[dict[str, Any]] = []

    def run(
        scale: float,
        only: list[str],
        phase: list[str],
        against: list[str],
        lines: int,
        step_seconds: float,
        threads: int,
        gpu_layers: int,
        chart: Path,
        measured: list[Path],
    ) -> dict[str, Any]:
        heard.append(dict(locals()))
        return REPORT

    assert set(inspect.signature(run).parameters) == set(taken) == set(EVERY)
    monkeypatch.setattr(llm, "run", run)
    done = CliRunner().invoke(app, ["bench", "llm", *flags()])
    assert done.exit_code == 0, done.output
    assert [{key: value for key, value in one.items() if key in EVERY} for one in heard] == [EVERY]


def test_kept_reports_are_told_and_drawn_from_the_front_door(tmp_path: Path) -> None:
    kept, chart = tmp_path / "kept.json", tmp_path / "curve.png"
    kept.write_text(json.dumps(REPORT))
    arguments = ["bench", "llm", "--json", "--measured", str(kept), "--chart", str(chart)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["results"] == REPORT["results"]
    assert chart.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"only": ["7b"]}, "house, 250m, 1b"),
        ({"phase": ["talk"]}, "shared, distinct, poisson, structured, speech"),
        ({"against": ["vllm"]}, "loop, server, example"),
        ({"phase": ["poisson"]}, "--phase shared"),
        ({"phase": ["shared"], "chart": Path("curve.png")}, "--phase speech"),
        ({"scale": 0.0}, "above 0"),
        ({"lines": -1}, "0 or above"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr(llm, "_measure", lambda *_: pytest.fail("it was measured"))
    with pytest.raises(UsageError) as refused:
        llm.run(**given)
    assert said in f"{refused.value.message} {refused.value.hint}"


def test_a_plan_is_measured_with_what_was_chosen_and_with_everything_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned: list[Plan] = []

    def measure(plans: list[Plan], gpu_layers: int) -> dict[str, Any]:
        planned.extend(plans)
        return REPORT

    monkeypatch.setattr(llm, "_measure", measure)
    llm.run(threads=2)
    llm.run(
        only=["250m", "house"],
        threads=2,
        phase=["speech", "shared"],
        against=["server"],
        lines=5,
        step_seconds=7.0,
    )
    llm.run(threads=2, against=["none"])
    every, house, middle, alone = planned
    assert (alone.phases, alone.against) == (PHASES, ())
    assert (every.name, every.phases, every.against) == ("house", PHASES, tuple(OPPONENTS))
    assert every.lines >= 100
    assert (house.name, middle.name) == ("house", "250m")
    assert (middle.phases, middle.against) == (("shared", "speech"), ("server",))
    assert (middle.lines, middle.speech_s) == (5, 7.0)


def test_a_long_benchmark_says_what_it_is_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> dict[str, Any]:
        logging.getLogger("greenroom.bench").info("house: a player speaks: greenroom")
        return {"results": []}

    monkeypatch.setattr(llm, "run", run)
    done = CliRunner().invoke(app, ["bench", "llm"])
    assert "house: a player speaks: greenroom" in " ".join(done.stderr.split())
    assert not logging.getLogger("greenroom.bench").handlers
