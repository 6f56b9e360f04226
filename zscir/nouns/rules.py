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

from __future__ import annotations

from collections.abc import Iterator

#: Nouns that the model often takes for adjectives or verbs.
OFTEN_MISTAGGED: frozenset[str] = frozenset("rose bear pine palm teddy kitten hedgehog locomotive".split())
#: Adverbs and participles that it often takes for nouns ("a goat underwater", "a photo showing").
NEVER_NOUNS: frozenset[str] = frozenset("underwater showing next outdoors indoors overhead".split())
#: Words that name the medium, not a thing in the picture.
SKIPPED_NOUNS: frozenset[str] = frozenset(
    """photo photograph photography picture pic image painting drawing sketch illustration vector clipart
    artwork render rendering snapshot screenshot shot close-up closeup portrait view viewpoint angle
    perspective scene background backdrop foreground footage video clip photoshoot watermark
    caption""".split()
)
#: Techniques, removed only directly before a word of ``SKIPPED_NOUNS``: "oil painting", "stock photo".
TECHNIQUES: frozenset[str] = frozenset(
    "oil pencil pen ink line charcoal watercolor watercolour acrylic pastel stock vector file clip "
    "hand profile product macro studio".split()
)
#: Colour words; they are nouns only where they name a thing (see ``COLOUR_THINGS``).
COLOUR_WORDS: frozenset[str] = frozenset(
    """black white red orange yellow green blue purple pink brown grey gray beige tan gold golden silver teal
    turquoise violet lilac maroon navy cyan magenta crimson scarlet indigo khaki color colour""".split()
)
#: Colours that are also things: "an orange", "two violets", "orange juice".
COLOUR_THINGS: frozenset[str] = frozenset("orange violet lilac".split())
FRUIT_COMPOUNDS: frozenset[str] = frozenset("juice tree peel slice grove blossom zest bush flower".split())
SHADES: frozenset[str] = frozenset("light dark pale bright deep baby sky royal hot neon pastel".split())
#: Skipped only when "of" follows.
QUANTITY_WORDS: frozenset[str] = frozenset(
    """group pair couple bunch set row series number lot lots plenty dozen dozens hundred hundreds thousand
    thousands variety collection selection array majority half part piece bit kind sort
    type style place""".split()
)
#: Skipped before "of" and where a preposition governs the bare word or "the" word: "at the top".
POSITION_WORDS: frozenset[str] = frozenset(
    "top bottom front back rear center centre edge end tip corner inside outside distance".split()
)
#: Skipped wherever they stand alone.
VAGUE_WORDS: frozenset[str] = frozenset(
    "side left right middle midst bit lot lots kind sort type rest direction same other few little".split()
)


def noun_runs(doc, skip: frozenset[str] = SKIPPED_NOUNS) -> Iterator[list]:
    """Nouns of a parsed caption (a spaCy ``Doc``) in reading order.

    Each is a list of words, each word a list of tokens (several only where hyphens join them).
    ``skip`` stands in for ``SKIPPED_NOUNS``.
    """
    for run in _runs(doc):
        yield from _kept(run, skip)


def _runs(doc) -> Iterator[list]:
    """Maximal runs of noun words; a word is a list of tokens, several only where hyphens join them."""
    run: list = []
    for word in _words(doc):
        if word is not None and _is_noun(word):
            run.append(word)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _words(doc) -> Iterator[list | None]:
    """Tokens grouped over hyphens; None for a line break, which ends every run; other space is dropped."""
    word: list = []
    for token in doc:
        if token.is_space:
            yield from [word] if word else []
            word = []
            if "\n" in token.text:
                yield None
            continue
        joined = word and not word[-1].whitespace_ and "-" in (token.text, word[-1].text)
        if word and not joined:
            yield word
            word = []
        word.append(token)
    if word:
        yield word


def _is_noun(word: list) -> bool:
    last = word[-1]
    if not any(char.isalpha() for char in last.text):
        return False
    if len(word) == 1:
        return last.lower_ not in NEVER_NOUNS and (last.pos_ in ("NOUN", "PROPN") or _is_mistagged(last))
    if last.pos_ not in ("NOUN", "PROPN"):
        return False
    following = last.doc[last.i + 1] if last.i + 1 < len(last.doc) else None
    modifies = following is not None and following.pos_ in ("NOUN", "PROPN")
    return not (modifies and word[0].pos_ in ("NUM", "ADJ", "ADV", "VERB"))  # "a two-story house"


def _is_mistagged(token) -> bool:
    """Whether a token that is not tagged as a noun is one, by the two mends of the module's docstring."""
    before = token.nbor(-1) if token.i > 0 else None
    if token.lower_ in OFTEN_MISTAGGED and before is not None:
        return before.pos_ in ("DET", "NUM", "ADJ") or before.lower_ in COLOUR_WORDS | OFTEN_MISTAGGED
    owns_article = any(child.dep_ == "det" and child.lower_ in ("a", "an", "the") for child in token.lefts)
    return owns_article and token.tag_ in ("JJ", "VB", "VBD", "VBP", "VBZ")


def _kept(run: list, skip: frozenset[str]) -> Iterator[list]:
    """What remains of a run after the rules of the module's docstring: none, one or more nouns."""
    for piece in _without_colours(run):
        stripped = False
        while piece and _is_medium(piece[-1], skip, stripped):
            piece, stripped = piece[:-1], True
        if piece and not (len(piece) == 1 and _is_relation(piece[0])):
            yield piece


def _text(word: list) -> str:
    return "".join(token.lower_ for token in word)


def _is_medium(word: list, skip: frozenset[str], before_medium: bool) -> bool:
    names = {_text(word), "".join(token.lower_ for token in word[:-1]) + word[-1].lemma_.lower()}
    return bool(names & skip) or (before_medium and bool(names & TECHNIQUES))


def _without_colours(run: list) -> Iterator[list]:
    """The run cut at its colour words, which are dropped together with a shade before them."""
    piece: list = []
    for place, word in enumerate(run):
        following = run[place + 1] if place + 1 < len(run) else None
        if not _is_colour(word, following):
            piece.append(word)
            continue
        if piece and _text(piece[-1]) in SHADES:
            piece.pop()
        if piece:
            yield piece
        piece = []
    if piece:
        yield piece


def _is_colour(word: list, following: list | None) -> bool:
    token = word[-1]
    lemma = token.lemma_.lower()
    if lemma not in COLOUR_WORDS:
        return False
    if lemma not in COLOUR_THINGS:
        return True
    if following is not None:
        return following[-1].lemma_.lower() not in FRUIT_COMPOUNDS
    plural = token.lower_ != lemma
    counted = word[0].i > 0 and word[0].nbor(-1).pos_ in ("DET", "NUM")
    return not (plural or counted)


def _is_relation(word: list) -> bool:
    """Whether the word, alone in its run, only says where or how many (rules 3 and 4)."""
    token = word[-1]
    names = {token.lower_, token.lemma_.lower()}
    if names & VAGUE_WORDS:
        return True
    following = token.doc[token.i + 1].lower_ if token.i + 1 < len(token.doc) else ""
    if following == "of":
        return bool(names & (QUANTITY_WORDS | POSITION_WORDS))
    bare = all(child.lower_ in {"the", "its", "their", "very"} for child in token.lefts)
    return bool(names & POSITION_WORDS) and token.dep_ == "pobj" and bare
