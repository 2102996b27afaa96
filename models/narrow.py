"""A reply model narrowed, for one request, to what is open right now: enums in place of free text.

A `Decision` may hold any verb and any name; what it is asked for may only be one of the acts and
targets that the moment offers. The narrowed model is a subclass with the same fields in the same
order, so whoever reads a reply, and whatever a model was trained to write, stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import BaseModel, create_model, model_validator

__all__ = ["NONE", "narrowed"]

NONE: Final = "none"
"""The target of an act that has none, as replies say it."""

_KEPT: Final = 256
"""Narrowed models kept; some 20 kB each. The least recently asked for go."""

Reply = TypeVar("Reply", bound=BaseModel)
Offered = frozenset[tuple[str, str]]
Group = tuple[tuple[str, ...], tuple[str, ...]]


def narrowed(
    base: type[Reply], fields: tuple[str, str], offered: Iterable[tuple[str, str]]
) -> type[Reply]:
    """`base` with two of its string fields kept to one of the pairs `offered`.

    Equal sets of pairs, in whatever order, give the same class and so the same grammar. Where every
    first goes with every second, both fields are plain enums of one object; where not, the JSON
    Schema is an `anyOf` of objects, one for the firsts that share their seconds, so that neither a
    grammar nor the model itself lets a pair through that was not offered.

    Raises ValueError when nothing is offered.
    """
    pairs = frozenset(offered)
    if not pairs:
        raise ValueError(f"nothing is offered to a {base.__name__}")
    return cast(type[Reply], _narrowed(base, fields, pairs))


@lru_cache(maxsize=_KEPT)
def _narrowed(base: type[BaseModel], fields: tuple[str, str], pairs: Offered) -> type[BaseModel]:
    first, second = fields
    groups = _groups(pairs)
    enums: Any = {
        first: (_literal(one for one, _ in pairs), ...),
        second: (_literal(other for _, other in pairs), ...),
    }
    if len(groups) == 1:
        return create_model(base.__name__, __base__=base, __doc__=base.__doc__, **enums)

    def paired(reply: Any) -> Any:
        pair = (getattr(reply, first), getattr(reply, second))
        if pair not in pairs:
            raise ValueError(f"{pair[0]!r} is not offered with {pair[1]!r}")
        return reply

    return create_model(
        base.__name__,
        __base__=base,
        __doc__=base.__doc__,
        __validators__={"paired": cast(Any, model_validator(mode="after")(paired))},
        __cls_kwargs__={"json_schema_extra": _split(fields, groups)},
        **enums,
    )


def _groups(pairs: Offered) -> list[Group]:
    """The pairs as (firsts, seconds) of which every first goes with every second; all in order."""
    seconds: defaultdict[str, set[str]] = defaultdict(set)
    for first, second in pairs:
        seconds[first].add(second)
    firsts: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for first, found in sorted(seconds.items()):
        firsts[tuple(sorted(found))].append(first)
    return sorted((tuple(names), found) for found, names in firsts.items())


def _literal(values: Iterable[str]) -> Any:
    # Sorted, so that the JSON Schema of equal sets is the same text, and its grammar the same one.
    return Literal[tuple(sorted(set(values)))]


def _split(fields: tuple[str, str], groups: list[Group]) -> Callable[[dict[str, Any]], None]:
    """What turns the JSON Schema of one object into one of an object for each group."""

    def split(schema: dict[str, Any]) -> None:
        whole = dict(schema)
        schema.clear()
        schema["anyOf"] = [
            {
                **whole,
                "properties": {
                    **whole["properties"],
                    **{
                        field: {"type": "string", "enum": list(values)}
                        for field, values in zip(fields, group, strict=True)
                    },
                },
            }
            for group in groups
        ]

    return split
