"""The pocket world on disk: image–caption pairs, and benchmark roots in the official layouts.

`make_pocket` writes a world once and finds it again; the readers of `zscir.benchmarks` and
the pair sources of `zscir.pairs` then treat it as any other data set.
"""

import io
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
from PIL import Image

from zscir.storage import artifact, fingerprint
from zscir.storage.checks import check, chosen, whole
from zscir.storage.contents import content_hash

from . import captions, sets
from .drawing import BACKGROUNDS_FILE
from .scenes import Object, Scene, render, training_scene
from .vocabulary import GARMENTS

#: World size -> pairs, CIRR sets (val, test1), FashionIQ looks and queries a category, CIRCO queries, queries
#: of each GeneCIS task, composition queries, nouns of the domain conversion.
SIZES = pd.read_csv(Path(__file__).with_name("sizes.csv"), index_col=0).to_dict("index")
#: First entries of the random seeds: pairs and benchmarks share nothing with pre-training.
PAIR_STREAM, CIRR_STREAM, FASHION_STREAM, CIRCO_STREAM = 201, 202, 203, 204
#: What the server of a benchmark knows of its test split; no official layout has such a file.
ANSWERS = "answers.json"
LICENCE = Path(__file__).with_name("LICENSE-OpenMoji.txt")
_SOURCES = (".py", ".csv", ".json")
#: number and seed of a pair -> its scene and caption
PairOf = Callable[[int, int], tuple[Scene, str]]
Pictures = dict[str, tuple[str, Scene]]  # image id -> file under the benchmark's root, what it shows


@dataclass(frozen=True)
class Pocket:
    """A pocket world on disk."""

    size: str
    path: Path

    def root(self, benchmark: str) -> Path:
        """Root folder of ``"cirr"``, ``"fashioniq"`` or ``"circo"``, in that benchmark's own layout."""
        return self.path / chosen("benchmark", benchmark, ("cirr", "fashioniq", "circo"))

    @property
    def pairs(self) -> datasets.Dataset:
        """The image–caption pairs: columns image, caption, scene (JSON), labels (label map)."""
        return datasets.load_from_disk(str(self.path / "pairs"))

    def scenes(self, benchmark: str) -> dict[str, Scene]:
        """Image id -> what the picture shows, for every image of a benchmark."""
        scenes = json.loads((self.root(benchmark) / "scenes.json").read_text("utf-8"))
        return {name: Scene.from_json(text) for name, text in scenes.items()}

    def answers(self, benchmark: str) -> dict[str, list[str]]:
        """Query id -> right answers of the test split, which only a benchmark's server knows otherwise."""
        return json.loads((self.root(benchmark) / ANSWERS).read_text("utf-8"))

    def captions(self, benchmark: str) -> dict[str, str]:
        """Image id -> a full caption of the picture: the ceiling of what a query can say."""
        return {
            name: captions.caption(scene, np.random.default_rng([scene.seed, 7]), full=True)
            for name, scene in self.scenes(benchmark).items()
        }


def make_pocket(size: str = "small", seed: int = 0, root: Path | None = None, relative: int = 100) -> Pocket:
    """The pocket world of a size, drawn now if it has not been drawn before.

    `size` is ``"tiny"`` (seconds), ``"small"`` (the book's) or ``"large"``. The same seed
    gives the same scenes, captions and pixels. `root` is where artifacts are kept. `relative` percent
    of the pairs' captions may use the turns of relative captions (`captions.TURNS`); all else is the same.
    Raises ValueError for another size or percentage.
    """
    chosen("size", size, SIZES)
    check("relative", relative, whole("a whole number from 0 to 100", lambda share: 0 <= share <= 100))
    key = {"size": size, "seed": seed, "numbers": SIZES[size], "source": source_fingerprint()}
    key |= {"relative": relative} if relative < 100 else {}
    writers = {"cirr": _write_cirr, "fashioniq": _write_fashioniq, "circo": _write_circo}

    def build(folder: Path) -> None:
        with ProcessPoolExecutor(os.cpu_count()) as workers:
            pairs = partial(pair, relative=relative)
            write_pairs(folder / "pairs", pairs, SIZES[size]["pairs"], seed, workers)
            for name, write in writers.items():
                pictures = write(folder / name, SIZES[size], seed)
                draw_pictures(folder / name, pictures, workers)
        shutil.copyfile(LICENCE, folder / LICENCE.name)

    return Pocket(size, artifact("pocket", key, build, root))


