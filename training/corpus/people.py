"""Who speaks in the corpus: the valley's twelve, and any number of drawn villages and people."""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from models.prompts import Persona
from training.corpus.grammar import capital, fill, pick, with_article

HERE = Path(__file__).parent
VALLEY = HERE.parents[1] / "greenroom" / "scenes" / "valley" / "villagers.toml"


@cache
def table(name: str) -> dict[str, Any]:
    """A data file beside this module, parsed once."""
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing a persona knows: as the prompt states it, as they say it, what it answers."""

    text: str
    said: str
    tags: frozenset[str]
    subjects: tuple[str, ...] = ()
    wares: tuple[tuple[str, str], ...] = ()
    """(ware, price) pairs, as "a loaf" and "one copper"."""


@dataclass(frozen=True, slots=True)
class Character:
    """A persona with what the grammar must know beyond the prompt."""

    persona: Persona
    about: str
    tone: str
    facts: tuple[Fact, ...]
    at: str
    neighbours: tuple[str, ...] = ()
    spots: tuple[str, ...] = ()
    key: str = ""
    kind: str = "villager"

    @property
    def first(self) -> str:
        """The name that people use."""
        words = self.persona.name.split()
        return words[-1] if words[0] in _titles() and len(words) > 1 else words[0]

    def mentions(self, subject: str) -> bool:
        """Whether the prompt holds the subject's words anywhere."""
        bare = subject.removeprefix("the ").lower()
        page = " ".join([self.persona.name, self.persona.persona, *self.persona.knows]).lower()
        return bare in page or any(word in page for word in bare.split() if len(word) > 4)


def _titles() -> Sequence[str]:
    titles: list[str] = table("tables")["titles"]
    return titles


@cache
def _tone_of() -> dict[str, str]:
    return {adj: tone for tone, rows in table("tones").items() for adj in rows["tempers"]}


def tone_of(temper: str) -> str:
    """The tone of a temper: its first word that has one, "dry" when none has."""
    known = _tone_of()
    for word in temper.replace(",", " ").split():
        if word in known:
            return known[word]
    return "dry"


def valley() -> tuple[Character, ...]:
    """The twelve people of Alderford, as the shipped scene has them."""
    notes = table("valley")
    people = tomllib.loads(VALLEY.read_text(encoding="utf-8"))["villager"]
    names = tuple(each["name"] for each in people)
    made: list[Character] = []
    for each in people:
        note = notes[each["key"]]
        facts = tuple(
            Fact(
                text=text,
                said=extra.get("said", text),
                tags=frozenset(extra["tags"]),
                subjects=tuple(extra["subjects"]),
                wares=tuple((ware, price) for ware, price in extra.get("wares", ())),
            )
            for text, extra in zip(each["knows"], note["facts"], strict=True)
        )
        made.append(
            Character(
                persona=Persona(
                    name=each["name"],
                    trade=each["trade"],
                    place="Alderford",
                    temper=each["temper"],
                    persona=each["persona"],
                    knows=tuple(each["knows"]),
                ),
                about=note["about"],
                tone=tone_of(each["temper"]),
                facts=facts,
                at=notes["places"]["home"][len(made)],
                neighbours=tuple(name for name in names if name != each["name"]),
                spots=tuple(notes["places"]["home"]),
                key=each["key"],
            )
        )
    return tuple(made)


@dataclass(slots=True)
class Village:
    """The names that the people of one drawn village share."""

    name: str
    forest: str
    river: str
    castle: str
    inn: str
    spots: list[str]
    people: list[tuple[str, str]] = field(default_factory=list)
    """(name, trade) of its residents."""


def person_name(rng: random.Random) -> str:
    """A name: listed or put together from syllables, sometimes with a title."""
    t = table("tables")
    if rng.random() < 0.45:
        first = rng.choice(t["name_a"]) + (rng.choice(t["name_b"]) if rng.random() < 0.4 else "")
        first += rng.choice(t["name_c"])
    else:
        first = rng.choice(t["first"])
    roll = rng.random()
    if roll < 0.14:
        return f"{rng.choice(t['titles'])} {first}"
    if roll < 0.22:
        return f"{rng.choice(t['titles'])} {rng.choice(t['last'])}"
    if roll < 0.28:
        return str(first)
    if roll < 0.5:
        last = capital(rng.choice(t["name_a"]).lower() + rng.choice(t["name_c"]))
        return f"{first} {last}"
    return f"{first} {rng.choice(t['last'])}"


