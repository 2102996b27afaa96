"""Settings: file < environment < flags, and errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation.errors import UsageError
from greenroom import settings


def test_flags_win_over_the_environment_and_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "greenroom.toml"
    config.write_text('[server]\nport = 1111\nhttp_port = 2222\nhost = "::1"\n')
    monkeypatch.setenv("GREENROOM_SERVER__PORT", "3333")
    monkeypatch.setenv("GREENROOM_SERVER__HTTP_PORT", "4444")
    found = settings.load(config, server={"port": 5555, "http_port": None})
    assert (found.server.port, found.server.http_port, found.server.host) == (5555, 4444, "::1")


def test_a_flag_that_is_not_given_is_not_counted_as_given() -> None:
    found = settings.load(None, world={"seed": None, "scene": "valley"})
    assert found.world.model_fields_set == {"scene"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[server]\nprot = 1\n", "server.prot"),
        ("[server]\nport = 70000\n", "server.port"),
        ('[models]\nengine = "magic"\n', "models.engine"),
        ("[sever]\nport = 1\n", "sever"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, text: str, named: str) -> None:
    config = tmp_path / "greenroom.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=named):
        settings.load(config)


def test_broken_toml_and_a_missing_file_are_named(tmp_path: Path) -> None:
    config = tmp_path / "greenroom.toml"
    config.write_text("[server\n")
    with pytest.raises(UsageError, match=r"greenroom\.toml: not valid TOML"):
        settings.load(config)
    with pytest.raises(UsageError, match="no such file"):
        settings.load(tmp_path / "nowhere.toml")
