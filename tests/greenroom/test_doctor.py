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
from greenroom.findings import Finding
from greenroom.settings import ModelSettings
from models import house
from models.errors import ModelDoesNotFit
from models.llama.cores import Cores
from models.llama.gguf_file import inspect
from models.llama.machine import Gpu, Machine
from plugins import builtin
from plugins.api import AdapterFile, hookimpl
from plugins.manager import PluginManager

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
    assert set(reasons) == {
        "gpu_layers", "context", "sequences", "streams", "kv_type", "flash", "threads"
    }  # fmt: skip
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


def test_an_adapter_named_as_the_model_is_a_finding_and_no_plan() -> None:
    wolf = next(Path(builtin.__path__[0]).glob("adapters/wolf.gguf"))
    found = told("--model", str(wolf), code=1)
    assert found["plan"] is None
    (model,) = (finding for finding in found["findings"] if finding["what"] == "model")
    assert "is no model but a LoRA adapter" in model["seen"] and model["mend"]


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
def test_an_engine_that_was_killed_goes_on_smaller_and_keeps_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A kernel that doesn't tell whom it killed for want of memory.
    monkeypatch.setattr("models.llama.channel.kernel_kills", lambda: None)
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


HOUSE = f"{house.NAME} {house.VERSION}"


def giving(*adapters: AdapterFile, name: str = "pack") -> PluginManager:
    """A manager with one plugin, which gives these adapters."""

    class Plugin:
        @hookimpl
        def greenroom_adapters(self) -> list[AdapterFile]:
            return list(adapters)

    manager = PluginManager()
    assert manager.register(Plugin(), name)
    return manager


def written(path: Path, tensor: str, width: int) -> Path:
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    writer.add_tensor(f"{tensor}.lora_a", np.zeros((4, width), np.float32))
    writer.add_tensor(f"{tensor}.lora_b", np.zeros((width, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_adapters_that_would_be_refused_are_told_with_their_mend_before_a_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = inspect(house.path()).numbers["llama.embedding_length"]
    query = "blk.0.attn_q.weight"
    good = AdapterFile("wolf", written(tmp_path / "wolf.gguf", query, width), HOUSE)
    wrong = AdapterFile("elf", written(tmp_path / "elf.gguf", query, 32), HOUSE)
    gone = AdapterFile("cook", tmp_path / "cook.gguf", HOUSE)
    other = AdapterFile("bear", tmp_path / "bear.gguf", "another 1")
    older = AdapterFile("wolf", tmp_path / "old.gguf", HOUSE)
    manager = giving(older, good, wrong, gone, other)
    monkeypatch.setattr(doctor, "load_builtin_and_installed", lambda: manager)
    told_all = told(code=1)["findings"]
    found = [finding for finding in told_all if finding["what"].startswith("adapter of")]
    assert [(each["what"], each["well"]) for each in found] == [
        ("adapter of wolf", True),
        ("adapter of wolf", True),
        ("adapter of elf", False),
        ("adapter of cook", False),
        ("adapter of bear", True),
    ]
    assert found[0]["seen"].startswith("left alone (plugin pack): the plugin pack gives wolf")
    assert found[1]["seen"] == f"used (plugin pack): it changes 1 of {HOUSE}'s tensors"
    assert "elf.gguf" in found[2]["seen"] and f"{width} by {width}" in found[2]["seen"]
    assert "for this very model" in found[2]["mend"]
    assert "cook.gguf: no such file" in found[3]["seen"]
    assert f"it is for another 1, and {HOUSE} is used" in found[4]["seen"]


def test_what_turns_texts_into_vectors_is_told_or_what_it_lacks(tmp_path: Path) -> None:
    from random_gguf import write_random_bert

    text = tmp_path / "notes.gguf"
    text.write_text("These are notes, and no model at all.")
    bert = write_random_bert(tmp_path / "bert.gguf")

    def embeddings(**models: Any) -> Finding:
        config = settings.load(None, models={"folder": tmp_path, **models})
        found = doctor.examine(config, gaming_pc()).findings
        return next(each for each in found if each.what == "embeddings")

    hashed = embeddings()
    assert hashed.well and "hashed" in hashed.seen and "models add minilm" in hashed.mend
    missing = embeddings(embedding_model="minilm")
    assert not missing.well and "no such file" in missing.seen
    assert missing.mend == "greenroom models add minilm"
    damaged = embeddings(embedding_model=str(text))
    assert not damaged.well and str(text) in damaged.seen and damaged.mend
    model = embeddings(embedding_model=str(bert))
    assert model.well and "random bert (bert)" in model.seen


def test_without_a_model_no_adapter_is_judged(tmp_path: Path) -> None:
    manager = giving(AdapterFile("wolf", tmp_path / "none.gguf", HOUSE))
    off = settings.load(None, models={"enabled": False})
    missing = settings.load(None, models={"file": tmp_path / "none.gguf"})
    for config in (off, missing):
        findings = doctor.examine(config, gaming_pc(), manager).findings
        assert not [each for each in findings if each.what.startswith("adapter")]
