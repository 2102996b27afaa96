"""A served world: the one place where store, world, models, actors and bridge are wired together."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

import greenroom
from actors.company import Company
from actors.settings import CompanySettings
from engine_bridge.server import Bridge
from engine_bridge.settings import BridgeSettings
from greenroom import garbage, minds, worlds
from greenroom.saves import Saves
from greenroom.settings import Settings
from greenroom.switchboard import Switchboard
from models.errors import ModelError
from world import detail
from world.inputs import Input
from world.store.options import StoreOptions

log = structlog.get_logger("greenroom")

# A step must get the interpreter back quickly from whatever else runs Python beside it.
SWITCH_INTERVAL_S = 1e-4
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class App:
    """One world, served. `start` returns when clients can connect; `stop` leaves everything durable.

    `on_engine(text, well)` is told once, on a thread of its own, how loading the model ended.
    """

    def __init__(
        self, settings: Settings, on_engine: Callable[[str, bool], None] | None = None
    ) -> None:
        self.settings = settings
        self._on_engine = on_engine or (lambda text, well: None)
        self._undo = contextlib.ExitStack()
        self.opened: worlds.OpenWorld
        self.company: Company
        self.bridge: Bridge
        self.minds: minds.Minds | None = None
        self.first_tick = 0
        self.population = 0

    def start(self) -> None:
        """Open the world, wake the actors, listen. What had been started is stopped again on failure.

        Raises `UsageError`, `SceneError`, `StorageError`, `AddressInUse`, and `ModelDoesNotFit` for a
        size of the engine that was asked for and can't be kept.
        """
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with contextlib.ExitStack() as undo:
            self.opened = self._open()
            undo.callback(self.opened.store.close)
            for warning in self.opened.warnings:
                log.warning(warning)
            for error in self.opened.plugins.errors:
                log.warning("plugin switched off", plugin=error.plugin, why=str(error))
            # The first tick must not pay for the ways to everyone's home.
            self.opened.world.warm()
            self.minds = minds.gather(
                self.settings.models,
                self.opened.plugins,
                cache_in=self.folder if self._caches else None,
            )
            if self.minds is not None:
                undo.callback(self.minds.close)
                self._watch_engine(self.minds)
            # Read before the company starts: from then on the world is the director's alone.
            self.first_tick = self.opened.world.tick
            self.population = len(self.opened.world.columns)
            strays = self._strays()
            tiles = self.opened.world.detail_tiles
            self.company = self._company()
            self.company.start()
            undo.callback(self.company.stop)
            for n, entity in enumerate(strays):
                self.company.propose(Input("despawn", entity, "app:stray", n, {}))
            self._detail(tiles)
            board = self._switchboard()
            saves = Saves(
                self.opened.store,
                self.opened.ruleset,
                self.company,
                on_loaded=lambda players: self.bridge.loaded(players),
            )
            self.bridge = Bridge(self.company, self._bridge_settings(), board, saves)
            self.bridge.start()
            undo.callback(self.bridge.stop)
            undo.callback(saves.close)
            if board is not None:
                # Before the bridge, which waits for the calls that are under way.
                undo.callback(board.close)
            undo.callback(garbage.unsettle, garbage.settle())
            self._undo = undo.pop_all()

    def stop(self) -> None:
        """Close the sockets, end the actors, checkpoint, close the store. Idempotent."""
        self._undo.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def folder(self) -> Path:
        """Where the world is kept."""
        wanted = self.settings.world
        return worlds.world_folder(wanted.data or Path("data") / Path(wanted.scene).name)

    @property
    def _caches(self) -> bool:
        return self.settings.models.cache != "off"

    def _open(self) -> worlds.OpenWorld:
        wanted = self.settings.world
        given = wanted.model_fields_set
        return worlds.open_world(
            self.folder,
            scene=wanted.scene if "scene" in given else None,
            seed=wanted.seed,
            npcs=wanted.npcs,
            options=StoreOptions(snapshots_kept=wanted.snapshots),
        )

    def _company(self) -> Company:
        return Company(
            self.opened.world,
            personas=self.opened.scene.personas,
            backend=self.minds.backend if self.minds is not None else None,
            store=self.opened.store,
            settings=CompanySettings(
                checkpoint_ticks=self.settings.world.checkpoint_ticks,
                cached_openings=self._caches,
            ),
            server=f"greenroom {greenroom.__version__}",
            prompts=self.opened.plugins.prompt_book(),
            common=self.opened.scene.common,
            between_steps=garbage.Sweeper(),
        )

    def _switchboard(self) -> Switchboard | None:
        if self.minds is None:
            return None
        return minds.switchboard(self.minds, self.settings.models, self.opened.plugins)

    def _bridge_settings(self) -> BridgeSettings:
        server = self.settings.server
        if server.token is None and server.host not in _LOOPBACK:
            log.warning(
                "anyone who reaches this address may play, watch and administer",
                host=server.host,
                mend="set GREENROOM_SERVER__TOKEN",
            )
        return BridgeSettings(**server.model_dump())

    def _strays(self) -> list[int]:
        """Players' bodies whose sessions ended with the last process: they leave the world."""
        columns = self.opened.world.columns
        rows = columns.live_rows()
        return sorted(columns.id[rows[columns.player[rows] == 1]].tolist())

    def _detail(self, tiles: int) -> None:
        """Have the world's level of detail, which is part of its state, be what the settings say."""
        wanted = self.settings.world.detail_tiles
        if wanted != tiles:
            body = {"key": detail.KEY, "value": wanted}
            self.company.propose(Input("global", 0, "app:detail", 0, body))

    def _watch_engine(self, gathered: minds.Minds) -> None:
        def watch() -> None:
            try:
                name = gathered.wait_ready(600.0)
            except ModelError as error:
                log.warning("no local model", why=error.message, mend=error.hint)
                self._on_engine(str(error), False)
            else:
                self._on_engine(name, True)

        threading.Thread(target=watch, name="engine-watch", daemon=True).start()
