"""The models that are measured: the same bytes again, loadable, and never ending a reply by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import house

pytest.importorskip("gguf")
llama_cpp = pytest.importorskip("llama_cpp")

from benchmarks import _gguf  # noqa: E402

SMALL = _gguf.Shape(64, 2, 4, 2, 128, 1200, tied=True)
PROMPT = b"<|im_start|>user\nGood day!<|im_end|>\n<|im_start|>assistant\n"


def greedy(path: Path, count: int) -> list[int]:
    model = llama_cpp.Llama(str(path), n_ctx=256, n_threads=1, verbose=False)
    tokens: list[int] = []
    for token in model.generate(model.tokenize(PROMPT, special=True), temp=0.0):
        tokens.append(token)
        if len(tokens) == count:
            return tokens
    raise AssertionError("a generator that has no end ended")


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    one, two, other = (
        _gguf.write_random(tmp_path / f"{n}.gguf", "small", SMALL, words="innkeeper", seed=seed)
        for n, seed in enumerate((1, 1, 2))
    )
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()
    assert list(tmp_path.glob("*.part")) == []


def test_the_vocabulary_has_the_size_that_was_asked_and_the_words() -> None:
    tokens, merges = _gguf.vocabulary(1200, "innkeeper", seed=0)
    assert len(tokens) == len(set(tokens)) == 1200
    assert {"innkeeper", "\u0120innkeeper"} <= set(tokens)
    assert len(merges) == len(set(merges)) == 1200 - len(_gguf.SPECIALS) - 256
    with pytest.raises(ValueError, match="hold the 259"):
        _gguf.vocabulary(100, "", seed=0)


@pytest.mark.engine
@pytest.mark.parametrize("tied", [True, False])
def test_a_random_model_is_read_by_llama_cpp_and_writes_plain_words(
    tmp_path: Path, tied: bool
) -> None:
    shape = _gguf.Shape(64, 2, 4, 2, 128, 1200, tied=tied)
    path = _gguf.write_random(tmp_path / "small.gguf", "small", shape, words="wolf", seed=3)
    tokens, _ = _gguf.vocabulary(1200, "wolf", seed=3)
    written = greedy(path, 48)
    assert all(any(letter.isalpha() for letter in tokens[token]) for token in written)
    assert not {tokens[token] for token in written} & set(_gguf.SPECIALS)


@pytest.mark.engine
def test_the_endless_copy_of_the_house_model_speaks_as_the_model_does_and_goes_on(
    tmp_path: Path,
) -> None:
    copy = _gguf.write_endless(house.path(), tmp_path / "endless.gguf")
    model = llama_cpp.Llama(str(house.path()), n_ctx=64, n_threads=1, verbose=False)
    end = model.token_eos()
    theirs, ours = greedy(house.path(), 64), greedy(copy, 64)
    assert end in theirs, "the house model should end its reply, or this proves nothing"
    natural = theirs.index(end)
    assert ours[:natural] == theirs[:natural]
    assert end not in ours
