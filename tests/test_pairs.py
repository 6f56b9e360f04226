"""Pairs from every kind of source, and masked pairs made of them."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from zscir.pairs import Pairs, build_masked_pairs, load_pairs, masked_pairs_at
from zscir.pairs.features import image_features, readable_rows
from zscir.regions import keep_mask, mask_image, noun_cams

NOUNS = ["dog", "cat", "owl", "car", "tree", "boat"]


def draw(seed, size=(40, 32)):
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))
    x, y = rng.integers(2, 20, 2)
    ImageDraw.Draw(image).ellipse((x, y, x + 14, y + 10), fill=tuple(int(c) for c in rng.integers(0, 255, 3)))
    return image


def caption(row):
    return f"a {NOUNS[row % 6]} and a {NOUNS[(row // 6 + row + 1) % 6]} on the beach"


def png(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_folder(folder, count=12, captions=None):
    folder.mkdir(parents=True, exist_ok=True)
    rows = ["file\tcaption"]
    for row in range(count):
        draw(row).save(folder / f"{row:03}.png")
        rows.append(f"{row:03}.png\t{captions[row] if captions else caption(row)}")
    (folder / "captions.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder


def write_tar(path, rows, meta=".txt"):
    with tarfile.open(path, "w") as tar:
        for row in rows:
            text = caption(row).encode() if meta == ".txt" else json.dumps({"caption": caption(row)}).encode()
            for suffix, data in ((".png", png(draw(row))), (meta, text)):
                entry = tarfile.TarInfo(f"{row:05}{suffix}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    root = tmp_path / "artifacts"
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(root))
    return root


@pytest.fixture
def pairs(tmp_path):
    return load_pairs(write_folder(tmp_path / "mine"))


def folders(artifacts):
    return {kind.name: len(list(kind.iterdir())) for kind in artifacts.glob("[!.]*")}


def drawn_pairs(count=6):
    """Pairs with label maps: the left half of an image is a dog, the right half belongs to the place."""
    labels = np.zeros((32, 32), np.uint8)
    labels[:, :16] = 1
    objects = {"place": "beach", "objects": [{"noun": "dog", "label": 1}]}
    images = [draw(row, (32, 32)) for row in range(count)]
    captions = ["a puppy", "a dog", "the beach", "a helicopter", "puppies", "it is"][:count]
    return Pairs(
        "drawn",
        captions,
        images,
        "drawn",
        [json.dumps(objects)] * count,
        lambda index: Image.fromarray(labels),
        {"puppy": {"dog"}},
    )


# ------------------------------------------------------------------------------------------------ sources


def test_table_folder_and_table_file_and_csv(tmp_path, pairs):
    assert len(pairs) == 12 and pairs.captions[3] == caption(3)
    assert pairs.images[3].mode == "RGB" and pairs.images[3].tobytes() == draw(3).tobytes()
    by_file = load_pairs(tmp_path / "mine" / "captions.tsv")
    assert by_file.fingerprint == pairs.fingerprint
    text = (tmp_path / "mine" / "captions.tsv").read_text("utf-8").replace("\t", ",")
    (tmp_path / "mine" / "captions.csv").write_text(text, "utf-8")
    assert load_pairs(tmp_path / "mine" / "captions.csv").fingerprint == pairs.fingerprint
    with pytest.raises(FileNotFoundError, match="needed is one .tsv or .csv table, found 2"):
        load_pairs(tmp_path / "mine")


def test_fingerprint_changes_with_content_and_limit(tmp_path, pairs):
    prints = {pairs.fingerprint, load_pairs(tmp_path / "mine", limit=5).fingerprint}
    captions = [caption(row) for row in range(12)]
    prints.add(load_pairs(write_folder(tmp_path / "b", captions=["a cow", *captions[1:]])).fingerprint)
    (tmp_path / "mine" / "000.png").write_bytes(png(Image.new("RGB", (9, 9))))
    prints.add(load_pairs(tmp_path / "mine").fingerprint)
    assert len(prints) == 4


@pytest.mark.parametrize("meta", [".txt", ".json"])
def test_tars(tmp_path, meta):
    write_tar(tmp_path / "00.tar", range(4), meta)
    write_tar(tmp_path / "01.tar", range(4, 7), meta)
    whole = load_pairs(tmp_path)
    assert whole.captions == [caption(row) for row in range(7)]
    assert whole.images[6].tobytes() == draw(6).tobytes()
    assert load_pairs(tmp_path / "0*.tar").fingerprint == whole.fingerprint
    assert load_pairs(tmp_path / "01.tar").captions == whole.captions[4:]
    assert load_pairs(tmp_path, limit=5).captions == whole.captions[:5]


def test_truncated_tar_is_named(tmp_path):
    write_tar(tmp_path / "00.tar", range(4))
    data = (tmp_path / "00.tar").read_bytes()
    for cut in (512 * 2 + 100, 300):
        (tmp_path / "00.tar").write_bytes(data[:cut])
        with pytest.raises(ValueError, match=r"00\.tar is no whole tar file"):
            load_pairs(tmp_path)


def test_saved_dataset(tmp_path):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    labels = np.zeros((32, 40), np.uint8)
    labels[:, :10] = 1
    scene = json.dumps({"objects": [{"noun": "dog", "label": 1}]})
    columns = {
        "image": [{"bytes": png(draw(row)), "path": None} for row in range(5)],
        "caption": [caption(row) for row in range(5)],
        "scene": [scene] * 5,
        "labels": [{"bytes": png(Image.fromarray(labels)), "path": None}] * 5,
    }
    kinds = {
        "image": ImageFeature(),
        "caption": Value("string"),
        "scene": Value("string"),
        "labels": ImageFeature(),
    }
    Dataset.from_dict(columns, features=Features(kinds)).save_to_disk(str(tmp_path / "saved"))
    pairs = load_pairs(tmp_path / "saved", limit=4)
    assert len(pairs) == len(pairs.images) == 4
    assert pairs.images[2].tobytes() == draw(2).tobytes()
    assert pairs.true_mask(1, "dog").sum() == 320 and pairs.true_mask(1, "cat") is None
    assert pairs.fingerprint == load_pairs(tmp_path / "saved", limit=4).fingerprint


def test_true_mask_knows_synonyms_and_the_place(pairs):
    drawn = drawn_pairs()
    assert drawn.true_mask(0, "puppy").sum() == drawn.true_mask(0, "dog").sum() == 512
    assert np.array_equal(drawn.true_mask(0, "beach"), ~drawn.true_mask(0, "dog"))
    assert drawn.true_mask(0, "cow") is None
    with pytest.raises(ValueError, match="have no label maps"):
        pairs.true_mask(0, "dog")


@pytest.mark.slow
def test_pocket_pairs_have_true_masks():
    pairs = load_pairs("pocket-tiny", limit=60)
    assert len(pairs) == 60 and pairs.has_true_masks
    masks = [pairs.true_mask(row, json.loads(pairs.scenes[row])["objects"][0]["noun"]) for row in range(60)]
    assert all(mask.any() and mask.shape == pairs.images[0].size for mask in masks)
    assert {"dog"} <= pairs.synonyms["puppy"] and "beach" in pairs.synonyms["beach"]


def test_source_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="do not exist; legal: pocket-<size>"):
        load_pairs(tmp_path / "nothing")
    with pytest.raises(ValueError, match="limit is 0"):
        load_pairs(tmp_path, limit=0)
    folder = write_folder(tmp_path / "holes")
    for name in ("002", "005"):
        (folder / f"{name}.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"2 of 12 images do not exist: .*002\.png, .*005\.png"):
        load_pairs(folder)
    (folder / "captions.tsv").write_text("path\ttext\na\tb\n")
    with pytest.raises(ValueError, match=r"columns are \['path', 'text'\]; needed, each once: file, caption"):
        load_pairs(folder)
    (folder / "captions.tsv").write_text("file\tcaption\n")
    with pytest.raises(ValueError, match="hold no image with a caption"):
        load_pairs(folder)
    (folder / "captions.tsv").write_text("file\tcaption\n001.png\n")
    with pytest.raises(ValueError, match=r"caption of row 0 \(image 001\.png\) is None"):
        load_pairs(folder)


# ------------------------------------------------------------------------------------------- masked pairs


def test_image_features_are_those_of_the_backbone_and_stored(tiny_backbone, pairs, artifacts):
    features = image_features(tiny_backbone, pairs)
    pixels = torch.stack([tiny_backbone.preprocess(pairs.images[row]) for row in range(12)])
    assert features.dtype == torch.float32
    assert torch.allclose(features, tiny_backbone.encode_images(pixels), atol=1e-5)
    (stored,) = (artifacts / "image-features").glob("*/features.npy")
    before = stored.stat().st_mtime_ns
    assert torch.equal(image_features(tiny_backbone, pairs), features)
    assert stored.stat().st_mtime_ns == before


def break_image(path):
    path.write_bytes(path.read_bytes()[:200])


def test_unreadable_images_are_skipped_counted_and_listed(tiny_backbone, tmp_path):
    folder = write_folder(tmp_path / "broken")
    for name in ("003", "007"):
        break_image(folder / f"{name}.png")
    pairs = load_pairs(folder)
    features = image_features(tiny_backbone, pairs)
    assert readable_rows(features).tolist() == [row for row in range(12) if row not in (3, 7)]
    for masked in (
        build_masked_pairs(tiny_backbone, pairs),
        build_masked_pairs(tiny_backbone, pairs, mask_source="none"),
        build_masked_pairs(tiny_backbone, pairs, mask_source="random", nouns="all"),
    ):
        assert masked.report["unreadable"] == 2 and set(masked.rows.tolist()) == set(range(12)) - {3, 7}
        assert masked.image_features.isfinite().all() and masked.masked_features.isfinite().all()
        assert [row for row, _ in masked.skipped["unreadable"]] == [3, 7]
        assert "image 3 (003.png)" in masked.skipped["unreadable"][0][1]


@pytest.mark.parametrize("lam", [0.0, 0.5])
def test_training_passes_over_unreadable_images(tiny_backbone, tmp_path, lam):
    from zscir.inversion import TrainConfig, fit

    folder = write_folder(tmp_path / "broken")
    break_image(folder / "003.png")
    sizes = {"steps": 3, "warmup": 1, "batch": 11, "hidden": 16}
    inversion = fit(TrainConfig(pairs=str(folder), lam=lam, **sizes), backbone=tiny_backbone, progress=False)
    assert inversion.history["loss"].notna().all()
    with pytest.raises(ValueError, match="batch is 12, but of pairs .* only 11 can be drawn"):
        config = TrainConfig(pairs=str(folder), lam=lam, **sizes | {"batch": 12})
        fit(config, backbone=tiny_backbone, progress=False)


def test_too_much_left_out_stops_the_work(tiny_backbone, tmp_path, artifacts):
    folder = write_folder(tmp_path / "broken")
    for name in ("003", "007", "010"):
        break_image(folder / f"{name}.png")
    message = (
        r"3 of 12 are left out \(unreadable 3\), more than max_skipped = 0.2 allows: image 3 \(003\.png\)"
    )
    for build in (image_features, build_masked_pairs):
        with pytest.raises(ValueError, match=message):
            build(tiny_backbone, load_pairs(folder))
    assert not list(artifacts.glob("image-features/*"))
    masked = build_masked_pairs(tiny_backbone, load_pairs(folder), max_skipped=0.25)
    assert masked.report["masked"] == 9
    with pytest.raises(ValueError, match=r"3 of 12 are left out"):  # also when all is stored
        build_masked_pairs(tiny_backbone, load_pairs(folder))
    captions = ["it is here"] * 4 + [caption(row) for row in range(8)]
    with pytest.raises(ValueError, match=r"4 of 12 .*without_noun 4.*caption 0: 'it is here'"):
        build_masked_pairs(tiny_backbone, load_pairs(write_folder(tmp_path / "mute", captions=captions)))


def test_masked_pairs_line_up(tiny_backbone, tmp_path):
    captions = [caption(row) for row in range(12)]
    captions[4] = "it is here"
    captions[9] = "very " * 30 + "big dog"
    pairs = load_pairs(write_folder(tmp_path / "some", captions=captions))
    masked = build_masked_pairs(tiny_backbone, pairs)
    assert masked.rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 10, 11]
    assert {k: masked.report[k] for k in ("pairs", "masked", "without_noun", "beyond_context")} == {
        "pairs": 12,
        "masked": 10,
        "without_noun": 1,
        "beyond_context": 1,
    }
    assert 0 < masked.report["mean_kept_area"] < 1
    for row, noun, text in zip(masked.rows.tolist(), masked.nouns, masked.masked_captions, strict=True):
        assert text.replace("*", noun) == captions[row]
    assert torch.equal(masked.image_features, image_features(tiny_backbone, pairs)[masked.rows])
    assert masked.masked_features.shape == (10, 32) and masked.masked_features.dtype == torch.float32
    assert torch.allclose(masked.masked_features.norm(dim=1), torch.ones(10), atol=1e-5)
    ids = tiny_backbone.tokenize(masked.masked_captions)
    assert ((ids == tiny_backbone.placeholder_id).sum(dim=1) == 1).all()


def test_masked_feature_is_the_masked_images(tiny_backbone, pairs):
    masked = build_masked_pairs(tiny_backbone, pairs, tau=0.4, fill="black")
    pixels = torch.stack([tiny_backbone.preprocess(pairs.images[row]) for row in range(12)])
    cams = torch.cat(noun_cams(tiny_backbone, pixels, [[noun] for noun in masked.nouns]))
    kept = keep_mask(cams, 0.4)
    seen = mask_image(pixels, kept, "black", tiny_backbone.mean, tiny_backbone.std)
    expected = tiny_backbone.encode_images(seen)
    close = (masked.masked_features * expected).sum(dim=1) > 0.999  # maps are stored in half precision
    assert close.float().mean() >= 0.9
    assert masked.report["mean_kept_area"] == pytest.approx(kept.float().mean().item(), abs=0.01)


def test_dropped_patches_come_through_to_the_masked_features(tiny_backbone, pairs, make_tiny_backbone):
    from zscir.regions.token_drop import encode_kept

    masked = build_masked_pairs(tiny_backbone, pairs, tau=0.4, fill="drop")
    pixels = torch.stack([tiny_backbone.preprocess(pairs.images[row]) for row in range(12)])
    cams = torch.cat(noun_cams(tiny_backbone, pixels, [[noun] for noun in masked.nouns]))
    expected = encode_kept(tiny_backbone, pixels, keep_mask(cams, 0.4))
    close = (masked.masked_features * expected).sum(dim=1) > 0.999  # maps are stored in half precision
    assert close.float().mean() >= 0.9
    assert not torch.allclose(
        masked.masked_features, build_masked_pairs(tiny_backbone, pairs, tau=0.4).masked_features, atol=1e-3
    )
    resnet = {"layers": [1, 1, 1, 1], "width": 16, "head_width": 16, "image_size": 96}
    with pytest.raises(ValueError, match="fills that work: mean"):
        build_masked_pairs(make_tiny_backbone(vision=resnet), pairs, fill="drop")


def test_a_changed_tau_recomputes_the_masked_layer_only(tiny_backbone, pairs, artifacts):
    build_masked_pairs(tiny_backbone, pairs, tau=0.3)
    once = {"image-features": 1, "nouns": 1, "noun-features": 1, "cams": 1, "masked-features": 1}
    assert folders(artifacts) == once
    build_masked_pairs(tiny_backbone, pairs, tau=0.3)
    build_masked_pairs(tiny_backbone, pairs, tau=0.2)
    assert folders(artifacts) == once | {"masked-features": 2}
    build_masked_pairs(tiny_backbone, pairs, tau=0.2, fill="black")
    build_masked_pairs(tiny_backbone, pairs, tau=0.2, cam_method="hirescam")
    build_masked_pairs(tiny_backbone, pairs, mask_source="none")
    assert folders(artifacts) == once | {"cams": 2, "masked-features": 4}


def test_tau_and_keep_change_what_is_kept(tiny_backbone, pairs):
    areas = [
        build_masked_pairs(tiny_backbone, pairs, tau=tau).report["mean_kept_area"] for tau in (0, 0.3, 0.8)
    ]
    assert areas[0] == 1 and areas[0] > areas[1] > areas[2]
    rest = build_masked_pairs(tiny_backbone, pairs, tau=0.3, keep="rest").report
    assert rest["mean_kept_area"] == pytest.approx(1 - areas[1], abs=0.01)
    nothing = build_masked_pairs(tiny_backbone, pairs, tau=0, keep="rest").report
    assert nothing["empty_masks"] == 12 and nothing["mean_kept_area"] == pytest.approx(1 / 32**2)


def test_mask_sources(tiny_backbone, pairs):
    cam, none, random = (
        build_masked_pairs(tiny_backbone, pairs, mask_source=s) for s in ("cam", "none", "random")
    )
    assert cam.masked_captions == none.masked_captions == random.masked_captions
    assert torch.equal(none.masked_features, none.image_features) and none.report["mean_kept_area"] == 1
    assert not torch.allclose(cam.masked_features, random.masked_features)
    assert random.report["mean_kept_area"] == pytest.approx(cam.report["mean_kept_area"])
    with pytest.raises(ValueError, match="mask_source is 'true', but pairs .* have no label maps"):
        build_masked_pairs(tiny_backbone, pairs, mask_source="true")


def test_true_masks_keep_exactly_the_object(tiny_backbone):
    pairs = drawn_pairs()
    masked = build_masked_pairs(tiny_backbone, pairs, mask_source="true")
    assert masked.rows.tolist() == [0, 1, 2, 4]  # a helicopter is in the caption only, the last has no noun
    assert masked.report["without_true_mask"] == 1 and masked.report["without_noun"] == 1
    pixels = torch.stack([tiny_backbone.preprocess(pairs.images[row]) for row in masked.rows])
    pixels[[0, 1, 3], :, :, 16:] = 0
    pixels[2, :, :, :16] = 0
    assert torch.allclose(masked.masked_features, tiny_backbone.encode_images(pixels), atol=1e-5)


def test_seed_and_strategy_choose_the_noun(tiny_backbone, pairs):
    def nouns(**settings):
        return build_masked_pairs(tiny_backbone, pairs, mask_source="none", **settings).nouns

    assert nouns(seed=1) == nouns(seed=1) != nouns(seed=2)
    assert nouns(seed=1, epoch=1) == nouns(seed=2)
    assert nouns(noun_strategy="first") == [NOUNS[row % 6] for row in range(12)]
    visible = build_masked_pairs(tiny_backbone, pairs, mask_source="none", noun_strategy="most-visible")
    pixels = torch.stack([tiny_backbone.preprocess(pairs.images[row]) for row in range(12)])
    words = [[NOUNS[row % 6], NOUNS[(row // 6 + row + 1) % 6], "beach"] for row in range(12)]
    maps = noun_cams(tiny_backbone, pixels, words, grain="patch")
    mass = [one.mean(dim=(1, 2)) for one in maps]
    chosen = [row.index(noun) for row, noun in zip(words, visible.nouns, strict=True)]
    assert all(one[at] >= one.max() - 1e-3 for one, at in zip(mass, chosen, strict=True))
    assert len(set(chosen)) > 1
    chunk = build_masked_pairs(tiny_backbone, pairs, mask_source="none", noun_strategy="first", span="chunk")
    assert chunk.masked_captions[0] == "* and a cat on the beach"


def test_html_entities_and_stars_never_give_two_placeholders(tiny_backbone, tmp_path):
    captions = ["a dog &#42; a cat", "a * dog", "a dog ** on a sofa"]
    pairs = load_pairs(write_folder(tmp_path / "stars", 3, captions))
    masked = build_masked_pairs(tiny_backbone, pairs, mask_source="none", max_skipped=0.5)
    assert masked.rows.tolist() == [1, 2] and masked.report["beyond_context"] == 1
    ids = tiny_backbone.tokenize(masked.masked_captions)
    assert ((ids == tiny_backbone.placeholder_id).sum(dim=1) == 1).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau": 1.2}, "tau is 1.2; legal: 0 <= tau <= 1"),
        ({"keep": "all"}, "keep is 'all'; legal: noun, rest"),
        ({"fill": "red"}, "fill is 'red'"),
        ({"cam_method": "cam"}, "cam_method is 'cam'"),
        ({"noun_strategy": "best"}, "noun_strategy is 'best'"),
        ({"span": "word"}, "span is 'word'"),
        ({"nouns": "two"}, "nouns is 'two'; legal: one, all"),
        ({"max_skipped": 2}, "max_skipped is 2"),
        ({"mask_source": "box"}, "mask_source is 'box'; legal: cam, true, none, random"),
    ],
)
def test_illegal_settings_fail_before_any_work(tiny_backbone, pairs, artifacts, wrong, message):
    with pytest.raises(ValueError, match=message):
        build_masked_pairs(tiny_backbone, pairs, **wrong)
    assert not artifacts.exists()


# --------------------------------------------------------------------------- all nouns, several taus, shards


def test_all_nouns(tiny_backbone, pairs):
    every = build_masked_pairs(tiny_backbone, pairs, nouns="all")
    assert len(every.rows) == 36 and every.rows.tolist() == sorted(every.rows.tolist())
    assert every.nouns[:3] == [NOUNS[0], NOUNS[1], "beach"]
    first = build_masked_pairs(tiny_backbone, pairs, noun_strategy="first")
    close = (every.masked_features[::3] * first.masked_features).sum(dim=1)
    assert (close > 0.999).float().mean() > 0.9


def test_several_taus_read_each_image_once(tiny_backbone, pairs, monkeypatch):
    read = []
    monkeypatch.setattr(
        type(tiny_backbone), "preprocess", lambda self, image: read.append(1) or self.transform(image)
    )
    made = masked_pairs_at(tiny_backbone, pairs, [0.2, 0.4])
    assert len(read) == 12 and list(made) == [0.2, 0.4]
    again = build_masked_pairs(tiny_backbone, pairs, tau=0.4)
    assert len(read) == 12 and torch.equal(again.masked_features, made[0.4].masked_features)
    with pytest.raises(ValueError, match="taus is empty"):
        masked_pairs_at(tiny_backbone, pairs, [])


def test_dropped_patches_are_whole_cells(tiny_backbone, pairs):
    dropped = build_masked_pairs(tiny_backbone, pairs, tau=0.5, fill="drop")
    assert ((dropped.kept_area * 16) % 1 == 0).all()  # of 4 x 4 cells


def test_shards_change_nothing_but_rounding(tiny_backbone, pairs, monkeypatch, artifacts):
    whole = build_masked_pairs(tiny_backbone, pairs, nouns="all")
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(artifacts / "other"))
    monkeypatch.setattr("zscir.pairs.features.SHARD", 5)
    monkeypatch.setattr("zscir.pairs.hidden_nouns.TEXT_SHARD", 7)
    cut = build_masked_pairs(tiny_backbone, pairs, nouns="all")
    assert cut.masked_captions == whole.masked_captions and torch.equal(cut.rows, whole.rows)
    torch.testing.assert_close(cut.image_features, whole.image_features, atol=1e-5, rtol=0)
    close = (cut.masked_features * whole.masked_features).sum(dim=1) > 0.999
    assert close.float().mean() > 0.9
    assert not list((artifacts / "other").glob("*/.parts*"))


def test_saved_as_a_dataset_with_its_report(tiny_backbone, tmp_path):
    from datasets import load_from_disk

    folder = write_folder(tmp_path / "some", captions=["it is here"] + [caption(row) for row in range(1, 12)])
    break_image(folder / "005.png")
    masked = build_masked_pairs(tiny_backbone, load_pairs(folder), nouns="all")
    saved = masked.save(tmp_path / "out")
    table = load_from_disk(str(saved)).with_format("torch")
    assert table.column_names == [
        *("row", "image_feature", "masked_image_feature", "masked_caption", "noun", "kept_area")
    ]
    assert torch.equal(table["masked_image_feature"][:], masked.masked_features)
    assert torch.equal(table["row"][:], masked.rows) and list(table["noun"]) == masked.nouns
    report = json.loads((saved / "report.json").read_text("utf-8"))
    assert report["unreadable"] == report["without_noun"] == 1 and report["masked"] == 30
    assert report["skipped"]["without_noun"] == [[0, "caption 0: 'it is here'"]]
    with pytest.raises(FileExistsError, match="not empty"):
        masked.save(tmp_path / "out")


def test_a_backbone_without_cam_layer_is_told_before_any_work(make_tiny_backbone, pairs, artifacts):
    bare = make_tiny_backbone()
    bare.cam_layers = ()
    with pytest.raises(ValueError, match="cam_layer is None, but backbone 'tiny' has no default layer"):
        build_masked_pairs(bare, pairs)
    assert not artifacts.exists()
    assert build_masked_pairs(bare, pairs, mask_source="none").report["masked"] == 12


# ------------------------------------------------------------------------------------------ other sources


def test_the_table_of_pic2word(tmp_path):
    folder = write_folder(tmp_path / "mine")
    text = (folder / "captions.tsv").read_text("utf-8").replace("file\tcaption", "filepath\ttitle")
    (folder / "captions.tsv").unlink()
    (folder / "train.csv").write_text(text, "utf-8")  # separated by tabs all the same
    assert load_pairs(folder).captions == [caption(row) for row in range(12)]


def test_samples_without_image_or_caption_are_counted(tiny_backbone, tmp_path):
    write_tar(tmp_path / "00.tar", range(9))
    with tarfile.open(tmp_path / "00.tar", "a") as tar:
        for name, data in (("00009.txt", b"a lost dog"), ("00010.png", png(draw(1)))):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    pairs = load_pairs(tmp_path)
    assert len(pairs) == 9 and list(pairs.incomplete) == [
        "00.tar/00009: no image",
        "00.tar/00010: no caption",
    ]
    masked = build_masked_pairs(tiny_backbone, pairs, mask_source="none", max_skipped=0.3)
    assert masked.report["incomplete"] == 2
    with pytest.raises(ValueError, match="incomplete 2.*00009: no image"):
        build_masked_pairs(tiny_backbone, pairs, mask_source="none")


def write_parquet(path, count):
    from datasets import Dataset, Features, Value
    from datasets import Image as ImageFeature

    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "image": [{"bytes": png(draw(row)), "path": None} for row in range(count)],
        "caption": [caption(row) for row in range(count)],
    }
    kinds = Features({"image": ImageFeature(), "caption": Value("string")})
    Dataset.from_dict(columns, features=kinds).to_parquet(str(path))


def test_parquet_and_streams(tmp_path, monkeypatch, artifacts):
    write_parquet(tmp_path / "set" / "train.parquet", 7)
    assert load_pairs(tmp_path / "set").captions == [caption(row) for row in range(7)]
    monkeypatch.setattr("zscir.pairs.webdataset.TAR_SIZE", 2)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    pairs = load_pairs(f"stream:{tmp_path / 'set'}", limit=5)
    assert pairs.captions == [caption(row) for row in range(5)]
    assert pairs.images[4].tobytes() == draw(4).tobytes()
    assert len(list(artifacts.glob("streams/*/*.tar"))) == 3


@pytest.mark.parametrize(("damaged", "first"), [(None, 4), ("00001.tar", 2), ("seals.json", 0)])
def test_a_broken_stream_goes_on_where_it_was(tmp_path, monkeypatch, artifacts, damaged, first):
    from zscir.pairs import webdataset

    write_parquet(tmp_path / "set" / "train.parquet", 7)
    monkeypatch.setattr("zscir.pairs.webdataset.TAR_SIZE", 2)
    write, skipped, read = webdataset._write_tar, [], webdataset._stream

    def fail_at_the_third(path, first, samples):
        if first == 4:
            raise ConnectionError("gone")
        write(path, first, samples)

    with monkeypatch.context() as patch, pytest.raises(ConnectionError):
        patch.setattr(webdataset, "_write_tar", fail_at_the_third)
        load_pairs(f"stream:{tmp_path / 'set'}")
    if damaged:
        (part,) = artifacts.glob(f"streams/.parts-*/{damaged}")
        data = part.read_bytes()
        part.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    monkeypatch.setattr(webdataset, "_stream", lambda name, skip: skipped.append(skip) or read(name, skip))
    pairs = load_pairs(f"stream:{tmp_path / 'set'}")
    assert pairs.captions == [caption(row) for row in range(7)] and skipped == [first]
    assert pairs.images[3].tobytes() == draw(3).tobytes()


# ------------------------------------------------------------------------------------------------ URLs


@pytest.fixture
def memory():
    """fsspec's file system in memory, empty."""
    import fsspec

    system = fsspec.filesystem("memory")
    for path in system.find("/"):
        system.rm(path)
    return system


