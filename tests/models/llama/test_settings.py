"""Sizes: defaults leave the game a core, and nonsense is refused by name."""

from __future__ import annotations

import os

import pytest

from models.llama.cores import default_threads, physical_cores
from models.llama.settings import EngineSettings


def test_one_core_is_left_for_the_game() -> None:
    assert 1 <= default_threads() <= max(1, physical_cores() - 1)
    assert physical_cores() <= (os.cpu_count() or 1)
    assert EngineSettings().threads == default_threads()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_ctx", 3),
        ("n_seq", 257),
        ("n_parallel", 65),
        ("n_batch", 3),
        ("queue", 0),
        ("step_ms", 0),
    ],
)
def test_a_size_out_of_bounds_is_named(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        EngineSettings(**{name: value})


def test_exactness_keeps_the_kv_memory_in_32_bits_and_refuses_fewer() -> None:
    assert EngineSettings().kv_type == "f16"
    assert EngineSettings(exact=True).kv_type == "f32"
    for given, fault in (({"kv_type": "q8_0", "exact": True}, "exact"), ({"kv_type": "q2"}, "q2")):
        with pytest.raises(ValueError, match=fault):
            EngineSettings.unpack(given)


def test_settings_travel_whole() -> None:
    made = EngineSettings(threads=3, n_ctx=512, exact=True)
    assert EngineSettings.unpack(made.pack()) == made
    with pytest.raises(ValueError, match="speed"):
        EngineSettings.unpack({**made.pack(), "speed": 9})
