"""What the rows of the table find in their folder: small benchmarks, pairs, photos, weights, submissions.

All of it is made once, small and right; a row spoils what it is about.
"""

import io
import json
import os
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

import torch
from benchmark_roots import (
    write_circo,
    write_cirr,
    write_composition,
    write_domains,
    write_fashioniq,
    write_genecis,
    write_image,
)
from PIL import Image
from safetensors.torch import save

from zscir.inversion.network import InversionNetwork

CAPTIONS = ("a dog on a sofa", "a red car", "an owl in a tree", "a boat on the sea", "a cat", "a bee")


def make_places(root: Path, tiny_folder: str) -> Path:
    """A folder with one of each, as the rows name them."""
    write_cirr(root / "cirr")
    write_cirr(root / "server", split="test1")
    for category in ("dress", "shirt", "toptee"):
        write_fashioniq(root / "fashioniq", category)
    write_circo(root / "circo")
    for task in ("change_object", "focus_attribute"):
        write_genecis(root / "genecis", task)
    write_composition(root / "composition")
    write_domains(root / "domains")
    for number in range(6):
        write_image(root / "pairs" / f"{number}.png", number)
        write_image(root / "photos" / f"{number}.png", 10 + number)
    lines = [f"{number}.png\t{caption}" for number, caption in enumerate(CAPTIONS)]
    (root / "pairs" / "table.tsv").write_text("\n".join(["file\tcaption", *lines]) + "\n", "utf-8")
    (root / "tars").mkdir()
    (root / "tars" / "0.tar").write_bytes(tar_of(("0.png", png()), ("0.txt", b"a dog")))
    shutil.copytree(tiny_folder, root / "tiny")
    phi = InversionNetwork(32, 48, 16, depth=2)
    torch.save({"Phi": {f"layers.{n}.{part}": tensor for n, part, tensor in _layers(phi)}}, root / "phi.pt")
    (root / "full").mkdir()
    (root / "full" / "x").touch()
    (root / "empty").mkdir()
    write_submissions(root)
    return root


def _layers(phi):
    for number, name in ((0, "layers.0"), (3, "layers.3")):
        yield number, "weight", phi.state_dict()[f"{name}.weight"]
        yield number, "bias", phi.state_dict()[f"{name}.bias"]


def write_submissions(root: Path) -> None:
    """Files as the servers take them, for CIRR's small test split and CIRCO's whole one."""
    entries = json.loads((root / "server/cirr/captions/cap.rc2.test1.json").read_text())
    lists = {
        str(entry["pairid"]): [m for m in entry["img_set"]["members"] if m != entry["reference"]][:3]
        for entry in entries
    }
    cirr = {"version": "rc2", "metric": "recall_subset", **lists}
    (root / "subset.json").write_text(json.dumps(cirr))
    circo = {str(number): list(range(50)) for number in range(800)}
    (root / "circo.json").write_text(json.dumps(circo))


def laid(places: Path, folder: Path, words: str) -> Path:
    """Those of the places that some words name, again in another folder, without copying a byte."""
    folder.mkdir()
    for place in places.iterdir():
        if place.is_file():
            os.link(place, folder / place.name)
        elif place.name in words:
            shutil.copytree(place, folder / place.name, copy_function=os.link)
    return folder


def spoil(path: Path, how) -> None:
    """Replace a file, which may be a link to that of all rows: by bytes, a text, JSON, or what a function
    makes of its bytes; None removes it."""
    old = path.read_bytes() if path.is_file() else b""
    if path.is_dir() and how is None:
        return shutil.rmtree(path)
    path.unlink(missing_ok=True)
    new = how(old) if callable(how) else how
    if new is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(new, (dict, list)):
        new = json.dumps(new)
    path.write_bytes(new.encode("utf-8", "surrogatepass") if isinstance(new, str) else new)


def entry(number=0, **changes):
    """A JSON list with changed keys in one of its entries; a value ... removes the key."""

    def change(old: bytes) -> str:
        entries = json.loads(old)
        entries[number] = {k: v for k, v in (entries[number] | changes).items() if v is not ...}
        return json.dumps(entries)

    return change


def keys(**changes):
    """A JSON object with changed keys; a value ... removes the key."""
    return lambda old: {k: v for k, v in (json.loads(old) | changes).items() if v is not ...}


def cut(old: bytes) -> bytes:
    """The first half of a file."""
    return old[: len(old) // 2]


def flipped(old: bytes) -> bytes:
    """A file with a bit flipped in its middle."""
    place = len(old) // 2
    return old[:place] + bytes([old[place] ^ 16]) + old[place + 1 :]


def png() -> bytes:
    """A small picture."""
    out = io.BytesIO()
    Image.new("RGB", (40, 30), (200, 40, 90)).save(out, "PNG")
    return out.getvalue()


def tar_of(*members) -> bytes:
    """Bytes of a tar; a member is a name and its bytes, or a TarInfo without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


class Bomb:
    """What makes a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("bomb-went-off"),)


def torch_file(content) -> bytes:
    """What torch writes."""
    out = io.BytesIO()
    torch.save(content, out)
    return out.getvalue()


def pickled() -> bytes:
    """A file of torch that runs code when its pickle is believed, in the place of every kind of weights."""
    weights = {"weight": torch.ones(2)}
    return torch_file({"Phi": weights, "state_dict": weights, "record": "{}", "more": Bomb()})


def old_pickle() -> bytes:
    """The same as torch wrote before its archives."""
    return pickle.dumps({"Phi": Bomb()}, protocol=2)


def safetensors_file() -> bytes:
    """Weights of nothing we know."""
    return save({"a": torch.ones(2)})


def zip_of(compression=zipfile.ZIP_STORED, **members) -> bytes:
    """A zip that is no file of torch."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()
