"""A served world lives far ones in strides if its settings say so, and its folder knows it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from engine_bridge.client import AsyncClient
from greenroom import worlds
from plugins.manager import build_ruleset
from world.replay import replay
from world.store.reader import Reader
from world.world import World


async def visit(url: str) -> None:
    async with AsyncClient(url) as client:
        await client.join("Ann")
        await asyncio.sleep(1.5)
        await client.leave()


def kept(folder: Path) -> World:
    with Reader.open(folder) as reader:
        return worlds.lived(reader, build_ruleset())


def test_the_setting_is_kept_in_the_journal_and_taken_back_by_a_server_without_it(
    served: Any, tmp_path: Path
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("[world]\ndetail_tiles = 24\n")
    with served(tmp_path / "world", "--no-models", "--config", str(config)) as server:
        asyncio.run(visit(server.url))
        assert server.stop() == 0
    world = kept(tmp_path / "world")
    assert world.detail_tiles == 24
    assert 0 < world.far.sum() < len(world.columns)
    with served(tmp_path / "world", "--no-models") as server:
        asyncio.run(visit(server.url))
        assert server.stop() == 0
    world = kept(tmp_path / "world")
    assert world.detail_tiles == 0
    assert not world.far.any()
    found = replay(tmp_path / "world", build_ruleset(), start=worlds.starter(build_ruleset()))
    assert (found.reason, found.final_hash) == ("", world.hash())
