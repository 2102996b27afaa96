"""The tutorial's last step on real parts: a served mill pond, a real client, ravens that come."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine_bridge.client import Client
from engine_bridge.errors import RequestFailed
from greenroom.app import App
from greenroom.settings import ModelSettings, ServerSettings, Settings, WorldSettings


@pytest.mark.usefixtures("installed")
def test_a_client_calls_the_ravens_of_a_served_scene_as_the_page_says(
    root: Path, pond: Path, tmp_path: Path
) -> None:
    page = (root / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert 'print(world.act("caw", voice="loud").detail)  # {\'came\': 6}' in page
    settings = Settings(
        server=ServerSettings(port=0, http_port=0),
        world=WorldSettings(scene=str(pond), data=tmp_path / "data"),
        models=ModelSettings(enabled=False),
    )
    with App(settings) as app, Client(app.bridge.address) as world:
        assert "caw" in world.welcome.world.actions
        assert "raven" in [species.name for species in world.welcome.world.species]
        world.join("Traveller")
        detail = world.act("caw", voice="loud").detail
        assert detail.keys() == {"came"} and 1 <= detail["came"] <= 6
        with pytest.raises(RequestFailed, match="'low' or 'loud'"):
            world.act("caw", voice="shrill")
