"""Whatever annotation files, tars, captions, pictures and weights hold: read, or refused by an error of ours.

Each error names the file. No file outside the folder given is opened, to be read or written, and nothing goes
on for ever: what computes for `LIMIT` seconds is stopped.
"""

import io
import json
import os
import signal
import sys
import tarfile
import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from benchmark_roots import (
    write_circo,
    write_cirr,
    write_composition,
    write_domains,
    write_fashioniq,
    write_genecis,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from places import png, safetensors_file, tar_of, torch_file, write_submissions

from zscir.backbone.weights import read_weights
from zscir.benchmarks import load_benchmark
from zscir.inversion.checkpoints import load_checkpoint
from zscir.inversion.external import read_published
from zscir.nouns import find_nouns, mask_noun
from zscir.pairs import load_pairs
from zscir.retrieval import check_submission, compose_prompt
from zscir.storage.pictures import open_picture

#: Seconds of computing after which an example is a hang.
LIMIT = 60
#: Benchmark, options, and the file that is spoilt.
FILES = {
    "cirr/captions/cap.rc2.val.json": ("cirr", {}),
    "cirr/image_splits/split.rc2.val.json": ("cirr", {}),
    "captions/cap.dress.val.json": ("fashioniq", {"category": "dress"}),
    "image_splits/split.dress.val.json": ("fashioniq", {"category": "dress"}),
    "annotations/val.json": ("circo", {}),
    "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json": ("circo", {}),
    "genecis/change_object.json": ("genecis", {"task": "change_object"}),
    "genecis/focus_attribute.json": ("genecis", {"task": "focus_attribute"}),
    "coco/coco_eval.csv": ("composition", {}),
    "imgnet/imgnet_targets.txt": ("domains", {}),
}
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["../x.png", "/etc/passwd", "a\0b", "\ud83d", "."]
)
NUMBERS = st.integers() | st.floats() | st.sampled_from([10**400, -1, 0, 2**63])
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda own: st.lists(own, max_size=3) | st.dictionaries(TEXTS, own, max_size=3),
    max_leaves=6,
)
OPENED: list[str] | None = None


def note(event, args):
    """Remember which files are opened while `OPENED` is a list."""
    if OPENED is not None and event == "open" and isinstance(args[0], (str, bytes)):
        OPENED.append(os.fsdecode(args[0]))


sys.addaudithook(note)  # it stays, and does nothing outside of `watched`


@contextmanager
def watched(folder):
    """Inside the block files of ``folder`` and of the libraries may be opened, and no others; no hang."""
    global OPENED

    def stop(*_):
        raise AssertionError(f"still computing after {LIMIT} s")

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGVTALRM, stop)
        signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT)
    OPENED = []
    try:
        yield
    finally:
        opened, OPENED = OPENED, None
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    allowed = tuple(map(os.path.realpath, (folder, sys.prefix, sys.base_prefix, Path(__file__).parents[2])))
    outside = {path for path in opened if not os.path.realpath(path).startswith((*allowed, "/dev", "/proc"))}
    assert not outside


def refused(call, *named):
    """Whether a call refuses its input; the error is ours when it names one of some files."""
    try:
        call()
        return False
    except (ValueError, OSError) as error:
        assert any(str(name) in str(error) for name in named), repr(error)
        return True


@st.composite
def changed(draw, content):
    """JSON with one of its values replaced or removed, at any depth."""
    if isinstance(content, (list, dict)) and content and draw(st.integers(0, 4)):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        key, own = draw(st.sampled_from(keys)), content.copy()
        if draw(st.integers(0, 9)) == 0:
            del own[key]
        else:
            own[key] = draw(changed(content[key]))
        return own
    return draw(JSON)


