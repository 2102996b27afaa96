"""Reading a scene folder: each mistake is named with its file, its key and the mend."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from world.errors import SceneError
from world.generate.stamps import KINDS
from world.scene.schema import CharacterTable, Scene, SceneTable, VillagersTable

SCENE_FILE, VILLAGERS_FILE = "scene.toml", "villagers.toml"
LARGEST_FILE = 4 * 1024 * 1024
"""Bytes of one scene file."""

_SHOWN = 6

M = TypeVar("M", bound=BaseModel)


class Problem:
    """One thing wrong: where (file and dotted key), what, and how to mend it."""

    def __init__(self, file: str, key: str, what: str, mend: str = "") -> None:
        self.file, self.key, self.what, self.mend = file, key, what, mend

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: {self.what}"


def fail(problems: list[Problem]) -> None:
    """Raise SceneError for the problems, the first with its mend; return if there are none."""
    if not problems:
        return
    first, *others = problems
    message = str(first)
    for problem in others[: _SHOWN - 1]:
        message += f"\n{problem}" + (f" ({problem.mend})" if problem.mend else "")
    if len(others) >= _SHOWN:
        message += f"\nand {len(others) - _SHOWN + 1} more"
    raise SceneError(message, first.mend)


def mend_for(word: str, known: Collection[str], what: str) -> str:
    """Return a hint: the nearest known word, or the list of them."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    names = sorted(known)
    shown = ", ".join(names[:24]) + (" …" if len(names) > 24 else "")
    return f"known {what}: {shown}" if names else f"the scene has no {what}"


def load(path: Path) -> Scene:
    """Read the scene in a folder that holds `scene.toml` and, if it has people, `villagers.toml`.

    Raises SceneError naming the file, the dotted key with the entry's own key or name, and the mend:
    for TOML that can't be parsed (with its line), unknown or missing keys, values of the wrong type
    or out of bounds, duplicates, and references to places, groups or characters that don't exist.
    """
    path = Path(path)
    if path.name == SCENE_FILE:
        path = path.parent
    if not path.is_dir():
        raise SceneError(
            f"{path}: there is no such folder", "give the folder that holds scene.toml"
        )
    main = _table(path / SCENE_FILE, SceneTable)
    people = VillagersTable()
    if (path / VILLAGERS_FILE).exists():
        people = _table(path / VILLAGERS_FILE, VillagersTable)
    scene = Scene(
        **{name: getattr(main, name) for name in SceneTable.model_fields},
        villagers=people.villagers,
    )
    fail(list(check(scene)))
    return scene


