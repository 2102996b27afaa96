"""Names for people, places, beasts and houses, from hand-written lists and syllables."""

from __future__ import annotations

from world.generate.draw import Draw


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN: tuple[str, ...] = _words(
    """
    Ada Adela Agnes Alba Alda Alma Amata Anka Annis Ansa Astrid Avis Barbe Beata Berta Betony Bina Birte
    Blanka Branwen Brida Brona Cara Cecily Clemence Cora Dagny Dalia Delia Dora Dorte Ebba Eda Edith Effie
    Eira Elke Ella Emeline Emma Enid Erna Esme Etta Eva Evelin Faye Fenna Flora Freda Frida Gala Gerda Gisela
    Greta Grit Gudrun Gunda Hazel Hedda Hedwig Heike Helga Hella Hertha Hilda Ida Ilse Imma Ina Inga Ingrid
    Irma Isolde Ivy Jana Janna Jenet Joan Jolanda Jorun Judith Jutta Karin Karla Katrin Kaya Kersti Kinga Klara
    Lena Leonie Liesel Lilian Lina Linde Liv Lora Lotte Lucia Ludmila Luise Mabel Magda Maika Malin Maren Margit
    Marika Mathilda Meike Merle Merry Milda Mina Mira Moira Nadia Nelda Nella Nessa Netta Nora Oda Odile Olga
    Ottilie Paula Perrin Petra Philippa Pia Ragna Rahel Regina Renata Rika Roana Rosa Rowena Runa Ruta Sabina
    Salome Selma Senta Signe Sigrid Silja Sofie Solveig Stella Susanna Svea Tabea Tamsin Tanja Tekla Thea Thora
    Tilda Tove Trudi Ulla Ulrika Una Ursel Valeska Vera Vilma Viola Walda Wanda Wenna Wilma Winifred Ylva Yrsa
    Zelda Zita
    """
)

MEN: tuple[str, ...] = _words(
    """
    Abel Adam Albin Aldo Alfric Anders Anselm Anton Arend Arne Arno Arvid Asger Axel Baldwin Barnaby Bartel
    Bastian Benno Bernt Bertil Bjarne Bodo Boris Bram Brand Brock Bruno Carl Caspar Clemens Conrad Corwin Cuno
    Dag Damian Detlev Dietmar Dirk Dorian Eberhard Edgar Edmund Egil Eino Elias Emil Enno Erhard Erik Ernst
    Erwin Eskil Ewald Fabian Falk Felix Ferdinand Finn Florian Folke Frank Frederik Frido Gaspar Georg Gerd
    Gero Gilbert Godric Goran Gottfried Gunnar Gustav Hagen Halvor Hannes Harald Hardwin Hartmut Heiko Henrik
    Herman Hinrich Holger Horst Hubert Hugo Igor Ingmar Ingo Ivar Ivo Jakob Jarl Jasper Jens Joachim Jochen Jonas
    Joris Jost Jurgen Kai Karsten Kaspar Keld Klaus Knut Kolja Konstantin Kuno Kurt Lambert Lars Lasse Laurin
    Lennart Leo Leopold Lorenz Lothar Ludwig Lukas Magnus Malte Manfred Marius Markus Matthis Maurits Mikkel
    Milan Morten Niels Nikolas Nils Norbert Odo Olaf Ole Oskar Osric Oswin Otto Pascal Paul Peder Quentin Ragnar
    Raimund Rasmus Reinar Rikard Roald Robin Roderik Roland Rolf Ruben Rudi Rune Rupert Samson Sander Sebald
    Severin Sigmund Silas Simon Stefan Sten Sven Tancred Tarek Theo Thilo Thor Tilman Tjark Toke Torben Torsten
    Ulf Ulrich Urban Uwe Valentin Veit Viktor Vinzent Volker Waldo Walter Warin Wenzel Werner Wido Wilbert Wolfram
    Wulf Xaver Yorick Zeno
    """
)

_SURNAME_FIRST: tuple[str, ...] = _words(
    """
    Alder Amber Apple Ash Badger Barley Beck Birch Black Bracken Bramble Briar Bright Brook Brown Cold Copper Corn
    Crow Dale Dark Deer Dew Elder Elm Ember Fair Fallow Fen Fern Finch Flax Flint Fox Frost Furrow Goat Gold Gorse
    Grass Green Grey Hare Hart Hay Hazel Heath Hedge Hollow Holly Honey Hop Horn Iron Ivy Kestrel Lamb Lark Leaf
    Lime Long Marsh May Meadow Mill Mist Moor Moss Nettle Oak Oat Otter Pear Pine Plum Quick Rain Raven Red Reed
    River Rook Rose Rowan Rush Rye Salt Sand Sedge Shade Sheaf Silver Sloe Snow Sorrel Sparrow Spring Stone Storm
    Summer Swan Swift Tall Tarn Thistle Thorn Under Vetch Wax Weir Wheat White Wild Willow Wind Winter Wolf Wood
    Wool Yarrow Yew
    """
)

