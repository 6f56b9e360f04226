"""Which words of a caption are its nouns: the rules behind ``zscir.nouns``.

A *noun* is a maximal run of words that spaCy's small English model tags NOUN or PROPN, so compounds
("tennis ball") and names ("New York City") stay whole; words joined by hyphens ("t-shirt") are one word.
The model's commonest slips in captions are mended first: a word with an article of its own that is tagged
adjective or verb ("a *hedgehog*") is a noun, so are ``OFTEN_MISTAGGED`` after what only stands before a noun
("an orange *rose*"), and ``NEVER_NOUNS`` are none. Then four rules, each with its set of words below, remove
what is no thing in the picture:

1. the medium (``SKIPPED_NOUNS``): *a photo of a dog* has one noun, *dog*; *a dog photo* too;
2. colours (``COLOUR_WORDS``): *an orange chair* -> *chair*; *black and white* -> nothing; *an orange* stays;
3. quantities (``QUANTITY_WORDS``) before "of": *a group of dogs* -> *dogs*; *a couple at home* stays;
4. positions (``POSITION_WORDS``, ``VAGUE_WORDS``): *on top of the hill* -> *hill*, *on the left side* ->
   nothing; *a red top* stays.
"""

from collections.abc import Iterator
from itertools import groupby


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


#: Nouns that the model often takes for adjectives or verbs.
OFTEN_MISTAGGED = _set("rose bear pine palm teddy kitten hedgehog locomotive")
#: Adverbs and participles that it often takes for nouns ("a goat underwater", "a photo showing").
NEVER_NOUNS = _set("underwater showing next outdoors indoors overhead")
#: Words that name the medium, not a thing in the picture.
SKIPPED_NOUNS = _set(
    """photo photograph photography picture pic image painting drawing sketch illustration vector clipart
    artwork render rendering snapshot screenshot shot close-up closeup portrait view viewpoint angle
    perspective scene background backdrop foreground footage video clip photoshoot watermark caption"""
)
#: Techniques, removed only directly before a word of ``SKIPPED_NOUNS``: "oil painting", "stock photo".
TECHNIQUES = _set(
    """oil pencil pen ink line charcoal watercolor watercolour acrylic pastel stock vector file clip hand
    profile product macro studio"""
)
#: Colour words; they are nouns only where they name a thing (see ``COLOUR_THINGS``).
COLOUR_WORDS = _set(
    """black white red orange yellow green blue purple pink brown grey gray beige tan gold golden silver teal
    turquoise violet lilac maroon navy cyan magenta crimson scarlet indigo khaki color colour"""
)
#: Colours that are also things: "an orange", "two violets", "orange juice".
COLOUR_THINGS = _set("orange violet lilac")
FRUIT_COMPOUNDS = _set("juice tree peel slice grove blossom zest bush flower")
SHADES = _set("light dark pale bright deep baby sky royal hot neon pastel")
#: Skipped only when "of" follows.
QUANTITY_WORDS = _set(
    """group pair couple bunch set row series number lot lots plenty dozen dozens hundred hundreds thousand
    thousands variety collection selection array majority half part piece bit kind sort type style place"""
)
#: Skipped before "of" and where a preposition governs the bare word or "the" word: "at the top".
POSITION_WORDS = _set("top bottom front back rear center centre edge end tip corner inside outside distance")
#: Skipped wherever they stand alone.
VAGUE_WORDS = _set(
    "side left right middle midst bit lot lots kind sort type rest direction same other few little"
)


def noun_runs(doc) -> Iterator[list]:
    """Nouns of a parsed caption (a spaCy ``Doc``) in reading order.

    Each is a list of words, each word a list of tokens (several only where hyphens join them).
    """
    for found, run in groupby(_words(doc), key=_is_noun):
        for noun in _without_colours(list(run)) if found else ():
            noun = _without_medium(noun)
            if noun and not (len(noun) == 1 and _is_relation(noun[0])):
                yield noun


