"""Pairs from every kind of source, and masked pairs made of them."""

import io
import json
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from zscir.pairs import Pairs, build_masked_pairs, image_features, load_pairs
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
    return {kind.name: len(list(kind.iterdir())) for kind in artifacts.iterdir()}


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
    with pytest.raises(ValueError, match=r"columns are \['path', 'text'\]; needed: file, caption"):
        load_pairs(folder)
    (folder / "captions.tsv").write_text("file\tcaption\n")
    with pytest.raises(ValueError, match="hold no image with a caption"):
        load_pairs(folder)
    (folder / "captions.tsv").write_text("file\tcaption\n001.png\n")
    with pytest.raises(ValueError, match="caption of row 0 is None"):
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


def test_unreadable_images_are_counted_and_nothing_is_left(tiny_backbone, tmp_path, artifacts):
    folder = write_folder(tmp_path / "broken")
    for name in ("003", "007"):
        (folder / f"{name}.png").write_bytes((folder / f"{name}.png").read_bytes()[:200])
    with pytest.raises(
        ValueError, match=r"2 images cannot be read: image 3 \(003\.png\).*image 7 \(007\.png\)"
    ):
        image_features(tiny_backbone, load_pairs(folder))
    assert list((artifacts / "image-features").iterdir()) == []


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
    from zscir.token_drop import encode_kept

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
    assert folders(artifacts) == {"image-features": 1, "nouns": 1, "cams": 1, "masked-features": 1}
    build_masked_pairs(tiny_backbone, pairs, tau=0.3)
    build_masked_pairs(tiny_backbone, pairs, tau=0.2)
    assert folders(artifacts) == {"image-features": 1, "nouns": 1, "cams": 1, "masked-features": 2}
    build_masked_pairs(tiny_backbone, pairs, tau=0.2, fill="black")
    build_masked_pairs(tiny_backbone, pairs, tau=0.2, cam_method="hirescam")
    build_masked_pairs(tiny_backbone, pairs, mask_source="none")
    assert folders(artifacts) == {"image-features": 1, "nouns": 1, "cams": 2, "masked-features": 4}


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
    assert nouns(noun_strategy="first") == [NOUNS[row % 6] for row in range(12)]
    visible = build_masked_pairs(tiny_backbone, pairs, mask_source="none", noun_strategy="most-visible")
    for row, noun in enumerate(visible.nouns):
        words = [NOUNS[row % 6], NOUNS[(row // 6 + row + 1) % 6], "beach"]
        texts = tiny_backbone.encode_texts([f"a photo of a {word}" for word in words])
        assert words[int((texts @ visible.image_features[row]).argmax())] == noun
    chunk = build_masked_pairs(tiny_backbone, pairs, mask_source="none", noun_strategy="first", span="chunk")
    assert chunk.masked_captions[0] == "* and a cat on the beach"


def test_html_entities_and_stars_never_give_two_placeholders(tiny_backbone, tmp_path):
    captions = ["a dog &#42; a cat", "a * dog", "a dog ** on a sofa"]
    pairs = load_pairs(write_folder(tmp_path / "stars", 3, captions))
    masked = build_masked_pairs(tiny_backbone, pairs, mask_source="none")
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
        ({"mask_source": "box"}, "mask_source is 'box'; legal: cam, true, none, random"),
    ],
)
def test_illegal_settings_fail_before_any_work(tiny_backbone, pairs, artifacts, wrong, message):
    with pytest.raises(ValueError, match=message):
        build_masked_pairs(tiny_backbone, pairs, **wrong)
    assert not artifacts.exists()