def test_pairs_at_a_url_are_those_of_the_files(tmp_path, memory, artifacts):
    write_tar(tmp_path / "00.tar", range(4))
    write_tar(tmp_path / "01.tar", range(4, 7))
    write_folder(tmp_path / "t")
    for url, pattern in (("/tars", "*.tar"), ("/mine", "t/*")):
        for file in tmp_path.glob(pattern):
            memory.pipe(f"{url}/{file.name}", file.read_bytes())
    whole, table = load_pairs(tmp_path / "0*.tar"), load_pairs(tmp_path / "t")
    for url in ("memory://tars", "memory://tars/0*.tar", f"file://{tmp_path}/0*.tar"):
        found = load_pairs(url)
        assert found.fingerprint == whole.fingerprint and found.name == url
    assert load_pairs("memory://mine").fingerprint == table.fingerprint
    assert load_pairs("memory://mine").images[3].tobytes() == table.images[3].tobytes()
    assert load_pairs("memory://tars/01.tar").captions == whole.captions[4:]
    assert load_pairs("stream:memory://tars/*.tar", limit=5).captions == whole.captions[:5]
    copies = len(list((artifacts / "copies").glob("[!.]*")))
    memory.pipe("/tars/01.tar", (tmp_path / "00.tar").read_bytes())
    assert load_pairs("memory://tars/01.tar").captions == whole.captions[:4]  # copied anew
    assert len(list((artifacts / "copies").iterdir())) == copies + 1


