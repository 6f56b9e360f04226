"""One call sets up a chapter: its parameters, checked, become trainings, benchmarks, features and scores."""

from types import SimpleNamespace

import pytest
import torch

from zscir.inversion import InversionNetwork
from zscir.retrieval import Ladder, evaluate, gallery_features, query_features

PARAMETERS = {
    **{"world": "tiny", "tau": 0.2, "lam": 0.8, "seed": 3, "steps": 5, "batch": 4, "limit": 8, "pairs": ""},
    **{"backbone": "pocket", "pretrained": "", "precision": "fp32", "prompt": "searle", "root": ""},
    **{"cleaning": "lower", "preprocessing": "clip", "weight": 0.6, "reference": "kept"},
    **{"allow_missing": False, "others": "are passed over"},
}


@pytest.fixture
def ladder(tiny_backbone):
    made = Ladder(PARAMETERS, "cirr")
    made.backbone = tiny_backbone
    phi = InversionNetwork(32, 48).eval()
    made.networks = dict.fromkeys(("Pic2Word", "masked pairs"), SimpleNamespace(phi=phi))
    return made


def test_the_two_trainings_differ_in_their_preset_alone(ladder):
    assert (ladder.paper.tau, ladder.paper.lam, ladder.paper.pairs) == (0.2, 0.8, "pocket-tiny")
    assert ladder.pic2word == ladder.paper.as_preset("pic2word") and ladder.pic2word.seed == 3


def test_what_a_chapter_chooses_reaches_benchmark_queries_and_scores(ladder):
    cirr = ladder.benchmark("cirr")
    assert cirr.protocol["reference"] == "kept" and not cirr.exclude_reference
    assert ladder.benchmark("cirr", reference="removed").exclude_reference
    how = {"cleaning": "lower", "preprocessing": "clip", "weight": 0.6}
    network = ladder.networks["Pic2Word"]
    scores = ladder.scores(cirr)
    assert list(scores) == ["image", "text", "image + text", "slerp", "Pic2Word", "masked pairs"]
    for name, asked in (("slerp", ("slerp",)), ("Pic2Word", ("inversion", network, "searle"))):
        assert scores[name].protocol == evaluate(ladder.backbone, cirr, *asked, **how).protocol
        own = query_features(ladder.backbone, cirr, *asked, **how)
        assert torch.equal(ladder.queries(cirr, name), own)
    assert torch.equal(ladder.gallery(cirr), gallery_features(ladder.backbone, cirr))


def test_a_chapter_with_several_roots_takes_each_benchmark_from_its_own(tmp_path):
    given = PARAMETERS | {"circo_root": str(tmp_path), "genecis_root": ""}
    ladder = Ladder(given, "circo", "genecis")
    assert ladder.roots == {"circo": str(tmp_path), "genecis": "pocket-tiny"}
    assert ladder.options["genecis"] == {"allow_missing": False}
    with pytest.raises(ValueError, match="reference is 'gone'; legal: kept, removed"):
        Ladder(given | {"reference": "gone"}, "circo")
