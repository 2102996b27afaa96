"""A pydantic model becomes the grammar of a reply; one that could run past its limits is refused.

What a reply schema may hold: objects that forbid extras, strings with a `max_length`, whole numbers
with `ge` and `le`, booleans, literals and enums, lists with a `max_length`, tuples, unions of these,
at most `MAX_DEPTH` deep. The reply is compact JSON: no white space, keys in the order of the fields,
every key present. Strings are one line of printable characters of the Basic Multilingual Plane
without quotes and backslashes, so that nothing needs an escape and no reply breaks a log or a bubble.

A model may spend one token on every byte, so the longest reply in bytes is the bound in tokens. A
string counts three bytes a character, or one when its `pattern` is plain ASCII without classes such
as `\\w` (`^[a-z ]*$`), which is worth giving.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, PydanticUserError, ValidationError

from models.errors import ModelError, RequestRefused

MAX_DEPTH = 6
MAX_PROPERTIES = 64
MAX_OPTIONS = 4096

_WIDEST = 1 << 63
"""Beyond 64 bits llguidance knows no integers."""

_SAFE = (
    r"[ !#-\[\]-~\u00a1-\u1fff\u2010-\u2027\u2030-\u205e\u2070-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd]"
)
_SAFE_BYTES = 3
_NOT_PLAIN = re.compile(r"[^ -~]|[|]|\[\^|(?<!\\)\.|\\[A-Za-z]|\(\?")
_REPEAT = re.compile(r"\^(\[[^\]\\]*(?:\\.[^\]\\]*)*\])\*\$")
SLICES = [
    f"{letters}{{1,{most}}}" for letters in ("[a-z ]", "[A-Za-z ]", _SAFE) for most in (6, 18)
]
"""Regexes whose tokens' masks llguidance makes beforehand, the narrowest first."""

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReplySchema:
    """A checked schema: `schema` (JSON Schema), `grammar` (llguidance's), `longest` reply in tokens."""

    schema: Schema
    grammar: str
    longest: int


@lru_cache(maxsize=512)
def compile_schema(model: type[BaseModel]) -> ReplySchema:
    """Check a reply model and make its grammar. Raises RequestRefused naming the field and the fix."""
    try:
        told = model.model_json_schema()
    except PydanticUserError as error:
        raise RequestRefused(
            f"{model.__name__} can't be a reply: it has no JSON Schema: {error.message}",
            "use str, int, bool, enums, lists and other models for its fields",
        ) from error
    schema, longest = _Walk(model.__name__, told.get("$defs", {})).node(told, model.__name__, 1)
    guided = {**_as_repeats(schema), "x-guidance": {"whitespace_flexible": False}}
    grammar = json.dumps({"grammars": [{"name": "reply", "json_schema": guided}]})
    return ReplySchema(schema, grammar, longest)


def register(model: type[BaseModel], max_tokens: int) -> ReplySchema:
    """Check that a reply of this model always fits `max_tokens`; raises RequestRefused when not."""
    compiled = compile_schema(model)
    if compiled.longest > max_tokens:
        raise RequestRefused(
            f"the longest {model.__name__} takes {compiled.longest} tokens, more than {max_tokens}",
            f"set max_tokens to {compiled.longest}, or tighten the fields' bounds or patterns",
        )
    return compiled


def longest_tokens(model: type[BaseModel]) -> int:
    """The `max_tokens` with which every reply of this model fits."""
    return compile_schema(model).longest


