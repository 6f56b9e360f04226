"""What can be read from a feature: zero-shot probes for what a drawn scene shows.

    for probe in scene_probes(scenes):
        answers = right(features, classifier(backbone, probe), probe)
        balanced(answers, probe)                     # percent, with an interval

A probe is a question with a few legal answers, such as "where is it?" The text tower puts each answer into
sentences, and the feature chooses the nearest: nothing is trained. Letters in shapes: B pictures, V legal
values, D joint width.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from zscir.backbone import Backbone
from zscir.pocket.captions import STYLE_OF, with_article
from zscir.pocket.scenes import Object, Scene
from zscir.pocket.vocabulary import BACKGROUND, COLOURS, COUNTS, SCENE_NOUNS, STYLES, THINGS, WHERE
from zscir.retrieval.statistics import SAMPLES, Interval, percentiles

ASPECTS = ("thing", "place", "colour")
#: Things that stand in the sentences of the probes that ask for something else.
FILLERS = SCENE_NOUNS[::9]
#: Words of the phrases for places that name no place.
_EMPTY = frozenset("a an the in on at near under of front outer deep scene landscape background".split())


def scene_words(scene: Scene) -> dict[str, set[str]]:
    """The words that are right for a scene, for each of `ASPECTS`.

    All names of its things, singular and plural; all words that people use for its place, but for those that
    name none (*in*, *front*, ...); the colours that its things were given.

    >>> from zscir.pocket.scenes import Object
    >>> words = scene_words(Scene("forest", (Object("couch", "red"),)))
    >>> sorted(words["thing"]), sorted(words["place"]), words["colour"]
    (['couch', 'couches', 'sofa', 'sofas'], ['forest', 'woods'], {'red'})
    """
    entries = [THINGS[thing.noun] for thing in scene.objects]
    names = {name for e in entries for name in (*e.names, e.plural, *(f"{n}s" for n in e.names[1:]))}
    phrases = " ".join((*WHERE[scene.place], *BACKGROUND[scene.place]))
    return {
        "thing": names,
        "place": set(re.findall(r"\w+", phrases)) - _EMPTY,
        "colour": {thing.colour for thing in scene.objects if thing.colour},
    }


@dataclass(frozen=True)
class Probe:
    """A question to a feature.

    Attributes:
        name: what is asked for.
        values: the legal answers.
        texts: for each value the sentences whose mean feature stands for it.
        answers: for each picture the values that are right, () where the question does not apply.
    """

    name: str
    values: tuple
    texts: Sequence[Sequence[str]]
    answers: Sequence[tuple]

    @property
    def asked(self) -> np.ndarray:
        """Numbers of the pictures to which the question applies."""
        return np.array([row for row, answer in enumerate(self.answers) if answer], dtype=np.int64)

    @property
    def chance(self) -> float:
        """Percentage of a blind guess: of as many values as the answer has, all of them right."""
        sizes = {len(self.answers[row]) for row in self.asked}
        return 100 / math.comb(len(self.values), min(sizes, default=1))


def scene_probes(scenes: Sequence[Scene]) -> list[Probe]:
    """Thing, two things, place, colour, count and style of drawn scenes, each asked where it has an answer.

    "thing" asks of pictures with one kind of thing which it is; "two things" asks of pictures with two kinds
    for both. "colour" and "count" are asked of pictures with one kind of thing, "colour" where it was given
    one. "place" and "style" are asked of all. The legal values are those of the vocabulary; of "count", those
    that occur.
    """
    single = [scene.objects[0] if len(scene.objects) == 1 else None for scene in scenes]
    both = [tuple(o.noun for o in scene.objects) if len(scene.objects) == 2 else () for scene in scenes]
    counts = sorted({thing.count for thing in single if thing})
    photos = {noun: f"a photo of {with_article(noun)}" for noun in SCENE_NOUNS}
    things = [(photo,) for photo in photos.values()]
    places = [[f"{photos[noun]} {where}" for noun in FILLERS for where in WHERE[place]] for place in WHERE]
    colours = [[f"a photo of {with_article(f'{c} {noun}')}" for noun in FILLERS] for c in COLOURS]
    plurals = [[f"a photo of {COUNTS[n]} {THINGS[noun].plural}" for noun in FILLERS] for n in counts if n > 1]
    numbers = ([[photos[noun] for noun in FILLERS]] if 1 in counts else []) + plurals
    frames = [STYLE_OF.get(style, ("a photo of {}", "a picture of {}")) for style in STYLES]
    styles = [[frame.format(with_article(noun)) for noun in FILLERS for frame in some] for some in frames]
    return [
        Probe("thing", SCENE_NOUNS, things, _answers(single, "noun")),
        Probe("two things", SCENE_NOUNS, things, both),
        Probe("place", tuple(WHERE), places, _answers(scenes, "place")),
        Probe("colour", tuple(COLOURS), colours, _answers(single, "colour")),
        Probe("count", tuple(counts), numbers, _answers(single, "count")),
        Probe("style", STYLES, styles, _answers(scenes, "style")),
    ]


def classifier(backbone: Backbone, probe: Probe) -> Tensor:
    """One feature a value [V, D]: the mean of its sentences' features, of length 1; float32, on the CPU."""
    sizes = [len(texts) for texts in probe.texts]
    encoded = backbone.encode_texts([text for texts in probe.texts for text in texts]).cpu()
    return F.normalize(torch.stack([part.mean(dim=0) for part in encoded.split(sizes)]), dim=-1)


