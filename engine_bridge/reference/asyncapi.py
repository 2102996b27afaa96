"""The protocol as an AsyncAPI document, `docs/asyncapi.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema

from engine_bridge.messages import CLIENT, SERVER, Kind
from engine_bridge.reference.words import first_paragraph

VERSION: Final = "1.0.0"


def asyncapi() -> dict[str, Any]:
    """The protocol as an AsyncAPI 3.0 document; payload schemas come from the models."""
    kinds = [("client", kind) for kind in CLIENT.values()]
    kinds += [("server", kind) for kind in SERVER.values()]
    bodies = sorted({kind.body for _, kind in kinds}, key=lambda model: model.__name__)
    references, schemas = models_json_schema(
        [(body, "validation") for body in bodies],
        ref_template="#/components/schemas/{model}",
    )
    messages = {
        f"{side}_{kind.t}": _async_message(side, kind, references[kind.body, "validation"])
        for side, kind in kinds
    }
    channel = "#/channels/socket"
    operations: dict[str, Any] = {}
    for kind in CLIENT.values():
        operations[kind.t] = {
            "action": "receive",
            "channel": {"$ref": channel},
            "summary": first_paragraph(kind.body),
            "messages": [{"$ref": f"{channel}/messages/client_{kind.t}"}],
        }
        if kind.replies:
            operations[kind.t]["reply"] = {
                "channel": {"$ref": channel},
                "messages": [
                    {"$ref": f"{channel}/messages/server_{t}"} for t in (*kind.replies, "error")
                ],
            }
    for kind in SERVER.values():
        if kind.direction == "push":
            operations[f"push_{kind.t}"] = {
                "action": "send",
                "channel": {"$ref": channel},
                "summary": first_paragraph(kind.body),
                "messages": [{"$ref": f"{channel}/messages/server_{kind.t}"}],
            }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Greenroom",
            "version": VERSION,
            "description": "One WebSocket between a game engine and a living world.",
            "license": {"name": "MIT"},
        },
        "defaultContentType": "application/msgpack",
        "servers": {
            "local": {
                "host": "127.0.0.1:8765",
                "protocol": "ws",
                "description": "subprotocol greenroom.v1.msgpack or greenroom.v1.json",
            }
        },
        "channels": {
            "socket": {
                "address": "/",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            }
        },
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas["$defs"]},
    }


def _async_message(side: str, kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {"t": {"const": kind.t}, "d": dict(body)}
    required = ["t"] if side == "client" else ["t", "d"]
    if side == "client" and not kind.anonymous:
        properties["id"] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        required.append("id")
    if kind.direction == "reply":
        properties["re"] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        if kind.t != "error":
            required.append("re")
    if kind.reliable:
        properties["seq"] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        required.append("seq")
    return {
        "name": kind.t,
        "summary": first_paragraph(kind.body),
        "payload": {
            "type": "object",
            "properties": properties,
            "required": sorted(required),
            "additionalProperties": side == "server",
        },
    }
