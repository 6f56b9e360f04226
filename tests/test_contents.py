"""Features belong to the bytes of users' files: equal names, sizes and times never mix them up."""

import io
import os
import tarfile

import numpy as np
import pytest
import torch
from benchmark_roots import write_cirr
from PIL import Image

from zscir.benchmarks import load_benchmark
from zscir.pairs import load_pairs
from zscir.pairs.features import image_features
from zscir.retrieval.features import file_features, gallery_features
from zscir.storage.contents import FilePart, content_hash, content_hashes, files_below, stamp_of


def bmp(seed):
    """A picture; all have the same number of bytes."""
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "BMP")
    return out.getvalue()


def write_table(folder, first):
    (folder / "c.csv").write_text("file,caption\n0.bmp,a dog\n1.bmp,a cat\n", "utf-8")
    for number in (0, 1):
        (folder / f"{number}.bmp").write_bytes(bmp(number + first))
    return folder


def write_tar(folder, first):
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number in (0, 1):
            for suffix, data in ((".bmp", bmp(number + first)), (".txt", b"a dog")):
                entry = tarfile.TarInfo(f"{number}{suffix}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return folder


def dataset(first):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    cells = [{"bytes": bmp(number + first), "path": None} for number in (0, 1)]
    kinds = Features({"image": ImageFeature(), "caption": Value("string")})
    return Dataset.from_dict({"image": cells, "caption": ["a dog", "a cat"]}, features=kinds)


def write_parquet(folder, first):
    dataset(first).to_parquet(str(folder / "p.parquet"))
    return folder


def write_saved(folder, first):
    dataset(first).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def write_stream(folder, first):
    write_parquet(folder, first)
    return f"stream:{folder}"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))


def same_times(folder):
    for path in files_below(folder):
        os.utime(path, (1_000_000_000, 1_000_000_000))


@pytest.mark.parametrize("write", [write_table, write_tar, write_parquet, write_saved, write_stream])
def test_pairs_of_equal_names_sizes_and_times_have_their_own_features(tiny_backbone, tmp_path, write):
    (tmp_path / "own").mkdir()
    found = []
    for first in (0, 2, 0):
        source = write(tmp_path / "own", first)
        same_times(tmp_path / "own")
        pairs = load_pairs(source)
        found.append(image_features(tiny_backbone, pairs, progress=False))
        pixels = torch.stack([tiny_backbone.preprocess(image) for image in pairs.images])
        assert pairs.images[1].tobytes() == Image.open(io.BytesIO(bmp(first + 1))).tobytes()
        assert torch.allclose(found[-1], tiny_backbone.encode_images(pixels), atol=1e-5)
    assert not torch.allclose(found[0], found[1], atol=1e-3) and torch.equal(found[0], found[2])


def test_label_maps_are_part_of_the_content(tmp_path):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    prints = set()
    for name, seed in (("a", 5), ("b", 6)):
        cells = {"image": bmp(0), "labels": bmp(seed)}
        columns = {key: [{"bytes": data, "path": None}] for key, data in cells.items()}
        columns |= {"caption": ["a dog"], "scene": ["{}"]}
        kinds = {"image": ImageFeature(), "labels": ImageFeature(), "caption": Value("string")}
        table = Dataset.from_dict(columns, features=Features(kinds | {"scene": Value("string")}))
        table.save_to_disk(str(tmp_path / name))
        prints.add(load_pairs(tmp_path / name).fingerprint)
    assert len(prints) == 2


@pytest.mark.parametrize("write", [write_table, write_tar])
def test_a_file_that_changed_after_loading_is_not_encoded_under_the_old_name(tiny_backbone, tmp_path, write):
    pairs = load_pairs(write(tmp_path, 0))
    write(tmp_path, 2)
    with pytest.raises(ValueError, match=r"0\.(bmp|tar) has changed since it was loaded"):
        image_features(tiny_backbone, pairs, progress=False)
    again = image_features(tiny_backbone, load_pairs(write(tmp_path, 0)), progress=False)
    assert again.isfinite().all()


def test_benchmarks_and_galleries_go_by_bytes(tiny_backbone, tmp_path):
    root = write_cirr(tmp_path / "root")
    first = gallery_features(tiny_backbone, load_benchmark("cirr", root))
    pictures = [tmp_path / "root" / "dev" / f"dev-0-{number}-img0.png" for number in (0, 1)]
    before = file_features(tiny_backbone, pictures)
    for path, seed in zip(pictures, (8, 9), strict=True):
        path.write_bytes(bmp(seed))
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert not torch.allclose(file_features(tiny_backbone, pictures), before, atol=1e-3)
    pictures[0].write_bytes(bmp(10))
    os.utime(pictures[0], (1_000_000_000, 1_000_000_000))
    changed = gallery_features(tiny_backbone, load_benchmark("cirr", root))
    own = tiny_backbone.encode_images(tiny_backbone.preprocess(Image.open(pictures[0]))[None])
    assert torch.allclose(changed[0], own[0], atol=1e-5) and torch.equal(changed[2:], first[2:])


def test_a_gallery_that_changes_while_it_is_encoded_is_not_stored(tiny_backbone, tmp_path, monkeypatch):
    (tmp_path / "a.bmp").write_bytes(bmp(0))
    encode = tiny_backbone.encode_images

    def change(pixels, **how):
        (tmp_path / "a.bmp").write_bytes(bmp(1))
        return encode(pixels, **how)

    with monkeypatch.context() as patch, pytest.raises(ValueError, match="changed while they were encoded"):
        patch.setattr(tiny_backbone, "encode_images", change)
        file_features(tiny_backbone, [tmp_path / "a.bmp"])


def test_a_chapter_runs_again_when_the_files_it_names_have_changed(tmp_path):
    from zscir.book.chapters import data_state

    write_cirr(tmp_path / "root")
    state = data_state(tmp_path, ["root", "tiny", "", 7])
    assert state == data_state(tmp_path, [str(tmp_path / "root")]) and len(state) > 10
    (tmp_path / "root" / "dev" / "dev-0-0-img0.png").write_bytes(bmp(3))
    assert state != data_state(tmp_path, ["root"]) and data_state(tmp_path, ["tiny", 7]) == []


def test_hashes_of_files_and_of_their_parts(tmp_path):
    paths = [tmp_path / name for name in "ab"]
    for path in paths:
        path.write_bytes(b"0123456789")
    assert content_hash(paths[0]) == "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    assert list(content_hashes(paths)) == [content_hash(paths[0])] * 2
    parts = {content_hash(paths[0], spans) for spans in ([(0, 5)], [(5, 5)], [(0, 2), (2, 3)])}
    assert len(parts) == 3
    part = FilePart(paths[0], stamp_of(paths[0].stat()), 2, 3)
    assert part.read() == b"234"
    paths[0].unlink()
    with pytest.raises(ValueError, match="has changed"):
        part.read()


@pytest.mark.posix
def test_files_below_follows_links_but_no_circle(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    for name in ("in/deep/a", "out/b"):
        (tmp_path / name).write_text("x", "utf-8")
    (tmp_path / "in" / "back").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "loop").symlink_to("loop")
    names = [str(path.relative_to(tmp_path / "in")) for path in files_below(tmp_path / "in")]
    assert names == ["loop", "deep/a", "linked/b"]
