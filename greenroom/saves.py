"""Snapshots, branches and loads of a world: of one that runs, or of a folder that nobody serves."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Protocol

import structlog

from actors.messages import Outcome
from engine_bridge.saves import (
    Branched,
    Loaded,
    MakeBranch,
    Snapshot,
    SnapshotList,
    TakeSnapshot,
)
from foundation.errors import LimitError, UsageError
from greenroom import worlds
from world.errors import StorageError
from world.ruleset import Ruleset
from world.store.copies import branch
from world.store.options import StoreOptions
from world.store.reader import Reader
from world.store.snapshots import find
from world.store.store import Store
from world.world import World

log = structlog.get_logger("greenroom")

HOLD_S: Final = 10.0
"""How long the world may take to come to a halt between two ticks, and to go on again."""


class Actors(Protocol):
    """The company, as far as a load concerns it."""

    def hold(self, on_held: Callable[[], None]) -> bool: ...

    def release(self) -> bool: ...

    def load(
        self, world: World, on_outcome: Callable[[Outcome], None] | None = None, note: str = ""
    ) -> None: ...


class Saves:
    """Keeps one world, whose `store` is open, and loads what was kept; one thing at a time.

    `actors` live in the world; without them nobody does, and a load changes the folder alone.
    `on_loaded` is told the ids and names of the players' bodies in a world that was loaded, before
    anything else happens in it.
    """

    def __init__(
        self,
        store: Store,
        ruleset: Ruleset,
        actors: Actors | None = None,
        on_loaded: Callable[[Mapping[int, str]], None] = lambda players: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ruleset = ruleset
        self._actors = actors
        self._on_loaded = on_loaded
        self._clock = clock
        self._lock = threading.Lock()
        self._closed = False
        # Of a folder that nobody serves the command itself tells what was done.
        self._log: Callable[..., object] = log.info if actors is not None else _silent

    def list(self) -> SnapshotList:
        """What there is. Raises `StorageError`."""
        return SnapshotList(
            snapshots=[Snapshot(**card.model_dump()) for card in self._store.snapshots.list()],
            most=self._store.options.snapshots_kept,
        )

    def take(self, wanted: TakeSnapshot) -> Snapshot:
        """Keep the world as it is durable now, off the thread that steps it.

        Raises `UsageError` for a name that is taken, `LimitError` at the bound, `NoRoom`, `StorageError`.
        """
        now = self._clock()
        name = wanted.name or time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
        with self._alone():
            card = self._store.snapshots.take(name, int(now), replace=wanted.replace)
        self._log("snapshot taken", name=name, tick=card.tick)
        return Snapshot(**card.model_dump())

    def remove(self, name: str) -> SnapshotList:
        """Delete a snapshot. Raises `UsageError` when there is none of that name."""
        with self._alone():
            self._store.snapshots.remove(name)
        self._log("snapshot removed", name=name)
        return self.list()

    def branch(self, wanted: MakeBranch) -> Branched:
        """Make another world of this one as it is durable now, or of a snapshot.

        Raises `UsageError` when there is something at the folder, `NoRoom`, `StorageError`.
        """
        target = Path(wanted.folder)
        if not target.is_absolute():
            raise UsageError(f"{target} is not a whole path", "begin it at the root")
        if self._store.path.resolve() in (target.resolve(), *target.resolve().parents):
            raise UsageError(
                f"{target} lies in the world's own folder", "name one that lies elsewhere"
            )
        with self._alone():
            if wanted.snapshot is None:
                made = self._store.branch(target)
            else:
                with Reader.open(find(self._store.path, wanted.snapshot)) as reader:
                    made = branch(reader, target, wanted.snapshot)
        self._log("branched", folder=str(target), tick=made.tick)
        return Branched(folder=str(target), id=made.id, parent=made.parent, tick=made.tick)

    def load(self, name: str) -> Loaded:
        """Go on from a snapshot, in a new epoch.

        The world of the snapshot is made ready beside the one that runs; then that is held between two
        ticks, the folder's contents are exchanged in one transaction, and the other goes on in its
        place. Raises `UsageError` for an unknown name or other rules, `NoRoom`, `StorageError`,
        `NewerLayout`, `ReplayError`; then the world goes on as it was.
        """
        with self._alone(), Reader.open(find(self._store.path, name)) as reader:
            self._store.check_loadable(reader)
            self._check_rules(name, reader)
            world = worlds.lived(reader, self._ruleset)
            tick = world.tick  # read now: once it is taken up, the world is the director's alone
            if self._actors is None:
                left = self._store.last_tick
                epoch = self._store.load(reader)
            else:
                world.warm()
                left, epoch = self._exchange(self._actors, reader, world, name)
        self._log("snapshot loaded", name=name, tick=tick, epoch=epoch, left=left)
        return Loaded(name=name, tick=tick, epoch=epoch, left=left)

    def close(self) -> None:
        """Wait for what is under way; nothing more can be asked. Idempotent."""
        with self._lock:
            self._closed = True

    def _check_rules(self, name: str, reader: Reader) -> None:
        kept = reader.meta()
        if kept.ruleset_digest in ("", self._ruleset.digest()):
            return
        mods = ", ".join(f"{mod} {version}" for mod, version in sorted(kept.mod_versions.items()))
        raise UsageError(
            f"the snapshot {name!r} was lived by other rules ({mods or 'unknown'})",
            "serve the world with those plugins, or make a branch of the snapshot and serve that",
        )

    def _exchange(self, actors: Actors, reader: Reader, world: World, name: str) -> tuple[int, int]:
        held = threading.Event()
        if not actors.hold(held.set) or not held.wait(HOLD_S):
            _let_go(actors)
            raise LimitError("the world is too busy to load another state", "try again in a moment")
        left = self._store.last_tick
        try:
            epoch = world.epoch = self._store.load(reader)
        except BaseException:
            _let_go(actors)
            raise
        columns, names = world.columns, world.names
        rows = columns.live_rows()
        players = columns.id[rows[columns.player[rows] == 1]].tolist()
        done = threading.Event()
        outcomes: list[Outcome] = []

        def loaded(outcome: Outcome) -> None:
            if outcome.accepted:
                # Before any outcome of the new epoch: a body made in it is not taken for a stray.
                self._on_loaded({int(entity): names.get(int(entity), "") for entity in players})
            outcomes.append(outcome)
            done.set()

        note = f"loaded the snapshot {name} of tick {world.tick}, leaving tick {left}"
        actors.load(world, loaded, note)
        if not done.wait(HOLD_S) or not outcomes[0].accepted:
            # The folder holds the loaded world; what is lived on in the old one can't be stored.
            raise StorageError(
                "the state was loaded into the folder, but the world did not take it up",
                "start the server again: it goes on from the snapshot",
            )
        return left, epoch

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise LimitError("a snapshot, branch or load is under way", "try again when it is done")
        try:
            if self._closed:
                raise LimitError("the server is closing", "ask again when it runs")
            yield
        finally:
            self._lock.release()


def _let_go(actors: Actors) -> None:
    """Have a held world go on, however much its director has to hear first."""
    until = time.monotonic() + HOLD_S
    while not actors.release():
        if time.monotonic() > until:
            log.error("the world stands still", mend="start the server again: nothing is lost")
            return
        time.sleep(0.01)


def _silent(_text: str, **_values: object) -> None:
    pass


@contextlib.contextmanager
def of_folder(folder: Path, ruleset: Ruleset, most: int) -> Iterator[Saves]:
    """The saves, at `most` so many, of a folder that nobody serves. Raises `WorldBusy` when somebody does."""
    with Store.open(folder, options=StoreOptions(snapshots_kept=most)) as store:
        yield Saves(store, ruleset)
