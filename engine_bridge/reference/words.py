"""Schemas in words: what a message is for, and the names and types of its fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from foundation.strict import StrictModel


@dataclass(frozen=True, slots=True)
class Field:
    """A field as a reader sees it: `type` in a few words, `note` "" where nothing is to be said."""

    name: str
    type: str
    optional: bool
    note: str


def first_paragraph(model: type[StrictModel]) -> str:
    """The first paragraph of a model's docstring, as one line."""
    return _one_line(model.__doc__ or "")


def fields(model: type[StrictModel]) -> Iterator[Field]:
    """The fields of a model, in its order."""
    schema = model.model_json_schema()
    named = schema.get("$defs", {})
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        note = field.get("description", "")
        if "$ref" in field and not note:
            note = _one_line(_resolve(field, named).get("description", ""))
        yield Field(name, _type(field, named), name not in required, note)


def signature(model: type[StrictModel]) -> str:
    """The fields of a flat model in one line, without bounds; `?` marks those that may be left out."""
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return ", ".join(
        f"`{name}`{'' if name in required else '?'} {_plain_type(field)}"
        for name, field in schema["properties"].items()
    )


def _one_line(docstring: str) -> str:
    return " ".join(docstring.split("\n\n")[0].split())


def _plain_type(field: Mapping[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    kinds = [each.get("type", "") for each in field.get("anyOf", [field])]
    return " or ".join(kind for kind in kinds if kind)


def _type(field: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(
            _type(part, named) for part in field["anyOf"] if part.get("type") != "null"
        )
    if "enum" in field:
        return " or ".join(f'`"{value}"`' for value in field["enum"])
    if "$ref" in field:
        inner = _resolve(field, named)
        return _type(inner, named) if "enum" in inner else _map_of(inner, named)
    match field.get("type"):
        case "string":
            if field.get("format") in ("binary", "base64url", "base64"):
                return "bin"
            return "str" + _span(field, "minLength", "maxLength")
        case "integer":
            return "int" + _span(field, "minimum", "maximum")
        case "number":
            return "number"
        case "boolean":
            return "bool"
        case "array":
            if "prefixItems" in field:
                return "[" + ", ".join(_type(part, named) for part in field["prefixItems"]) + "]"
            return f"list of {_type(field.get('items', {}), named)}"
        case _:
            values = field.get("additionalProperties")
            if isinstance(values, Mapping):
                return f"map of str to {_type(values, named)}"
            return "map"


def _resolve(field: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" not in field:
        return field
    found: Mapping[str, Any] = named[field["$ref"].rsplit("/", 1)[1]]
    return found


def _map_of(schema: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    parts = schema.get("properties", {})
    if len(parts) > 8:
        return "map"
    return "{" + ", ".join(f"{name}: {_type(part, named)}" for name, part in parts.items()) + "}"


def _span(field: Mapping[str, Any], least: str, most: str) -> str:
    low, high = field.get(least), field.get(most)
    if high is None and "exclusiveMaximum" in field:
        high = field["exclusiveMaximum"] - 1
    if high is None:
        return f" ≥ {low}" if low is not None and low > 0 else ""
    return f" {low or 0}…{_power(high)}"


def _power(number: int) -> str:
    for bits in (31, 48, 53, 63):
        if number == 2**bits - 1:
            return f"2^{bits}-1"
    return str(number)