def _table(file: Path, model: type[M]) -> M:
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise SceneError(f"{file}: larger than {LARGEST_FILE} bytes", "split the scene")
        data = tomllib.loads(file.read_bytes().decode())
    except FileNotFoundError:
        raise SceneError(f"{file}: there is no such file", f"a scene needs {SCENE_FILE}") from None
    except OSError as error:
        raise SceneError(f"{file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SceneError(f"{file}: not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise SceneError(f"{file}: not TOML: {error}", "mend the line named") from error
    except RecursionError:
        raise SceneError(f"{file}: nested too deeply", "scenes have no deep tables") from None
    try:
        # JSON mode is what lets arrays be tuples while everything else stays strict.
        return model.model_validate_json(json.dumps(data, default=_no_dates))
    except ValidationError as error:
        # A misspelt key is both unknown and missing: the spelling is what has to be mended.
        details = sorted(
            error.errors(include_url=False), key=lambda d: d["type"] != "extra_forbidden"
        )
        fail([_explain(file, data, model, detail) for detail in details])
        raise
    except ValueError as error:
        raise SceneError(f"{file}: {error}", "write dates and times as text") from error


def _no_dates(value: object) -> object:
    raise ValueError(f"a scene holds no {type(value).__name__}: {value}")


def _explain(file: Path, data: Any, model: type[BaseModel], detail: ErrorDetails) -> Problem:
    """Turn one of pydantic's errors into a problem with a key that can be found in the file."""
    key, owner, place = [], "", data
    for part in detail["loc"]:
        if isinstance(part, int) and isinstance(place, list) and part < len(place):
            key.append(f"[{part}]")
            place = place[part]
            if isinstance(place, dict):
                owner = str(place.get("key") or place.get("name") or place.get("to") or "")
                key.append(f" {owner!r}" if owner else "")
        elif isinstance(place, dict) and part in place:
            key.append(("." if key else "") + str(part))
            place = place[part]
        elif detail["type"] in ("missing", "extra_forbidden"):
            key.append(("." if key else "") + str(part))
    dotted = "".join(key)
    word = str(detail["loc"][-1]) if detail["loc"] else ""
    if detail["type"] == "extra_forbidden":
        return Problem(
            file.name, dotted, "unknown key", mend_for(word, _siblings(model, detail), "keys")
        )
    if detail["type"] == "missing":
        return Problem(file.name, dotted, "missing", f"add {word} = …")
    mend = "" if isinstance(place, dict) else f"it is {_short(place)}"
    if detail["type"] == "literal_error" and isinstance(place, str):
        expected = str(detail.get("ctx", {}).get("expected", ""))
        words = [w.strip("' ") for w in expected.replace(" or ", ", ").split(",")]
        mend = mend_for(place, words, "values")
    if detail["type"] == "string_pattern_mismatch":
        mend = f"it is {_short(place)}; use lower-case letters, digits and underscores, 32 at most"
    return Problem(file.name, dotted, detail["msg"], mend)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _siblings(model: type[BaseModel], detail: ErrorDetails) -> list[str]:
    """Return the keys that the table holding an unknown key may have."""
    current: type[BaseModel] | None = model
    for part in detail["loc"][:-1]:
        if current is None or isinstance(part, int):
            continue
        current = next(
            (
                _model_in(info.annotation)
                for name, info in current.model_fields.items()
                if part in (name, info.alias)
            ),
            None,
        )
    return [info.alias or name for name, info in current.model_fields.items()] if current else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(
        (found for inner in get_args(annotation) if (found := _model_in(inner)) is not None), None
    )


def check(scene: Scene) -> Iterator[Problem]:
    """Yield what is wrong between the entries of a scene: references, duplicates, positions off the map."""
    places = {place.key for place in scene.places}
    groups = {group.key for group in scene.groups}
    people = [("character", c, SCENE_FILE) for c in scene.characters]
    people += [("villager", c, VILLAGERS_FILE) for c in scene.villagers]
    everyone = {character.key for _, character, _ in people}
    yield from _twice("place", (p.key for p in scene.places), SCENE_FILE)
    yield from _twice("group", (g.key for g in scene.groups), SCENE_FILE)
    yield from _twice("character", (c.key for c in scene.characters), SCENE_FILE)
    yield from _twice(
        "villager",
        (c.key for c in scene.villagers),
        VILLAGERS_FILE,
        {c.key for c in scene.characters},
    )
    yield from _known(
        SCENE_FILE, "settlement.centre", scene.settlement.centre, places, "place", "places"
    )
    for number, place in enumerate(scene.places):
        key = f"place[{number}] {place.key!r}"
        if place.kind not in KINDS:
            yield Problem(
                SCENE_FILE,
                f"{key}.kind",
                f"there is no kind {place.kind!r}",
                mend_for(place.kind, KINDS, "kinds"),
            )
        if place.faces is not None:
            yield from _known(SCENE_FILE, f"{key}.faces", place.faces, places, "place", "places")
        yield from _on_map(scene, f"{key}.at", place.at)
    for number, start in enumerate(scene.player_starts):
        yield from _on_map(scene, f"player_starts[{number}]", start)
    for number, river in enumerate(scene.terrain.rivers):
        for step, point in enumerate(river.course):
            key = f"terrain.river[{number}] {river.name!r}.course[{step}]"
            yield from _on_map(scene, key, point, margin=0)
    for table, character, file in people:
        of = scene.characters if table == "character" else scene.villagers
        key = f"{table}[{of.index(character)}] {character.key!r}"
        yield from _check_character(key, character, file, places, groups, everyone)
    for number, herd in enumerate(scene.herds):
        key = f"herd[{number}] {herd.species!r}"
        yield from _spot(scene, f"{key}.at", herd.at, places)
        if herd.home is not None:
            yield from _known(SCENE_FILE, f"{key}.home", herd.home, places, "place", "places")
        if herd.group is not None:
            yield from _known(SCENE_FILE, f"{key}.group", herd.group, groups, "group", "groups")
        if len(herd.names) > herd.count:
            what = f"{len(herd.names)} names for {herd.count}"
            yield Problem(SCENE_FILE, f"{key}.names", what, "raise count or take names out")
    for number, thing in enumerate(scene.objects):
        key = f"object[{number}] {thing.name or thing.species!r}"
        yield from _spot(scene, f"{key}.at", thing.at, places)
    yield from _check_groups(scene)


def _check_character(
    key: str,
    character: CharacterTable,
    file: str,
    places: set[str],
    groups: set[str],
    everyone: set[str],
) -> Iterator[Problem]:
    yield from _known(file, f"{key}.home", character.home, places, "place", "places")
    yield from _known(file, f"{key}.work", character.work, places, "place", "places")
    if character.group is not None:
        yield from _known(file, f"{key}.group", character.group, groups, "group", "groups")
    for number, relation in enumerate(character.relations):
        at = f"{key}.relations[{number}].to"
        if relation.to == character.key:
            yield Problem(file, at, "a relation to oneself", "name somebody else")
        yield from _known(file, at, relation.to, everyone, "character", "characters")
    yield from _twice(
        f"{key}.relations", (relation.to for relation in character.relations), file, field="to"
    )


def _check_groups(scene: Scene) -> Iterator[Problem]:
    for number, group in enumerate(scene.groups):
        key = f"group[{number}] {group.key!r}"
        people = (*scene.characters, *scene.villagers)
        members = [c.name for c in people if c.group == group.key]
        species = {c.species for c in people if c.group == group.key}
        for herd in scene.herds:
            if herd.group == group.key:
                members += herd.names
                species.add(herd.species)
        for other in sorted(species - {group.species}):
            what = f"a group of {group.species!r} has a member of {other!r}"
            yield Problem(SCENE_FILE, f"{key}.species", what, "let a group be of one species")
        if group.leader and group.leader not in members:
            yield Problem(
                SCENE_FILE,
                f"{key}.leader",
                f"no member is called {group.leader!r}",
                mend_for(group.leader, members, "members"),
            )


def _known(
    file: str, key: str, word: str, known: Collection[str], one: str, many: str
) -> Iterator[Problem]:
    if word not in known:
        yield Problem(file, key, f"there is no {one} {word!r}", mend_for(word, known, many))


def _twice(
    table: str,
    keys: Iterable[str],
    file: str,
    before: Collection[str] = (),
    field: str = "key",
) -> Iterator[Problem]:
    seen = set(before)
    for number, key in enumerate(keys):
        if key in seen:
            what = f"{key!r} is used twice"
            yield Problem(file, f"{table}[{number}].{field}", what, "give each its own")
        seen.add(key)


def _spot(
    scene: Scene, key: str, spot: str | tuple[int, int], places: set[str]
) -> Iterator[Problem]:
    if isinstance(spot, str):
        yield from _known(SCENE_FILE, key, spot, places, "place", "places")
    else:
        yield from _on_map(scene, key, spot)


def _on_map(scene: Scene, key: str, point: tuple[int, int], margin: int = 2) -> Iterator[Problem]:
    x, y = point
    if not (margin <= x < scene.width - margin and margin <= y < scene.height - margin):
        yield Problem(
            SCENE_FILE,
            key,
            f"[{x}, {y}] is off the map",
            f"x {margin} to {scene.width - 1 - margin}, y {margin} to {scene.height - 1 - margin}",
        )
