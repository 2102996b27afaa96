"""Requests for content are bounded, the foundation follows from the seed alone, answers are checked."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from world.content import (
    ContentRequest,
    ContentResponse,
    Foundation,
    MonsterOrder,
    MonsterTouch,
    Orchestration,
    PlayerContext,
)
from world.generate import foundation as layer
from world.generate.terrain import BIOMES
from world.tiles import KINDS

requests = st.builds(
    ContentRequest,
    seed=st.integers(0, 2**63 - 1),
    monster_type=st.from_regex(r"\A[a-z][a-z0-9_]{0,31}\Z"),
    biome=st.sampled_from(BIOMES),
    size=st.integers(16, 80),
    dimensions=st.tuples(st.integers(5, 64), st.integers(5, 64)),
    activate_npcs=st.booleans(),
    requires_coordination=st.booleans(),
    player_context=st.none() | st.builds(PlayerContext, player=st.text(max_size=32)),
)


def answer(request: ContentRequest) -> ContentResponse:
    base = layer.foundation(request)
    return ContentResponse(
        request=request, foundation=base, customized=layer.plain_customization(base)
    )


@settings(max_examples=40, deadline=None)
@given(requests)
def test_any_request_is_answered_and_the_answer_survives_json(request: ContentRequest) -> None:
    response = answer(request)
    assert ContentResponse.model_validate_json(response.model_dump_json()) == response
    assert ContentResponse.model_validate(response.model_dump()) == response
    assert len(response.customized.monsters) == len(response.foundation.monsters) >= 1
    assert len(response.customized.rooms) == len(response.foundation.rooms) >= 1


@settings(max_examples=10, deadline=None)
@given(requests)
def test_the_foundation_is_the_seeds_alone(request: ContentRequest) -> None:
    plain = request.model_copy(
        update={"activate_npcs": True, "requires_coordination": True, "player_context": None}
    )
    assert layer.foundation(request).model_dump_json() == layer.foundation(plain).model_dump_json()
    other = request.model_copy(update={"seed": request.seed ^ 1})
    assert layer.foundation(other).monsters != layer.foundation(request).monsters


def test_the_parts_of_the_foundation_can_be_made_each_by_itself() -> None:
    request = ContentRequest(seed=4, monster_type="bear", biome="hills", size=64)
    whole = layer.foundation(request)
    assert layer.monster_base(request, 2) == whole.monsters[2]
    assert layer.room_bases(request) == whole.rooms
    assert layer.terrain_base(request) == whole.terrain


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"monster_type": "Wolf King"}, "monster_type"),
        ({"monster_type": "w" * 33}, "monster_type"),
        ({"biome": "moon"}, "biome"),
        ({"size": 15}, "size"),
        ({"size": 257}, "size"),
        ({"dimensions": (4, 10)}, "dimensions"),
        ({"dimensions": (10, 65)}, "dimensions"),
        ({"dimensions": (10,)}, "dimensions"),
        ({"player_context": {"history": ("x" * 401,)}}, "player_context"),
        ({"player_context": {"radius": 0}}, "player_context"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_request_out_of_bounds_is_refused_by_its_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ContentRequest.model_validate({"seed": 1} | change)
    assert refused.value.errors()[0]["loc"][0] == key


def test_a_land_of_the_wrong_length_or_of_unknown_tiles_is_refused() -> None:
    land = layer.terrain_base(ContentRequest(seed=1, size=16))
    for tiles, problem in (
        (land.tiles[:-1], "255 tiles"),
        (land.tiles[:-1] + bytes([KINDS]), "no tile"),
    ):
        with pytest.raises(ValidationError, match=problem):
            type(land).model_validate(land.model_dump() | {"tiles": tiles})


def test_what_later_layers_say_must_be_of_monsters_that_are_there() -> None:
    response = answer(ContentRequest(seed=1, size=32))
    stranger = MonsterTouch(index=9, name="Nobody", temper="calm", history="")
    touched = response.customized.model_copy(update={"monsters": (stranger,)})
    parts = {"request": response.request, "foundation": response.foundation}
    with pytest.raises(ValidationError, match="no monster 9"):
        ContentResponse(**parts, customized=touched)
    orders = (MonsterOrder(monster=0, tactic="flank"), MonsterOrder(monster=0, tactic="hold"))
    plan = Orchestration(source="rules", tactic="flank", summary="", orders=orders)
    with pytest.raises(ValidationError, match="named twice"):
        ContentResponse(**parts, customized=response.customized, orchestration=plan)


def test_a_foundation_of_another_seed_is_refused() -> None:
    response = answer(ContentRequest(seed=1, size=32))
    with pytest.raises(ValidationError, match="another seed"):
        ContentResponse(
            request=ContentRequest(seed=2, size=32),
            foundation=response.foundation,
            customized=response.customized,
        )


def test_monsters_out_of_order_are_refused() -> None:
    base = layer.foundation(ContentRequest(seed=1, size=64))
    with pytest.raises(ValidationError, match="index"):
        Foundation(seed=1, terrain=base.terrain, rooms=base.rooms, monsters=base.monsters[::-1])