def right(features: Tensor, values: Tensor, probe: Probe) -> np.ndarray:
    """Whether each picture that is asked is read rightly, bool [len(probe.asked)].

    Of an answer of n values, the n nearest must be just these, in any order.

    Args:
        features: of all pictures [B, D].
        values: from `classifier` [V, D].
        probe: the question.

    Raises:
        ValueError: not one row of features a picture.
    """
    if len(features) != len(probe.answers):
        raise ValueError(f"features has {len(features)} rows for {len(probe.answers)} pictures")
    order = (features.float().cpu() @ values.T).argsort(dim=1, descending=True, stable=True).numpy()
    rows = [(order[row], set(probe.answers[row])) for row in probe.asked]
    nearest = [{probe.values[n] for n in best[: len(answer)]} == answer for best, answer in rows]
    return np.array(nearest, dtype=bool)


def balanced(hits: np.ndarray, probe: Probe) -> Interval:
    """Balanced accuracy in percent: the mean over values of the share of their pictures read rightly.

    Naming one value always gets what chance gets, however frequent the value is. The interval is a
    percentile bootstrap over pictures. Answers of several values are not balanced: there, each picture
    counts alike.

    Args:
        hits: from `right`.
        probe: the question.

    Raises:
        ValueError: not one hit a picture that is asked, or no such picture.
    """
    answers = [probe.answers[row] for row in probe.asked]
    if len(hits) != len(answers) or not answers:
        raise ValueError(f"probe {probe.name!r} is asked of {len(answers)} pictures, got {len(hits)} hits")
    value = [0 if len(answer) > 1 else probe.values.index(answer[0]) for answer in answers]
    cells = np.zeros((2, len(probe.values)))  # wrong and right, by value
    np.add.at(cells, (np.asarray(hits, dtype=int), value), 1)
    drawn = np.random.default_rng(0).multinomial(len(answers), cells.ravel() / len(answers), size=SAMPLES)
    low, high = percentiles(_mean_of_shares(drawn.reshape(SAMPLES, 2, -1)))
    return Interval(float(_mean_of_shares(cells[None])[0]), low, high, len(answers))


def _mean_of_shares(cells: np.ndarray) -> np.ndarray:
    """Percentages [S]: the mean over the values that occur of the share of hits, from counts [S, 2, V]."""
    counts = cells.sum(axis=1)  # [S, V]
    shares = np.divide(cells[:, 1], counts, out=np.zeros(counts.shape), where=counts > 0)
    return 100 * shares.sum(axis=1) / (counts > 0).sum(axis=1)


def _answers(shown: Sequence[Object | Scene | None], name: str) -> tuple[tuple, ...]:
    """An attribute of each thing or scene, () where there is none."""
    values = [getattr(each, name, None) for each in shown]
    return tuple(() if value is None else (value,) for value in values)
