"""Patterns of text: `[a|b|]` picks one alternative, `{slot}` is filled in; counted and expanded."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping

_INNERMOST = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")


def pick(pattern: str, rng: random.Random) -> tuple[str, list[str]]:
    """Resolve every alternative from the innermost out; also return what was picked, in order."""
    picks: list[str] = []

    def choose(found: re.Match[str]) -> str:
        picks.append(rng.choice(found.group(1).split("|")))
        return picks[-1]

    while _INNERMOST.search(pattern):
        pattern = _INNERMOST.sub(choose, pattern, count=1)
    return pattern, picks


def fill(text: str, slots: Mapping[str, str]) -> str:
    """Put the slots' values in, twice deep, since a value may hold slots of its own.

    Raises KeyError for a slot without a value.
    """
    for _ in range(3):
        text = _SLOT.sub(lambda found: slots[found.group(1)], text)
    return text


def expand(pattern: str, rng: random.Random, slots: Mapping[str, str]) -> str:
    """One text from the pattern, with single spaces."""
    text = fill(pick(pattern, rng)[0], slots)
    if "[" in text:
        text = fill(pick(text, rng)[0], slots)
    return re.sub(r"\s+", " ", text).strip()


def count(pattern: str) -> int:
    """How many texts a pattern has, slots aside."""
    total = 1
    while True:
        found = _INNERMOST.search(pattern)
        if found is None:
            return total
        total *= len(found.group(1).split("|"))
        pattern = pattern[: found.start()] + pattern[found.end() :]


def capital(text: str) -> str:
    """The text with a capital first letter and the rest as it is."""
    return text[:1].upper() + text[1:]


_LOWER_SAFE = frozenset([
    "A", "Adders", "After", "Agrimony", "All", "An", "Angelica", "Any", "Anyone", "At", "Badgers",
    "Bandits", "Bears", "Before", "Behind", "Betony", "Boars", "Bog", "Borage", "Burdock", "By",
    "Cattle", "Cave", "Chamomile", "Chickweed", "Church", "Coltsfoot", "Comfrey", "Crows",
    "Dandelion", "Daylight", "Deserters", "Dill", "Dogwood", "Each", "Eagles", "Eight",
    "Eighteen", "Elecampane", "Eleven", "Every", "Fennel", "Feverfew", "Fifteen", "Figwort",
    "Fire", "Five", "For", "Forty", "Four", "Fourteen", "Foxes", "Foxglove", "From", "Garlic",
    "Ghouls", "Giant", "Gnolls", "Goblins", "Goldenrod", "Good", "Half", "Harpies", "Hawthorn",
    "He", "Heather", "Henbane", "Her", "Hill", "His", "Hobgoblins", "Hop", "Horehound", "Hornets",
    "Horse", "Horsetail", "Hyenas", "Hyssop", "If", "Imps", "In", "Iron", "It", "Its", "Jackals",
    "Juniper", "Kobolds", "Lavender", "Lizards", "Lovage", "Lungwort", "Lynxes", "Mallow",
    "Mandrake", "Many", "Marigold", "Mint", "Mistletoe", "Moonwort", "Most", "Motherwort",
    "Mugwort", "Mullein", "My", "Never", "Nine", "Nineteen", "No", "Nobody", "Oak", "Ogres", "On",
    "Once", "One", "Only", "Our", "Outlaws", "Parsley", "Pennyroyal", "Pikemen", "Pine",
    "Plantain", "Poachers", "Poppy", "Raiders", "Raspberry", "Ravens", "River", "Robbers",
    "Rosehip", "Rosemary", "Rue", "Running", "Sage", "Salt", "Savory", "Scorpions", "Self-heal",
    "Seven", "Seventeen", "She", "Since", "Six", "Sixteen", "Skullcap", "Slavers", "Snakes",
    "Some", "Someone", "Speedwell", "Spiders", "Stoats", "Strangers", "Stray", "Sweet", "Tansy",
    "Ten", "The", "Their", "There", "Thirteen", "Thirty", "Three", "Thyme", "To", "Toadflax",
    "Torches", "Travellers", "Trolls", "Twelve", "Twenty", "Two", "Under", "Until", "Valerian",
    "Vervain", "Violet", "Vipers", "Vultures", "Wasps", "Watercress", "Weasels", "What",
    "Whatever", "When", "Where", "Who", "Whoever", "Wild", "Wildcats", "Willow", "Witch", "With",
    "Wolverines", "Wolves", "Woodruff", "Wormwood",
])  # fmt: skip
"""First words of sentences that are no names; those that are also names stay capital."""


def lowered(sentence: str) -> str:
    """The sentence as it stands after a colon: small first letter unless it is a name or `I`."""
    first = sentence.split(" ", 1)[0]
    return sentence[:1].lower() + sentence[1:] if first in _LOWER_SAFE else sentence


def sentences(text: str) -> int:
    """How many sentences end in the text."""
    return len(_SENTENCE_END.findall(text))


def is_whole(text: str) -> bool:
    """Whether the text is one to four whole sentences: capital, full stop, no leftover slot."""
    return (
        bool(text)
        and (text[0].isupper() or text[0].isdigit())
        and text[-1] in ".!?"
        and not re.search(r"[{}\[\]|]|\s\s|\s[.,!?]|[,:;][.,!?]|<|>", text)
        and 1 <= sentences(text) <= 4
    )


def with_article(noun: str) -> str:
    """`a` or `an` before the noun."""
    return ("an " if noun[:1].lower() in "aeiou" else "a ") + noun


_PLURALS = {
    "a dozen eggs": "eggs",
    "a night's hay": "hay",
    "a salted cod": "salted cod",
    "a crossing with a horse": "crossings with a horse",
    "a pair of boots": "boots",
    "a pair of gloves": "gloves",
    "a glowing powder": "glowing powder",
    "a set of cups": "cups",
    "a box of nails": "nails",
}


def plural(ware: str) -> str:
    """The plural of `a something`, without an article."""
    if ware in _PLURALS:
        return _PLURALS[ware]
    bare = ware.split(" ", 1)[1] if ware.split(" ", 1)[0] in ("a", "an") else ware
    head, of, rest = bare.partition(" of ")
    if head.endswith("fe"):
        head = head[:-2] + "ves"
    elif head.endswith(("af", "lf")):
        head = head[:-1] + "ves"
    elif head.endswith(("s", "x", "ch", "sh")):
        head += "es"
    elif head.endswith("y") and head[-2] not in "aeiou":
        head = head[:-1] + "ies"
    else:
        head += "s"
    return head + of + rest
