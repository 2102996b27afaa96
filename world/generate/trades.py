"""What villagers do and how they are: hand-written words that people are made from.

In a sentence `{name}` is the given name, `{he}` he or she, `{his}` his or her, `{him}` him or her,
each also with a capital; `{village}`, `{inn}`, `{ruin}`, `{wood}` and `{river}` are the scene's own names.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Trade:
    """A living: how common it is, at which kinds of place it is done, what there is to say of it.

    Who follows it is of `species` where the rules have that one, else an ordinary villager.
    """

    name: str
    weight: int
    places: tuple[str, ...]
    ways: tuple[str, ...]
    facts: tuple[str, ...]
    species: str = "villager"


TRADES: tuple[Trade, ...] = (
    Trade(
        "farmer",
        26,
        ("field",),
        (
            "{name} ploughs a strip by {river} and watches the sky more than the road.",
            "{name} grows barley and beans and knows each stone in {his} field by name.",
            "{name} is up before the cock and in bed before the lamp needs oil.",
        ),
        (
            "A bushel of barley costs four coppers.",
            "The low fields give the best barley and the wettest boots.",
            "A basket of beans costs two coppers.",
            "The ploughs want sharpening before the frost.",
        ),
    ),
    Trade(
        "farmhand",
        18,
        ("field",),
        (
            "{name} works other people's fields for bread, board and a coin at harvest.",
            "{name} can mow from dawn to dusk and talks the whole way down the row.",
            "{name} owns one good scythe and means to own a cow.",
        ),
        (
            "A day's work in the fields pays two coppers and a meal.",
            "The harvest feast is held on the green.",
            "The grass balks between the fields belong to everyone.",
        ),
    ),
    Trade(
        "goatherd",
        6,
        ("pasture",),
        (
            "{name} keeps nine goats and lets the tenth keep {him}.",
            "{name} follows the goats up the slopes and comes down smelling of thyme.",
            "{name} sells cheese and trusts no fence.",
        ),
        (
            "A round of goat cheese costs two coppers.",
            "Goats smell a wolf long before a dog does.",
            "The thyme on the east slopes makes the best cheese.",
        ),
    ),
    Trade(
        "shepherd's boy",
        4,
        ("pasture", "fold"),
        (
            "{name} helps with the flock and counts every sheep aloud.",
            "{name} whistles so well that the dogs of two farms obey {him}.",
        ),
        (
            "The flock is brought to the fold before dark.",
            "A fleece costs six coppers.",
        ),
    ),
    Trade(
        "woodcutter",
        8,
        ("edge",),
        (
            "{name} fells at the edge of {wood} and never one step farther in.",
            "{name} carries an axe like others carry a hat, and is as seldom without it.",
            "{name} can tell a tree's age by the sound of the first blow.",
        ),
        (
            "A cord of wood costs three coppers.",
            "No one fells past the old boundary oaks any more.",
            "Ash burns green, and oak wants two winters.",
        ),
    ),
    Trade(
        "charcoal burner",
        4,
        ("edge",),
        (
            "{name} used to tend kilns in {wood} and now stacks them at its edge.",
            "{name} is black to the elbows and sleeps when the smoke turns blue.",
        ),
        (
            "A sack of charcoal costs two coppers.",
            "White smoke means wet wood, and blue smoke means done.",
        ),
    ),
    Trade(
        "fisher",
        7,
        ("jetty",),
        (
            "{name} sets eel traps along {river} and reads the water like a face.",
            "{name} mends nets with four fingers and gossips with the fifth.",
            "{name} says that the trout know {him} and stay away out of respect.",
        ),
        (
            "A smoked eel costs one copper.",
            "The river rises one day after rain in the hills.",
            "The trout stand deep under the bridge at noon.",
        ),
    ),
    Trade(
        "miller's hand",
        4,
        ("mill",),
        (
            "{name} carries sacks up the mill's ladder and flour down it.",
            "{name} greases the mill's wheel, chases its rats and coughs when it rains.",
        ),
        (
            "A sack of flour costs five coppers.",
            "The mill's wheel stands still when {river} runs low.",
            "A sack of bran costs two coppers.",
        ),
    ),
    Trade(
        "baker's hand",
        4,
        ("bakery",),
        (
            "{name} kneads while the village sleeps and sleeps while it eats.",
            "{name} has flour in {his} hair and a burn on each wrist from the oven.",
        ),
        (
            "A loaf costs one copper.",
            "Yesterday's bread goes to the shrine.",
        ),
    ),
    Trade(
        "smith's striker",
        4,
        ("forge",),
        (
            "{name} swings the big hammer at the forge and is as deaf as the anvil by evening.",
            "{name} pumps the bellows and dreams of making a sword.",
        ),
        (
            "A spearhead costs six coppers.",
            "Iron comes up the valley with the caravan.",
            "A set of horseshoes costs eight coppers.",
        ),
    ),
    Trade(
        "spear of the watch",
        6,
        ("watch",),
        (
            "{name} stands a spear's watch by night and yawns by day.",
            "{name} walks the rounds with a lantern, a horn and cold feet.",
            "{name} joined the watch for the boots and stayed for the company.",
        ),
        (
            "The bell means everyone must come inside.",
            "A horn blown twice means fire, and thrice means wolves.",
        ),
        species="guard",
    ),
    Trade(
        "stable hand",
        4,
        ("inn",),
        (
            "{name} rubs down travellers' horses behind {inn} and knows who came from where.",
            "{name} sleeps over the stable and is never cold.",
        ),
        (
            "Stabling a horse costs one copper a night.",
            "No rider has come down from the pass this month.",
        ),
    ),
    Trade(
        "pot boy",
        3,
        ("inn",),
        (
            "{name} scrubs pots at {inn} and hears what is said when nobody looks down.",
            "{name} carries four mugs in each hand and spills only on strangers.",
        ),
        (
            "A mug of ale costs one copper.",
            "A bowl of stew at {inn} costs one copper.",
        ),
    ),
    Trade(
        "pedlar",
        5,
        ("market",),
        (
            "{name} sells ribbons, needles and news, and the news is free.",
            "{name} has walked to three towns and says each was worse than {village}.",
        ),
        (
            "Ten needles cost one copper.",
            "The next caravan comes when the pass is clear of snow.",
        ),
    ),
    Trade(
        "weaver",
        7,
        ("house", "market"),
        (
            "{name} throws the shuttle from light to dark and hums in time.",
            "{name} weaves a plain cloth that outlives its wearer.",
        ),
        (
            "A length of wool cloth costs seven coppers.",
            "Madder dyes red and woad dyes blue.",
        ),
    ),
    Trade(
        "tailor",
        4,
        ("market",),
        (
            "{name} measures everyone with one glance and charges by the second.",
            "{name} turns old coats so well that their owners don't know them.",
        ),
        (
            "A shirt costs five coppers and a patch costs one.",
            "A winter cloak costs twelve coppers.",
        ),
    ),
    Trade(
        "cobbler",
        4,
        ("market",),
        (
            "{name} knows each villager by the way the heel is worn.",
            "{name} talks with nails between {his} teeth and means every word.",
        ),
        (
            "A pair of boots costs nine coppers.",
            "New soles cost three coppers.",
        ),
    ),
    Trade(
        "potter",
        4,
        ("market", "house"),
        (
            "{name} digs clay at the river bend and signs each jug with a thumb.",
            "{name} sells the straight pots and keeps the crooked ones.",
        ),
        (
            "A jug costs one copper.",
            "The best clay lies at the river bend below the bridge.",
        ),
    ),
    Trade(
        "cooper",
        4,
        ("market", "forge"),
        (
            "{name} makes barrels that hold and promises that leak.",
            "{name} bends staves over a fire and swears at every third.",
        ),
        (
            "A barrel costs six coppers.",
            "Oak staves are dear since nobody goes into {wood}.",
        ),
    ),
    Trade(
        "carpenter",
        5,
        ("market", "mill"),
        (
            "{name} built half the doors in {village} and has been asked to bar the other half.",
            "{name} measures twice, cuts once and drinks after.",
        ),
        (
            "A door bar costs two coppers, and everyone wants one.",
            "A stool costs two coppers and a coffin costs eight.",
        ),
    ),
    Trade(
        "thatcher",
        4,
        ("field", "house"),
        (
            "{name} sees {village} from above and knows which roofs hide what.",
            "{name} cuts reed in winter, thatches in summer and aches in between.",
        ),
        (
            "A roof wants new thatch every twenty winters.",
            "Reed for thatch grows along the low fields.",
        ),
    ),
    Trade(
        "mason",
        3,
        ("bridge", "shrine"),
        (
            "{name} keeps the bridge standing and says it keeps {him}.",
            "{name} has hands like the stones {he} lays, and as patient.",
        ),
        (
            "Mortar wants lime, sand and a dry week.",
            "Good stone lies in the ruins, and nobody fetches it.",
        ),
    ),
    Trade(
        "beekeeper",
        3,
        ("edge", "house"),
        (
            "{name} tells the bees whatever happens in {village}, and they have not told anyone.",
            "{name} moves slowly, speaks softly and is stung all the same.",
        ),
        (
            "A jar of honey costs three coppers.",
            "A beeswax candle costs two coppers.",
        ),
    ),
    Trade(
        "candle maker",
        3,
        ("market",),
        (
            "{name} boils tallow behind the market and has few close neighbours.",
            "{name} has never sold so many candles as this winter.",
        ),
        (
            "A tallow candle costs one copper.",
            "People burn candles all night since the wolves came.",
        ),
    ),
    Trade(
        "brewer",
        3,
        ("inn", "house"),
        (
            "{name} brews for {inn} and tastes for safety.",
            "{name} judges a year by its barley and a man by his thirst.",
        ),
        (
            "A cask of ale costs ten coppers.",
            "The best ale is brewed with water from above the mill.",
        ),
    ),
    Trade(
        "washerwoman",
        5,
        ("jetty", "bridge"),
        (
            "{name} beats linen on the stones by {river} and knows all stains by their stories.",
            "{name} has red hands, a loud laugh and no patience with mud.",
        ),
        (
            "A basket of washing costs one copper.",
            "The water is cleanest above the mill pond.",
        ),
    ),
    Trade(
        "midwife",
        2,
        ("cottage", "green"),
        (
            "{name} brought half of {village} into the world and scolds it still.",
            "{name} sleeps in {his} shoes, since babies keep no hours.",
        ),
        (
            "Willow bark eases fever.",
            "Nobody should walk alone after the bell.",
        ),
    ),
    Trade(
        "herb gatherer",
        3,
        ("cottage", "edge"),
        (
            "{name} fills baskets for the healer and tells yarrow from tansy by touch.",
            "{name} walks the banks at first light, when the dew keeps the leaves fresh.",
        ),
        (
            "Yarrow stops bleeding.",
            "A bundle of dried herbs costs one copper.",
        ),
    ),
    Trade(
        "acolyte",
        3,
        ("shrine",),
        (
            "{name} fills the shrine's lamp and sweeps around the prayers.",
            "{name} rings the noon bell and is late for it twice a week.",
        ),
        (
            "The shrine's lamp is filled at dusk and trimmed at dawn.",
            "Bread for the poor is handed out at the shrine.",
        ),
    ),
    Trade(
        "grave digger",
        2,
        ("shrine",),
        (
            "{name} digs deep and straight and has dug more this winter than {he} likes.",
            "{name} whistles at work and nowhere else.",
        ),
        (
            "A grave costs three coppers, and a deep one costs four.",
            "The ground by the shrine stays soft in frost.",
        ),
    ),
    Trade(
        "trapper",
        4,
        ("lodge", "edge"),
        (
            "{name} sets snares for hares and checks them with one eye on the trees.",
            "{name} sells furs and never says where they come from.",
        ),
        (
            "A hare pelt costs two coppers.",
            "A fox pelt costs four coppers.",
            "Wolf tracks cross the snares each morning.",
        ),
        species="hunter",
    ),
    Trade(
        "carter",
        4,
        ("market", "mill"),
        (
            "{name} drives an ox cart between field, mill and market, and the ox decides the pace.",
            "{name} has broken each wheel on each rut and knows all by heart.",
        ),
        (
            "A cart load to the market costs two coppers.",
            "The ruts are worst by the mill.",
        ),
    ),
    Trade(
        "fiddler",
        2,
        ("inn", "green"),
        (
            "{name} plays at weddings, wakes and whenever someone pays.",
            "{name} knows three hundred tunes and the words to four.",
        ),
        (
            "A tune costs one copper, and silence costs two.",
            "There is music at {inn} when the fiddler is sober.",
        ),
    ),
    Trade(
        "elder",
        4,
        ("green",),
        (
            "{name} has outlived two spouses and all of {his} teeth.",
            "{name} sits in the sun, remembers everything and repeats most of it.",
        ),
        (
            "Winters were harder once, and so were people.",
            "Old people in {village} do not speak of {ruin} at night.",
        ),
    ),
)

TEMPERS: tuple[str, ...] = (
    "cheerful and loud",
    "shy and careful",
    "proud and touchy",
    "patient and kind",
    "gruff and fair",
    "curious and restless",
    "pious and stern",
    "lazy and good-humoured",
    "sharp and thrifty",
    "dreamy and gentle",
    "bold and hasty",
    "gloomy and loyal",
    "sly and charming",
    "nervous and talkative",
    "calm and stubborn",
    "warm and forgetful",
    "bitter and honest",
    "merry and unreliable",
    "solemn and polite",
    "blunt and brave",
    "greedy and jolly",
    "quiet and observant",
    "fussy and faithful",
    "weary and wise",
    "hot-tempered and generous",
    "suspicious and tidy",
)

QUIRKS: tuple[str, ...] = (
    "{He} counts {his} coins every evening and is always one short.",
    "{He} has a three-legged dog that goes everywhere with {him}.",
    "{He} never passes the shrine without touching the wall.",
    "{He} wears garlic under {his} shirt and pretends otherwise.",
    "{He} cannot hear an owl without looking behind {him}.",
    "{He} saves string, nails and grudges.",
    "{He} once saw the sea and measures everything by it.",
    "{He} has never been farther than the bridge.",
    "{He} sings when {he} thinks that nobody listens.",
    "{He} owes a favour to half the village and means to repay it.",
    "{He} plays dice badly and often.",
    "{He} talks to {his} tools and thanks them.",
    "{He} lost a brother to {wood} and does not go near it.",
    "{He} keeps a lamp in the window all night.",
    "{He} believes that the wolves can be bargained with.",
    "{He} believes nothing that {he} has not seen.",
    "{He} laughs first at {his} own jokes, and last.",
    "{He} sharpens {his} knife when {he} is worried.",
    "{He} remembers every birthday in the village.",
    "{He} tells the same story each time with another ending.",
    "{He} has buried something under {his} doorstep and steps over it.",
    "{He} trusts cats, and cats only.",
    "{He} can predict rain by {his} left knee.",
    "{He} would give away {his} coat and complain of the cold.",
    "{He} is saving for a bell of {his} own.",
    "{He} walks in {his} sleep, but never past the door.",
    "{He} knows which stairs creak in every house.",
    "{He} feeds the sparrows before {he} feeds {himself}.",
    "{He} was born in the year of the flood and dislikes baths.",
    "{He} has a scar from a boar and shows it to visitors.",
    "{He} carves little wolves from willow and burns them.",
    "{He} has sworn never to lend money again, three times.",
    "{He} hides in the cellar when the bell rings, and sings there.",
    "{He} learned to read from gravestones.",
    "{He} pays {his} debts on the day and expects the same.",
    "{He} is afraid of nobody except {his} mother.",
    "{He} keeps bread in {his} pocket for any child who asks.",
    "{He} swears by river, stone and salt.",
    "{He} has a cough that comes and goes with the taxes.",
    "{He} would rather be asked twice than answer once.",
)

SECRETS: tuple[str, ...] = (
    "{He} keeps a silver ring that was found on the road to {ruin}.",
    "{He} waters the ale before it reaches {inn}.",
    "{He} has a child in the next valley and sends money there.",
    "{He} took two boards from a neighbour's fence to mend a floor.",
    "{He} opened the door to a pale stranger last winter and remembers nothing of that night.",
    "{He} lets a wounded wolf sleep in the wood shed.",
    "{He} cannot read and signs whatever is put before {him}.",
    "{He} saw who broke the bell rope and said nothing.",
    "{He} took a coin from the offering bowl and put two back.",
    "{He} means to leave the valley with the next caravan.",
    "{He} buys garlic for the whole street and says it is for soup.",
    "{He} saw {ruin} lit from within and has told nobody.",
    "{He} moved a boundary stone by three steps.",
    "{He} writes verses and hides them in the thatch.",
    "{He} has dreamt the same dream of a drowned bell for a year.",
    "{He} pays a widow's rent and lets her think it is the priest.",
)

BONDS: tuple[str, ...] = (
    "friend",
    "cousin",
    "neighbour",
    "godparent",
    "debtor",
    "rival",
    "sweetheart",
)
"""How villagers of different households stand to each other; rivals and debtors feel less warmly."""