@st.composite
def spoilt(draw, data):
    """Bytes of which some are changed, perhaps cut off."""
    new = bytearray(data)
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=4)):
        new[place] = draw(st.integers(0, 255))
    return bytes(new[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else new)


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp("roots")
    for write, name in ((write_cirr, "cirr"), (write_fashioniq, "fashioniq"), (write_circo, "circo")):
        write(root / name)
    for task in ("change_object", "focus_attribute"):
        write_genecis(root / "genecis", task)
    write_composition(root / "composition")
    write_domains(root / "domains")
    write_cirr(root / "server", split="test1")
    write_submissions(root)
    return root


@given(st.data())
def test_annotation_files(roots, data):
    file = data.draw(st.sampled_from(list(FILES)))
    name, options = FILES[file]
    path = roots / name / file
    whole = path.read_bytes()
    if path.suffix == ".json" and data.draw(st.integers(0, 3)):
        new = json.dumps(data.draw(changed(json.loads(whole)))).encode()
    else:
        new = data.draw(spoilt(whole))
    try:
        path.write_bytes(new)
        with watched(roots):
            refused(lambda: load_benchmark(name, roots / name, **options), roots / name)
    finally:
        path.write_bytes(whole)


@given(st.data())
def test_submissions(roots, data):
    whole = (roots / "subset.json").read_bytes()
    new = data.draw(changed(json.loads(whole)))
    path = roots / "changed.json"
    path.write_bytes(json.dumps(new).encode() if data.draw(st.booleans()) else data.draw(spoilt(whole)))
    cirr = load_benchmark("cirr", roots / "server", "test1", require_images=False)
    with watched(roots):
        refused(lambda: check_submission(path, cirr), path, "this is a file for circo")


NAMES = TEXTS.map(lambda text: text.replace("\0", "").encode(errors="ignore").decode()).filter(
    bool
) | st.sampled_from(
    ["0.png", "0.txt", "0.json", "../../0.png", "/etc/0.txt", "a/0.png", "a/0.txt", "._0.png"]
)
KINDS = [
    tarfile.REGTYPE,
    tarfile.DIRTYPE,
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.FIFOTYPE,
]
CONTENTS = (
    st.sampled_from([png(), png()[:40], b"a dog on a sofa", b'{"caption": "a cat"}', b""]) | st.binary()
)


@st.composite
def tars(draw):
    """A tar of any members, perhaps spoilt."""
    members = []
    for name in draw(st.lists(NAMES, max_size=6)):
        kind = draw(st.sampled_from(KINDS) if draw(st.integers(0, 4)) == 0 else st.just(tarfile.REGTYPE))
        if kind == tarfile.REGTYPE:
            members.append((name, draw(CONTENTS)))
        else:
            members.append(tarfile.TarInfo(name))
            members[-1].type, members[-1].linkname = kind, draw(st.sampled_from(["0.png", "/etc/passwd"]))
    whole = tar_of(*members)
    return draw(spoilt(whole)) if draw(st.booleans()) else whole


@given(tars())
def test_tars(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "tars"
    folder.mkdir(exist_ok=True)
    (folder / "0.tar").write_bytes(content)

    def read():
        for image in load_pairs(folder).images:
            assert image.mode == "RGB"

    with watched(folder):
        refused(read, "0.tar", str(folder))
    assert [path.name for path in folder.iterdir()] == ["0.tar"]


@given(st.text(st.characters(), max_size=60) | TEXTS)
def test_captions(tmp_path_factory, tiny_backbone, caption):
    folder = tmp_path_factory.getbasetemp() / "captions"
    folder.mkdir(exist_ok=True)
    members = [("0.png", png()), ("0.json", json.dumps({"caption": caption}).encode())]
    (folder / "0.tar").write_bytes(tar_of(*members))

    def read():
        (found,) = load_pairs(folder).captions
        assert found == caption
        (nouns,) = find_nouns([caption])
        masked = [mask_noun(caption, noun) for noun in nouns]
        assert all(mask.count("*") == 1 for mask in masked)
        tiny_backbone.encode_texts([compose_prompt(caption[:20])])

    with watched(folder), warnings.catch_warnings(action="ignore"):  # texts are cut
        refused(read, folder, "0.tar")


def encoded(kind):
    """A small picture as bytes of a format."""
    out = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).convert("RGB").save(out, kind)
    return out.getvalue()


PICTURES = {kind: encoded(kind) for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA")}


@given(st.sampled_from(sorted(PICTURES)).flatmap(lambda kind: spoilt(PICTURES[kind])) | st.binary())
def test_pictures(tmp_path_factory, content):
    with watched(tmp_path_factory.getbasetemp()):
        refused(lambda: open_picture(content, name="row 7"), "row 7")


LINEAR = {"layers.0.weight": torch.ones(3, 2), "layers.0.bias": torch.ones(3)}
WEIGHTS = {
    "w.pt": (read_weights, torch_file({"logit_scale": torch.ones(())})),
    "w.safetensors": (read_weights, safetensors_file()),
    "phi.pt": (read_published, torch_file({"Phi": LINEAR})),
    "step.ckpt": (load_checkpoint, torch_file({"record": "{}", "phi": torch.ones(3)})),
}


@given(st.data())
def test_weights(tmp_path_factory, data):
    name = data.draw(st.sampled_from(list(WEIGHTS)))
    read, whole = WEIGHTS[name]
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(data.draw(spoilt(whole)))
    with watched(tmp_path_factory.getbasetemp()):
        refused(lambda: read(path), path)
