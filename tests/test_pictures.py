"""Pictures as strangers have them: what opens, how it stands, and what is said of it."""

import io
import os
import re
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_roots import write_cirr
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from zscir import cli
from zscir.benchmarks import Region, load_benchmark
from zscir.benchmarks.images import open_image
from zscir.figures.pictures import show_picture
from zscir.figures.style import new_figure
from zscir.pairs import build_masked_pairs, load_pairs
from zscir.retrieval.features import gallery_features
from zscir.retrieval.galleries import image_files
from zscir.retrieval.protocols import target_pad
from zscir.storage import pictures
from zscir.storage.paths import REPO
from zscir.storage.pictures import open_picture, resized_middle, take_remarks

#: EXIF orientation -> how a camera that notes it has turned the picture.
STORED = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE"}
STORED |= {6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))
    take_remarks()


def flag():
    """White above, red left below, blue right below: every turn of it looks different."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[:, :60], pixels[:, 60:], pixels[:20] = (220, 20, 20), (20, 20, 220), (250, 250, 250)
    return Image.fromarray(pixels)


def noise(seed, size=(60, 50)):
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    )


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned(orientation, kind="JPEG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = flag().transpose(Image.Transpose[STORED[orientation]]) if orientation > 1 else flag()
    return encoded(stored, kind, exif=exif, quality=95)


def damaged_exif(image):
    plain = encoded(image, "JPEG", quality=90)
    entries = struct.pack("<HHII", 0x0112, 3, 1, 1) + struct.pack("<HHII", 0x010F, 2, 500, 4000)
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 20) + entries
    return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + plain[2:]


def chunk(kind, data, crc=None):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc or zlib.crc32(kind + data))


def palette(seed=0):
    return encoded(noise(seed).convert("P"), transparency=bytes([0] * 10 + [255] * 246))


def mean_difference(image, other):
    return np.abs(np.asarray(image, dtype=int) - np.asarray(other, dtype=int)).mean()


# ------------------------------------------------------------------------------------------------ the door


def test_pictures_enter_by_one_door():
    sources = {path: path.read_text("utf-8") for path in (REPO / "zscir").rglob("*.py")}
    assert [path.name for path, text in sources.items() if "Image.open" in text] == ["pictures.py"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_stands_upright(orientation, kind):
    image = open_picture(turned(orientation, kind))
    assert image.size == (120, 80) and mean_difference(image, flag()) < 6
    if kind != "TIFF":  # Pillow turns it itself
        assert open_picture(turned(orientation, kind), upright=False).size == (
            (120, 80) if orientation < 5 else (80, 120)
        )


def test_damaged_notes_stop_no_picture(tmp_path):
    assert open_picture(damaged_exif(flag())).size == (120, 80)
    png = encoded(flag())
    for extra in (
        chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff"),
        chunk(b"eXIf", b"junk", crc=7),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation='\xff\xfe'", crc=9),
        chunk(b"zTXt", b"note\0\0" + zlib.compress(b"x" * 80_000_000)),
    ):
        for place in (33, len(png) - 12):  # behind the header, or before the end
            data = png[:place] + extra + png[place:]
            (tmp_path / "a.png").write_bytes(data)
            for source in (data, tmp_path / "a.png"):
                assert mean_difference(open_picture(source), flag()) == 0
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "MAKER"
    avif = encoded(flag(), "AVIF", exif=exif)
    assert open_picture(avif.replace(b"MM\0*", b"XX\0*")).size == (80, 120)
    with pytest.raises(ValueError, match="^image cannot be decoded .*: cannot identify image file$"):
        open_picture(b"no picture")
    with pytest.raises(ValueError, match="row 7 cannot be decoded"):
        open_picture(encoded(noise(1))[:300], name="row 7")


def test_grey_of_16_bits_and_of_numbers_is_scaled_as_viewers_do(tmp_path):
    ramp = np.linspace(0, 65535, 64)[None, :] * np.ones((64, 1))
    right = (ramp // 257).astype(np.uint8)
    big = Image.frombytes("I;16B", (64, 64), ramp.astype(">u2").tobytes())
    for data in (
        encoded(Image.fromarray(ramp.astype(np.uint16))),
        encoded(Image.fromarray(ramp.astype(np.uint16)), "TIFF"),
        encoded(big, "TIFF"),
        encoded(Image.fromarray(ramp.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray(ramp.astype(np.uint16)), "PPM"),
        encoded(Image.fromarray(ramp.astype(np.uint16)), "JPEG2000"),
        b"P5\n64 64\n65535\n" + ramp.astype(">u2").tobytes(),
    ):
        assert mean_difference(np.asarray(open_picture(data))[..., 0], right) <= 1, data[:8]
    shares = encoded(Image.fromarray((ramp / 65535).astype(np.float32)), "TIFF")
    assert mean_difference(np.asarray(open_picture(shares))[..., 1], right) <= 1


def test_remarks_are_counted_and_never_shown():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for data in (palette(), damaged_exif(flag()), damaged_exif(noise(1)), encoded(flag())):
            open_picture(data)
        large = open_picture(encoded(Image.new("1", (9500, 9500))))
    assert large.size == (9500, 9500) and "exceeds limit of 89478485" in large.info["remarks"][0]
    said = take_remarks()
    assert not take_remarks() and (
        said.startswith("3 pictures came with remarks of the decoder: 2 x Tag data larger")
    )


def test_a_damaged_tiff_says_nothing_itself(capfd):
    data = bytearray(encoded(noise(0, (400, 300)), "TIFF", compression="tiff_adobe_deflate"))
    data[200:3000] = bytes(2800)
    with pytest.raises(ValueError, match="decoder error"):
        open_picture(bytes(data))
    assert capfd.readouterr().err == ""


def test_remarks_belong_to_the_thread_that_decodes():
    entered, left = threading.Event(), threading.Event()

    def decode():
        with pictures._remarks_kept():
            entered.set()
            left.wait(10)

    thread = threading.Thread(target=decode)
    thread.start()
    entered.wait(10)
    with pytest.warns(UserWarning, match="of another thread"):
        warnings.warn("of another thread", stacklevel=1)
    left.set()
    thread.join()
    assert take_remarks() == ""


def test_too_many_pixels_are_refused_by_name(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(encoded(Image.new("1", (20_000, 10_000))))
    with pytest.raises(ValueError, match=r"bomb\.png .*200000000 pixels.* limit of 178956970"):
        open_picture(path)
    with pytest.raises(ValueError, match=r"legal: at most 178,956,970"):
        target_pad(Image.new("L", (60_000, 1)))
    with pytest.raises(ValueError, match=r"legal: at most 178,956,970"):
        Region((0, 0, 60_000, 1), square=True).cut(Image.new("L", (60_000, 1)))


@pytest.mark.parametrize("size", [(9000, 11), (11, 9000), (4000, 30), (5000, 2), (7, 7000)])
def test_the_middle_of_a_long_picture_is_that_of_the_whole(size, monkeypatch):
    monkeypatch.setattr(pictures, "_MOST_RESIZED", 0)
    image = noise(0, size)
    whole = CenterCrop(64)(Resize(64, interpolation=InterpolationMode.BICUBIC)(image))
    assert np.abs(np.asarray(whole, int) - np.asarray(resized_middle(image, 64, 3), int)).max() <= 1


@pytest.mark.posix
def test_a_thread_of_pixels_takes_no_gigabyte(tmp_path):
    """60,000 x 1 pixels at CLIP's 224, in a process that may take 1 GB more than its imports."""
    Image.new("RGB", (60_000, 1), "red").save(tmp_path / "thin.png")
    Image.new("RGB", (1, 60_000), "red").save(tmp_path / "tall.png")
    code = """if True:
        import resource, sys
        import torch
        from open_clip.transform import image_transform
        from zscir.backbone.clip import Backbone
        from zscir.benchmarks.images import open_image
        from pathlib import Path
        backbone = Backbone.__new__(Backbone)
        object.__setattr__(backbone, "transform", image_transform(224, False))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for path in sys.argv[1:]:
            pixels = backbone.preprocess(open_image(Path(path)))
            assert pixels.shape == (3, 224, 224) and pixels.flatten(1).std(1).max() == 0
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < 500_000
    """
    paths = [str(tmp_path / name) for name in ("thin.png", "tall.png")]
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr


