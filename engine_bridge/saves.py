"""Snapshots and branches over HTTP: taken, listed, removed and loaded while the world runs."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import Field

from engine_bridge import calls
from foundation.errors import GreenroomError, UsageError
from foundation.strict import StrictModel

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]


class Snapshot(StrictModel):
    """A world as it was at a durable tick, kept under a name.

    `made` is in seconds since 1970; `bytes` are those of its database.
    """

    name: str
    tick: int
    epoch: int
    made: int
    bytes: int


class SnapshotList(StrictModel):
    """All of them, the oldest first, and how many there may be."""

    snapshots: list[Snapshot]
    most: int


class TakeSnapshot(StrictModel):
    """Keep the world as it is; `name` is made from the time if not given. `replace` one of that name."""

    name: Name | None = None
    replace: bool = False


class MakeBranch(StrictModel):
    """Copy the world as it is, or a `snapshot` of it, into a `folder` of the server's machine."""

    folder: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00]+$")]
    snapshot: Name | None = None


class Branched(StrictModel):
    """A world of its own: `id` is its own, `parent` that of the world it parted from, at `tick`."""

    folder: str
    id: str
    parent: str
    tick: int


class Loaded(StrictModel):
    """The world goes on from `tick`, in the epoch `epoch`; `left` is the tick that was left."""

    name: str
    tick: int
    epoch: int
    left: int


class Saves(Protocol):
    """What keeps and loads a running world. Any method may block; all raise GreenroomError.

    One thing at a time is done; another meanwhile is refused with LimitError. Safe on any thread.
    """

    def list(self) -> SnapshotList:
        """What there is."""

    def take(self, wanted: TakeSnapshot) -> Snapshot:
        """Keep the world as it is durable now."""

    def remove(self, name: str) -> SnapshotList:
        """Delete a snapshot; returns what is left."""

    def branch(self, wanted: MakeBranch) -> Branched:
        """Make another world of it."""

    def load(self, name: str) -> Loaded:
        """Go on from a snapshot, in a new epoch."""


class NoSaves:
    """Stands for a world that is kept nowhere."""

    def list(self) -> SnapshotList:
        """Nothing."""
        return SnapshotList(snapshots=[], most=0)

    def take(self, wanted: TakeSnapshot) -> Snapshot:
        """Refused."""
        raise self._refusal()

    def remove(self, name: str) -> SnapshotList:
        """Refused."""
        raise self._refusal()

    def branch(self, wanted: MakeBranch) -> Branched:
        """Refused."""
        raise self._refusal()

    def load(self, name: str) -> Loaded:
        """Refused."""
        raise self._refusal()

    def _refusal(self) -> UsageError:
        return UsageError("this world is kept nowhere", "serve it with `greenroom serve`")


def add_saves(app: FastAPI, saves: Saves, most_bytes: int) -> None:
    """Add the calls below `/api/snapshots` and `/api/branches`; bodies of `most_bytes` at the most."""

    @app.get("/api/snapshots", response_model=SnapshotList)
    async def snapshots() -> Response:
        """The snapshots of the world, the oldest first."""
        return await calls.answer(saves.list)

    @app.post(
        "/api/snapshots",
        openapi_extra=calls.takes(TakeSnapshot),
        response_model=Snapshot,
        status_code=201,
    )
    async def take(asked: Request) -> Response:
        """Keep the world as it is durable now; answers once that is durable, too."""
        try:
            wanted = await calls.read(asked, TakeSnapshot, most_bytes)
        except GreenroomError as error:
            return calls.refusal(error)
        return await calls.answer(saves.take, wanted, status=201)

    @app.delete("/api/snapshots/{name}", response_model=SnapshotList)
    async def remove(name: str) -> Response:
        """Delete a snapshot."""
        return await calls.answer(saves.remove, name)

    @app.post("/api/snapshots/{name}/load", response_model=Loaded)
    async def load(name: str) -> Response:
        """Go on from a snapshot, in a new epoch; answers once the world does."""
        return await calls.answer(saves.load, name)

    @app.post(
        "/api/branches",
        openapi_extra=calls.takes(MakeBranch),
        response_model=Branched,
        status_code=201,
    )
    async def branch(asked: Request) -> Response:
        """Copy the world, or a snapshot of it, into a folder as a world of its own."""
        try:
            wanted = await calls.read(asked, MakeBranch, most_bytes)
        except GreenroomError as error:
            return calls.refusal(error)
        return await calls.answer(saves.branch, wanted, status=201)