def source_fingerprint() -> str:
    """Fingerprint of the code, the words and the drawings that decide what a pocket world holds."""
    files = sorted(file for file in Path(__file__).parent.iterdir() if file.suffix in _SOURCES)
    texts = [(f.name, f.read_text("utf-8")) for f in files if f.name != "__init__.py"]
    return fingerprint(texts, content_hash(BACKGROUNDS_FILE))


def pair(index: int, seed: int, relative: int = 100) -> tuple[Scene, str]:
    """Scene and caption of one image–caption pair: a third of the captions tell everything."""
    scene = training_scene(index, seed, PAIR_STREAM)
    rng = np.random.default_rng([PAIR_STREAM, seed, index, 1])
    return scene, captions.caption(scene, rng, full=rng.random() < 0.35, relative=relative)


def _encoded(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, quality=93, compress_level=4)  # of JPEG, of PNG
    return out.getvalue()


def _drawn_pair(index: int, pair: PairOf, seed: int) -> dict:
    scene, text = pair(index, seed)
    picture, labels = render(scene)
    image = {"bytes": _encoded(picture, "JPEG"), "path": None}
    mask = {"bytes": _encoded(Image.fromarray(labels), "PNG"), "path": None}
    return {"image": image, "caption": text, "scene": scene.to_json(), "labels": mask}


def write_pairs(folder: Path, pair: PairOf, count: int, seed: int, workers: ProcessPoolExecutor) -> None:
    """Draw pairs and save them as a dataset: columns image, caption, scene (JSON), labels (label map)."""
    rows = list(workers.map(partial(_drawn_pair, pair=pair, seed=seed), range(count), chunksize=250))
    text = datasets.Value("string")
    kinds = {"image": datasets.Image(), "caption": text, "scene": text, "labels": datasets.Image()}
    datasets.disable_progress_bars()
    datasets.Dataset.from_list(rows, features=datasets.Features(kinds)).save_to_disk(str(folder))


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture as PNG or JPEG, as its name ends, and the folders above it where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_encoded(picture, "PNG" if path.suffix == ".png" else "JPEG"))


def _draw_file(path: Path, scene: Scene) -> None:
    save_picture(render(scene)[0], path)


def draw_pictures(root: Path, pictures: Pictures, workers: ProcessPoolExecutor) -> None:
    """Draw pictures under ``root``, and write down what they show (``scenes.json``)."""
    write_json(root / "scenes.json", {name: scene.to_json() for name, (_, scene) in pictures.items()})
    paths, scenes = zip(*pictures.values(), strict=True)
    list(workers.map(_draw_file, [root / path for path in paths], scenes, chunksize=32))