def place_name(rng: random.Random) -> str:
    """The name of a village."""
    t = table("tables")
    return str(rng.choice(t["place_a"]) + rng.choice(t["place_b"]))


def _drawn_spot(rng: random.Random) -> str:
    t = table("tables")
    owner = rng.choice(t["spot_a"] if rng.random() < 0.6 else t["last"])
    return f"the {owner} {rng.choice(t['spot_b'])}"


def odd_word(rng: random.Random) -> str:
    """A word that nobody has heard, in small letters: of one to three syllables."""
    t = table("tables")
    word = ""
    for _ in range(rng.choice([1, 1, 2, 2, 3])):
        word += rng.choice(t["onsets"]) + rng.choice(t["vowels"])
    return word + str(rng.choice(t["codas"]))


def drawn_thing(rng: random.Random) -> str:
    """A thing worth a rumour, without an article: listed, or an adjective and a noun."""
    t = table("tables")
    if rng.random() < 0.5:
        return str(rng.choice(t["things"]))
    return f"{rng.choice(t['thing_a'])} {rng.choice(t['thing_b'])}"


def draw_village(rng: random.Random) -> Village:
    """A village with its forest, river, castle, inn, places and people."""
    t = table("tables")
    slots = {
        "A": rng.choice(t["place_a"]).replace("'s", ""),
        "R": rng.choice(t["river_names"]),
        "C": rng.choice(t["castle_names"])
        if rng.random() < 0.6
        else capital(rng.choice(t["name_a"]) + rng.choice(t["name_c"])),
        "I": rng.choice(t["inn_names"]),
    }
    village = Village(
        name=place_name(rng),
        forest=fill(rng.choice(t["forest"]), slots),
        river=fill(rng.choice(t["river"]), slots),
        castle=fill(rng.choice(t["castle"]), slots),
        inn=fill(rng.choice(t["inn"]), slots),
        spots=list(
            dict.fromkeys([*rng.sample(t["spots"], 5), *(_drawn_spot(rng) for _ in range(4))])
        ),
    )
    trades = [each["name"] for each in t["trade"]]
    village.people = [(person_name(rng), rng.choice(trades)) for _ in range(8)]
    return village


_LONGEST = 16
"""Words of a fact: a longer one is drawn again."""


def _price_fact(
    wares: Sequence[str], shop: str, gender: Mapping[str, str], rng: random.Random
) -> Fact:
    extra: dict[str, list[str]] = table("facts")["extra"]
    prices = extra["prices"]
    first, second = rng.choice(prices), rng.choice(prices)
    short = second
    if first.endswith("coppers") and second.endswith(("copper", "coppers")):
        short = second.rsplit(" ", 1)[0] if rng.random() < 0.7 else second
        short = second if short == "half a" else short
    slots = {**gender, "w": wares[0], "W": capital(wares[0]), "p": first, "P": capital(first),
             "w2": wares[-1], "q": short, "s": shop}  # fmt: skip
    index = rng.randrange(len(extra["price_one"]))
    rows, mine = extra["price_one"], extra["price_one_said"]
    if len(wares) > 1:
        index = rng.randrange(len(extra["price_two"]))
        rows, mine = extra["price_two"], extra["price_two_said"]
    for _ in range(8):
        if len(fill(rows[index], slots).split()) <= _LONGEST:
            break
        index = rng.randrange(len(rows))
    text, said = fill(rows[index], slots), fill(mine[index], slots)
    pairs = [(wares[0], first), (wares[-1], second)][: len(wares)]
    tags = {"price"}
    if _FOOD & set(" ".join(wares).split()):
        tags.add("food")
    if "a bed" in wares:
        tags.add("bed")
    return Fact(text, said, frozenset(tags), (), tuple(pairs))


_FOOD = frozenset(
    [
        "stew",
        "loaf",
        "cake",
        "pie",
        "bun",
        "tart",
        "trout",
        "eel",
        "eels",
        "cheese",
        "egg",
        "eggs",
        "soup",
        "dumplings",
        "goose",
        "pancake",
        "chicken",
        "apple",
        "apples",
        "sausage",
        "sausages",
        "cod",
        "ale",
        "ham",
        "porridge",
        "rolls",
        "roll",
        "biscuit",
        "pastry",
        "pretzel",
        "bread",
        "venison",
        "pheasant",
        "mussels",
        "lobster",
        "herring",
        "shrimps",
        "lamb",
        "pears",
        "pumpkin",
        "beans",
        "butter",
        "plums",
        "duck",
        "honeycomb",
        "omelette",
        "custard",
        "chop",
        "skewer",
        "pickles",
        "bacon",
        "mutton",
        "roast",
        "cream",
        "lettuce",
        "strawberries",
        "lunch",
        "curds",
        "crabs",
    ]
)
_GENDERS = (
    {"He": "He", "he": "he", "him": "him", "his": "his", "Hispos": "His", "himself": "himself"},
    {"He": "She", "he": "she", "him": "her", "his": "her", "Hispos": "Her", "himself": "herself"},
)


