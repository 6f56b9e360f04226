"""The table of bad inputs: what is run, with which files or variables spoilt, and what its message must name.

A row is (area, run, says, files, variables). ``run`` is a line of the shell after ``zscir``, or a call of
Python. ``files`` spoils what `places` laid (a value is bytes, a text, JSON, a function of the old bytes, or
None to remove it). ``says`` are parts of the one message: the input, its value, what is legal or what to do.
"""

import tarfile
import zipfile
from typing import NamedTuple

import numpy as np
from places import (
    cut,
    entry,
    flipped,
    keys,
    old_pickle,
    pickled,
    png,
    safetensors_file,
    tar_of,
    torch_file,
    zip_of,
)

import zscir
from zscir.pairs import load_pairs
from zscir.storage import artifact, grid, run_points
from zscir.storage.pictures import open_picture


class Row(NamedTuple):
    """One bad input."""

    area: str
    run: object
    says: tuple[str, ...]
    files: dict = {}
    variables: dict = {}


def rows(area, *listed):
    """Rows of one area."""
    return [Row(area, run, (says,) if isinstance(says, str) else says, *more) for run, says, *more in listed]


CAP = "cirr/cirr/captions/cap.rc2.val.json"
SPLIT = "cirr/cirr/image_splits/split.rc2.val.json"
IMAGES = "circo/COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"
COCO = "composition/coco/coco_eval.csv"
DOMAINS = "domains/imgnet/imgnet_targets.txt"
DRESS = "fashioniq/captions/cap.dress.val.json"
CIRCO = "circo/annotations/val.json"
OBJECT = "genecis/genecis/change_object.json"
ATTRIBUTE = "genecis/genecis/focus_attribute.json"
TABLE = "pairs/table.tsv"
DEV = "dev-0-0-img0"
CODE = "__import__('os').mkdir('out')"


def members(*names):
    """A set of CIRR with these members."""
    return {"id": 7, "members": [f"dev-0-{one}-img0" for one in names]}


