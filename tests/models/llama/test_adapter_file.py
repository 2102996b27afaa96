"""Adapters judged by their headers alone: what is refused here, llama.cpp refuses, and the other way."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import ModelFileError
from models.llama.adapter_file import base, check

Factory = Callable[..., Path]
Hosts = Callable[..., Any]
Shapes = Mapping[str, tuple[int, int]]

Q = "blk.0.attn_q.weight"
GOOD: Shapes = {f"{Q}.lora_a": (4, 64), f"{Q}.lora_b": (64, 4)}
EMBEDDING = "token_embd.weight"


def write(path: Path, shapes: Shapes, **told: str) -> Path:
    """An adapter of zeros with tensors of numpy shapes, and what it says about itself."""
    import gguf

    writer = gguf.GGUFWriter(path, told.get("architecture", "llama"))
    writer.add_type(told.get("kind", "adapter"))
    writer.add_string("adapter.type", told.get("type", "lora"))
    writer.add_float32("adapter.lora.alpha", 4.0)
    for name, shape in shapes.items():
        writer.add_tensor(name, np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def adapters(folder: Path, vocabulary: int) -> dict[str, tuple[Path, str]]:
    """Adapters by name, with the words that say what is wrong; "" for a good one."""

    def make(name: str, shapes: Shapes, **told: str) -> Path:
        return write(folder / f"{name}.gguf", shapes, **told)

    good = make("good", GOOD)
    cut = folder / "cut.gguf"
    cut.write_bytes(good.read_bytes()[:150])
    short = folder / "short.gguf"
    short.write_bytes(good.read_bytes()[:-600])
    words = folder / "words.gguf"
    words.write_text("no adapter at all, but long enough to be one")
    embedding = {f"{EMBEDDING}.lora_a": (vocabulary, 4), f"{EMBEDDING}.lora_b": (64, 4)}
    flipped = {f"{EMBEDDING}.lora_a": (4, 64), f"{EMBEDDING}.lora_b": (vocabulary, 4)}
    return {
        "good": (good, ""),
        "with_norm": (make("with_norm", {**GOOD, "blk.0.attn_norm.weight": (1, 64)}), ""),
        "embedding": (make("embedding", embedding), ""),
        "flipped": (make("flipped", flipped), "'token_embd.weight' is for"),
        "cut": (cut, "ends inside"),
        "short": (short, "is cut off"),
        "words": (words, "is no GGUF"),
        "missing": (folder / "missing.gguf", "no such file"),
        "foreign": (make("foreign", GOOD, architecture="qwen2"), "architecture qwen2"),
        "model": (make("model", GOOD, kind="model"), "general.type is 'model'"),
        "other": (make("other", GOOD, type="ia3"), "adapter.type is 'ia3'"),
        "half": (make("half", {f"{Q}.lora_a": (4, 64)}), "has only .lora_a"),
        "stray": (make("stray", {**GOOD, "blk.0.attn_q.bias": (1, 64)}), "is no part of"),
        "deep": (
            make("deep", {n.replace("blk.0", "blk.9"): s for n, s in GOOD.items()}),
            "has no tensor 'blk.9.attn_q.weight'",
        ),
        "wide": (
            make("wide", {f"{Q}.lora_a": (4, 32), f"{Q}.lora_b": (32, 4)}),
            "is for 32 by 32 values, and",
        ),
        "ranks": (
            make("ranks", {f"{Q}.lora_a": (4, 64), f"{Q}.lora_b": (64, 8)}),
            "have the ranks 4 and 8",
        ),
    }


def fault(path: Path, model: Path) -> str:
    try:
        check(path, base(model))
    except ModelFileError as error:
        assert str(path) in error.message and error.hint
        return error.message
    return ""


def test_what_is_wrong_with_an_adapter_is_named_with_its_mend(
    gguf_factory: Factory, tmp_path: Path
) -> None:
    model = gguf_factory()
    vocabulary = base(model).shapes[EMBEDDING][1]
    for name, (path, words) in adapters(tmp_path, vocabulary).items():
        found = fault(path, model)
        assert (words in found) if words else not found, (name, found)
    assert check(tmp_path / "good.gguf", base(model)) == 1


def decided(states: Callable[[], Mapping[str, str]]) -> Mapping[str, str]:
    for _ in range(1200):
        if "loading" not in states().values():
            return states()
        time.sleep(0.05)
    raise AssertionError(f"still loading: {states()}")


@pytest.mark.engine
def test_the_verdict_is_llama_cpps(
    gguf_factory: Factory, host_factory: Hosts, tmp_path: Path
) -> None:
    model = gguf_factory()
    given = adapters(tmp_path, base(model).shapes[EMBEDDING][1])
    host = host_factory(model)
    for name, (path, _) in given.items():
        host.add_adapter(name, path)
    states = decided(lambda: host.status()["adapters"])
    theirs = {name for name, state in states.items() if state == "loaded"}
    ours = {name for name, (path, _) in given.items() if not fault(path, model)}
    assert ours == theirs
    assert ours > {"good"}


def test_a_split_model_is_read_whole(gguf_factory: Factory, tmp_path: Path) -> None:
    from random_gguf import write_split

    whole = gguf_factory()
    first = write_split(whole, tmp_path / "model.gguf")[0]
    assert base(first).shapes == base(whole).shapes
