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
        schema = anthropic.transform_schema(_without_patterns(compiled.schema))
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
