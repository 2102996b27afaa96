"""Generated villagers are distinct, bounded, and know only what is so in their scene."""

from collections import Counter

import pytest

from world.compiled import PersonaCard, Place
from world.generate.trades import QUIRKS, SECRETS, TEMPERS, TRADES
from world.generate.villagers import Lore, compass, directions, populate
from world.maths import TILE

PLACES = {
    place.key: place
    for place in (
        Place("green", "the green", 100 * TILE, 100 * TILE, 5 * TILE, "green"),
        Place("inn", "the Swan", 105 * TILE, 100 * TILE, 5 * TILE, "inn"),
        Place("fields", "the long acre", 100 * TILE, 160 * TILE, 9 * TILE, "field"),
        Place("house_001", "the Ashford house", 90 * TILE, 90 * TILE, 4 * TILE, "house"),
        Place("house_002", "the Birchley house", 95 * TILE, 90 * TILE, 4 * TILE, "house"),
    )
}
LORE = Lore(
    rumours=("The pass is shut.",),
    faces=("Ada Bell is the smith and is found at the forge.",),
    ways=tuple(directions(PLACES, PLACES["green"])),
    names={
        "village": "Sheep Stoke",
        "inn": "the Swan",
        "ruin": "the tower",
        "wood": "the holt",
        "river": "the Ouse",
    },
)


def people(count: int, seed: int = 3) -> list[PersonaCard]:
    made = populate(count, ("house_001", "house_002"), PLACES, "green", LORE, ("Ada Bell",), seed)
    return [villager.card for villager in made]


def test_thousands_of_villagers_have_names_of_their_own() -> None:
    cards = people(3_000)
    assert len({card.name for card in cards}) == 3_000
    assert len({card.key for card in cards}) == 3_000
    assert len({card.persona for card in cards}) > 1_000
    assert "Ada Bell" not in {card.name for card in cards}


def test_all_that_is_said_of_them_fits_the_prompts_bounds_and_has_no_gaps() -> None:
    for card in people(800):
        texts = (card.persona, *card.knows, *([card.secret.text] if card.secret else []))
        assert len(card.persona) <= 480 and len(card.knows) <= 12
        assert all(0 < len(text) <= 240 for text in card.knows)
        assert not any("{" in text or "  " in text for text in texts)
        assert all(text[0].isupper() and text[-1] == "." for text in texts)


def test_they_speak_of_their_own_scenes_places() -> None:
    spoken = " ".join(" ".join((card.persona, *card.knows)) for card in people(400))
    assert "the Swan" in spoken and "Sheep Stoke" in spoken and "the Ouse" in spoken
    assert "Lantern" not in spoken and "Alderford" not in spoken


def test_the_ways_they_tell_are_right() -> None:
    assert directions(PLACES, PLACES["green"]) == [
        "The Swan is a few steps east of the green.",
        "The long acre is a long walk south of the green.",
    ]


@pytest.mark.parametrize(
    ("dx", "dy", "word"),
    [
        (9, 1, "east"),
        (-9, 0, "west"),
        (1, 9, "south"),
        (0, -9, "north"),
        (5, 5, "south-east"),
        (-5, -4, "north-west"),
    ],
)
def test_the_compass_points_the_way(dx: int, dy: int, word: str) -> None:
    assert compass(dx, dy) == word


def test_trades_are_as_common_as_their_weights() -> None:
    counts = Counter(card.trade for card in people(2_000))
    assert counts["farmer"] > 3 * counts["mason"] > 0


def test_a_trade_of_women_or_of_men_alone_is_theirs() -> None:
    cards = people(2_000)
    pronouns = {
        trade: {word for card in cards if card.trade == trade for word in card.persona.split()}
        & {"He", "She"}
        for trade in ("washerwoman", "pot boy", "weaver")
    }
    assert pronouns == {"washerwoman": {"She"}, "pot boy": {"He"}, "weaver": {"He", "She"}}


def test_kin_share_a_roof_and_relations_name_real_people() -> None:
    made = populate(60, ("house_001", "house_002"), PLACES, "green", LORE, (), 9)
    home = {villager.card.key: villager.home for villager in made}
    for villager in made:
        assert villager.work in PLACES and villager.home in PLACES
        for relation in villager.card.relations:
            assert relation.to in home and relation.to != villager.card.key
            assert -1000 <= relation.feeling <= 1000
            if relation.kind == "family":
                assert home[relation.to] == villager.home


def test_a_seed_makes_the_same_people_and_another_seed_others() -> None:
    assert people(10) == people(10)
    assert people(10, seed=4) != people(10)


def test_villagers_need_a_roof() -> None:
    assert populate(0, (), PLACES, "green", LORE, (), 1) == ()
    with pytest.raises(ValueError, match="house"):
        populate(1, (), PLACES, "green", LORE, (), 1)


def test_the_words_they_are_made_of_are_all_used_once() -> None:
    for words in (TEMPERS, QUIRKS, SECRETS, [trade.name for trade in TRADES]):
        assert len(set(words)) == len(words)
    assert all(trade.ways and trade.facts and trade.weight > 0 for trade in TRADES)
