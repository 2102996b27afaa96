"""What a seed gives is written as data that agrees with the response, and as pictures of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from greenroom.report.generated import DATA, write_generated
from greenroom.report.painting import paint
from world.content import ContentRequest, ContentResponse
from world.tiles import Tile

REQUEST = ContentRequest(
    seed=12, size=64, dimensions=(24, 16), monster_type="vampire", biome="hills"
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    facts = write_generated(REQUEST, folder)
    assert sorted(facts["files"]) == sorted(path.name for path in folder.iterdir())
    return folder


def test_the_data_is_the_responses(out: Path) -> None:
    response = ContentResponse.model_validate_json((out / "content.json").read_text())
    assert response.request == REQUEST
    with np.load(out / "terrain.npz") as arrays:
        assert arrays["tiles"].tobytes() == response.foundation.terrain.tiles
        assert arrays["tiles"].shape == arrays["heights"].shape == (64, 64)
    rooms = json.loads((out / "rooms.json").read_text())
    assert [room["name"] for room in rooms["rooms"]] == [r.name for r in response.foundation.rooms]
    assert len(rooms["plan"]) == 16 and {len(row) for row in rooms["plan"]} == {24}
    beasts = json.loads((out / "bestiary.json").read_text())["monsters"]
    assert [beast["hp"] for beast in beasts] == [m.hp for m in response.foundation.monsters]
    ground = json.loads((out / "terrain.json").read_text())["ground"]
    assert sum(ground.values()) == 64 * 64


@pytest.mark.parametrize("name", ["terrain.png", "rooms.png", "bestiary.png"])
def test_the_pictures_are_pictures(out: Path, name: str) -> None:
    with Image.open(out / name) as picture:
        assert min(picture.size) > 300
        pixels = np.asarray(picture.convert("RGB"))
    assert len(np.unique(pixels.astype(int) @ [65_536, 256, 1])) > 100


def test_the_same_request_writes_the_same_bytes(out: Path, tmp_path: Path) -> None:
    write_generated(REQUEST, tmp_path, pictures=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(DATA)
    for name in DATA:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_every_kind_of_tile_has_a_look_of_its_own() -> None:
    # Pairs that a reader must tell apart, each on a field of its own.
    means = {}
    for tile in Tile:
        tiles = np.full((24, 24), Tile.GRASS, dtype=np.uint8)
        tiles[6:18, 6:18] = tile
        picture = paint(tiles, 6).astype(float)
        assert picture.shape == (144, 144, 3)
        means[tile] = picture[60:84, 60:84].mean(axis=(0, 1))
    for one, other in (
        (Tile.WATER, Tile.GRASS),
        (Tile.FOREST, Tile.GRASS),
        (Tile.FIELD, Tile.GRASS),
        (Tile.HILL, Tile.ROCK),
        (Tile.ROAD, Tile.SAND),
        (Tile.FLOOR, Tile.FIELD),
        (Tile.MUD, Tile.GRASS),
        (Tile.DAM, Tile.BRIDGE),
        (Tile.RUIN, Tile.ROAD),
    ):
        assert np.abs(means[one] - means[other]).max() > 8, (one, other)


def test_painting_is_the_same_each_time_and_refuses_what_is_no_map() -> None:
    tiles = np.arange(15, dtype=np.uint8).reshape(3, 5).repeat(6, 0).repeat(6, 1)
    assert (paint(tiles, 4) == paint(tiles, 4)).all()
    with pytest.raises(ValueError, match="two dimensions"):
        paint(np.zeros(5, dtype=np.uint8))


def test_a_map_of_one_tile_kind_or_built_all_over_can_be_painted() -> None:
    for tile in (Tile.FLOOR, Tile.WATER, Tile.BRIDGE, Tile.FOREST):
        assert paint(np.full((16, 16), tile, dtype=np.uint8), 3).shape == (48, 48, 3)
