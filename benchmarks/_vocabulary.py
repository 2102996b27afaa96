"""Words of a large vocabulary: what tokenizers of 150,000 entries hold beside plain Latin words."""

from __future__ import annotations

import random

from benchmarks._gguf import byte_letters

_MARKS = (
    '{" ":" "," "} ":{" "},{" ":[" "]} {"action":" ","target":" ","reason":" ":true ":false , . ; '
    "' - -- ... !! ?? () [] {} // => -> == != && || <= >= :: ** /* */ </ /> _ __ $ % + = @ # ~"
)
_SCRIPTS = (
    # (first letter, last letter, most letters in a word, words)
    (0x4E00, 0x9FA5, 3, 2_500),
    (0xAC00, 0xD7A3, 2, 400),
    (0x0410, 0x044F, 6, 700),
    (0x0621, 0x064A, 5, 400),
    (0x3041, 0x30FE, 3, 300),
    (0x00C0, 0x017F, 4, 300),
)


def words(seed: int) -> str:
    """Marks of JSON and of code, numbers, and words of other scripts, spelled in byte letters.

    About a quarter of a vocabulary of 152,000 comes of them, as in the vocabularies of the models
    that have so many. The scripts' words are random letters.
    """
    chance = random.Random(seed)
    letters = byte_letters()
    found = [*_MARKS.split(), *(str(number) for number in range(1000))]
    for first, last, most, count in _SCRIPTS:
        for _ in range(count):
            size = chance.randint(1, most)
            word = "".join(chr(chance.randint(first, last)) for _ in range(size))
            found.append("".join(letters[byte] for byte in word.encode()))
    return " ".join(found)
