"""Layouts that were measured on this machine are remembered, heeded by every plan, and told by the doctor."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from greenroom import layouts, minds
from greenroom.cli import app
from greenroom.commands import kv_layouts
from greenroom.settings import ModelSettings
from models import house
from models.errors import ModelUnavailable
from models.llama import facts, layout_file, layout_measure
from models.llama.layout_file import Notebook
from models.llama.layouts import Layouts, Timing
from models.llama.machine import measure


@pytest.fixture(autouse=True)
def _free_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("GREENROOM_SERVER__PORT", "0")
    monkeypatch.setenv("GREENROOM_SERVER__HTTP_PORT", "0")


def timed(unified_ms: float, streams_ms: float) -> Layouts:
    return Layouts(
        unified=Timing(read_ms=unified_ms, step_ms=8 * unified_ms),
        streams=Timing(read_ms=streams_ms, step_ms=8 * streams_ms),
        rows=8, tokens=256, steps=16, repeats=5, kept=6016, seconds=9.0, bounded=False,
    )  # fmt: skip


def remember(found: Layouts) -> None:
    """As if this had been measured with the house model on this machine."""
    file, here = house.path(), measure()
    sizes = layouts.unified(facts.read(file), here, minds.wishes_of(ModelSettings()))
    known = layouts.circumstances(file, here, sizes)
    layout_file.write(layouts.path(), Notebook().noting(known, found, datetime.now(UTC)))


def told(*arguments: str, code: int = 0) -> tuple[dict[str, Any], str]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found, re.sub(r"\s+", " ", result.stderr)


def seen(found: dict[str, Any], what: str) -> list[dict[str, Any]]:
    return [finding for finding in found["findings"] if finding["what"] == what]


def why(found: dict[str, Any]) -> str:
    reasons = {reason["figure"]: reason["why"] for reason in found["plan"]["reasons"]}
    return str(reasons["streams"])


@pytest.mark.engine
def test_the_doctor_measures_when_asked_and_heeds_it_from_then_on() -> None:
    before, _ = told()
    assert before["layouts"] is None and not seen(before, "KV layouts")
    assert not layouts.path().exists()
    now, said = told("--measure")
    assert f"Timing both KV layouts of {house.path().name}" in said
    (finding,) = seen(now, "KV layouts")
    assert "a token against" in finding["seen"] and "measured on this machine" in why(now)
    assert set(now["layouts"]["request_ms"]) == {"unified", "streams"}
    later, said = told()
    assert later["layouts"] == now["layouts"] and "Timing" not in said
    assert minds.plan(ModelSettings()).wishes.measured is not None


@pytest.mark.parametrize(("unified_ms", "streams_ms"), [(1.0, 0.5), (0.5, 1.0)])
def test_a_remembered_measurement_chooses_for_serve_and_doctor_alike(
    unified_ms: float, streams_ms: float
) -> None:
    remember(timed(unified_ms, streams_ms))
    found, _ = told()
    assert found["plan"]["settings"]["streams"] is (streams_ms < unified_ms)
    assert found["layouts"]["faster"] == ("streams" if streams_ms < unified_ms else "unified")
    assert "measured on this machine" in why(found)
    assert minds.plan(ModelSettings()).settings.pack() == found["plan"]["settings"]
    asked, _ = told("--streams")
    assert asked["plan"]["settings"]["streams"] is True


def test_other_threads_are_other_circumstances() -> None:
    remember(timed(0.5, 1.0))
    found, _ = told("--threads", "7")
    assert found["layouts"] is None
    assert "measured" not in why(found)


def test_attention_that_was_asked_for_is_not_what_was_timed() -> None:
    remember(timed(0.5, 1.0))
    found, _ = told("--flash")
    assert found["layouts"] is None and found["plan"]["settings"]["flash"] is True
    assert "measured" not in why(found)
    refused, _ = told("--measure", "--no-flash", code=1)
    (finding,) = seen(refused, "KV layouts")
    assert "--no-flash" in finding["mend"]


def test_a_damaged_file_is_told_and_the_rule_stands(caplog: pytest.LogCaptureFixture) -> None:
    layouts.path().parent.mkdir(parents=True, exist_ok=True)
    layouts.path().write_text("{")
    found, _ = told()
    (finding,) = seen(found, "measurements")
    assert str(layouts.path()) in finding["seen"] and "--measure" in finding["mend"]
    assert found["plan"] is not None and found["layouts"] is None
    assert minds.plan(ModelSettings()).wishes.measured is None
    assert str(layouts.path()) in caplog.text and "is ignored" in caplog.text


def test_what_can_not_be_remembered_is_heeded_once_and_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(layout_measure, "measure", lambda *_: timed(0.5, 1.0))
    found, _ = told("--measure", code=1)
    (finding,) = seen(found, "measurements")
    assert not finding["well"] and "not remembered" in finding["seen"]
    assert found["plan"]["settings"]["streams"] is False
    assert minds.plan(ModelSettings()).wishes.measured is None


def test_a_measurement_that_fails_is_a_finding_beside_a_plan_by_the_rule(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> Layouts:
        raise ModelUnavailable("measuring took too long", "choose by hand")

    monkeypatch.setattr(layout_measure, "measure", fail)
    found, _ = told("--measure", code=1)
    (finding,) = seen(found, "KV layouts")
    assert (finding["seen"], finding["mend"]) == ("measuring took too long", "choose by hand")
    assert found["plan"] is not None and not layouts.path().exists()


def test_measuring_without_a_model_or_a_whole_one_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(house.path().read_bytes()[:9000])
    found, _ = told("--measure", "--model", str(broken), code=1)
    assert [each["well"] for each in seen(found, "model")] == [False]
    monkeypatch.setenv("GREENROOM_MODELS__ENABLED", "false")
    found, _ = told("--measure", code=1)
    assert "off by the settings" in seen(found, "KV layouts")[0]["seen"]


def test_people_read_both_figures_and_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_layouts.console.people, "_width", 300)
    monkeypatch.setattr(layout_measure, "measure", lambda *_: timed(0.5, 1.0))
    result = CliRunner().invoke(app, ["doctor", "--measure"])
    assert result.exit_code == 0, result.output
    text = re.sub(r"\s+", " ", result.stderr)
    assert "streams read 1 ms a token against 0.5, and decode a step of 8 in 8 ms against 4" in text
    assert "unified memory saves 50% of a request" in text
    assert "one for all sequences measured on this machine" in text
