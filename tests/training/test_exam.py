"""The examination of a GGUF: what is asked, what a real engine earns, what its surprise is."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from greenroom.cli import app
from models import house
from models.errors import ModelUnavailable
from models.llama.settings import EngineSettings
from training.exam import surprise
from training.exam.choices import questions
from training.exam.lines import heldout
from training.exam.sit import ask, examine, read

SIZES = EngineSettings(threads=1, n_ctx=4096, n_seq=16, n_parallel=16)


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    gguf = pytest.importorskip("benchmarks._gguf")
    shape = gguf.Shape(64, 2, 4, 2, 128, 1200, tied=True)
    file = tmp_path_factory.mktemp("gguf") / "random.gguf"
    made: Path = gguf.write_random(file, "random", shape, words="wolf", seed=1)
    return made


@pytest.fixture
def house_file() -> Path:
    pytest.importorskip("llama_cpp")
    if not house.path().exists():
        pytest.skip("the house model's file is not here")
    return house.path()


@pytest.fixture
def engine(house_file: Path) -> Iterator[Any]:
    from models.llama.host import LlamaHost

    host = LlamaHost(house_file, settings=SIZES)
    host.wait_ready(60.0)
    yield host
    host.close()


def test_the_teachers_choice_is_always_on_offer() -> None:
    for each in questions(60):
        first, second = each.taught
        fields = ("action", "target") if each.kind == "acts" else ("tactic", "focus")
        offered = each.schema(**dict(zip(fields, (first, second), strict=True)), reason="so it is")
        assert each.agrees(offered)


def test_strangers_are_told_from_the_valleys_people() -> None:
    strangers = {line.who.key for line in heldout() if line.to_a_stranger}
    assert {"isaura", "odrik"} <= strangers
    assert not strangers & {"marta", "tobin", "orla"}


@pytest.mark.engine
def test_the_house_model_sits_the_examination(engine: Any, house_file: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    found = examine(engine, lines=4, tell=lambda *progress: heard.append(progress))
    assert found["lines"] == len(found["replies"]) == 4
    assert set(found["agrees"]) == {"acts", "orders"}
    assert sum(found["by_topic"][whom]["lines"] for whom in found["by_topic"] if "to " in whom) == 4
    passed = [row["passed"] for row in found["replies"]]
    assert found["model"]["passed"] == 100 * sum(passed) / 4
    assert read(house_file, SIZES, 4)["perplexity"] < 10
    assert {(done, of) for what, done, of in heard if what == "lines, greedy"} >= {(4, 4)}


@pytest.mark.engine
def test_a_model_without_sense_sits_it_too_and_earns_nothing(random_model: Path) -> None:
    pytest.importorskip("llama_cpp")
    from models.llama.host import LlamaHost

    host = LlamaHost(random_model, settings=SIZES)
    host.wait_ready(60.0)
    found = examine(host, lines=3)
    host.close()
    assert found["model"]["passed"] == 0
    assert read(random_model, SIZES, 3)["perplexity"] > 100


@pytest.mark.engine
def test_the_surprise_is_what_the_models_own_logits_say(house_file: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    import numpy as np

    found = surprise.measure(house_file, SIZES, 3)
    plain = llama_cpp.Llama(str(house_file), n_ctx=2048, logits_all=True, verbose=False)
    nats, count = 0.0, 0
    for *before, answer in surprise.chats(3):
        text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in before)
        prompt = plain.tokenize((text + "<|im_start|>assistant\n").encode(), False, True)
        said = [*plain.tokenize(answer["content"].encode(), False, False), plain.token_eos()]
        plain.reset()
        plain.eval(prompt + said)
        rows = np.array(plain.scores[len(prompt) - 1 : len(prompt) + len(said) - 1], np.float64)
        rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
        nats -= float(rows[np.arange(len(said)), said].sum())
        count += len(said)
    plain.close()
    assert found.tokens == count
    assert found.perplexity == pytest.approx(math.exp(nats / count), rel=0.02)


@pytest.mark.engine
def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(ModelUnavailable, match=r"broken\.gguf"):
        surprise.measure(file, SIZES, 1)


@pytest.mark.engine
def test_more_questions_than_the_engine_queues_are_all_answered(engine: Any) -> None:
    from models.request import ModelRequest

    line = heldout()[0].chat()
    replies = ask(engine, [ModelRequest(line, "check", max_tokens=2, seed=n) for n in range(150)])
    assert len(replies) == 150


@pytest.mark.engine
def test_the_command_prints_the_card_of_any_gguf(random_model: Path) -> None:
    pytest.importorskip("llama_cpp")
    done = CliRunner().invoke(app, ["models", "check", str(random_model), "--lines", "1", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["lines"] == 1
    assert {"model", "model_at_0.6", "by_topic", "agrees", "surprise", "replies"} <= told.keys()
    seen = CliRunner().invoke(app, ["models", "check", str(random_model), "--lines", "1"])
    assert "bits a character, held out" in seen.output
