"""What a seed gives, as data and as pictures: terrain, rooms and bestiary, without a world around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from greenroom.report.atlas import draw_land
from greenroom.report.page import page, picture, write_whole
from greenroom.report.sheets import draw_bestiary, draw_rooms
from world.content import ContentRequest, ContentResponse
from world.generate import rooms, terrain
from world.generate.foundation import foundation, plain_customization
from world.tiles import Tile

DATA = ("terrain.npz", "terrain.json", "rooms.json", "bestiary.json", "content.json")
PICTURES = ("terrain.png", "rooms.png", "bestiary.png", "generated.html")


def write_generated(request: ContentRequest, out: Path, *, pictures: bool = True) -> dict[str, Any]:
    """Write what the request's seed gives into a folder, made if need be; return the facts.

    `terrain.npz` holds `tiles` uint8 and `heights` int64, both (size, size); `terrain.json`,
    `rooms.json` and `bestiary.json` the rest; `content.json` the whole response as the pipeline
    would give it without a model; `terrain.png`, `rooms.png`, `bestiary.png` and `generated.html`
    show it, unless `pictures` is False. Raises OSError where the folder can't be written.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    plan = terrain.plan_for(request.biome, request.size, request.size, request.seed)
    land = terrain.generate(plan, request.seed)
    floor = rooms.floor_plan(*request.dimensions, request.biome, request.seed)
    base = foundation(request)
    touch = plain_customization(base)
    response = ContentResponse(request=request, foundation=base, customized=touch)
    ground = _ground(land.tiles)
    facts: dict[str, Any] = {
        "seed": request.seed,
        "biome": request.biome,
        "size": request.size,
        "monster_type": request.monster_type,
        "land_name": touch.land_name,
        "ground": ground,
        "rivers": [list(map(list, river.course)) for river in plan.rivers],
        "rooms": len(base.rooms),
        "monsters": len(base.monsters),
        "files": [*DATA, *(PICTURES if pictures else ())],
    }
    with (out / "terrain.npz").open("wb") as file:
        np.savez_compressed(file, tiles=land.tiles, heights=land.heights)
    _write(out / "terrain.json", {key: facts[key] for key in list(facts)[:7]})
    _write(
        out / "rooms.json",
        {
            "seed": request.seed,
            "dimensions": list(request.dimensions),
            "plan": ["".join("#" if t == Tile.WALL else "." for t in row) for row in floor.tiles],
            "rooms": [room.model_dump(mode="json") for room in base.rooms],
        },
    )
    _write(
        out / "bestiary.json",
        {
            "seed": request.seed,
            "monsters": [
                beast.model_dump(mode="json") | {"name": named.name, "history": named.history}
                for beast, named in zip(base.monsters, touch.monsters, strict=True)
            ],
        },
    )
    write_whole(out / "content.json", response.model_dump_json(indent=1) + "\n")
    if not pictures:
        return facts
    title = _title(touch.land_name)
    note = f"{request.biome}, {request.size} x {request.size} tiles, seed {request.seed}"
    draw_land(land.tiles, out / "terrain.png", title, note)
    draw_rooms(floor, out / "rooms.png", f"Rooms of seed {request.seed}")
    draw_bestiary(
        base.monsters, out / "bestiary.png", f"{_title(request.monster_type)}s of {title}"
    )
    write_whole(out / "generated.html", _html(title, note, facts, out))
    return facts


def _ground(tiles: np.ndarray[Any, np.dtype[np.uint8]]) -> dict[str, int]:
    """Count the tiles of each kind, most first."""
    counts = np.bincount(tiles.ravel(), minlength=len(Tile))
    named = {tile.name.lower(): int(counts[tile]) for tile in Tile if counts[tile]}
    return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))


def _write(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, json.dumps(content, indent=1) + "\n")


def _title(text: str) -> str:
    text = text.replace("_", " ")
    return text[:1].upper() + text[1:]


def _html(title: str, note: str, facts: dict[str, Any], out: Path) -> str:
    tiles = {
        "tiles": f"{facts['size'] ** 2:,}",
        "rooms": str(facts["rooms"]),
        "monsters": str(facts["monsters"]),
        "most of it": next(iter(facts["ground"])).replace("_", " "),
    }
    parts = [
        ("The land", picture(out / "terrain.png", "painted map of the land")),
        ("The rooms", picture(out / "rooms.png", "floor plan with its rooms named")),
        ("The bestiary", picture(out / "bestiary.png", "what each monster can do")),
    ]
    return page(title, note, tiles, parts)
