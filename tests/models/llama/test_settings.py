"""Sizes: defaults leave the game a core, and nonsense is refused by name."""

from __future__ import annotations

import os

import pytest

from models.llama.settings import EngineSettings, default_threads, physical_cores


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


def test_settings_travel_whole() -> None:
    made = EngineSettings(threads=3, n_ctx=512, exact=True)
    assert EngineSettings.unpack(made.pack()) == made
    with pytest.raises(ValueError, match="speed"):
        EngineSettings.unpack({**made.pack(), "speed": 9})
