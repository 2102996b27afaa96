"""Fixtures: random GGUFs, and local engines that are closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def gguf_factory(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes random GGUFs; the same arguments give the same file."""
    pytest.importorskip("gguf")
    from random_gguf import write_random_gguf

    folder = tmp_path_factory.mktemp("gguf")
    made: dict[str, Path] = {}

    def make(**options: Any) -> Path:
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = write_random_gguf(folder / f"model{len(made)}.gguf", **options)
        return made[key]

    return make


@pytest.fixture
def host_factory() -> Iterator[Callable[..., Any]]:
    """Starts local engines and closes them."""
    pytest.importorskip("llama_cpp")
    from models.llama.host import LlamaHost

    hosts: list[LlamaHost] = []

    def make(path: Path, *, ready: bool = True, **options: Any) -> LlamaHost:
        options.setdefault("threads", 1)
        options.setdefault("n_ctx", 2048)
        options.setdefault("n_seq", 16)
        host = LlamaHost(path, **options)
        hosts.append(host)
        if ready:
            host.wait_ready(60.0)
        return host

    yield make
    for host in hosts:
        host.close()