def write_json(path: Path, data: object) -> None:
    """Write `data` as JSON, and the folders above it where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), "utf-8")


def _write_cirr(root: Path, numbers: dict[str, int], seed: int) -> Pictures:
    """CIRR: `cirr/captions`, `cirr/image_splits`, and the pictures under `dev` and `test1`.

    test1 carries no targets, as the official one. A query also says its kind (`"kind"`).
    """
    pictures: Pictures = {}
    answers = {}
    for number, (split, folder) in enumerate((("val", "dev"), ("test1", "test1"))):
        rng = np.random.default_rng([CIRR_STREAM, seed, number])
        entries, paths = [], {}
        for set_id in range(numbers[split]):
            six = sets.six(rng)
            # two photographs a number, as in NLVR2, where CIRR's pictures come from
            names = [f"{folder}-{set_id}-{k // 2}-img{k % 2}" for k in range(6)]
            paths |= {name: f"./{folder}/{name}.png" for name in names}
            pictures |= {n: (paths[n], scene) for n, scene in zip(names, six.members, strict=True)}
            order = [names[k] for k in rng.permutation(6)]
            for reference, target, text, kind in six.queries:
                members = {"id": set_id, "members": order, "reference_rank": order.index(names[reference])}
                entry = {"pairid": len(entries), "reference": names[reference], "caption": text, "kind": kind}
                entry |= {"img_set": members}
                if split == "val":
                    entry |= {"target_hard": names[target], "target_soft": {names[target]: 1.0}}
                    members["target_rank"] = order.index(names[target])
                else:
                    answers[str(len(entries))] = [names[target]]
                entries.append(entry)
        write_json(root / "cirr" / "captions" / f"cap.rc2.{split}.json", entries)
        write_json(root / "cirr" / "image_splits" / f"split.rc2.{split}.json", paths)
    write_json(root / ANSWERS, answers)
    return pictures


def _write_fashioniq(root: Path, numbers: dict[str, int], seed: int) -> Pictures:
    """FashionIQ: `captions`, `image_splits` and `images`, one gallery picture a look.

    The split test has the gallery of val, other queries, and no targets.
    """
    pictures: Pictures = {}
    answers = {}
    for number, (category, noun) in enumerate(GARMENTS.items()):
        rng = np.random.default_rng([FASHION_STREAM, seed, number])
        looks = sets.garment_looks(noun)
        gallery = [looks[k] for k in rng.permutation(len(looks))[: numbers["looks"]]]
        names: dict[Object, str] = {look: f"P{number}{k:06d}" for k, look in enumerate(gallery)}
        for look, name in names.items():
            scene = Scene("studio", (look,), seed=int(rng.integers(2**31)))
            pictures[name] = (f"images/{name}.png", scene)
        for split in ("val", "test"):
            queries = sets.fashion_queries(numbers["garment_queries"], gallery, rng)
            entries = [{"candidate": names[asked], "captions": list(said)} for asked, _, said in queries]
            for place, (entry, (_, target, _)) in enumerate(zip(entries, queries, strict=True)):
                if split == "val":
                    entry["target"] = names[target]
                else:
                    answers[f"{category}-{place}"] = [names[target]]
            write_json(root / "captions" / f"cap.{category}.{split}.json", entries)
            write_json(root / "image_splits" / f"split.{category}.{split}.json", sorted(names.values()))
    write_json(root / ANSWERS, answers)
    return pictures


def _write_circo(root: Path, numbers: dict[str, int], seed: int) -> Pictures:
    """CIRCO: `annotations/{val,test}.json`, one gallery in COCO's unlabeled layout; test has no targets."""
    pictures: Pictures = {}
    answers = {}

    def place(scene: Scene) -> int:
        number = len(pictures) + 1
        pictures[str(number)] = (f"COCO2017_unlabeled/unlabeled2017/{number:012d}.jpg", scene)
        return number

    for part, split in enumerate(("val", "test")):
        rng = np.random.default_rng([CIRCO_STREAM, seed, part])
        entries = []
        for query_id in range(numbers[f"circo_{split}"]):
            query = sets.many_answers(rng)
            right = [place(scene) for scene in query.answers]
            entry = {"id": query_id, "reference_img_id": place(query.reference)}
            entry |= {"relative_caption": query.caption, "shared_concept": query.concept}
            if split == "val":
                entry |= {"target_img_id": right[0], "gt_img_ids": right}
                entry["semantic_aspects"] = ["spatial_relations_background"]
            else:
                answers[str(query_id)] = [str(number) for number in right]
            for scene in query.distractors:
                place(scene)
            entries.append(entry)
        write_json(root / "annotations" / f"{split}.json", entries)
    listed = [{"id": int(name), "file_name": Path(path).name} for name, (path, _) in pictures.items()]
    info = root / "COCO2017_unlabeled" / "annotations" / "image_info_unlabeled2017.json"
    write_json(info, {"images": listed})
    write_json(root / ANSWERS, answers)
    return pictures
