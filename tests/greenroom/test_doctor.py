"""`greenroom doctor` shows the machine, the plan and its reasons; what is asked for is in it or refused."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from greenroom import minds, settings
from greenroom.cli import app
from greenroom.commands import doctor
from greenroom.settings import ModelSettings
from models import house
from models.errors import ModelDoesNotFit
from models.llama.cores import Cores
from models.llama.machine import Gpu, Machine

GIB = 1 << 30


@pytest.fixture(autouse=True)
def _no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.setenv("GREENROOM_SERVER__PORT", "0")
    monkeypatch.setenv("GREENROOM_SERVER__HTTP_PORT", "0")


def gaming_pc(free: int = 7 * GIB) -> Machine:
    return Machine(Cores(14, 6), 32 * GIB, 20 * GIB, (Gpu("CUDA0", "a card", 8 * GIB, free),))


def small_machine() -> Machine:
    return Machine(Cores(4, 4), GIB, GIB // 8, (), "the build is the CPU's")


def told(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_plan_of_this_machine_is_told_as_json() -> None:
    found = told()
    reasons = {reason["figure"]: reason for reason in found["plan"]["reasons"]}
    assert set(reasons) == {"gpu_layers", "context", "sequences", "kv_type", "threads"}
    sizes = found["plan"]["settings"]
    assert sizes["threads"] == found["machine"]["threads"]
    assert found["plan"]["memory"]["ram"]["total"] <= found["machine"]["ram_available"]
    assert {finding["what"] for finding in found["findings"]} >= {"cores", "RAM", "model", "disk"}


def test_a_flag_overrides_its_figure_and_the_others_stay_planned() -> None:
    found = told("--threads", "3", "--context", "2048", "--sequences", "4", "--kv-type", "q8_0")
    sizes = found["plan"]["settings"]
    assert (sizes["threads"], sizes["n_ctx"], sizes["n_parallel"], sizes["kv_type"]) == (
        3,
        2048,
        4,
        "q8_0",
    )
    asked = [r["figure"] for r in found["plan"]["reasons"] if r["why"].startswith("asked for")]
    assert asked == ["context", "sequences", "kv_type", "threads"]


def test_a_setting_in_a_file_overrides_too_and_a_flag_wins_over_it(tmp_path: Path) -> None:
    config = tmp_path / "greenroom.toml"
    config.write_text("[models]\ncontext = 1024\nsequences = 2\n")
    sizes = told("--config", str(config), "--sequences", "3")["plan"]["settings"]
    assert (sizes["n_ctx"], sizes["n_parallel"]) == (1024, 3)


def test_a_size_that_cannot_be_kept_is_named_with_its_mend() -> None:
    config = settings.load(None, models={"context": 1_048_576, "kv_type": "f32"})
    assert doctor.examine(config, gaming_pc()).plan is not None
    found = doctor.examine(config, Machine(Cores(4, 4), 4 * GIB, 3 * GIB))
    model = next(finding for finding in found.findings if finding.what == "model")
    assert found.plan is None and not model.well
    assert "with context 1048576 needs" in model.seen and "leave context out" in model.mend


def test_a_kv_type_nobody_knows_is_wrong_usage() -> None:
    result = CliRunner().invoke(app, ["doctor", "--kv-type", "q3"])
    assert result.exit_code == 2 and "models.kv_type" in result.stderr


def test_a_damaged_model_is_a_finding_and_no_plan(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(house.path().read_bytes()[:9000])
    found = told("--model", str(broken), code=1)
    assert found["plan"] is None
    (model,) = (finding for finding in found["findings"] if finding["what"] == "model")
    assert str(broken) in model["seen"] and model["mend"]


def test_people_read_the_plan_the_reasons_and_what_would_change_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "measure", gaming_pc)
    monkeypatch.setattr(doctor.console.people, "_width", 200)
    result = CliRunner().invoke(app, ["doctor"])
    text = re.sub(r"\s+", " ", result.stderr)
    assert "14, 6 of them fast" in text and "a card, 7.0 GiB of 8.0 GiB free" in text
    assert "The plan for greenroom-house" in text and "what would change it" in text
    assert "6 of 6 all layers and the output fit 7.0 GiB of free VRAM" in text
    assert "VRAM:" in text and "weights" in text


def test_a_gpu_s_plan_differs_from_the_cpu_s() -> None:
    on_gpu = minds.plan(ModelSettings(), gaming_pc()).settings
    on_cpu = minds.plan(ModelSettings(gpu_layers=0), gaming_pc()).settings
    assert (on_gpu.gpu_layers, on_cpu.gpu_layers) == (6, 0)
    assert (on_gpu.threads, on_cpu.threads) == (4, 5)
    assert on_gpu.n_ctx > on_cpu.n_ctx


def test_a_machine_without_room_leaves_the_world_to_its_reflexes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(minds, "measure", small_machine)
    gathered = minds.gather(ModelSettings(local_only=True))
    assert gathered is not None and gathered.engine is None
    with pytest.raises(ModelDoesNotFit, match="does not fit this machine"):
        gathered.wait_ready(1.0)
    gathered.router.close()
    with pytest.raises(ModelDoesNotFit, match="gpu_layers"):
        minds.gather(ModelSettings(local_only=True, gpu_layers=4))


@pytest.mark.engine
def test_the_engine_runs_with_the_sizes_that_the_plan_tells() -> None:
    wanted = ModelSettings(context=1024, sequences=2, threads=1)
    engine = minds.local_engine(wanted)
    try:
        engine.wait_ready(120.0)
        assert engine.status()["threads"] == 1
        assert engine._settings == minds.plan(wanted).settings
    finally:
        engine.close()


@pytest.mark.engine
def test_an_engine_that_was_killed_goes_on_smaller_and_keeps_what_was_asked_for() -> None:
    engine = minds.local_engine(ModelSettings(context=1024, threads=1))
    try:
        engine.wait_ready(120.0)
        before = engine.status()
        assert engine.pid
        os.kill(engine.pid, signal.SIGKILL)
        until = time.monotonic() + 30.0
        while not engine.status()["restarts"] and time.monotonic() < until:
            time.sleep(0.01)
        engine.wait_ready(120.0)
        after = engine.status()
        assert after["shrunk"] == 1
        assert (after["n_ctx"], after["threads"]) == (1024, 1)
        assert (after["kv_type"], after["n_seq"]) != (before["kv_type"], before["n_seq"])
    finally:
        engine.close()