_SURNAME_LAST: tuple[str, ...] = _words(
    """
    acre bank barrow bent bourne bridge brook burn bush by cliff combe cote croft crop dale dean dell den down
    edge fall fell field ford garth gate glen grove hall ham hand head heath hill hollow holt horn hurst lake
    land lea ley light lock low man mark mead mere moor more mouth nest over pool rick ridge row shaw shot side
    slade smith stead step stock stone stow strand thorpe thwaite toft ton tree vale wade wain walk wall ward
    water way well wick win wood worth wright yard
    """
)

_PLACE_FIRST: tuple[str, ...] = _words(
    """
    Abbot Arrow Ban Bare Bell Bitter Bleak Bone Brim Broken Cinder Clay Crooked Dim Drake Dun Eagle East Fallen
    Far Gallow Gaunt Giant Gloom Hag Hallow Harrow Haw High Hob Hunger Kings Lantern Last Little Lone Lost Low
    Mad Mourn Needle New Night North Old Over Owl Pale Pilgrim Queen Rag Rime Saint Scar Shadow Sheep Silent
    Sleeping Smoke Sorrow South Star Still Sun Tangle Three Tinker Upper Wander Watch West Whisper Witch Wither
    """
)

_LAND_LAST: dict[str, tuple[str, ...]] = {
    "valley": ("dale", "vale", "combe", "bottom", "dene", "glen"),
    "forest": ("wood", "holt", "shaw", "weald", "grove", "hurst"),
    "plains": ("field", "mead", "acres", "lea", "plain", "common"),
    "hills": ("hills", "downs", "fells", "ridge", "tops", "barrows"),
    "mountains": ("peaks", "horns", "crags", "teeth", "heights", "spires"),
    "marsh": ("fen", "marsh", "mire", "moss", "slough", "carr"),
    "cave": ("deeps", "hollows", "delve", "caverns", "galleries", "undercroft"),
}

_ROOM_WORDS: tuple[str, ...] = _words(
    """
    Ashen Bolted Brass Candle Cold Damp Dusty Echoing Flooded Forgotten Gilded Hanging Hidden Inner Ivory Leaning
    Locked Long Mirror Narrow Oaken Outer Painted Plain Quiet Red Round Ruined Sealed Silent Smoky Sunken Tilted
    Upper Vaulted Waiting Warm Weeping Whispering White
    """
)

_BEAST_FIRST: tuple[str, ...] = _words(
    """
    Ar Ash Bal Bar Bran Cal Cor Dar Dra Dusk Fen Fer Gar Gor Grim Gul Hal Har Hex Ir Kael Kar Kor Lor Mal Mor
    Nar Nox Or Rag Rav Rhu Rok Sar Ska Sul Tar Thar Tor Ul Ur Vak Var Vel Vor Wyr Xan Yor Zar Zul
    """
)

_BEAST_LAST: tuple[str, ...] = _words(
    """
    a ael ak an ar ash ath dor dra en eth fang gar gath grim gul hul ik in ir is ka kar kin lok mar mir mok nak
    ok or os ra rak rath rik rok run tar th thul tooth uk ul un ur us vek wyn zar
    """
)

_BEAST_TITLES: tuple[str, ...] = (
    "the Patient",
    "the Lame",
    "One-Ear",
    "the Quiet",
    "Ash-Back",
    "the Elder",
    "Bell-Voice",
    "the Hungry",
    "Frost-Eye",
    "the Twice-Killed",
    "Torn-Lip",
    "the Pale",
    "Thorn-Foot",
    "the Unwearied",
    "the Last-Born",
    "Salt-Tongue",
)


def surname(draw: Draw) -> str:
    """Return a family name; there are above eleven thousand."""
    first = draw.pick(_SURNAME_FIRST)
    while True:
        last = draw.pick(_SURNAME_LAST)
        if last not in first.lower() and first[-1] != last[0]:
            return first + last


def given_name(draw: Draw) -> tuple[str, bool]:
    """Return a given name, and whether it is a woman's."""
    woman = draw.chance(500)
    return draw.pick(WOMEN if woman else MEN), woman


def place_name(draw: Draw, biome: str) -> str:
    """Return the name of a stretch of land, fit for its biome; an unknown biome gets a valley's."""
    first = draw.pick(_PLACE_FIRST)
    last = draw.pick(_LAND_LAST.get(biome, _LAND_LAST["valley"]))
    if len(first) > 5 or last.endswith("s"):
        return f"the {first} {last.capitalize()}"
    return first + (last if first[-1] != last[0] else " " + last.capitalize())


def room_name(draw: Draw, use: str) -> str:
    """Return a room's name: an adjective and what it is used for."""
    return f"the {draw.pick(_ROOM_WORDS)} {use.capitalize()}"


def beast_name(draw: Draw) -> str:
    """Return a monster's own name, one in three with a by-name."""
    first, last = draw.pick(_BEAST_FIRST), draw.pick(_BEAST_LAST)
    name = first + (last if first[-1] != last[0] else last[1:] or "o")
    return f"{name} {draw.pick(_BEAST_TITLES)}" if draw.chance(333) else name