def ramp(white, dtype, mode=None):
    values = np.linspace(0, white, 64)[None, :] * np.ones((64, 1))
    return Image.frombytes(mode, (64, 64), values.astype(dtype).tobytes()) if mode else values.astype(dtype)


GREY = {
    "I;16": ("PNG", ramp(65535, np.uint16)),
    "I;16B": ("TIFF", ramp(65535, ">u2", "I;16B")),
    "pgm": ("PPM", ramp(65535, np.uint16)),
    "16 bits in 32": ("TIFF", ramp(65535, np.int32)),
    "32 bits": ("TIFF", ramp(2**31 - 1, np.int32)),
    "8 bits in 32": ("TIFF", ramp(255, np.int32)),
    "shares": ("TIFF", ramp(1, np.float32)),
    "floats to 255": ("TIFF", ramp(255, np.float32)),
    "floats to 65535": ("TIFF", ramp(65535, np.float32)),
}


@pytest.mark.parametrize("name", GREY)
def test_grey_of_any_depth_runs_from_black_to_white(name):
    kind, image = GREY[name]
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    for found in (open_picture(encoded(image, kind)), open_picture(image)):
        grey = np.asarray(found)[0, :, 0].astype(int)
        assert found.mode == "RGB" and grey[0] == 0 and grey[-1] == 255 and 126 < grey.mean() < 128.1


