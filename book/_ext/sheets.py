"""The sheets of the lesson, as one PDF for A4: pictures and captions to cut, queries to play, and answers.

All is taken from the pocket world of the build. The masks of the last page are those of the default map.
"""

import textwrap

import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from zscir import find_nouns, keep_mask, load_backbone, load_benchmark, load_pairs, mask_noun, noun_cams
from zscir.figures.masking import masked_picture

A4 = (8.27, 11.69)
#: Pictures to cut, and how many stand on a page; queries to play, and how many.
PAIRS, A_PAGE, QUERIES, QUERIES_A_PAGE = 12, 4, 6, 3
LETTERS = "ABCDE"
SOURCE = "Drawings: OpenMoji, CC BY-SA 4.0"


def page(title):
    """An empty page with a title and the source of the drawings."""
    figure = Figure(figsize=A4)
    figure.text(0.07, 0.965, title, size=12)
    figure.text(0.93, 0.02, SOURCE, size=7, ha="right")
    return figure


def picture(figure, place, image, below="", size=10, width=40):
    """A picture at [left, bottom, width, height] of the page, with words below it."""
    axes = figure.add_axes(place)
    axes.imshow(np.asarray(image), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(textwrap.fill(below, width), size=size, labelpad=6)


def cut(figure, xs=(), ys=()):
    """Dashed lines to cut along, across the page."""
    for x in xs:
        figure.add_artist(_line([x, x], [0.04, 0.95]))
    for y in ys:
        figure.add_artist(_line([0.04, 0.96], [y, y]))


def _line(xs, ys):
    from matplotlib.lines import Line2D

    return Line2D(xs, ys, linestyle=(0, (4, 4)), linewidth=0.8, color="0.5")


def rich_pairs(world):
    """Pairs whose captions have two nouns or more, worded as of a picture, with the noun to hide."""
    pairs = load_pairs(f"pocket-{world}", limit=192)
    found = list(enumerate(find_nouns(pairs.captions)))
    found = [(row, nouns) for row, nouns in found if len({noun.lemma for noun in nouns}) > 1]
    found = [(row, nouns) for row, nouns in found if " , " not in pairs.captions[row]]
    return [(pairs.images[row], pairs.captions[row], nouns[0]) for row, nouns in found[:PAIRS]]


def pair_pages(pairs):
    """Four pictures a page, each with its caption: one half strikes a noun, the other covers the rest."""
    pages = []
    for start in range(0, len(pairs), A_PAGE):
        figure = page("Strike one noun of the caption. Cover all of the picture that is not that noun.")
        for number, (image, caption, _) in enumerate(pairs[start : start + A_PAGE]):
            left, bottom = 0.09 + 0.46 * (number % 2), 0.59 - 0.46 * (number // 2)
            picture(figure, [left, bottom, 0.37, 0.34], image, f"{start + number + 1}.  {caption}", 14, 30)
        cut(figure, xs=[0.505], ys=[0.5])
        pages.append(figure)
    return pages


def chosen_queries(cirr):
    """Queries of different sets of six and of different kinds, each with the five other images of its set."""
    chosen, kinds = {}, set()
    for query in cirr.queries:
        images = frozenset([query.reference, *query.subset])
        if len(query.subset) == len(LETTERS) and images not in chosen and query.group not in kinds:
            chosen[images] = query
            kinds.add(query.group)
    return [(query, sorted(query.subset)) for query in list(chosen.values())[:QUERIES]]


def query_pages(cirr, queries):
    """Three queries a page: the reference and the words, then five candidates with letters."""
    pages = []
    for start in range(0, len(queries), QUERIES_A_PAGE):
        figure = page("Which of the five is meant? The picture says what stays, the words say what changes.")
        for number, (query, candidates) in enumerate(queries[start : start + QUERIES_A_PAGE]):
            top = 0.94 - 0.305 * number
            picture(figure, [0.07, top - 0.15, 0.19, 0.135], cirr.open_image(query.reference), "reference")
            words = textwrap.fill(f"{start + number + 1}.  “{query.text[0]}”", 36)
            figure.text(0.32, top - 0.08, words, size=15, va="center")
            for place, name in enumerate(candidates):
                where = [0.07 + 0.175 * place, top - 0.285, 0.155, 0.11]
                picture(figure, where, cirr.open_image(name), LETTERS[place])
        cut(figure, ys=[0.94 - 0.305 * number - 0.0025 for number in range(1, QUERIES_A_PAGE)])
        pages.append(figure)
    return pages


def answer_page(pairs, queries, tau):
    """For the teacher: the letters, and what the map of the hidden noun kept of each picture."""
    clip = load_backbone("pocket")
    figure = page("For the teacher")
    letters = [LETTERS[candidates.index(query.targets[0])] for query, candidates in queries]
    told = ", ".join(f"{number} {letter}" for number, letter in enumerate(letters, start=1))
    figure.text(0.07, 0.935, f"Queries: {told}", size=12)
    words = f"Pairs: what the map of one noun keeps at τ = {tau:g}. Another noun, another mask."
    figure.text(0.07, 0.91, words, size=9)
    pixels = [clip.preprocess(image) for image, _, _ in pairs]
    for number, (one, (_, caption, noun)) in enumerate(zip(pixels, pairs, strict=True)):
        keep = keep_mask(noun_cams(clip, one[None], [[noun.lemma]])[0], tau)[0]
        place = [0.09 + 0.3 * (number % 3), 0.73 - 0.215 * (number // 3), 0.22, 0.156]
        below = f"{number + 1}.  {mask_noun(caption, noun)}"
        picture(figure, place, masked_picture(clip, one, keep), below, 9, 34)
    return figure


def sheets(world, tau):
    """All pages, the teacher's last.

    Args:
        world: size of the pocket world, such as "small".
        tau: threshold of the masks on the last page, 0 to 1.

    Returns:
        Figures of A4.
    """
    cirr = load_benchmark("cirr", f"pocket-{world}", split="val")
    pairs, queries = rich_pairs(world), chosen_queries(cirr)
    return [*pair_pages(pairs), *query_pages(cirr, queries), answer_page(pairs, queries, tau)]


def write_sheets(path, pages):
    """Store the pages as one PDF, the same bytes for the same pages."""
    facts = {"Title": "Sheets for a lesson on composed image retrieval", "CreationDate": None}
    with PdfPages(path, metadata=facts) as file:
        for figure in pages:
            file.savefig(figure)