_EXTRA = {
    "price": "prices", "since": "sinces", "past": "pasts", "crop": "crops", "dish": "dishes",
    "song": "songs", "feast": "feasts", "illness": "illnesses", "stranger": "strangers",
    "road": "roads", "ruin": "ruins", "material": "materials", "wood": "woods",
    "liquid": "liquids", "goods": "goods", "colour": "colours", "coin": "coins",
    "collection": "collections", "bird": "birds", "bird_pl": "bird_flocks", "flower": "flowers",
}  # fmt: skip


def _story_slots(village: Village, rng: random.Random, own: str) -> dict[str, str]:
    t, extra = table("tables"), table("facts")["extra"]
    (p, p_trade), (p2, _) = rng.sample([each for each in village.people if each[0] != own], 2)
    spot, spot2 = rng.sample(village.spots, 2)
    herb, herb2 = rng.sample(t["herbs"], 2)
    cure, cure2 = rng.sample(t["cures"], 2)
    weak = " ".join(rng.choice(t["weakness"]))
    slots = {
        "p": p, "p_trade": p_trade, "p2": p2, "a_p_trade": with_article(p_trade),
        "spot": spot, "spot2": spot2, "forest": village.forest, "river": village.river,
        "castle": village.castle, "village": village.name, "inn": village.inn,
        "beast": rng.choice(t["beasts"]), "pack": rng.choice(t["packs"]),
        "apparition": rng.choice(t["apparitions"]), "thing": drawn_thing(rng),
        "herb": herb, "herb2": herb2.lower(), "cure": cure, "cure2": cure2, "herb_low": herb.lower(),
        "Weak": weak, "n": rng.choice(t["numbers"]), "year": rng.choice(t["years"]),
        "disaster": rng.choice(t["disasters"]), "when": rng.choice(t["whens"]),
        "dir": rng.choice(t["directions"]), "trophy": rng.choice(extra["trophies"]),
        "pet": rng.choice(extra["pets"]),
        **{slot: rng.choice(extra[name]) for slot, name in _EXTRA.items()},
    }  # fmt: skip
    slots["ghost"] = slots["apparition"].split(" ", 1)[1]
    for key in ("beast", "spot", "forest", "castle", "apparition", "river", "inn"):
        slots[capital(key)] = capital(slots[key])
    for key in ("dish", "wood", "material", "bird_pl"):
        slots[f"{key}_cap"] = capital(slots[key])
    slots["n_cap"] = capital(slots["n"])
    return slots


def _story_fact(
    family: Mapping[str, Any],
    village: Village,
    own: str,
    gender: Mapping[str, str],
    rng: random.Random,
) -> Fact:
    slots = {**_story_slots(village, rng, own), **gender}
    index = rng.randrange(len(family["text"]))
    chosen, picks = pick(family["text"][index], rng)
    text = fill(chosen, slots)
    said = text
    if "said" in family:
        said = fill(family["said"][index], {**slots, **{str(i): p for i, p in enumerate(picks)}})
    slots["lastplace"] = slots["castle"] if "{castle}" in chosen else slots["spot"]
    if "{forest}" in chosen:
        slots["lastplace"] = slots["forest"]
    subjects = tuple(fill(subject, slots) for subject in family["subjects"])
    inside = tuple(s for s in subjects if s.removeprefix("the ").lower() in text.lower())
    if "kin" in family["tags"] or "person" in family["tags"]:
        inside = tuple(dict.fromkeys([*inside, slots["p"]]))
    return Fact(text, said, frozenset(family["tags"]), inside)


KINDS = ("villager", "vampire", "wolf")


