"""Villagers nobody has written: names, households, trades, words and knowledge that fits their scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from world.compiled import PersonaCard, Place, Relation, Secret
from world.generate.draw import Draw
from world.generate.names import given_name, surname
from world.generate.trades import BONDS, QUIRKS, SECRETS, TEMPERS, TRADES, Trade
from world.maths import TILE

HOUSEHOLD = 5
"""Most people of one family name under a roof; a fuller house holds several families."""

_PLAIN_KINDS = frozenset({"house", "dam", "pond"})


@dataclass(frozen=True, slots=True)
class Villager:
    """A generated villager: who, in which house and at which place of work (keys of places).

    `species` is what the trade asks for; the rules may not have it.
    """

    card: PersonaCard
    home: str
    work: str
    species: str = "villager"


@dataclass(frozen=True, slots=True)
class _Person:
    key: str
    given: str
    family: str
    woman: bool
    home: str


def compass(dx: int, dy: int) -> str:
    """Return one of eight directions for a step east `dx` and south `dy`, by comparing whole numbers."""
    steep, flat = abs(dy) * 1_000 > abs(dx) * 2_414, abs(dx) * 1_000 > abs(dy) * 2_414
    if flat:
        return "east" if dx > 0 else "west"
    if steep:
        return "south" if dy > 0 else "north"
    return f"{'south' if dy > 0 else 'north'}-{'east' if dx > 0 else 'west'}"


def directions(places: Mapping[str, Place], centre: Place) -> list[str]:
    """Return a sentence for each named place: where it lies, seen from the centre."""
    facts = []
    for place in places.values():
        if place.kind in _PLAIN_KINDS or place.key == centre.key:
            continue
        dx, dy = place.x - centre.x, place.y - centre.y
        tiles = (dx * dx + dy * dy) // (TILE * TILE)
        far = "a few steps" if tiles < 12**2 else "a short walk" if tiles < 45**2 else "a long walk"
        facts.append(f"{_capital(place.name)} is {far} {compass(dx, dy)} of {centre.name}.")
    return facts


def acquaintances(cards: Mapping[str, PersonaCard], works: Mapping[str, Place]) -> list[str]:
    """Return a sentence for each written villager: what they are and where they work."""
    return [
        f"{card.name} is the {card.trade} and is found at {works[key].name}."
        for key, card in cards.items()
        if key in works
    ]


@dataclass(frozen=True, slots=True)
class Lore:
    """What a settlement's people can know: the village's talk, its known faces, the ways, and its names.

    `names` maps "village", "inn", "ruin", "wood" and "river" to what they are called here.
    """

    rumours: tuple[str, ...]
    faces: tuple[str, ...]
    ways: tuple[str, ...]
    names: Mapping[str, str]


def populate(
    count: int,
    houses: Sequence[str],
    places: Mapping[str, Place],
    centre: str,
    lore: Lore,
    taken: Sequence[str],
    seed: int,
) -> tuple[Villager, ...]:
    """Return `count` villagers spread evenly over the houses (keys of `places`).

    `taken` are full names not to be used again. Names are unique while there are enough: some
    three million pairs. Raises ValueError when there are villagers but no houses.
    """
    if not count:
        return ()
    if not houses:
        raise ValueError("villagers need a house")
    people = _name_all(_families(count, houses, seed), set(taken), seed)
    by_home: dict[str, list[_Person]] = {}
    for person in people:
        by_home.setdefault(person.home, []).append(person)
    return tuple(
        _villager(person, number, people, by_home[person.home], places, centre, lore, seed)
        for number, person in enumerate(people)
    )


def _families(count: int, houses: Sequence[str], seed: int) -> list[tuple[str, str]]:
    """Return (house, family name) per person: the houses are filled evenly, a family name per few."""
    homes: list[tuple[str, str]] = []
    for number, house in enumerate(houses):
        people = count // len(houses) + (1 if number < count % len(houses) else 0)
        draw = Draw(seed, "family", number)
        name = surname(draw)
        for member in range(people):
            if member and member % HOUSEHOLD == 0:
                name = surname(draw)
            homes.append((house, name))
    return homes


def _name_all(families: list[tuple[str, str]], taken: set[str], seed: int) -> list[_Person]:
    people = []
    for number, (home, family) in enumerate(families):
        draw = Draw(seed, "name", number)
        given, woman = given_name(draw)
        for _ in range(200):
            if f"{given} {family}" not in taken:
                break
            given, woman = given_name(draw)
        taken.add(f"{given} {family}")
        people.append(_Person(f"villager_{number + 1:04d}", given, family, woman, home))
    return people


def _villager(
    person: _Person,
    number: int,
    people: Sequence[_Person],
    household: Sequence[_Person],
    places: Mapping[str, Place],
    centre: str,
    lore: Lore,
    seed: int,
) -> Villager:
    draw = Draw(seed, "villager", number)
    trade = _trade_for(person, draw)
    work = _workplace(trade, places, person.home, centre, draw)
    words = {**lore.names, **_pronouns(person)}
    persona = " ".join(
        text.format_map(words) for text in (draw.pick(trade.ways), draw.pick(QUIRKS))
    )
    knows = [text.format_map(words) for text in draw.some(trade.facts, 2)]
    knows += draw.some(lore.rumours, 2)
    knows += draw.some(lore.faces, 1)
    knows += draw.some(lore.ways, 1)
    kin = [other for other in household if other is not person and other.family == person.family]
    if kin:
        other = draw.pick(kin)
        knows.append(f"{other.given} {other.family} lives under the same roof.")
    secret = None
    if draw.chance(400):
        secret = Secret(draw.pick(SECRETS).format_map(words), draw.between(4, 9) * 100)
    card = PersonaCard(
        key=person.key,
        name=f"{person.given} {person.family}",
        trade=trade.name,
        place=lore.names["village"],
        temper=draw.pick(TEMPERS),
        persona=persona,
        knows=tuple(dict.fromkeys(knows)),
        secret=secret,
        relations=_relations(person, people, kin, draw),
    )
    return Villager(card, person.home, work, trade.species)


def _trade_for(person: _Person, draw: Draw) -> Trade:
    fitting = [(trade, trade.weight) for trade in TRADES if trade.woman in (None, person.woman)]
    return draw.weighted(fitting)


def _workplace(
    trade: Trade, places: Mapping[str, Place], home: str, centre: str, draw: Draw
) -> str:
    """Return a place of the trade's kinds, the home for who works there, the centre if there is none."""
    fitting = [
        place.key
        for place in places.values()
        if place.kind in trade.places and place.kind != "house"
    ]
    if "house" in trade.places and (not fitting or draw.chance(500)):
        return home
    return draw.pick(fitting) if fitting else centre


def _relations(
    person: _Person, people: Sequence[_Person], kin: Sequence[_Person], draw: Draw
) -> tuple[Relation, ...]:
    bonds = [Relation(other.key, "family", draw.between(3, 9) * 100) for other in draw.some(kin, 2)]
    strangers = {person.key, *(other.key for other in kin)}
    for _ in range(2):
        other = draw.pick(people)
        if other.key in strangers:
            continue
        strangers.add(other.key)
        bond = draw.pick(BONDS)
        feeling = draw.between(-4, 1) if bond in ("rival", "debtor") else draw.between(2, 8)
        bonds.append(Relation(other.key, bond, feeling * 100))
    return tuple(bonds)


def _pronouns(person: _Person) -> dict[str, str]:
    he, his, him = ("she", "her", "her") if person.woman else ("he", "his", "him")
    return {
        "name": person.given,
        "he": he,
        "his": his,
        "him": him,
        "himself": him + "self",
        "He": he.capitalize(),
        "His": his.capitalize(),
        "Him": him.capitalize(),
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
