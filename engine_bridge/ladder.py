"""The ladder of models over HTTP: which rung answers what now, and calls that change it while it runs.

A change holds until the server ends; the settings say what the next one begins with.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import Field

from engine_bridge import calls
from foundation.errors import GreenroomError, UsageError
from foundation.strict import StrictModel
from models.errors import BackendRefused

MOST_RUNGS: Final = 8
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,31}$")]
Purpose = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_-]{0,31})?$")]


class RungState(StrictModel):
    """One rung. `only` lists what it may be asked for at all, empty for everything; `file` is a GGUF's.

    `window` is the most tokens of a conversation with it, less where its context is shorter.
    """

    label: str
    model: str
    kind: str
    state: str
    on: bool
    only: list[str]
    file: str
    window: int
    under_way: int
    error: str


class Ladder(StrictModel):
    """The rungs and who tries them.

    `order` holds for every purpose without a route of its own in `routes`. `answering` names, by
    purpose ("" for all others), the rung that is asked first as things stand, "" for none: then
    reflexes answer. `loading` is the rung that is being added, `leaving` counts those removed that
    still finish what they had begun.
    """

    rungs: list[RungState]
    order: list[str]
    routes: dict[str, list[str]]
    answering: dict[str, str]
    loading: str
    leaving: int


class SetOrder(StrictModel):
    """Which rungs a purpose tries, the first first; "" is every purpose without an order of its own."""

    order: Annotated[list[Label], Field(min_length=1, max_length=MOST_RUNGS)]
    purpose: Purpose = ""


class SwitchRung(StrictModel):
    """Whether a rung is asked."""

    on: bool


class AddRung(StrictModel):
    """A GGUF on the server's machine as a new rung: the last of the order, or the `first`.

    The sizes are those of the settings; what is not given is planned from what the machine has left.
    """

    label: Label
    file: Annotated[str, Field(min_length=1, max_length=4096)]
    first: bool = False
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    context: Annotated[int, Field(ge=512, le=1_048_576)] | None = None
    sequences: Annotated[int, Field(ge=1, le=256)] | None = None
    gpu_layers: Annotated[int, Field(ge=0, le=10_000)] | None = None
    kv_type: Literal["f16", "q8_0", "f32"] | None = None
    streams: bool | None = None
    flash: bool | None = None
    window: Annotated[int, Field(ge=256, le=1_048_576)] | None = None


class Switchboard(Protocol):
    """What changes the ladder. Any method but `ladder` and `admit` may block; all raise GreenroomError.

    A change that is refused changes nothing. Safe on any thread.
    """

    def ladder(self) -> Ladder:
        """How it stands."""

    def admit(self, label: str, purpose: str) -> None:
        """Whether a request for a purpose may name a rung. Raises BackendRefused, naming those it may."""

    def order(self, purpose: str, labels: list[str]) -> None:
        """Let a purpose ("": all without an order of their own) try these rungs."""

    def reset(self, purpose: str) -> None:
        """Let a purpose follow the order of all others again."""

    def enable(self, label: str, on: bool) -> None:
        """Switch a rung off or on."""

    def add(self, wanted: AddRung) -> None:
        """Load a GGUF and make it a rung; returns once it answers."""

    def remove(self, label: str) -> None:
        """Take a rung away; it finishes what it has begun."""


class NoLadder:
    """Stands for the switchboard where models are switched off."""

    def ladder(self) -> Ladder:
        """Nothing."""
        return Ladder(rungs=[], order=[], routes={}, answering={"": ""}, loading="", leaving=0)

    def admit(self, label: str, purpose: str) -> None:
        """Refused."""
        raise BackendRefused(f"no backend {label!r}: models are switched off on this server")

    def order(self, purpose: str, labels: list[str]) -> None:
        """Refused."""
        raise self._refusal()

    def reset(self, purpose: str) -> None:
        """Refused."""
        raise self._refusal()

    def enable(self, label: str, on: bool) -> None:
        """Refused."""
        raise self._refusal()

    def add(self, wanted: AddRung) -> None:
        """Refused."""
        raise self._refusal()

    def remove(self, label: str) -> None:
        """Refused."""
        raise self._refusal()

    def _refusal(self) -> UsageError:
        return UsageError("models are switched off on this server", "start it without --no-models")


def add_ladder(app: FastAPI, board: Switchboard, most_bytes: int) -> None:
    """Add the calls below `/api/models` to the application; bodies of `most_bytes` at the most."""

    async def change(act: Callable[..., None], *given: Any, status: int = 200) -> Response:
        # Of a model that loads the answer comes minutes later; the loop goes on meanwhile.
        try:
            await asyncio.to_thread(act, *given)
        except GreenroomError as error:
            return calls.refusal(error)
        return JSONResponse(board.ladder().model_dump(), status)

    @app.get("/api/models", response_model=Ladder)
    async def models() -> Ladder:
        """The ladder of models: rungs, orders, and who answers what now."""
        return board.ladder()

    @app.put("/api/models/order", openapi_extra=calls.takes(SetOrder), response_model=Ladder)
    async def order(asked: Request) -> Response:
        """Set which rungs are tried, for one purpose or for all others."""
        try:
            wanted = await calls.read(asked, SetOrder, most_bytes)
        except GreenroomError as error:
            return calls.refusal(error)
        return await change(board.order, wanted.purpose, wanted.order)

    @app.delete("/api/models/order/{purpose}", response_model=Ladder)
    async def reset(purpose: str) -> Response:
        """Let a purpose follow the order of all others again."""
        return await change(board.reset, purpose)

    @app.post(
        "/api/models/rungs",
        openapi_extra=calls.takes(AddRung),
        response_model=Ladder,
        status_code=201,
    )
    async def add(asked: Request) -> Response:
        """Load a GGUF of the server's machine as a new rung; answers once it can be asked."""
        try:
            wanted = await calls.read(asked, AddRung, most_bytes)
        except GreenroomError as error:
            return calls.refusal(error)
        return await change(board.add, wanted, status=201)

    @app.put(
        "/api/models/rungs/{label}", openapi_extra=calls.takes(SwitchRung), response_model=Ladder
    )
    async def switch(label: str, asked: Request) -> Response:
        """Switch a rung off or on; what it has begun it ends."""
        try:
            wanted = await calls.read(asked, SwitchRung, most_bytes)
        except GreenroomError as error:
            return calls.refusal(error)
        return await change(board.enable, label, wanted.on)

    @app.delete("/api/models/rungs/{label}", response_model=Ladder)
    async def remove(label: str) -> Response:
        """Remove a rung that holds a GGUF, once it has ended what it has begun."""
        return await change(board.remove, label)
