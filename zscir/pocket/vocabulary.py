"""The words of the pocket world: its nouns, colours, patterns, sizes and styles.

Every noun names one OpenMoji drawing (by code point) and the words people use for it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thing:
    """A noun of the pocket world and the OpenMoji drawing that shows it.

    `names` holds the usual word first, then synonyms; `plural` is the plural of the
    usual word (synonyms add an *s*).
    """

    code: str
    names: tuple[str, ...]
    plural: str
    kind: str

    @property
    def name(self) -> str:
        """The usual word."""
        return self.names[0]


# code point, names separated by "/", plural where it is not name + "s"
_TABLE = {
    "animal": """
1F415 dog/puppy
1F408 cat/kitten
1F40E horse
1F404 cow
1F416 pig
1F411 sheep | sheep
1F410 goat
1F407 rabbit/bunny | rabbits
1F401 mouse | mice
1F418 elephant
1F405 tiger
1F412 monkey
1F98D gorilla/ape
1F998 kangaroo
1F42A camel
1F992 giraffe
1F993 zebra
1F98C deer | deer
1F98A fox | foxes
1F43C panda
1F428 koala
1F981 lion
1F427 penguin
1F413 rooster
1F986 duck
1F9A2 swan
1F989 owl
1F99C parrot
1F9A9 flamingo
1F99A peacock
1F422 turtle/tortoise
1F40A crocodile/alligator
1F40D snake
1F438 frog
1F41F fish | fish
1F988 shark
1F40B whale
1F419 octopus | octopuses
1F980 crab
1F98B butterfly | butterflies
1F41D bee
1F41E ladybug
1F40C snail
1F43F squirrel
1F994 hedgehog
""",
    "vehicle": """
1F697 car/automobile
1F68C bus | buses
1F69C tractor
1F6B2 bicycle/bike
1F3CD motorcycle/motorbike
1F682 train/locomotive
2708 airplane/plane
1F681 helicopter
1F680 rocket
1F6F6 canoe
1F692 fire truck/fire engine
1F6F4 scooter
""",
    "plant": """
1F333 tree
1F332 pine tree
1F334 palm tree
1F335 cactus | cactuses
1F33B sunflower
1F339 rose
1F344 mushroom
""",
    "food": """
1F34E apple
1F34C banana
1F34D pineapple
1F349 watermelon
1F353 strawberry | strawberries
1F34B lemon
1F955 carrot
1F355 pizza
1F354 hamburger/burger
1F382 cake
1F366 ice cream
1F369 donut/doughnut
1F9C0 cheese
""",
    "object": """
1FA91 chair
1F6CB couch/sofa | couches
1F6CF bed
23F0 clock/alarm clock
1F4FA television/tv
1F4F7 camera
260E telephone/phone
1F4BB laptop/computer
1F3B8 guitar
1F3B9 piano
1F3BA trumpet
1F941 drum
26BD soccer ball/football
1F3C0 basketball
1FA81 kite
2602 umbrella
1F392 backpack/rucksack
1F9F3 suitcase
1F452 hat
1F451 crown
1F462 boot
1F4D5 book
1F511 key
1F37E bottle
1FAD6 teapot
1F514 bell
1F388 balloon
1F56F candle
1F381 gift/present
1F9F8 teddy bear
1F916 robot
1FAA3 bucket
26FA tent
1F3E0 house
1F3F0 castle
26C4 snowman | snowmen
1F383 pumpkin
""",
    "garment": """
