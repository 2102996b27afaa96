"""docs/scenes.md says what a scene may hold: its tables are the schema's own, its messages are real."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from plugins.manager import build_ruleset
from world.errors import SceneError
from world.generate import stamps
from world.generate.terrain import LARGEST
from world.scene import compile_scene, load
from world.scene.schema import SceneTable, VillagersTable

Section = tuple[str, type[BaseModel], str]
"""TOML name of a table ("" for the top), its schema, how many of it there may be."""


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "scenes.md").read_text(encoding="utf-8")


def model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for inner in get_args(annotation) if (m := model_in(inner))), None)


def count(schema: dict[str, Any], required: bool) -> str:
    if schema.get("type") != "array":
        return "Required." if required else "May be left out."
    low, high = schema.get("minItems", 0), schema["maxItems"]
    return f"{low} to {high} of them." if low else f"Up to {high} of them."


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[Section]:
    """Every table that a schema holds, itself left out."""
    properties = model.model_json_schema(by_alias=True)["properties"]
    for name, info in model.model_fields.items():
        inner = model_in(info.annotation)
        if inner is None:
            continue
        key = info.alias or name
        many = properties[key].get("type") == "array"
        path = f"{prefix}{key}"
        yield (
            f"[[{path}]]" if many else f"[{path}]",
            inner,
            count(properties[key], info.is_required()),
        )
        yield from sections(inner, f"{path}.")


def number(value: int) -> str:
    return "2^63-1" if value == 2**63 - 1 else str(value)


def kind(schema: dict[str, Any]) -> str:
    """A field's type and bounds in the page's words."""
    if "anyOf" in schema:
        return " or ".join(kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if schema["type"] == "integer":
        high = schema.get("maximum", schema.get("exclusiveMaximum", 0) - 1)
        return f"{number(schema['minimum'])} to {number(high)}"
    if schema["type"] == "string":
        if "pattern" in schema:
            return "key"
        low, high = schema.get("minLength", 0), schema["maxLength"]
        return f"text, {low} to {high}"
    assert schema["type"] == "array"
    if "prefixItems" in schema:
        one = kind(schema["prefixItems"][0])
        assert kind(schema["prefixItems"][1]) == one
        return "[x, y]" if one == f"0 to {LARGEST - 1}" else f"[w, h], each {one}"
    low, high = schema.get("minItems", 0), schema["maxItems"]
    return f"list of {low} to {high}: {kind(schema['items'])}"


def default(info: Any) -> str:
    if info.is_required():
        return "required"
    if info.default in (None, "", ()):
        return ""
    return f'"{info.default}"' if isinstance(info.default, str) else str(info.default)


def fields(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """(key, type and bounds, default) of the plain fields of a table."""
    properties = model.model_json_schema(by_alias=True)["properties"]
    return [
        (f"`{info.alias or name}`", kind(properties[info.alias or name]), default(info))
        for name, info in model.model_fields.items()
        if model_in(info.annotation) is None
    ]


def part(page: str, title: str) -> str:
    """What stands under the one heading that holds a title."""
    found = [p for p in re.split(r"^#+ ", page, flags=re.MULTILINE) if title in p.split("\n")[0]]
    assert len(found) == 1, f"{len(found)} headings hold {title!r}"
    return found[0]


def rows(text: str) -> list[list[str]]:
    """The cells of the rows of a table whose first cell is code."""
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


TABLES = [
    ("`scene.toml`, at the top", SceneTable, ""),
    *((f"`{name}`", model, many) for name, model, many in sections(SceneTable)),
    *((f"`{name}`", model, many) for name, model, many in sections(VillagersTable)),
]


@pytest.mark.parametrize(("title", "model", "many"), TABLES, ids=[t[0] for t in TABLES])
def test_the_page_has_every_key_of_a_table_with_its_type_bounds_and_default(
    page: str, title: str, model: type[BaseModel], many: str
) -> None:
    text = part(page, title)
    assert [tuple(row[:3]) for row in rows(text)] == fields(model)
    assert all(row[3] for row in rows(text)), "each key has a meaning"
    assert many.lower() in " ".join(text.split()).lower(), f"say that there may be: {many}"


def test_the_page_has_no_table_that_a_scene_has_not(page: str) -> None:
    told = set(re.findall(r"`(\[\[?[\w.]+\]\]?)`", " ".join(re.findall(r"^#+ .*$", page, re.M))))
    assert told == {title.strip("`") for title, _, _ in TABLES[1:]}


def test_the_page_has_every_kind_of_place_with_the_size_it_has_unless_told(page: str) -> None:
    told = {row[0].strip("`"): row[1] for row in rows(part(page, "Kinds of places"))}
    assert told.keys() == stamps.KINDS
    for name, (width, height) in stamps.SIZES.items():
        assert told[name] in (f"{width} x {height}", ""), name


# Its messages


@pytest.fixture
def folder(root: Path, tmp_path: Path) -> Path:
    """A copy of the mill pond to break."""
    return shutil.copytree(root / "examples" / "scenes" / "millpond", tmp_path / "millpond")


def test_each_wrong_line_is_told_in_the_words_on_the_page(page: str, folder: Path) -> None:
    species = build_ruleset().species_names
    told = [[cell.strip("`") for cell in row] for row in rows(part(page, "When something is"))]
    assert len(told) >= 8 and {row[0] for row in told} == {"scene.toml", "villagers.toml"}
    for name, old, new, message in told:
        whole = (folder / name).read_text(encoding="utf-8")
        assert whole.count(old) == 1, f"{old!r} should stand once in {name}"
        (folder / name).write_text(whole.replace(old, new), encoding="utf-8")
        with pytest.raises(SceneError) as refused:
            compile_scene(load(folder), species)
        assert str(refused.value).replace(str(folder.parent) + "/", "") == message
        (folder / name).write_text(whole, encoding="utf-8")
    compile_scene(load(folder), species)


# Its words on --npcs


def test_npcs_fills_up_as_the_drawing_on_the_page_says(page: str, folder: Path) -> None:
    species = build_ruleset().species_names
    scene = load(folder)
    drawn = {
        None if count == "(left out)" else int(count.removeprefix("--npcs ")): (names.split(), more)
        for count, names, more in re.findall(
            r"^ (--npcs \d+|\(left out\)) +([a-z ]+?)(?:  \+ (\d+) from the seed.*)?$", page, re.M
        )
    }
    assert set(drawn) == {None, 3, 40}
    for npcs, (names, more) in drawn.items():
        made = compile_scene(scene, species, npcs=npcs)
        keys = [spawn.persona_key for spawn in made.spawns if spawn.persona_key]
        assert keys[: len(names)] == names
        assert len(keys) == len(names) + int(more or 0)


def test_more_villagers_leave_written_people_homes_and_places_as_they_were(folder: Path) -> None:
    species = build_ruleset().species_names
    scene = load(folder)
    few, many = compile_scene(scene, species), compile_scene(scene, species, npcs=40)
    assert all(many.places[key] == place for key, place in few.places.items())
    assert all(many.personas[key] == card for key, card in few.personas.items())
    homes = {spawn.name: (spawn.home, spawn.work) for spawn in many.spawns}
    assert all(homes[s.name] == (s.home, s.work) for s in few.spawns if s.persona_key)
    houses = [key for key, place in many.places.items() if place.kind == "house"]
    assert 0 < len(houses) <= scene.settlement.most_houses
    assert len({s.name for s in many.spawns if s.persona_key}) == 40