def parse(text: str, model: type[BaseModel]) -> BaseModel:
    """A reply's text as the model. Raises ModelError saying what doesn't fit."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise ModelError(f"the reply is no {model.__name__}: {where}: {first['msg']}") from error


def _as_repeats(node: Any) -> Any:
    """Strings of one class of letters as one repeat, the only form whose masks llguidance has ready.

    It keeps masks of tokens that are a few letters of a class (`slices`, see llama/guide.py), and
    finds out that a state allows them all only where the state is a plain repeat.
    """
    if isinstance(node, list):
        return [_as_repeats(each) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("type") != "string":
        return {key: _as_repeats(each) for key, each in node.items()}
    pattern = node["allOf"][0]["pattern"] if "allOf" in node else node["pattern"]
    found = _REPEAT.fullmatch(pattern)
    if found is None:
        return node
    # A class of its own may hold what strings must not, which only the intersection keeps out.
    unsafe = _NOT_PLAIN.search(pattern) or any(re.match(found[1], letter) for letter in '"\\')
    if "allOf" in node and unsafe:
        return node
    return {"type": "string", "pattern": f"^{found[1]}{{{node['minLength']},{node['maxLength']}}}$"}


class _Walk:
    """Resolves references and rebuilds a schema node by node with its longest JSON in bytes."""

    def __init__(self, name: str, definitions: dict[str, Schema]) -> None:
        self._name = name
        self._definitions = definitions
        self._open: list[str] = []

    def _refuse(self, where: str, fault: str, fix: str) -> RequestRefused:
        return RequestRefused(f"{self._name} can't be a reply: {where} {fault}", fix)

    def _orderly(self, least: int, most: int, where: str, what: str) -> None:
        if least > most:
            raise self._refuse(
                where, f"wants at least {least} and at most {most} {what}", "give bounds that meet"
            )

    def node(self, given: Schema, where: str, depth: int) -> tuple[Schema, int]:
        if depth > MAX_DEPTH:
            raise self._refuse(where, f"is nested deeper than {MAX_DEPTH}", "flatten it")
        if "$ref" in given:
            return self._reference(given["$ref"], where, depth)
        if "allOf" in given and len(given["allOf"]) == 1:
            return self.node(given["allOf"][0], where, depth)
        if "const" in given:
            return self._options([given["const"]], where)
        if "enum" in given:
            return self._options(given["enum"], where)
        for key in ("anyOf", "oneOf"):
            if key in given:
                parts = [self.node(part, where, depth) for part in given[key]]
                return {"anyOf": [part for part, _ in parts]}, max(size for _, size in parts)
        match given.get("type"):
            case "object":
                return self._object(given, where, depth)
            case "array":
                return self._array(given, where, depth)
            case "string":
                return self._string(given, where)
            case "integer":
                return self._integer(given, where)
            case "boolean":
                return {"type": "boolean"}, len("false")
            case "null":
                return {"type": "null"}, len("null")
            case "number":
                raise self._refuse(
                    where, "is a float", "use an int with ge and le, in hundredths or thousandths"
                )
        raise self._refuse(where, "may be anything", "give it a type")

    def _reference(self, reference: str, where: str, depth: int) -> tuple[Schema, int]:
        name = reference.removeprefix("#/$defs/")
        if name in self._open:
            raise self._refuse(where, f"contains itself ({name})", "use a list of bounded length")
        self._open.append(name)
        try:
            return self.node(self._definitions[name], where, depth)
        finally:
            self._open.pop()

    def _options(self, values: list[Any], where: str) -> tuple[Schema, int]:
        if not values:
            raise self._refuse(where, "offers nothing to choose", 'offer at least "none"')
        if len(values) > MAX_OPTIONS:
            raise self._refuse(where, f"has {len(values)} options", f"offer {MAX_OPTIONS} at most")
        longest = max(len(json.dumps(value, ensure_ascii=False).encode()) for value in values)
        return {"enum": list(values)}, longest

    def _object(self, given: Schema, where: str, depth: int) -> tuple[Schema, int]:
        if given.get("additionalProperties") is not False:
            raise self._refuse(where, "takes unknown keys", 'set extra="forbid" (StrictModel does)')
        fields: dict[str, Schema] = given.get("properties", {})
        if len(fields) > MAX_PROPERTIES:
            raise self._refuse(where, f"has {len(fields)} fields", f"use {MAX_PROPERTIES} at most")
        properties: Schema = {}
        longest = 2 + max(0, len(fields) - 1)
        for name, field in fields.items():
            properties[name], size = self.node(field, f"{where}.{name}", depth + 1)
            longest += len(json.dumps(name, ensure_ascii=False).encode()) + 1 + size
        built = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return built, longest

    def _array(self, given: Schema, where: str, depth: int) -> tuple[Schema, int]:
        if given.get("uniqueItems"):
            raise self._refuse(where, "is a set", "use a list; repeats can't be ruled out")
        if "prefixItems" in given:
            parts = [self.node(part, where, depth + 1) for part in given["prefixItems"]]
            built: Schema = {
                "type": "array",
                "prefixItems": [part for part, _ in parts],
                "items": False,
                "minItems": len(parts),
                "maxItems": len(parts),
            }
            return built, 2 + max(0, len(parts) - 1) + sum(size for _, size in parts)
        if "maxItems" not in given:
            raise self._refuse(where, "is a list without end", "give it a max_length")
        most = int(given["maxItems"])
        self._orderly(given.get("minItems", 0), most, where, "items")
        items, size = self.node(given.get("items", {}), f"{where}[]", depth + 1)
        built = {"type": "array", "items": items, "maxItems": most}
        if "minItems" in given:
            built["minItems"] = int(given["minItems"])
        return built, 2 + most * size + max(0, most - 1)

    def _string(self, given: Schema, where: str) -> tuple[Schema, int]:
        if "format" in given:
            raise self._refuse(
                where, f"has the format {given['format']!r}", "use str and a pattern"
            )
        if "maxLength" not in given:
            raise self._refuse(where, "is a string without end", "give it a max_length")
        most, least = int(given["maxLength"]), int(given.get("minLength", 0))
        self._orderly(least, most, where, "characters")
        pattern = given.get("pattern")
        built: Schema = {"type": "string", "minLength": least, "maxLength": most}
        if pattern is None:
            return {**built, "pattern": f"^{_SAFE}*$"}, 2 + most * _SAFE_BYTES
        plain = pattern[:1] == "^" and pattern[-1:] == "$" and not _NOT_PLAIN.search(pattern)
        built["allOf"] = [{"pattern": pattern}, {"pattern": f"^{_SAFE}*$"}]
        return built, 2 + most * (1 if plain else _SAFE_BYTES)

    def _integer(self, given: Schema, where: str) -> tuple[Schema, int]:
        low, high = given.get("minimum"), given.get("maximum")
        if low is None and "exclusiveMinimum" in given:
            low = given["exclusiveMinimum"] + 1
        if high is None and "exclusiveMaximum" in given:
            high = given["exclusiveMaximum"] - 1
        if low is None or high is None:
            raise self._refuse(where, "is a number without bounds", "give it ge and le")
        self._orderly(low, high, where, "as its value")
        if not -_WIDEST <= low <= high < _WIDEST:
            raise self._refuse(where, "is wider than 64 bits", "use a smaller ge and le")
        if "multipleOf" in given:
            raise self._refuse(where, "has a multiple_of", "use a smaller unit")
        longest = max(len(str(low)), len(str(high)), 2)
        return {"type": "integer", "minimum": int(low), "maximum": int(high)}, longest