def link(name, kind=tarfile.SYMTYPE, target="/etc/passwd"):
    """An entry of a tar that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def train(words):
    """A training of the small backbone."""
    return f"train --backbone tiny --pairs pairs {words}"


def make(source, words=""):
    """Masked pairs of a source, with the small backbone."""
    return f"pairs {source} --out out --backbone tiny {words}"


def search(words, gallery="photos", image="photos/0.png"):
    """A search with the small backbone."""
    method = "" if "--method" in words else "--method image+text"
    return f"retrieve {image} 'is red' --gallery {gallery} --backbone tiny {method} {words}"


def score(name, words=""):
    """An evaluation with the small backbone."""
    return f"evaluate {name} --root {name} --method image --backbone tiny {words}"


def features(queries, gallery):
    """A call that scores arrays of these shapes, or these arrays."""

    def call():
        given = [np.ones(one) if isinstance(one, tuple) else one for one in (queries, gallery)]
        return zscir.score_features(zscir.load_benchmark("cirr", "cirr"), *given)

    return call


COMMANDS = rows(
    "command line",
    ("", "which command? zscir --help names them"),
    ("pocket", "which command? zscir pocket --help names them"),
    ("cook", 'Unknown command "cook". Did you mean "book"?'),
    ("run", 'Command "run" parameter CHAPTER requires an argument.'),
    ("book --profil", "Unknown option: --profil. Did you mean --profile?"),
    ("book --zz", "Unknown option: --zz. The options are: --profile, --only, --force, --jobs, -p."),
    ("book now", ("Unused Tokens: ['now']", "takes no more words")),
    ("run 05 -p tau", "-p requires 2 positional arguments"),
    ("sweep 05 -p tau", "-p tau has no value"),
    ("sweep 05 -p tau 1 -p tau 2", "-p tau is given twice"),
    ("evaluate cirr", "--root requires an argument"),
    ("train --tau high", 'Invalid value for --tau: unable to convert "high" into float.'),
    ("train --steps 1.5", "Invalid value for --steps: '1.5' is no whole number"),
    ("train --online maybe", ("Unused Tokens: ['maybe']", "takes no more words")),
    ("retrieve photos/0.png", ("TEXT", "requires an argument")),
    ("pairs pairs", "--out requires an argument"),
    ("submission check", ("FILES", "requires an argument")),
    ("pocket make --size huge", "size is 'huge'; legal: tiny, small, large"),
)
CHAPTERS = rows(
    "chapters",
    ("run 99", ("no chapter '99'", "05_cirr")),
    ("run ''", ("no chapter ''", "05_cirr")),
    ("run ../05_cirr", "no chapter '../05_cirr'; the chapters are: "),
    ("run 05 --profile slow", "no profile 'slow'; the profiles are: default, quick"),
    ("run 05 -p Tau 0.3", """no parameter 'Tau'; it has: world (default "small"), tau (default 0.3)"""),
    ("run 05 -p tau high", "tau of chapter 05_cirr must be float, got 'high'"),
    ("run 05 -p tau 1e999", "tau of chapter 05_cirr must be a finite number, got inf"),
    ("run 05 -p steps 1.5", "steps of chapter 05_cirr must be int, got 1.5"),
    ("run 05 -p world 7", "world of chapter 05_cirr must be str, got 7"),
    ("run 05 -p tau 1.7", "tau is 1.7; legal: 0 <= tau <= 1"),
    ("run 05 -p lam " + "9" * 400, "legal: 0 <= lam <= 1"),
    ("run 05 -p world huge", "world is 'huge'; legal: tiny, small, large"),
    ("run 05 -p steps 0", "steps is 0; legal: whole numbers from 1"),
    ("run 05 -p batch 1", "batch is 1; legal: whole numbers from 2"),
    ("run 05 -p seed -1", "seed is -1; legal: 0 <= seed < 2**32"),
    ("run 05 -p precision fp8", "precision is 'fp8'; legal: fp32, bf16"),
    ("run 05 -p root /nowhere", "root is '/nowhere': there is no such folder"),
    ("run 01 -p pairs pocket-huge", "pairs is 'pocket-huge'; legal: pocket-tiny|small|large"),
    ("run 02 -p pairs nowhere", "pairs 'nowhere' do not exist; legal: pocket-<size>, a folder"),
    # it exists here, and not in the checkout, where chapters run
    ("run 02 -p pairs here", "pairs 'here' do not exist", {"here/one.tsv": b"file\tcaption\n"}),
    ("run 03 -p pairs none.tar", "pairs none.tar: no such tar file"),
    (
        "run 04 -p pairs pocket-tiny-9relativ",
        "pairs is 'pocket-tiny-9relativ'; legal: pocket-tiny|small|large",
    ),
    (
        "run 05 -p pairs pocket-control-9things-0said-4places",
        "things is 9; legal: a whole number from 1 to 3",
    ),
    ("run 07 -p pairs none.tsv", "pairs none.tsv: no such tsv file"),
    *(
        (f"run 0{n} -p backbone ViT-L14", "backbone is 'ViT-L14'; legal: pocket, a folder, ")
        for n in range(1, 10)
    ),
    (
        "run 02 -p backbone ViT-L-14 -p pretrained opena",
        "pretrained is 'opena'; legal for ViT-L-14: openai, ",
    ),
    (
        "run 06 -p pretrained openai",
        "pretrained must be None for 'pocket', which has its weights, got 'openai'",
    ),
    ("run 05 -p prompt 'a photo'", "'a photo' is not one of 'pic2word', 'searle' nor a template"),
    ("run 05 -p captions short", "captions is 'short'; legal: original, extended"),
    ("run 05 -p weight 3", "weight=3 is not a number from 0 to 1"),
    ("run 05 -p cleaning soap", "cleaning is 'soap'; legal: none, strip, lower"),
    (f'run 05 -p world "{CODE}"', f'world is "{CODE}"; legal: tiny, small, large'),
    ("run 03 -p fill pink", "fill is 'pink'; legal: "),
    ("run 03 -p cam_method best", "cam_method is 'best'; legal: "),
    ("run 04 -p preset best", "preset is 'best'; legal: paper, pic2word"),
    ("run 07 -p table none.csv", "table is 'none.csv': there is no such file"),
    ("run 05 -p world tiny -o {repo}/notebooks/x.ipynb", ("out must not lie", "x.ipynb")),
    ("run 05 -p world tiny -o full/x/y.ipynb", ("full/x", "name another place")),
    ("book --only 99", ("no chapter '99'", "05_cirr")),
    ("book --jobs 0", "jobs is 0; legal: whole numbers from 1"),
    ("book --profile slow", "no profile 'slow'; the profiles are: default, quick"),
    ("book -p nosuch 1", "no chapter has a parameter 'nosuch'; the parameters are: "),
    ("book -p tau 1.7", "tau is 1.7; legal: 0 <= tau <= 1"),
    ("pdf -p tau 0.123", ("there is no book in", "tau-0.123", "build it first")),
    ("pdf --profile slow", ("there is no book in", "slow", "build it first")),
    ("sweep 05 -p world tiny", "axes is empty: give a parameter some values, or seeds"),
    ("sweep 05 --seeds 0", "seeds is 0; legal: how many (from 1)"),
    ("sweep 05 -p tau 0.2 0.2", "axis 'tau' has the value 0.2 twice; legal: different values"),
    ("sweep 05 -p tau 0.2 1.7", "tau is 1.7; legal: 0 <= tau <= 1"),
    ("sweep 05 --seeds 2 --workers 0 -o out", "workers is 0; legal: None or whole numbers from 1"),
    ("sweep 05 --seeds 2 -o full/x", ("full/x", "name another place")),
    ("sweep 99 --seeds 2", "no chapter '99'"),
)
SETTINGS = rows(
    "settings of a training",
    (train("--keep all"), "keep is 'all'; legal: noun, rest"),
    (train("--tau 1.5"), "tau is 1.5; legal: 0 <= tau <= 1"),
    (train("--tau nan"), "tau is nan; legal: 0 <= tau <= 1"),
    (train("--preset best"), "preset is 'best'; legal: paper, pic2word"),
    (train("--preset pic2word --lam 0.8"), "lam is 0.8; legal: 0.0 for preset 'pic2word'"),
    (train("--lr 0"), "lr is 0.0; legal: lr > 0"),
    (train("--ema 1"), "ema is 1.0; legal: 0 <= ema < 1"),
    (train("--loss l1"), "loss is 'l1'; legal: contrastive, cosine, mse"),
    (train("--network four-layer"), "network is 'four-layer'; legal: three-layer, two-layer, pic2word"),
    (train("--steps 5 --epochs 2"), "steps is 5; legal: None when epochs is given"),
    (train("--steps 5 --warmup 9"), "warmup is 9; legal: 0 to steps (5)"),
    (train("--seed -1"), "seed is -1; legal: 0 <= seed < 2**32"),
    (train("--hidden 0"), "hidden is 0; legal: None or whole numbers from 1"),
    (train("--dropout 1"), "dropout is 1.0; legal: 0 <= dropout < 1"),
    (train("--limit 0"), "limit is 0; legal: None or whole numbers from 1"),
    (train("--batch 99"), "batch is 99, but pairs 'pairs' hold 6; legal: 2 to that"),
    (train("--preset lincir --online"), "online is True; legal: False for preset 'lincir'"),
    (train("--batch 2 --mask-source true"), "mask_source is 'true', but pairs 'pairs' have no label maps"),
    (train("--batch 2 --cam-layer visual.none"), ("layer must be a module", "visual.none")),
    (train("--batch 2 --resume gone.ckpt"), "gone.ckpt is missing"),
)
PAIRS = rows(
    "pairs",
    (make("nowhere"), "pairs 'nowhere' do not exist; legal: pocket-<size>, a folder with one"),
    (make("''"), "pairs '' do not exist"),
    (make("empty"), ("pairs empty: needed is one .tsv or .csv table, found 0", "nothing")),
    (make("pocket-huge"), "pairs is 'pocket-huge'; legal: pocket-tiny|small|large, the same with -0relative"),
    (make("pocket-tiny-101relative"), "pairs is 'pocket-tiny-101relative'; legal: pocket-tiny|small|large"),
    (make("pocket-control-2things"), "pairs is 'pocket-control-2things'; legal: pocket-control, or with"),
    (make("pairs", "--limit 0"), "limit is 0; legal: None or whole numbers from 1"),
    (make("pairs", "--tau 1.7"), "tau is 1.7; legal: 0 <= tau <= 1"),
    (make("pairs", "--nouns some"), "nouns is 'some'; legal: one, all"),
    (make("pairs", "--max-skipped 2"), "max_skipped is 2.0; legal: 0 <= max_skipped"),
    (make("pairs", "--n-process 0"), "n_process is 0; legal: whole numbers from 1"),
    ("pairs pairs --out full", "full is not empty; name a new folder"),
    ("pairs pairs --out full/x/out", ("full/x", "name another place")),
    (
        make("pairs"),
        ("columns are ['name', 'caption']", "needed, each once: file"),
        {TABLE: "name\tcaption\n"},
    ),
    (make("pairs"), "pairs 'pairs' hold no image with a caption", {TABLE: "file\tcaption\n"}),
    (make("pairs"), "1 of 1 images do not exist: pairs/9.png", {TABLE: "file\tcaption\n9.png\ta\n"}),
    (
        make("pairs"),
        ("line 2 has 3 cells for 2 columns", "legal: quotes"),
        {TABLE: "file\tcaption\n0.png\ta\tb\n"},
    ),
    (
        make("pairs"),
        ("table.tsv is not UTF-8 (perhaps cp1252", "line 2"),
        {TABLE: b"file\tcaption\n0.png\tcaf\xe9\n"},
    ),
    (
        make("pairs"),
        ("caption of row 0 (image 0.png)", "not a string"),
        {TABLE: "file\tcaption\n0.png\ta\0b\n"},
    ),
    (make("pairs"), "1 of 1 images do not exist", {TABLE: "file\tcaption\n0\0.png\ta dog\n"}),
    (make("pairs"), ("needed is one .tsv or .csv table, found 2"), {"pairs/more.csv": "file,caption\n"}),
    (
        make("pairs/c.csv"),
        "the row of line 2 has a stray or open quote",
        {"pairs/c.csv": 'file,caption\n0.png,"a\n'},
    ),
    (make("tars"), "0.tar is no whole tar file: it is cut off", {"tars/0.tar": lambda old: old[:1500]}),
    (make("tars"), "0.tar is no whole tar file", {"tars/0.tar": b""}),
    (make("tars"), "0.tar is no whole tar file, or a compressed one", {"tars/0.tar": zip_of(a="b")}),
    (make("none.tar"), "pairs none.tar: no such tar file"),
    (
        make("tars"),
        ("members end in .bin (1); legal: an image (.jpg", ".txt or .json"),
        {"tars/0.tar": tar_of(("0.bin", b"x"))},
    ),
    (
        make("tars"),
        ("member 0.txt is not UTF-8", "iconv"),
        {"tars/0.tar": tar_of(("0.png", png()), ("0.txt", b"caf\xe9"))},
    ),
    (make("tars"), "member 0.json is no JSON", {"tars/0.tar": tar_of(("0.png", png()), ("0.json", b"{"))}),
    (
        make("tars"),
        "is 5, not a string",
        {"tars/0.tar": tar_of(("0.png", png()), ("0.json", b'{"caption": 5}'))},
    ),
    (
        make("tars"),
        "hold no image with a caption",
        {"tars/0.tar": tar_of(link("0.png"), ("0.txt", b"a dog"))},
    ),
    (make("tars"), "hold no image with a caption", {"tars/0.tar": tar_of(link("0.png", tarfile.CHRTYPE))}),
    (make("set"), "0.parquet is no whole parquet file", {"set/0.parquet": b"PAR1"}),
    (make("set/9.parquet"), "no such parquet file", {"set/0.parquet": b"PAR1"}),
    (
        make("saved"),
        "pairs 'saved' cannot be read",
        {"saved/dataset_info.json": "{", "saved/state.json": "{"},
    ),
    (make("stream:set"), "No (supported) data files found in set", {"set/a.bin": b"x"}),
)
ANNOTATIONS = rows(
    "benchmarks",
    ("evaluate nosuch --root cirr", ("'nosuch'", "cirr, fashioniq, circo, genecis, composition, domains")),
    ("evaluate cirr --root nowhere", "root='nowhere': there is no such folder"),
    ("evaluate cirr --root pocket-huge", "'huge'; legal: tiny, small, large"),
    ("evaluate cirr --root empty", ("2 annotation files missing", "captions/cap.rc2.val.json")),
    (score("cirr", "--split train"), "split is 'train'; legal: val, test1"),
    (score("cirr", "--split test1"), "test1.json"),
    (score("cirr", "--split test1").replace("root cirr", "root server"), "without public targets (of 4)"),
    (score("cirr", "-p reference hidden"), "reference is 'hidden'; legal: removed, kept"),
    (score("cirr", "-p colour red"), "cirr has no option 'colour'; its options are reference, captions"),
    (score("fashioniq", "-p category hat"), "category is 'hat'; legal: dress, shirt, toptee"),
    (score("cirr"), ("files that are not whole JSON", "cap.rc2.val.json"), {CAP: cut}),
    (score("cirr"), "cap.rc2.val.json holds a JSON dict", {CAP: "{}"}),
    (score("cirr"), "files without entries", {CAP: "[]"}),
    (score("cirr"), "files without entries", {CAP: ""}),
    (score("cirr"), "files that are not whole JSON", {CAP: "[" * 100_000}),
    (score("cirr"), "files that are not UTF-8", {CAP: b'[{"caption": "caf\xe9"}]'}),
    (score("cirr"), "without the key 'caption': entry 0", {CAP: entry(caption=...)}),
    (score("cirr"), ("whose 'caption' is not a", "entry 1 has ' '"), {CAP: entry(1, caption=" ")}),
    (score("cirr"), ("whose 'caption' is not a", "entry 0 has 'a\\x00b'"), {CAP: entry(caption="a\0b")}),
    (score("cirr"), ("whose 'caption' is not a", "entry 0 has 'a\\ud83d'"), {CAP: entry(caption="a\ud83d")}),
    (score("cirr"), "whose 'caption' is not a", {CAP: entry(caption={"en": "a dog"})}),
    (score("cirr"), "whose 'pairid' is not an integer: entry 0 has '1.5'", {CAP: entry(pairid=1.5)}),
    (score("cirr"), "query ids used twice: 101", {CAP: entry(pairid=101)}),
    (
        score("cirr"),
        "'img_set' is not a set with an id and 6 different",
        {CAP: entry(img_set=members(0, 1, 2))},
    ),
    (score("cirr"), "targets not in the gallery: nobody", {CAP: entry(target_hard="nobody")}),
    (
        score("cirr"),
        "keys used twice",
        {CAP: lambda old: old.replace(b'"pairid"', b'"pairid": 9, "pairid"', 1)},
    ),
    (score("cirr"), "whose 'reference' is not a non-empty string", {CAP: entry(reference="\0")}),
    (score("cirr"), f"without a path: {DEV} has 7", {SPLIT: keys(**{DEV: 7})}),
    (score("cirr"), f"without a path: {DEV} has 'a\\x00'", {SPLIT: keys(**{DEV: "a\0"})}),
    (score("cirr"), ("that lead out of the folder", "../out.png"), {SPLIT: keys(**{DEV: "../out.png"})}),
    (score("cirr"), ("that lead out of the folder", "/etc/passwd"), {SPLIT: keys(**{DEV: "/etc/passwd"})}),
    (
        score("cirr"),
        ("2 images missing", "allow_missing=True would drop"),
        {f"cirr/dev/{DEV}.png": None, "cirr/dev/dev-0-1-img0.png": b""},
    ),
    (
        score("cirr"),
        ("1 images that cannot be read", "cannot identify"),
        {f"cirr/dev/{DEV}.png": "no picture"},
    ),
    (score("cirr"), "the file is cut off", {f"cirr/dev/{DEV}.png": cut}),
    (score("cirr", "-p captions extended"), "cap.ext.rc2.val.json"),
    (score("fashioniq"), "'captions' is not a list of two strings", {DRESS: entry(captions=["is red"])}),
    (
        score("fashioniq"),
        "'captions' is not a list of two strings",
        {DRESS: entry(captions=["is red", "a\0b"])},
    ),
    (
        score("fashioniq"),
        "that are not a non-empty string: 7",
        {"fashioniq/image_splits/split.dress.val.json": [7]},
    ),
    (score("fashioniq"), "references not in the gallery: dressB9", {DRESS: entry(candidate="dressB9")}),
    (score("circo"), "'reference_img_id' is not an integer", {CIRCO: entry(reference_img_id="5")}),
    (score("circo"), "lack the target or repeat an image: id 0", {CIRCO: entry(gt_img_ids=[5, 5])}),
    (score("circo"), "files without a list 'images'", {IMAGES: '{"image": []}'}),
    (
        score("genecis", "-p task change_object"),
        "'target' is not a 'val_image_id'",
        {OBJECT: entry(target={"id": 1})},
    ),
    (
        score("genecis", "-p task change_object"),
        "'gallery' is not a list of a 'val_image_id'",
        {OBJECT: entry(gallery=[])},
    ),
    (
        score("genecis", "-p task focus_attribute"),
        "an 'instance_bbox' of four numbers",
        {ATTRIBUTE: entry(target={"image_id": 1, "instance_bbox": [0, 0, 0, 9]})},
    ),
    (
        score("genecis", "-p task focus_attribute"),
        "an 'instance_bbox' of four numbers",
        {ATTRIBUTE: entry(target={"image_id": 1, "instance_bbox": [0, 0, 10**400, 9]})},
    ),
    (
        score("genecis", "-p task focus_attribute"),
        ("100.jpg", "9000"),
        {ATTRIBUTE: entry(reference={"image_id": 100, "instance_bbox": [9000, 0, 9, 9]})},
    ),
    (
        score("composition"),
        "columns that coco_eval.csv lacks: query_regions",
        {COCO: "id,query_class,classes\na,b,c\n"},
    ),
    (
        score("composition"),
        "region of four numbers: line 3 has",
        {COCO: lambda old: old.replace(b"0.0;0.0;30.0;30.0", b"0;0;inf;9")},
    ),
    (score("domains"), "not a path and a number: line 6 has", {DOMAINS: lambda old: old + b"x.jpg five\n"}),
    (
        score("domains"),
        "not a path and a number: line 6 has",
        {DOMAINS: lambda old: old + b"x.jpg " + b"9" * 5000},
    ),
    (score("domains"), "that lead out of the folder", {DOMAINS: lambda old: old + b"../../etc/x.jpg 5\n"}),
)
PICTURES = rows(
    "pictures and searches",
    (search("", image="gone.png"), "image missing: gone.png"),
    (search("", image="full"), "image missing: full"),
    (
        search(""),
        ("photos/0.png cannot be decoded as an image", "cannot identify"),
        {"photos/0.png": "no picture"},
    ),
    (
        search("", image="a.svg"),
        "a.svg cannot be decoded as an image",
        {"a.svg": '<svg xmlns="http://www.w3.org/2000/svg"/>'},
    ),
    (
        search("", image="a.png"),
        "a.png cannot be decoded as an image",
        {"a.png": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"},
    ),
    (search("", gallery="nowhere"), "gallery='nowhere': there is no such folder"),
    (search("", gallery="empty"), ("gallery='empty' holds no image (.jpg", "no file")),
    (search("", gallery="full"), ("gallery='full' holds no image (.jpg", "1 no ending")),
    (
        search("", gallery="one", image="one/a.png"),
        "nothing is left of 1 files without the image",
        {"one/a.png": png()},
    ),
    (search("-k 0"), "k is 0; legal: whole numbers from 1"),
    (search("-k many"), "Invalid value for -k: 'many' is no whole number"),
    (search("--out x.doc"), ("out is 'x.doc'; legal: a file that ends in .", ".png")),
    (search("--out nowhere/x.png"), "out is 'nowhere/x.png': there is no folder"),
    (search("--out photos/1.png"), "out is 'photos/1.png', a picture that is searched; legal: "),
    (search("--method best"), "method is 'best'; legal: image, text, image+text, slerp, inversion"),
    (search("--prompt 'a photo'"), "'a photo' is not one of 'pic2word', 'searle' nor a template"),
    (search("--cleaning soap"), "cleaning is 'soap'; legal: none, strip, lower"),
    (search("--preprocessing crop"), "preprocessing is 'crop'; legal: clip, targetpad"),
    (search("--weight 3"), "weight=3.0 is not a number from 0 to 1"),
    (search("--precision fp8"), "precision is 'fp8'; legal: fp32, bf16"),
)


BOMB = bytes(20_000_000)
OTHERS = {
    "tiny/open_clip_config.json": keys(weights_sha256=...),
    "tiny/pocket.safetensors": None,
    "tiny/model.safetensors": safetensors_file(),
}
FITTED = ("phi.safetensors", "config.json", "history.csv", "key.json")
PHI = '{"phi": {"dim_in": 32, "dim_out": 48}, "config": {"steps": 5}, "record": {}, "files": {}}'


def other_weights(words):
    """An evaluation with a file of weights for the small architecture."""
    return f"evaluate cirr --root cirr --method image --backbone ViT-B-32 --pretrained {words}"


def with_phi(words):
    """An evaluation with a network of others."""
    return f"evaluate cirr --root cirr --backbone tiny --inversion {words}"


WEIGHTS = rows(
    "weights and checkpoints",
    (score("cirr").replace("tiny", "ViT-B-23"), ("ViT-B-32", "'ViT-B-23'")),
    (other_weights("openia"), "pretrained is 'openia'; legal for ViT-B-32: openai, "),
    (score("cirr", "--pretrained openai"), "pretrained must be None for 'tiny'"),
    (score("cirr", "--quick-gelu"), "quick_gelu must be None where no weights file is named, got True"),
    (other_weights("w.pt"), "w.pt is empty, not weights", {"w.pt": b""}),
    (other_weights("w.pt"), "w.pt is a web page, not weights", {"w.pt": "<html>404</html>"}),
    (
        other_weights("w.pt"),
        ("w.pt is a Git-LFS pointer", "git lfs pull"),
        {"w.pt": "version https://git-lfs"},
    ),
    (other_weights("w.pt"), "w.pt is cut short, or no weights file", {"w.pt": b"\x80\x02junk"}),
    (other_weights("w.pt"), ("w.pt is cut short, or no weights", "it holds code"), {"w.pt": pickled()}),
    (other_weights("w.pt"), "w.pt is cut short, or no weights", {"w.pt": old_pickle()}),
    (other_weights("w.pt"), "w.pt is cut short, or no weights", {"w.pt": zip_of(a="b")}),
    (score("cirr"), "model.safetensors holds weights of another architecture", OTHERS),
    (score("cirr"), "tiny needs open_clip_config.json and one of", {"tiny/open_clip_config.json": None}),
    (
        other_weights("w.pt"),
        ("w.pt has", "unpacked 20,000,000; legal: "),
        {"w.pt": zip_of(zipfile.ZIP_DEFLATED, a=BOMB)},
    ),
    (score("cirr"), "open_clip_config.json is no JSON", {"tiny/open_clip_config.json": "{"}),
    (score("cirr"), "open_clip_config.json has no 'model_cfg'", {"tiny/open_clip_config.json": "{}"}),
    (
        score("cirr"),
        ("is not the file that open_clip_config.json", "again"),
        {"tiny/pocket.safetensors": flipped},
    ),
    (with_phi("gone.pt"), "gone.pt does not exist"),
    (with_phi("gone"), "gone holds no whole inversion: missing phi.safetensors"),
    (with_phi("full"), "full holds no whole inversion: missing phi.safetensors"),
    (with_phi("phi.pt"), "phi.pt cannot be read as a file of weights", {"phi.pt": cut}),
    (with_phi("phi.pt"), "phi.pt cannot be read as a file of weights", {"phi.pt": b""}),
    (with_phi("phi.pt"), "phi.pt cannot be read as a file of weights", {"phi.pt": b"\x80\x02."}),
    (
        with_phi("phi.pt"),
        ("phi.pt cannot be read as a file of weights", "more than tensors"),
        {"phi.pt": pickled()},
    ),
    (with_phi("phi.pt"), "phi.pt cannot be read as a file of weights", {"phi.pt": old_pickle()}),
    (
        with_phi("phi.pt"),
        ("phi.pt has", "unpacked 20,000,000; legal: "),
        {"phi.pt": zip_of(zipfile.ZIP_DEFLATED, a=BOMB)},
    ),
    (
        with_phi("other.pt"),
        ("has no known layout", "legal: Pic2Word has"),
        {"other.pt": torch_file({"a": 1})},
    ),
    (with_phi("x.ckpt"), "x.ckpt is missing: it holds no checkpoint"),
    (
        with_phi("x.ckpt"),
        ("x.ckpt is damaged or cut off", "remove x.ckpt"),
        {"x.ckpt": lambda old: cut(pickled())},
    ),
    (with_phi("x.ckpt"), "x.ckpt is damaged or cut off", {"x.ckpt": old_pickle()}),
    (with_phi("x.ckpt"), ("x.ckpt is no checkpoint", "holds code"), {"x.ckpt": pickled()}),
    (with_phi("x.ckpt"), "x.ckpt is no checkpoint of a training", {"x.ckpt": zip_of(a="b")}),
    (with_phi("x.ckpt"), "x.ckpt is no checkpoint of a training", {"x.ckpt": torch_file({"a": 1})}),
    (
        with_phi("x.ckpt"),
        ("x.ckpt has", "unpacked 20,000,000; legal: "),
        {"x.ckpt": zip_of(zipfile.ZIP_DEFLATED, a=BOMB)},
    ),
    (with_phi("fit"), "fit/config.json is damaged or cut off", {f"fit/{name}": "x" for name in FITTED}),
    (with_phi("fit"), "fit/phi.safetensors is damaged or cut off", {f"fit/{name}": PHI for name in FITTED}),
    (with_phi("phi.pt --tau 0.5"), "--tau 0.5 does not fit phi.pt"),
)


SUBMISSIONS = rows(
    "submissions",
    ("submission check gone.json", "no such file: gone.json"),
    ("submission check full", "no such file: full"),
    (
        "submission check s.json",
        ("s.json is no submission", "'version' and 'metric' nor query ids"),
        {"s.json": '{"a": 1}'},
    ),
    ("submission check s.json", "files without entries", {"s.json": ""}),
    ("submission check s.json", "holds a JSON list", {"s.json": "[1]"}),
    ("submission check s.json", "files that are not whole JSON", {"s.json": '{"version": '}),
    (
        "submission check s.json",
        "wrong 'version' (must be 'rc2'): 'rc1'",
        {"s.json": '{"version": "rc1", "metric": "recall"}'},
    ),
    (
        "submission check s.json",
        "wrong 'metric' (must be 'recall' or 'recall_subset'): 'map'",
        {"s.json": '{"version": "rc2", "metric": "map"}'},
    ),
    ("submission check subset.json", "wrong numbers of queries (test1 has 4,148): 4 here"),
    (
        "submission check subset.json --root server",
        "entries that are not a list of strings: key 100",
        {"subset.json": keys(**{"100": [1, 2, 3]})},
    ),
    (
        "submission check subset.json --root server",
        "lists that do not hold 3: key 100 holds 1",
        {"subset.json": keys(**{"100": ["a"]})},
    ),
    (
        "submission check subset.json --root server",
        "queries left out: 100",
        {"subset.json": keys(**{"100": ...})},
    ),
    ("submission check subset.json --root server", "not a query's id: x", {"subset.json": keys(x=[])}),
    ("submission check subset.json --root nowhere", "root='nowhere': there is no such folder"),
    ("submission check subset.json --root server --split val", ("cap.rc2.val.json", "missing")),
    (
        "submission check circo.json",
        "lists with an image twice: 3 (key 7)",
        {"circo.json": keys(**{"7": [3] * 50})},
    ),
    (
        "submission check circo.json",
        "entries that are not a list of integers: key 7",
        {"circo.json": keys(**{"7": ["a"] * 50})},
    ),
    (
        "submission check circo.json",
        "keys used twice",
        {"circo.json": lambda old: old.replace(b"{", b'{"0": [], ', 1)},
    ),
    (
        score("genecis", "-p task change_object --submission out"),
        "genecis has no test server; submissions exist for 'cirr'",
    ),
    (score("cirr", "--submission full/x"), "full/x"),
)
VARIABLES = rows(
    "environment",
    (
        "pocket make --size tiny",
        ("full/x", "ZSCIR_ARTIFACTS names another folder"),
        {},
        {"ZSCIR_ARTIFACTS": "full/x"},
    ),
    (
        score("cirr"),
        ("full/x/y", "ZSCIR_ARTIFACTS names another folder"),
        {},
        {"ZSCIR_ARTIFACTS": "full/x/y"},
    ),
    (train("--batch 2"), ("WORLD_SIZE is 'two'", "legal: "), {}, {"WORLD_SIZE": "two"}),
    (train("--batch 2"), "WORLD_SIZE is '-1'; legal: ", {}, {"WORLD_SIZE": "-1"}),
)
CALLS = rows(
    "calls",
    (features((3, 4), (12, 4)), ("query_features", "4 rows", "[3, 4]")),
    (features((4, 4), (12, 5)), "query features are 4 wide, gallery features 5"),
    (
        features(np.full((4, 4), np.nan), (12, 4)),
        "query_features has 4 rows that are zero or not finite, first '100'",
    ),
    (lambda: zscir.Masking(tau="0.3"), "tau is '0.3'; legal: 0 <= tau <= 1"),
    (lambda: zscir.Masking(tau=10**400), "legal: 0 <= tau <= 1"),
    (lambda: zscir.TrainConfig(backbone=""), "backbone is ''; legal: a name or the path of a folder"),
    (lambda: zscir.compose_prompt("is red", "*"), "prompt style '*' is not one of 'pic2word', 'searle'"),
    (lambda: load_pairs("pairs", limit="3"), "limit is '3'; legal: None or whole numbers from 1"),
    (lambda: load_pairs("pairs\0"), "do not exist; legal: "),
    (lambda: zscir.load_benchmark("cirr", "ci\0rr"), "there is no such folder"),
    (
        lambda: zscir.load_benchmark("cirr", "cirr", allow_missing="yes"),
        "allow_missing is 'yes'; legal: True, False",
    ),
    (lambda: zscir.benchmark_root("", "huge"), "world is 'huge'; legal: tiny, small, large"),
    (lambda: open_picture(b"no picture", name="row 7"), "row 7 cannot be decoded as an image"),
    (lambda: grid({"tau": "0.2"}), "axis 'tau' is '0.2'; legal: a list of values"),
    (lambda: run_points(len, [], "out"), "points is empty: give at least one"),
    (lambda: artifact("../x", {}, print), "kind must be one folder name"),
    (lambda: zscir.load_inversion("x\0.pt"), "does not exist"),
)
ROWS = [
    *(*COMMANDS, *CHAPTERS, *SETTINGS, *PAIRS, *ANNOTATIONS),
    *(*PICTURES, *WEIGHTS, *SUBMISSIONS, *VARIABLES, *CALLS),
]