@pytest.mark.parametrize("kind", ["1", "L", "LA", "P", "CMYK", "RGBA", "YCbCr", "LAB"])
def test_every_mode_becomes_rgb_without_a_warning(kind):
    image = noise(1).convert("RGB").convert(kind) if kind != "LAB" else Image.new("LAB", (9, 9))
    decoded = Image.open(io.BytesIO(palette()))
    with warnings.catch_warnings(action="error"):
        assert open_picture(image).mode == open_picture(decoded).mode == "RGB"


# ------------------------------------------------------------------------------------- pairs and benchmarks


def test_pairs_are_upright_and_their_remarks_are_in_the_report(tiny_backbone, tmp_path, capfd):
    contents = [turned(6), palette(), damaged_exif(flag()), encoded(flag())]
    for number, data in enumerate(contents):
        (tmp_path / f"{number}.jpg").write_bytes(data)
    rows = "".join(f"{number}.jpg,a dog on the beach\n" for number in range(4))
    (tmp_path / "c.csv").write_text(f"file,caption\n{rows}", "utf-8")
    pairs = load_pairs(tmp_path)
    assert mean_difference(pairs.images[0], flag()) < 6
    for _ in range(2):  # also when all is stored
        assert build_masked_pairs(tiny_backbone, load_pairs(tmp_path)).report["remarked"] == 1
    assert capfd.readouterr().err == ""


def test_benchmarks_lie_as_their_files_unless_asked(tiny_backbone, tmp_path, capfd):
    root = write_cirr(tmp_path / "root")
    (root / "dev" / "dev-0-0-img0.png").write_bytes(turned(6))
    (root / "dev" / "dev-0-1-img0.png").write_bytes(damaged_exif(flag()))
    plain, upright = (load_benchmark("cirr", root, upright=upright) for upright in (False, True))
    name = plain.gallery[0]
    assert plain.open_image(name).size == (80, 120) and upright.open_image(name).size == (120, 80)
    assert plain.protocol["orientation"] == "as the files lie"
    assert upright.protocol["orientation"] == "upright, by EXIF"
    first, second = (gallery_features(tiny_backbone, benchmark) for benchmark in (plain, upright))
    assert not torch.allclose(first[0], second[0], atol=1e-3) and torch.allclose(first[2:], second[2:])
    said = capfd.readouterr()
    assert "1 pictures came with remarks of the decoder: 1 x Tag data larger" in said.out and said.err == ""


# ------------------------------------------------------------------------------------------------ galleries


def photos(folder, count=3):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / f"p{number}.png").write_bytes(encoded(noise(number)))
    return folder


def names(folder, said=None):
    found = image_files(folder, said.append if said is not None else print)
    return [str(path.relative_to(folder)) for path in found]


