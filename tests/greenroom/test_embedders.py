"""Which embedder the settings choose, and what adding a model says when it can't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foundation.errors import UsageError
from greenroom.cli import app
from greenroom.minds import embedding_file, make_embedder
from greenroom.settings import ModelSettings
from models.hashed import HashedEmbedder
from models.llama import minilm
from models.llama.embedder import LlamaEmbedder


def test_words_are_hashed_until_minilm_was_added(tmp_path: Path) -> None:
    settings = ModelSettings(folder=tmp_path)
    assert embedding_file(settings) is None
    embedder = make_embedder(settings)
    embedder.close()
    assert isinstance(embedder, HashedEmbedder)
    (tmp_path / minilm.FILE).touch()
    assert embedding_file(settings) == tmp_path / minilm.FILE
    assert embedding_file(settings.model_copy(update={"embedding_model": "hashed"})) is None
    assert embedding_file(settings.model_copy(update={"enabled": False})) is None


def test_minilm_wanted_but_never_added_is_told_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        make_embedder(ModelSettings(folder=tmp_path, embedding_model="minilm"))
    assert caught.value.hint == "greenroom models add minilm"


@pytest.mark.engine
def test_a_named_file_that_cannot_be_used_is_told_by_its_state_and_not_replaced(
    tmp_path: Path,
) -> None:
    path = tmp_path / "none.gguf"
    embedder = make_embedder(ModelSettings(folder=tmp_path, embedding_model=str(path)))
    try:
        assert isinstance(embedder, LlamaEmbedder)
        with pytest.raises(Exception, match="no such file"):
            embedder.wait_ready(60.0)
        assert embedder.status()["state"] == "failed"
    finally:
        embedder.close()


def test_adding_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GREENROOM_MODELS__FOLDER", str(tmp_path / "models"))
    run = CliRunner().invoke
    unknown = run(app, ["models", "add", "gpt"])
    assert unknown.exit_code == 2
    missing = run(app, ["models", "add", "minilm", "--from", str(tmp_path / "none.whl")])
    assert missing.exit_code == 1
    assert not (tmp_path / "models").exists()
    listed = run(app, ["models", "list", "--json"])
    assert json.loads(listed.stdout)["embedding"] == {
        "name": "all-MiniLM-L6-v2", "file": None, "mib": None
    }  # fmt: skip