1F457 dress/gown | dresses
1F455 shirt/t-shirt
1F45A top/blouse
""",
}


def _things() -> dict[str, Thing]:
    table = {}
    for kind, lines in _TABLE.items():
        for line in lines.strip().splitlines():
            words, _, plural = line.partition(" | ")
            code, _, names = words.partition(" ")
            name = tuple(names.split("/"))
            table[name[0]] = Thing(code, name, plural or name[0] + "s", kind)
    return table


#: All nouns by their usual word, garments included.
THINGS: dict[str, Thing] = _things()
#: The nouns that scenes show (garments appear only in the fashion pictures).
SCENE_NOUNS: tuple[str, ...] = tuple(n for n, t in THINGS.items() if t.kind != "garment")
#: The garment of each FashionIQ category.
GARMENTS: dict[str, str] = {"dress": "dress", "shirt": "shirt", "toptee": "top"}
#: Things that others can stand on.
SUPPORTS: tuple[str, ...] = (
    *("chair", "couch", "bed", "car", "bus", "piano", "suitcase", "drum", "house", "elephant", "cow"),
    *("horse", "camel", "book", "turtle", "tractor", "train", "laptop", "gift", "cake"),
)

#: Colour name -> hue in degrees, saturation, lightness (both 0 to 1).
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (2, 0.80, 0.50),
    "orange": (28, 0.95, 0.54),
    "yellow": (51, 0.95, 0.56),
    "green": (120, 0.55, 0.42),
    "blue": (216, 0.78, 0.50),
    "purple": (278, 0.55, 0.48),
    "pink": (334, 0.85, 0.76),
    "brown": (25, 0.52, 0.33),
    "black": (0, 0.0, 0.13),
    "white": (0, 0.0, 0.96),
    "gray": (0, 0.0, 0.58),
}
#: Pattern -> the adjectives people use.
PATTERNS: dict[str, tuple[str, ...]] = {
    "stripes": ("striped",),
    "dots": ("spotted", "dotted"),
    "checks": ("checked", "checkered"),
}
#: Size -> adjectives; None is an ordinary size and has none.
SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny", "smaller"),
    "large": ("big", "large", "huge", "bigger", "larger"),
}
STYLES: tuple[str, ...] = ("photo", "black and white", "sketch")
LIGHTS: tuple[str, ...] = ("day", "night")
COUNTS: dict[int, str] = {1: "one", 2: "two", 3: "three", 4: "four"}

#: Place -> phrases that answer "where?"; the first is the plainest.
WHERE: dict[str, tuple[str, ...]] = {
    "beach": ("on the beach", "at the beach", "on a sandy beach", "on a beach"),
    "forest": ("in the forest", "in a forest", "in the woods"),
    "city": ("in the city", "in a city", "in front of a skyline"),
    "desert": ("in the desert", "in a desert", "on desert sand"),
    "snow": ("in the snow", "on snow", "in a snowy landscape"),
    "night sky": ("under the stars", "under a starry sky", "under the night sky"),
    "meadow": ("in a meadow", "on the grass", "in the meadow"),
    "sea": ("at sea", "on the sea", "on the water", "in the ocean"),
    "living room": ("in a living room", "in the living room", "in a room"),
    "kitchen": ("in a kitchen", "in the kitchen"),
    "mountains": ("in the mountains", "in front of mountains", "near a mountain"),
    "street": ("on the street", "on a road", "on the road"),
    "underwater": ("underwater", "under water", "under the sea"),
    "farm": ("on a farm", "on the farm", "at a farm"),
    "space": ("in space", "in outer space"),
    "studio": ("on a plain background", "in a studio", "on a plain backdrop"),
}
#: Place -> how it is named as a background.
BACKGROUND: dict[str, tuple[str, ...]] = {
    "beach": ("a beach", "a sandy beach"),
    "forest": ("a forest", "woods"),
    "city": ("a city", "a skyline"),
    "desert": ("a desert", "desert sand"),
    "snow": ("snow", "a snowy landscape"),
    "night sky": ("a starry sky", "stars"),
    "meadow": ("a meadow", "grass"),
    "sea": ("the sea", "the ocean", "water"),
    "living room": ("a living room", "a room"),
    "kitchen": ("a kitchen",),
    "mountains": ("mountains", "a mountain"),
    "street": ("a street", "a road"),
    "underwater": ("an underwater scene", "the deep sea"),
    "farm": ("a farm",),
    "space": ("outer space", "space"),
    "studio": ("a plain backdrop", "a studio"),
}
#: Places that have a night of their own (the others show no daylight or are indoors).
OUTDOORS: tuple[str, ...] = (
    *("beach", "forest", "city", "desert", "snow", "meadow", "sea", "mountains", "street", "farm"),
)
