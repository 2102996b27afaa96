"""What calls of administration have in common: a checked body in, the change on a thread, errors by code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ValidationError

from engine_bridge.errors import ERROR_MEANINGS, ProtocolError
from engine_bridge.visits import read_body
from foundation.errors import GreenroomError

_STATUS: Final = {
    "bad_message": 400,
    "too_large": 413,
    "model_file": 422,
    "model_fit": 422,
    "limit": 503,
    "model_unavailable": 503,
    "storage_full": 507,
}
Body = TypeVar("Body", bound=BaseModel)


def takes(model: type[BaseModel]) -> dict[str, Any]:
    """What the API's description says of a call that `read`s its body."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def read(asked: Request, model: type[Body], most_bytes: int) -> Body:
    """The call's body, checked. Raises `ProtocolError`."""
    text = await read_body(asked, most_bytes)
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = f"{where}: {first['msg']}" if where else str(first["msg"])
        raise ProtocolError("bad_message", reason[:300]) from error


async def answer(act: Callable[..., BaseModel], *given: Any, status: int = 200) -> Response:
    """What `act` returns, or its `GreenroomError` as a refusal. It may block: the loop goes on."""
    try:
        told = await asyncio.to_thread(act, *given)
    except GreenroomError as error:
        return refusal(error)
    return JSONResponse(told.model_dump(), status)


def refusal(error: GreenroomError) -> JSONResponse:
    """An error as a page tells it: code, message and hint."""
    hint = error.hint or ERROR_MEANINGS.get(error.code, "")
    told = {"code": error.code, "message": error.message, "hint": hint}
    return JSONResponse(told, _STATUS.get(error.code, 409))
