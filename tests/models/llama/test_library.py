"""Loading a GGUF through llama.cpp: what it refuses is told in its own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from models.llama.settings import EngineSettings

pytest.importorskip("llama_cpp")
library = pytest.importorskip("models.llama.library")

pytestmark = pytest.mark.engine

Factory = Callable[..., Path]


def test_what_llama_cpp_refuses_to_load_is_said_in_its_own_words(
    gguf_factory: Factory,
) -> None:
    log = library.LogTail()
    with pytest.raises(library.ModelFileError, match="unknown model architecture: 'abacus'"):
        library.Model(gguf_factory(architecture="abacus"), EngineSettings(threads=1), log)