def draw_character(rng: random.Random, kind: str | None = None) -> Character:
    """A person, vampire or wolf of a newly drawn village, with three to seven facts.

    `kind` is one of KINDS; None leaves that to chance too.
    """
    village = draw_village(rng)
    if kind is None:
        roll = rng.random()
        kind = "vampire" if roll < 0.06 else "wolf" if roll < 0.10 else "villager"
    if kind != "villager":
        return _draw_special(kind, village, rng)
    t = table("tables")
    trade = rng.choice(t["trade"])
    if rng.random() < 0.4:
        trade = {**trade, "name": rng.choice(t["plain_trades"]), "about": t["plain_about"]}
        if rng.random() < 0.5:
            trade = {**trade, "wares": [], "at": rng.choice(village.spots)}
    name = person_name(rng)
    gender = rng.choice(_GENDERS)
    tone = rng.choice([each for each in table("tones") if each not in ("courtly", "feral")])
    slots = {"f": name.split()[0], "inn": village.inn, "village": village.name, **gender}
    slots["f"] = name if name.split()[0] in _titles() else name.split()[0]
    slots |= {
        "trade": trade["name"],
        "a_trade": with_article(trade["name"]),
        "n": rng.choice(t["numbers"]),
        "disaster": rng.choice(t["disasters"]),
    }
    third, first = rng.choice(trade["about"])
    about = fill(third, slots)
    if rng.random() < 0.7:
        about += " " + fill(rng.choice(t["traits"]), slots)
    families = list(table("facts")["fact"])
    facts: list[Fact] = []
    at = fill(trade["at"], slots)
    if trade["wares"] and rng.random() < 0.85:
        chosen = rng.sample(trade["wares"], min(len(trade["wares"]), rng.choice([1, 2, 2, 3, 4])))
        while chosen:
            size = 2 if len(chosen) > 1 and rng.random() < 0.7 else 1
            facts.append(_price_fact(chosen[:size], at, gender, rng))
            chosen = chosen[size:]
    want = len(facts) + rng.choice([2, 3, 3, 4, 4])
    family = rng.choice(families)
    while len(facts) < want:
        # Two facts of one kind make a question about either harder to answer.
        family = family if rng.random() < 0.15 else rng.choice(families)
        fact = _story_fact(family, village, name, gender, rng)
        if len(fact.text.split()) <= _LONGEST and all(fact.text != other.text for other in facts):
            facts.append(fact)
    if rng.random() < 0.03:
        facts = []
    rng.shuffle(facts)
    second = rng.choice([*table("tones")[rng.choice(list(table("tones")))]["tempers"], "honest"])
    return Character(
        persona=Persona(
            name=name, trade=trade["name"], place=village.name,
            temper=rng.choice(table("tones")[tone]["tempers"]) + f" and {second}",
            persona=about, knows=tuple(fact.text for fact in facts),
        ),
        about=fill(first, slots), tone=tone, facts=tuple(facts), at=at,
        neighbours=tuple(each for each, _ in village.people), spots=tuple(village.spots),
    )  # fmt: skip


def _draw_special(kind: str, village: Village, rng: random.Random) -> Character:
    t = table("tables")
    special = next(each for each in t["special"] if each["kind"] == kind)
    tone = "courtly" if kind == "vampire" else "feral"
    name = person_name(rng).split()[-1] if kind == "wolf" else person_name(rng)
    pack = rng.choice(t["packs"])
    place = village.castle if kind == "vampire" else f"the {pack} pack"
    third, first = rng.choice(special["about"])
    slots = {"f": name.split()[0], "castle": place, "village": village.name}
    if name.split()[0] in _titles():
        slots["f"] = name
    families = [
        each
        for each in table("facts")["fact"]
        if {"vampires", "history", "wolves", "rumour", "where"} & set(each["tags"])
    ]
    must = [
        each for each in families if ("vampires" if kind == "vampire" else "wolves") in each["tags"]
    ]
    facts = [
        _story_fact(rng.choice(pool), village, name, _GENDERS[0], rng)
        for pool in (must, must, families, families)
    ]
    facts = list({fact.text: fact for fact in facts}.values())
    rng.shuffle(facts)
    return Character(
        persona=Persona(
            name=name, trade=rng.choice(special["trades"]), place=place,
            temper=" and ".join(rng.sample(special["tempers"], 2)),
            persona=fill(third, slots), knows=tuple(fact.text for fact in facts),
        ),
        about=fill(first, slots), tone=tone, facts=tuple(facts), at=rng.choice(special["at"]),
        neighbours=tuple(each for each, _ in village.people), spots=tuple(village.spots), kind=kind,
    )  # fmt: skip
