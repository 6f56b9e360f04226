"""What chapters 5, 6, 8 and 9 have in common: a backbone, two networks, and the ladder of methods.

    ladder = Ladder(globals(), "cirr")           # a chapter's parameters: all checked, nothing loaded yet
    cirr = ladder.benchmark("cirr")
    ladder.scores(cirr)                          # each method, from the image alone to the masked pairs
    ladder.queries(cirr, "masked pairs"), ladder.gallery(cirr)

What is asked for is loaded or computed then, and what is stored already is taken from the store.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from torch import Tensor

from zscir.backbone import Backbone, find_backbone, load_backbone
from zscir.benchmarks import READERS, Benchmark, benchmark_root, check_options, load_benchmark
from zscir.inversion import Inversion, TrainConfig, fit
from zscir.pairs import pair_source
from zscir.retrieval.features import gallery_features
from zscir.retrieval.queries import Composition, evaluate, query_features
from zscir.retrieval.scores import Scores

#: Methods that need no training: name in tables -> method of `evaluate`.
RUNGS = {"image": "image", "text": "text", "image + text": "image+text", "slerp": "slerp"}
_TRAINING = ("tau", "lam", "seed", "steps", "batch", "limit", "backbone", "pretrained", "precision")


class Ladder:
    """The methods that the chapters compare, and the benchmarks of one chapter; checked when it is made.

    Attributes:
        paper, pic2word: the two trainings; they differ in nothing but their preset.
        prompt: of the networks, as `Composition` takes it.
        choices: cleaning, preprocessing and weight, as `evaluate` takes them.
        options: benchmark -> its protocol options. roots: benchmark -> its folder or pocket world.

    Args:
        parameters: the parameters of a chapter, by name; other names are passed over.
        benchmarks: which of `load_benchmark`'s the chapter reads, from ``root``, or ``cirr_root`` and so on.

    Raises:
        ValueError: an illegal value; the message names parameter, value and what is legal.
        FileNotFoundError: a root that is no folder.
    """

    def __init__(self, parameters: Mapping[str, Any], *benchmarks: str):
        training = {name: parameters[name] for name in _TRAINING}
        self.paper = TrainConfig(pairs=pair_source(parameters["pairs"], parameters["world"]), **training)
        find_backbone(self.paper.backbone, self.paper.pretrained, precision=self.paper.precision)
        self.pic2word = self.paper.as_preset("pic2word")
        self.prompt = parameters["prompt"] or None
        chosen = ("cleaning", "preprocessing", "weight")
        self.choices = {name: parameters[name] for name in chosen if name in parameters}
        Composition("slerp", prompt=self.prompt, **self.choices)
        self.options: dict[str, dict[str, Any]] = {}
        self.roots: dict[str, str] = {}
        for name in benchmarks:
            legal = (*READERS[name].options, "allow_missing")
            self.options[name] = {one: parameters[one] for one in legal if one in parameters}
            check_options(name, **self.options[name])
            root = parameters.get(f"{name}_root", parameters.get("root", ""))
            self.roots[name] = benchmark_root(root, parameters["world"])

    @cached_property
    def backbone(self) -> Backbone:
        """The frozen CLIP."""
        return load_backbone(self.paper.backbone, self.paper.pretrained, precision=self.paper.precision)

    @cached_property
    def networks(self) -> dict[str, Inversion]:
        """Pic2Word's network and that of the masked pairs, by name; what is not stored is trained."""
        masked = fit(self.paper, backbone=self.backbone)  # first: while a build trains the other in chapter 4
        return {"Pic2Word": fit(self.pic2word, backbone=self.backbone), "masked pairs": masked}

    def benchmark(self, name: str, **protocol: Any) -> Benchmark:
        """A benchmark of the chapter; ``protocol`` is added to the chapter's options, or replaces them."""
        return load_benchmark(name, self.roots[name], **(self.options[name] | protocol))

    def gallery(self, benchmark: Benchmark) -> Tensor:
        """Features of the gallery [N, D], float32, rows of length 1."""
        return gallery_features(self.backbone, benchmark, self.choices["preprocessing"])

    def queries(self, benchmark: Benchmark, name: str) -> Tensor:
        """Features of the queries [Q, D] as one method composes them: a key of `RUNGS` or of ``networks``."""
        return query_features(self.backbone, benchmark, *self._how(name), **self.choices)

    def scores(self, benchmark: Benchmark) -> dict[str, Scores]:
        """Scores of every method, from the image alone upwards."""
        names = (*RUNGS, *self.networks)
        return {name: evaluate(self.backbone, benchmark, *self._how(name), **self.choices) for name in names}

    def _how(self, name: str) -> tuple:
        """Method, network and prompt, as far as a method has them."""
        return (RUNGS[name],) if name in RUNGS else ("inversion", self.networks[name], self.prompt)