def test_a_killed_copy_goes_on_where_it_was(tmp_path, memory, monkeypatch):
    for number in range(3):
        write_tar(tmp_path / f"{number}.tar", [number])
        memory.pipe(f"/tars/{number}.tar", (tmp_path / f"{number}.tar").read_bytes())
    got, get_file = [], type(memory).get_file

    def broken(system, file, *args, **options):
        got.append(file)
        if len(got) == 3:
            raise ConnectionError("the line is cut")
        return get_file(system, file, *args, **options)

    monkeypatch.setattr(type(memory), "get_file", broken)
    with pytest.raises(ConnectionError):
        load_pairs("memory://tars")
    assert load_pairs("memory://tars").captions == [caption(row) for row in range(3)]
    assert got == ["/tars/0.tar", "/tars/1.tar", "/tars/2.tar", "/tars/2.tar"]


def test_masked_pairs_are_written_to_a_url(tiny_backbone, pairs, memory, tmp_path, monkeypatch):
    from datasets import load_from_disk

    masked = build_masked_pairs(tiny_backbone, pairs)
    assert masked.save("memory://masked/out") == "memory://masked/out"
    table, local = load_from_disk("memory://masked/out"), load_from_disk(str(masked.save(tmp_path / "out")))
    assert table.to_dict() == local.to_dict()
    assert json.loads(memory.cat("/masked/out/report.json"))["masked"] == 12
    with pytest.raises(FileExistsError, match="memory://masked/out is not empty; name a new folder"):
        masked.save("memory://masked/out")

    def full(system, local, path, **options):
        memory.pipe(path, b"half")
        raise OSError("no space there")

    monkeypatch.setattr(type(memory), "put_file", full)
    with pytest.raises(OSError, match="no space there"):
        masked.save("memory://masked/other")
    assert not memory.exists("/masked/other")


def test_urls_that_are_not_supported_are_told(memory, monkeypatch):
    from zscir.benchmarks import load_benchmark
    from zscir.retrieval.galleries import image_files
    from zscir.storage.paths import artifacts_root
    from zscir.storage.whole import check_writable

    with pytest.raises(ValueError, match="nonsense://x cannot be opened: Protocol not known: nonsense"):
        load_pairs("nonsense://x")
    with pytest.raises(FileNotFoundError, match="memory://empty: nothing lies there"):
        load_pairs("memory://empty")
    only = r"a URL; legal: a path of this machine \(only image-caption pairs are "
    with pytest.raises(ValueError, match=f"root is 's3://cirr', {only}"):
        load_benchmark("cirr", "s3://cirr")
    with pytest.raises(ValueError, match=f"gallery is 's3://photos', {only}"):
        image_files("s3://photos")
    with pytest.raises(ValueError, match=f"output is 's3://out', {only}"):
        check_writable("s3://out")
    monkeypatch.setenv("ZSCIR_ARTIFACTS", "s3://artifacts")
    with pytest.raises(ValueError, match=f"ZSCIR_ARTIFACTS is 's3://artifacts', {only}"):
        artifacts_root()