def test_galleries_hold_every_kind_of_photo(tmp_path):
    folder = photos(tmp_path, 1)
    kinds = {"jfif": "JPEG", "jpe": "JPEG", "JPG": "JPEG", "tif": "TIFF", "tiff": "TIFF", "avif": "AVIF"}
    kinds |= {"webp": "WEBP", "bmp": "BMP", "gif": "GIF"}
    for number, (suffix, kind) in enumerate(kinds.items()):
        (folder / f"q.{suffix}").write_bytes(encoded(noise(10 + number), kind))
    (folder / "a.heic").write_bytes(b"no plugin")
    (folder / "notes.txt").write_text("x", "utf-8")
    (folder / "cut.jpg").write_bytes(encoded(noise(1), "JPEG")[:900])
    said = []
    assert set(names(folder, said)) == {"p0.png", *(f"q.{suffix}" for suffix in kinds)}
    (line,) = said
    assert re.match(r"left out of the gallery: 1 \.heic, 1 \.txt, 1 that cannot be read: .*cut\.jpg", line)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.heic").write_bytes(b"x")
    with pytest.raises(
        FileNotFoundError, match=r"holds no image \(\.jpg, .*left out of the gallery: 1 \.heic"
    ):
        image_files(empty)


@pytest.mark.posix
def test_galleries_with_odd_files_links_and_names(tmp_path):
    folder = photos(tmp_path / "album")
    (folder / "._p0.png").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    (folder / "inner.jpg").mkdir()
    (folder / "inner.jpg" / "x.png").write_bytes(encoded(noise(5)))
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "circle").symlink_to(folder)
    photos(tmp_path / "elsewhere", 1)
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    assert names(folder, []) == ["inner.jpg/x.png", "linked/p0.png", "p0.png", "p1.png", "p2.png"]


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "BMP", "PPM", "TGA", "JPEG2000", "WEBP", "AVIF"])
def test_pictures_that_are_cut_off_are_left_out_and_counted(tmp_path, kind):
    folder = photos(tmp_path, 1)
    suffix = {"TIFF": "tif", "JPEG2000": "jp2"}.get(kind, kind.lower())
    whole = encoded(noise(1), kind)
    (folder / f"whole.{suffix}").write_bytes(whole)
    (folder / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    said = []
    assert names(folder, said) == ["p0.png", f"whole.{suffix}"]
    assert re.match(rf"left out of the gallery: 1 that cannot be read: .*cut\.{suffix}", said[0])


def test_an_empty_name_is_no_gallery():
    with pytest.raises(FileNotFoundError, match="gallery='': there is no such folder"):
        image_files("")


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory, make_tiny_config):
    from zscir.backbone.weights import build_model, save_backbone

    config = make_tiny_config()
    return str(save_backbone(build_model(config["model_cfg"]), config, tmp_path_factory.mktemp("tiny")))


def search(tiny_folder, folder, out, image=None):
    """Run the command for 3 pictures; its exit status."""
    words = [
        "retrieve",
        str(image or folder / "p0.png"),
        "is red",
        "--gallery",
        str(folder),
        "--out",
        str(out),
    ]
    return cli.main([*words, "-k", "9", "--method", "image+text", "--backbone", tiny_folder])


def test_a_search_overwrites_no_picture_that_it_searches(tiny_folder, tmp_path, capsys):
    folder, reference = photos(tmp_path / "album"), tmp_path / "mine.png"
    reference.write_bytes(encoded(noise(8)))
    for place in (folder / "p1.png", reference):
        before = place.read_bytes()
        assert search(tiny_folder, folder, place, reference) == 2
        assert "a picture that is searched; legal: a file" in capsys.readouterr().err
        assert place.read_bytes() == before


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif", ".avif"])
def test_what_a_search_wrote_is_not_found_by_the_next(tiny_folder, tmp_path, suffix, capsys):
    folder = photos(tmp_path / "album")
    for name in (f"out{suffix}", f"out{suffix}", f"other{suffix}"):
        assert search(tiny_folder, folder, folder / name) == 0
        said = capsys.readouterr()
        lines = said.out.splitlines()
        assert len(lines) == 3 and "out" not in "".join(lines[:2]) and said.err == ""
        assert lines[-1] == f"the picture: {folder / name}" and (folder / name).is_file()


