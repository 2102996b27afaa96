"""Calls that come together are decoded together: counted, on real llama.cpp."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import ask, request

from models.llama.settings import EngineSettings
from models.request import Priority

pytestmark = pytest.mark.engine

TOKENS = 16
SIZES = EngineSettings(threads=1, n_ctx=4096, n_seq=16, n_parallel=16, exact=True)


@pytest.mark.parametrize("calls", [1, 10])
def test_calls_submitted_at_once_take_the_steps_of_one(
    gguf_factory: Callable[..., Path], host_factory: Callable[..., Any], calls: int
) -> None:
    # A model that is slow enough for all to have come before its second step.
    file = gguf_factory(width=256, layers=6, heads=4, hidden=512)
    host = host_factory(file, settings=SIZES)
    asked = [
        ask(host, request(f"Good day, {n}!", priority=Priority.NEAR, max_tokens=TOKENS))
        for n in range(calls)
    ]
    replies = [each.reply for each in asked]
    made = sum(reply.completion_tokens for reply in replies)
    longest = max(reply.completion_tokens for reply in replies)
    # The engine tells its totals twice a second.
    time.sleep(1.1)
    told = host.status()["engine"]
    # A few more for reading prompts, and for those that came while the first step ran.
    assert longest <= told["steps"] <= longest + 2 + calls
    assert told["completion_tokens"] == made
    if calls > 1:
        assert told["batch_fill"] > calls / 2