def lemma_of(words: list) -> str:
    """Words of a caption in lower case, the last of their tokens singular: "pine tree", "t-shirt"."""
    *tokens, last = (token for word in words for token in word)
    return "".join(token.lower_ + token.whitespace_ for token in tokens) + last.lemma_.lower()


def _words(doc) -> Iterator[list]:
    """Tokens grouped over hyphens; an empty group for a line break, so that no run goes over it."""
    word: list = []
    for token in doc:
        joined = word and not word[-1].whitespace_ and "-" in (token.text, word[-1].text)
        if word and (token.is_space or not joined):
            yield word
            word = []
        if not token.is_space:
            word.append(token)
        elif "\n" in token.text:
            yield []
    if word:
        yield word


def _neighbour(token, step: int):
    """The token before (-1) or after (1), None where the caption ends."""
    place = token.i + step
    return token.doc[place] if 0 <= place < len(token.doc) else None


def _is_noun(word: list) -> bool:
    if not word or not any(char.isalpha() for char in word[-1].text):
        return False
    last, tagged = word[-1], word[-1].pos_ in ("NOUN", "PROPN")
    if len(word) == 1:
        return last.lower_ not in NEVER_NOUNS and (tagged or _is_mistagged(last))
    following = _neighbour(last, 1)
    modifies = following is not None and following.pos_ in ("NOUN", "PROPN")
    return tagged and not (modifies and word[0].pos_ in ("NUM", "ADJ", "ADV", "VERB"))  # "a two-story house"


def _is_mistagged(token) -> bool:
    """Whether a token that is not tagged as a noun is one, by the two mends of the module's docstring."""
    before = _neighbour(token, -1)
    if token.lower_ in OFTEN_MISTAGGED and before is not None:
        return before.pos_ in ("DET", "NUM", "ADJ") or before.lower_ in COLOUR_WORDS | OFTEN_MISTAGGED
    owns_article = any(child.dep_ == "det" and child.lower_ in ("a", "an", "the") for child in token.lefts)
    return owns_article and token.tag_ in ("JJ", "VB", "VBD", "VBP", "VBZ")


def _text(word: list) -> str:
    return "".join(token.lower_ for token in word)


def _without_medium(noun: list) -> list:
    """The noun without the medium at its end and the techniques before it (rule 1); nothing may remain."""
    removed = SKIPPED_NOUNS
    while noun and {_text(noun[-1]), lemma_of(noun[-1:])} & removed:
        noun, removed = noun[:-1], SKIPPED_NOUNS | TECHNIQUES
    return noun


def _without_colours(run: list) -> Iterator[list]:
    """The run cut at its colour words, which are dropped together with a shade before them (rule 2)."""
    pairs = zip(run, [*run[1:], None], strict=True)  # each word with the following one
    for coloured, group in groupby(pairs, key=lambda pair: _is_colour(*pair)):
        piece, followers = map(list, zip(*group, strict=True))
        if followers[-1] is not None and _text(piece[-1]) in SHADES:
            piece.pop()
        if piece and not coloured:
            yield piece


def _is_colour(word: list, following: list | None) -> bool:
    token = word[-1]
    lemma = token.lemma_.lower()
    if lemma not in COLOUR_THINGS:
        return lemma in COLOUR_WORDS
    if following is not None:
        return following[-1].lemma_.lower() not in FRUIT_COMPOUNDS
    before = _neighbour(word[0], -1)
    counted = before is not None and before.pos_ in ("DET", "NUM")
    return token.lower_ == lemma and not counted


def _is_relation(word: list) -> bool:
    """Whether the word, alone in its run, only says where or how many (rules 3 and 4)."""
    token = word[-1]
    names = {token.lower_, token.lemma_.lower()}
    if names & VAGUE_WORDS:
        return True
    following = _neighbour(token, 1)
    if following is not None and following.lower_ == "of":
        return bool(names & (QUANTITY_WORDS | POSITION_WORDS))
    bare = all(child.lower_ in {"the", "its", "their", "very"} for child in token.lefts)
    return bool(names & POSITION_WORDS) and token.dep_ == "pobj" and bare
