"""The page *Train on CC3M*: its commands run, on small tars as img2dataset writes them; its sums hold."""

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from zscir import cli
from zscir.backbone.weights import build_model, save_backbone
from zscir.inversion import InversionNetwork
from zscir.storage.paths import REPO

PAGE = (REPO / "book" / "train_cc3m.md").read_text("utf-8")
#: What is smaller here than on the page.
SMALLER = {"--batch": "8", "--epochs": "1", "--warmup": "1", "--nproc_per_node": "2", "--precision": "fp32"}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def commands(start):
    """Commands of the page as lists of words."""
    lines = "\n".join(blocks("shell")).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith(start)]


@pytest.fixture
def cc3m(tmp_path):
    """Two shards as img2dataset writes them."""
    folder = tmp_path / "cc3m"
    folder.mkdir()
    rng = np.random.default_rng(0)
    things = ["dog", "boat", "tree", "house"]
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for number in range(12):
                stem = f"{shard:05d}{number:04d}"
                picture = io.BytesIO()
                colours = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(colours).resize((40, 32)).save(picture, "JPEG")
                caption = f"a {things[number % 4]} near the {things[(number + shard + 1) % 4]}"
                meta = json.dumps({"caption": caption, "url": "http://x", "key": stem, "status": "success"})
                for suffix, data in ((".jpg", picture.getvalue()), (".txt", caption), (".json", meta)):
                    data = data.encode() if isinstance(data, str) else data
                    entry = tarfile.TarInfo(stem + suffix)
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        (folder / f"{shard:05d}_stats.json").write_text("{}", "utf-8")
        (folder / f"{shard:05d}.parquet").write_bytes(b"PAR1")
    return folder


@pytest.fixture
def small(tmp_path, cc3m, make_tiny_config, monkeypatch):
    """A command of the page with small numbers, a tiny backbone and the tars from above."""
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    config = make_tiny_config()
    tiny = str(save_backbone(build_model(config["model_cfg"]), config, tmp_path / "tiny"))
    names = {"/data/cc3m": str(cc3m), "/data/cirr": "pocket-tiny", "ViT-L-14": tiny}

    def smaller(words, **more):
        words = [{**names, **more}.get(word, word) for word in words]
        words = [SMALLER.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        place = words.index("--pretrained")
        return words[:place] + words[place + 2 :]  # a folder brings its weights

    return smaller


@pytest.mark.slow
def test_train_and_score(small, capsys):
    trainings = commands("zscir train")
    assert len(trainings) == 2
    for words in trainings:
        assert cli.main(small(words)[1:]) == 0
        network = re.search(r"the network: (\S+)", capsys.readouterr().out)[1]
    (score,) = (words for words in commands("zscir evaluate") if "NETWORK" in words)
    assert cli.main(small(score, NETWORK=network)[1:]) == 0
    assert "recall@1 " in capsys.readouterr().out


KINDS = ("nouns", "image-features", "cams", "masked-features")
#: What the processes of torchrun import first: shards of four pairs, a line for each that is written, and the
#: second process kills itself before its third, the first time that it is started; the second time it comes
#: late, and must not be looked for where the dead one was.
DEADLY = """
import os, signal, time
if os.environ.get("RANK") == os.environ.get("TORCHELASTIC_RESTART_COUNT") == "1":
    time.sleep(3)
if "RANK" in os.environ:
    from zscir.pairs import features
    from zscir.storage.shards import Layer
    features.SHARD, write, mine = 4, Layer.write, []

    def noted(layer, index, columns):
        mine.append(index)
        if (os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"], len(mine)) == ("1", "0", 3):
            os.kill(os.getpid(), signal.SIGKILL)
        write(layer, index, columns)
        with open(os.environ["NOTES"], "a") as notes:
            notes.write(f"{os.environ['RANK']} {layer.kind} {index}\\n")

    Layer.write = noted
"""


@pytest.mark.thorough
@pytest.mark.posix
@pytest.mark.slow
def test_several_processes_of_which_one_is_killed(small, tmp_path, monkeypatch):
    """Each makes shards, nothing is lost or made twice, and the results are the bytes of one process."""
    (words,) = commands("torchrun")
    words, notes = small(words), tmp_path / "notes"
    (tmp_path / "sitecustomize.py").write_text(DEADLY, "utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", *words[1:]]
    env = {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tmp_path}{os.pathsep}{REPO}", "NOTES": str(notes)}
    done = subprocess.run(
        launch, capture_output=True, text=True, env={**os.environ, **env}, cwd=REPO, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "exitcode: -9" in done.stderr
    assert done.stdout.count("the network: ") == 1
    ranks, parts = zip(*(line.split(" ", 1) for line in notes.read_text("utf-8").splitlines()), strict=True)
    assert set(ranks) == {"0", "1"} and len(set(parts)) == len(parts)
    several = files_of(tmp_path / "artifacts")
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "one"))
    monkeypatch.setattr("zscir.pairs.features.SHARD", 4)
    assert cli.main(words[words.index("zscir") + 1 :]) == 0
    assert several == files_of(tmp_path / "one") and {path.parts[0] for path in several} == set(KINDS)


def files_of(artifacts):
    """Bytes of what masked pairs are made of."""
    files = {path for kind in KINDS for path in (artifacts / kind).rglob("*") if path.is_file()}
    return {path.relative_to(artifacts): path.read_bytes() for path in files}


def test_published_networks_are_scored(small, tmp_path, capsys):
    import torch

    state = InversionNetwork(32, 48).state_dict()
    torch.save({"epoch": 1, "Phi": state}, tmp_path / "SEARLE_ViT-L14.pt")
    (words,) = (one for one in commands("zscir evaluate") if "SEARLE_ViT-L14.pt" in one)
    found = {"SEARLE_ViT-L14.pt": str(tmp_path / "SEARLE_ViT-L14.pt")}
    assert cli.main(small(words, **found)[1:]) == 0
    assert "recall@1 " in capsys.readouterr().out


def test_the_pairs_are_read(cc3m):
    (code,) = blocks("python")
    lines = code.replace("/data/cc3m", str(cc3m)).strip().splitlines()
    room: dict = {}
    exec("\n".join(lines[:-1]), room)
    assert eval(lines[-1], room) == 24


def test_the_sums_are_right():
    pairs, weights = 2_905_954, sum(p.numel() for p in InversionNetwork(768, 768).parameters())
    assert f"{pairs:,}" in PAGE and f"{weights:,} × 4 × 4 | {weights * 16 / 1e9:.2f} GB" in PAGE
    assert PAGE.count(f"768 × 4 a pair | {pairs * 768 * 4 / 1e9:.2f} GB") == 2
    assert f"16 × 16 × 2 a pair | {pairs * 16 * 16 * 2 / 1e9:.2f} GB" in PAGE