def test_a_search_goes_on_without_a_picture_that_is_damaged_within(tiny_folder, tmp_path, capsys):
    folder = photos(tmp_path / "album")
    whole = (folder / "p1.png").read_bytes()
    middle = len(whole) // 2
    (folder / "p1.png").write_bytes(whole[:middle] + bytes(200) + whole[middle + 200 :])
    for _ in range(2):  # encoded, and found again
        assert search(tiny_folder, folder, tmp_path / "out.png") == 0
        said, *found = capsys.readouterr().out.splitlines()
        assert said.startswith("left out of the gallery: 1 that cannot be read: ") and "p1.png" in said
        assert "p2.png" in found[0] and len(found) == 2
    assert search(tiny_folder, folder, tmp_path / "out.png", folder / "p1.png") == 2
    assert "p1.png cannot be decoded as an image" in capsys.readouterr().err


def test_names_that_no_terminal_prints(tiny_folder, tmp_path):
    folder = photos(tmp_path / "album", 1)
    for name in (os.fsencode(folder) + b"/caf\xe9.png", os.fsencode(folder / "\U0001f600.png")):
        with open(name, "wb") as file:
            file.write(encoded(noise(len(name))))
    words = [
        "-m",
        "zscir",
        "retrieve",
        str(folder / "p0.png"),
        "is red",
        "--gallery",
        str(folder),
        "--method",
    ]
    words += ["image", "--backbone", tiny_folder, "--out", str(tmp_path / "out.png")]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, *words], capture_output=True, env=environment)
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 3 and b"Traceback" not in done.stderr
    assert (tmp_path / "out.png").is_file()


def test_names_are_told_in_one_line_that_steers_no_terminal(tiny_folder, tmp_path, capsys):
    folder = photos(tmp_path / "album", 1)
    for name in ("a\nb.png", "red\x1b[31m.png", "bell\x07 #%s {x}.png"):
        (folder / name).write_bytes(encoded(noise(len(name))))
    (folder / "\x1b.jpg").write_bytes(b"no picture")
    assert search(tiny_folder, folder, tmp_path / "out.png") == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 5 and "\x1b" not in said and r"a\nb.png" in said and r"\x1b.jpg" in said


def test_large_photos_are_drawn_small(tmp_path):
    axis = new_figure(1, 1)[1].flat[0]
    show_picture(axis, Image.new("RGB", (9000, 1)))
    show_picture(axis, Image.new("RGB", (60, 50)))
    assert [image.get_array().shape for image in axis.images] == [(1, 1800, 3), (50, 60, 3)]


@pytest.mark.filterwarnings("ignore:1 texts cut")
def test_words_and_names_are_drawn_as_typed(tiny_folder, tmp_path, capsys):
    folder = photos(tmp_path / "album", 1)
    for name in (r"a $\b$ c.png", "{x}_^$.png"):
        (folder / name).write_bytes(encoded(noise(len(name))))
    for wish in (r"a price of $\price$", "costs $5, not $10", "very " * 300):
        words = ["retrieve", str(folder / "p0.png"), wish, "--gallery", str(folder), "--method", "image+text"]
        assert cli.main([*words, "--backbone", tiny_folder, "--out", str(tmp_path / "out.png")]) == 0
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.height < 1000


def test_out_is_checked_before_the_search_and_said_as_it_is(tiny_folder, tmp_path, capsys, monkeypatch):
    folder = photos(tmp_path / "album")
    assert search(tiny_folder, folder, tmp_path / "result") == 0
    assert f"the picture: {tmp_path / 'result.png'}" in capsys.readouterr().out
    assert (tmp_path / "result.png").is_file()
    monkeypatch.setattr("zscir.cli_settings.load_backbone", None)  # nothing is loaded
    refused = {
        "no/x.png": "there is no folder",
        "": "legal: a file",
        "x.xyz": "ends in .",
        "x.pgf": "ends in .",
    }
    refused |= {f"{'x' * 300}.png": "File name too long"} if os.name == "posix" else {}
    refused |= {"/proc/x.png": "where nothing can be written"} if Path("/proc").is_dir() else {}
    for out, said in refused.items():
        assert search(tiny_folder, folder, tmp_path / out) == 2
        assert said in capsys.readouterr().err


def test_open_image_is_upright_on_request(tmp_path):
    (tmp_path / "a.jpg").write_bytes(turned(8))
    assert open_image(tmp_path / "a.jpg").size == (80, 120)
    assert open_image(tmp_path / "a.jpg", upright=True).size == (120, 80)
