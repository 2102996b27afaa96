"""A request as the arguments of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anthropic

from models import grammar
from models.errors import RequestRefused
from models.request import Message, ModelRequest

COUNTED = ("model", "messages", "system", "thinking", "output_config")
"""The arguments that decide how many tokens a prompt has."""


def call_of(
    request: ModelRequest, model: str, thinking: str, messages: Sequence[Message], max_tokens: int
) -> dict[str, Any]:
    """The arguments for what is sent of a request.

    Raises RequestRefused for an unfit schema, or where no message is the user's.
    """
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    call: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        "messages": [
            {"role": m["role"], "content": m["content"]} for m in messages if m["role"] != "system"
        ],
    }
    if not call["messages"]:
        raise RequestRefused("the request has no user message")
    if system:
        call["system"] = system
    if request.stop:
        call["stop_sequences"] = list(request.stop)
    call["thinking"] = {"type": thinking}
    if request.schema is not None:
        compiled = grammar.register(request.schema, request.max_tokens)
        schema = anthropic.transform_schema(_one_object(_without_patterns(compiled.schema)))
        call["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    return call


def _without_patterns(schema: Any) -> Any:
    """The schema without the local grammar's patterns, which the service has no use for."""
    if isinstance(schema, dict):
        return {
            key: _without_patterns(value)
            for key, value in schema.items()
            if not (key == "allOf" and isinstance(value, list))
            and not (key == "pattern" and isinstance(value, str))
        }
    return [_without_patterns(each) for each in schema] if isinstance(schema, list) else schema


def _one_object(schema: dict[str, Any]) -> dict[str, Any]:
    """A choice between objects of the same keys as one object, whose enums hold all of theirs.

    The service wants an object at the root. Which values go together is checked when the reply is
    parsed.
    """
    parts: list[dict[str, Any]] = schema.get("anyOf", [])
    keys = [list(part.get("properties", {})) for part in parts]
    if not parts or not keys[0] or any(each != keys[0] for each in keys):
        return schema
    merged: dict[str, Any] = {}
    for key in keys[0]:
        fields = [part["properties"][key] for part in parts]
        if all("enum" in field for field in fields):
            values = dict.fromkeys(value for field in fields for value in field["enum"])
            merged[key] = {"enum": list(values)}
        elif all(field == fields[0] for field in fields):
            merged[key] = fields[0]
        else:
            merged[key] = {"anyOf": fields}
    return {**parts[0], "properties": merged}
