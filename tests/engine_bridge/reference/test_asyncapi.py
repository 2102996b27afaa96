"""The AsyncAPI document holds every message, and all that it refers to."""

from __future__ import annotations

from typing import Any

from engine_bridge.messages import CLIENT, SERVER
from engine_bridge.reference.asyncapi import asyncapi


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        here = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return here + [r for inner in value.values() for r in references(inner)]
    if isinstance(value, list):
        return [r for inner in value for r in references(inner)]
    return []


def test_the_asyncapi_document_is_whole() -> None:
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    for reference in references(document):
        at: Any = document
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
    assert {f"client_{t}" for t in CLIENT} <= set(document["components"]["messages"])
    assert {f"server_{t}" for t in SERVER} <= set(document["components"]["messages"])
    assert set(CLIENT) <= set(document["operations"])
