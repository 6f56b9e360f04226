"""Tables, tars and datasets as people have them: each sample is read, counted, or named in an error."""

import gzip
import io
import json
import shutil
import tarfile

import numpy as np
import pytest
from PIL import Image

from zscir.pairs import load_pairs


@pytest.fixture(autouse=True)
def artifacts(tmp_path, monkeypatch):
    monkeypatch.setenv("ZSCIR_ARTIFACTS", str(tmp_path / "artifacts"))


def png(seed=0):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def tar_of(*members):
    """Bytes of a tar; a member is a name and its bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def samples(*names):
    return [pair for n in names for pair in ((f"{n}.png", png(len(n))), (f"{n}.txt", f"a {n}".encode()))]


def load_tar(folder, data, **options):
    (folder / "0.tar").write_bytes(data)
    return load_pairs(folder, **options)


# ------------------------------------------------------------------------------------------------ tars


def offsets(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [entry.offset for entry in archive]


def test_a_tar_is_whole_or_named(tmp_path):
    data = tar_of(*samples("one", "two"))
    assert len(load_tar(tmp_path, data)) == 2
    border = offsets(data)[2]
    ends = (border, border + 100, border + 512, border + 600, border - 100, offsets(data)[3] + 512 + 5, 0)
    for end in ends:
        with pytest.raises(ValueError, match=r"0\.tar is no whole tar file"):
            load_tar(tmp_path, data[:end])
    header = bytearray(data)
    header[border + 150] ^= 1
    with pytest.raises(ValueError, match=rf"0\.tar is no whole tar file: it is damaged at byte {border:,}"):
        load_tar(tmp_path, bytes(header))


def test_joined_tars_are_read_to_the_end(tmp_path):
    first, second = tar_of(*samples("one", "two")), tar_of(*samples("three", "one"))
    pairs = load_tar(tmp_path, first + second)
    assert pairs.captions == ["a one", "a two", "a three", "a one"] and not pairs.incomplete
    assert [image.size for image in pairs.images] == [(20, 16)] * 4
    with pytest.raises(ValueError, match="no whole tar file"):
        load_tar(tmp_path, first + second[:-10_000])
    with pytest.raises(ValueError, match="no whole tar file"):
        load_tar(tmp_path, first + second[: offsets(second)[1]])


def test_dots_in_names_part_no_sample_and_lose_none(tmp_path):
    data = tar_of(*samples("22.05", "22.06", "22", "a.b.c", "x/22.05"), ("22.05.cls", b"1"))
    pairs = load_tar(tmp_path, data)
    assert sorted(pairs.captions) == ["a 22", "a 22.05", "a 22.06", "a a.b.c", "a x/22.05"]
    assert not pairs.incomplete


def test_every_image_of_a_tar_is_a_pair_or_counted(tmp_path):
    members = [*samples("0"), ("1.seg.png", png()), ("1.jpg", png()), ("1.txt", b"a cat"), ("1.png", png())]
    members += [("2.HEIC", b"x"), ("2.txt", b"a bee"), ("3.json", b"[1]"), ("3.webp", png())]
    members += [("._0.png", b"\0\5\x16\7"), ("._0.txt", b"\xff\xfe\xfd")]
    pairs = load_tar(tmp_path, tar_of(*members))
    assert pairs.captions == ["a 0", "a cat"]
    assert sorted(pairs.incomplete) == [
        "0.tar/1.png: a second image of its sample",
        "0.tar/1.seg: no caption",
        "0.tar/2: no image",
        "0.tar/3: no caption",
    ]


def test_links_and_names_that_are_twice_in_a_tar_are_counted(tmp_path):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in [*samples("0", "1"), ("1.png", png(9)), ("1.txt", b"the later")]:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("2.png")
        entry.type, entry.linkname = tarfile.LNKTYPE, "0.png"
        archive.addfile(entry)
    pairs = load_tar(tmp_path, out.getvalue())
    assert pairs.captions == ["a 0", "the later"]
    assert pairs.images[1].tobytes() == Image.open(io.BytesIO(png(9))).tobytes()
    assert list(pairs.incomplete) == [
        "0.tar/1: twice in the tar, the later is taken",
        "0.tar/2.png: a link, which is not followed",
    ]


def test_other_endings_are_said_with_the_legal_ones(tmp_path):
    data = tar_of(("s0.input.jpg", png()), ("s0.outputs.txt", b"a cat"))
    with pytest.raises(ValueError, match=r"end in \.input\.jpg \(1\), \.outputs\.txt \(1\); legal: an image"):
        load_tar(tmp_path, data)


def test_captions_of_tars(tmp_path):
    texts = {"a.txt": b"\xef\xbb\xbfa dog", "b.txt": "a café".encode("utf-16")}
    texts["c.json"] = b"\xef\xbb\xbf" + json.dumps({"caption": "a bee"}).encode()
    members = [member for name, text in texts.items() for member in ((f"{name[0]}.png", png()), (name, text))]
    assert load_tar(tmp_path, tar_of(*members)).captions == ["a dog", "a café", "a bee"]
    for name, text in (("x.txt", "a café".encode("latin-1")), ("x.json", b'{"caption": "caf\xe9"}')):
        with pytest.raises(ValueError, match=rf"0\.tar, member {name} is not UTF-8 \(perhaps cp1252"):
            load_tar(tmp_path, tar_of(("x.png", png()), (name, text)))
    with pytest.raises(ValueError, match=r"0\.tar, member x\.json is no JSON"):
        load_tar(tmp_path, tar_of(("x.png", png()), ("x.json", b'{"caption": ')))


def test_a_tar_with_brackets_in_its_name(tmp_path):
    (tmp_path / "part[1].tar").write_bytes(tar_of(*samples("0")))
    (tmp_path / "._part[1].tar").write_bytes(b"a note of macOS")
    assert len(load_pairs(tmp_path)) == len(load_pairs(tmp_path / "part[1].tar")) == 1


def test_tars_by_other_names_and_with_other_headers(tmp_path):
    whole = tar_of(
        ("./a.jpg", png()), ("a.txt", b"a dog"), ("B.PNG", png()), ("B.JSON", b'{"caption": "a cat"}')
    )
    (tmp_path / "x.tar").mkdir()
    (tmp_path / "x.tar" / "shard.tar").mkdir()
    for folder in (tmp_path / "plain", tmp_path / "x.tar"):
        folder.mkdir(exist_ok=True)
        (folder / "0.TAR").write_bytes(whole)
        pairs = load_pairs(folder)
        assert pairs.captions == ["a dog", "a cat"] and not pairs.incomplete
    assert len(load_pairs(tmp_path / "plain" / "0.TAR")) == 2
    long = f"{'d' * 90}/{'né' * 60}"
    for kind in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=kind) as archive:
            for name, data in samples(long, "café"):
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        assert load_tar(tmp_path, out.getvalue()).captions == [f"a {long}", "a café"]
    with pytest.raises(ValueError, match=r"0\.tar is no whole tar file, or a compressed one"):
        load_tar(tmp_path, gzip.compress(whole))
    (tmp_path / "gz").mkdir()
    (tmp_path / "gz" / "0.tar.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(
        FileNotFoundError, match=r"found 0; or \.tar or \.parquet files; there are: 0\.tar\.gz"
    ):
        load_pairs(tmp_path / "gz")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "x.json",
            b'{"caption": ["a dog", "a cat"]}',
            r"\(image 0\.tar/x\.png\) is \['a dog', 'a cat'\], not",
        ),
        ("x.json", b'{"caption": 5}', r"\(image 0\.tar/x\.png\) is 5, not a string"),
        ("x.json", b'{"caption": "\\ud83d"}', r"\(image 0\.tar/x\.png\) is '\\ud83d', not a string"),
        (
            "x.json",
            b'{"caption": "a", "caption": "b"}',
            "member x.json is no JSON: one of its keys is there twice",
        ),
        ("x.json", b"[" * 100_000, "member x.json is no JSON"),
        ("x.txt", "a dog".encode("utf-16-le"), r"\(image 0\.tar/x\.png\) is 'a\\x00"),
    ],
)
def test_captions_that_are_no_text_are_named(tmp_path, name, text, said):
    with pytest.raises(ValueError, match=said):
        load_tar(tmp_path, tar_of(*samples("0"), ("x.png", png()), (name, text)))


# ------------------------------------------------------------------------------------------------ tables


def load_table(folder, name, text, encoding="utf-8"):
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.[ct]sv"):
        old.unlink()
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(number))
    (folder / name).write_bytes(text.encode(encoding))
    return load_pairs(folder).captions


def test_quotes_of_a_tab_separated_table_are_part_of_the_caption(tmp_path):
    rows = (
        'file\tcaption\n0.png\ta dog\n1.png\t"hello, says the cat\n2.png\t"a" bee\n3.png\t"a ""red"" cow"\n'
    )
    right = ["a dog", '"hello, says the cat', '"a" bee', 'a "red" cow']
    for text in (rows, rows.replace("\n", "\r\n"), rows.replace("\n", "\r"), f"{rows}\n"):
        assert load_table(tmp_path, "c.tsv", text) == right
    long = rows + "".join(f"3.png\ta cow number {number} and more words\n" for number in range(4000))
    assert load_table(tmp_path, "c.tsv", long)[-1] == "a cow number 3999 and more words"
    with pytest.raises(ValueError, match=r"c\.tsv: the row of line 2 has 3 cells for 2 columns"):
        load_table(tmp_path, "c.tsv", "file\tcaption\n0.png\ta dog\ton a sofa\n")


def test_quotes_and_commas_of_a_comma_separated_table(tmp_path):
    text = 'file,caption\n0.png,"a dog, on\na ""red"" sofa"\n1.png,a 5" cat\n'
    assert load_table(tmp_path, "c.csv", text) == ['a dog, on\na "red" sofa', 'a 5" cat']
    with pytest.raises(
        ValueError, match=r"c\.csv: the row of line 3 has 3 cells for 2 columns.*' on a sofa'"
    ):
        load_table(tmp_path, "c.csv", "file,caption\n1.png,a cat\n0.png,a dog, on a sofa\n")
    for text in (
        'file,caption\n0.png,a dog\n1.png,"hello, says the cat\n2.png,a bee\n3.png,a cow\n',
        'file,caption\n0.png,a dog\n1.png,"hello, says the cat\n2.png,a bee\n3.png,"a cow"\n',
        'file,caption\n0.png,a dog\n1.png,"hello" says the cat\n2.png,a bee\n',
        'file,caption\n0.png,a dog\n1.png,"hello\n' + "2.png,a bee\n" * 20_000,
        'file,caption\n0.png,a dog\n1.png,"hello, says the cat\n2.png,a bee"\n3.png,a cow\n',
    ):
        with pytest.raises(ValueError, match=r"c\.csv: the row of line 3 has .*quote"):
            load_table(tmp_path, "c.csv", text)


def test_a_quote_before_the_file_takes_in_no_row(tmp_path):
    for held in ("hello,0.png\na cat", "hello,0.png\r\na cat,1.png\r\na cow"):
        with pytest.raises(ValueError, match=r"the row of line 2 has an open quote: it takes in '0\.png'"):
            load_table(tmp_path, "c.csv", f'caption,file\n"{held}",2.png\nbee,3.png\n')
    legal = 'caption,file\n"a dog, red\nand brown",0.png\n'
    assert load_table(tmp_path, "c.csv", legal) == ["a dog, red\nand brown"]


@pytest.mark.parametrize(
    "header", ["file;caption", "file,caption,caption", "File,Caption", "0.png,a dog", ""]
)
def test_columns_are_named_with_those_that_are_needed(tmp_path, header):
    with pytest.raises(ValueError, match=r"c\.csv: columns are .*; needed, each once: file, caption"):
        load_table(tmp_path, "c.csv", f"{header}\n0.png;a dog\n")


def test_tables_of_any_ending_and_number(tmp_path):
    assert load_table(tmp_path, "C.TSV", 'file\tcaption\n0.png\t"a\n') == ['"a']
    (tmp_path / "d.CSV").write_text("file,caption\n", "utf-8")
    with pytest.raises(FileNotFoundError, match=r"found 2; .*there are: 0\.png, .*C\.TSV"):
        load_pairs(tmp_path)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "3", True])
def test_a_limit_is_a_whole_number(limit):
    with pytest.raises(ValueError, match=f"limit is {limit!r}; legal: None or whole numbers from 1"):
        load_pairs("pocket-tiny", limit=limit)


def test_encodings_of_tables(tmp_path):
    text = "file\tcaption\n0.png\ta dog\n1.png\ta café\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert load_table(tmp_path, "c.tsv", text, encoding) == ["a dog", "a café"]
        assert load_table(tmp_path, "c.csv", text.replace("\t", ","), encoding) == ["a dog", "a café"]
    for name, table in (("c.tsv", text), ("c.csv", text.replace("\t", ","))):
        with pytest.raises(ValueError, match=rf"{name} is not UTF-8 \(perhaps cp1252.*: line 3, '1\.png"):
            load_table(tmp_path, name, table, "cp1252")
    with pytest.raises(ValueError, match="c.csv is not UTF-8 .*truncated data"):
        load_table(
            tmp_path, "c.csv", "file,caption\n0.png,a d\n".encode("utf-16")[:-1].decode("latin-1"), "latin-1"
        )
    (tmp_path / "._c.csv").write_bytes(b"a note of macOS")
    assert len(load_table(tmp_path, "c.tsv", text)) == 2


# ------------------------------------------------------------------------------------------------ datasets


def table_with_holes(folder):
    import pyarrow

    (folder / "there.png").write_bytes(png(3))
    cells = [{"bytes": png(0), "path": None}, None, {"bytes": None, "path": None}]
    cells += [{"bytes": None, "path": str(folder / name)} for name in ("gone.png", "there.png")]
    cells += [{"bytes": b"", "path": None}, {"bytes": png(1), "path": None}, {"bytes": png(2), "path": None}]
    captions = ["a dog", "a", "b", "c", "a cat", "d", None, "a bee"]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    return pyarrow.table({"image": pyarrow.array(cells, kind), "caption": captions})


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_rows_of_datasets_without_image_or_caption_are_counted(tmp_path, kind, monkeypatch, capfd):
    from datasets import Dataset
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    table = table_with_holes(tmp_path)
    if kind == "saved":
        Dataset(table).save_to_disk(str(tmp_path / "own"))
    else:
        (tmp_path / "own").mkdir()
        parquet.write_table(table, tmp_path / "own" / "p.parquet")
    capfd.readouterr()
    pairs = load_pairs(tmp_path / "own")
    assert pairs.captions == ["a dog", "a cat", "a bee"]
    whys = [f"row {row}: no image" for row in (1, 2, 3, 5)] + ["row 6: no caption"]
    assert list(pairs.incomplete) == whys and capfd.readouterr().err == ""
    for image, seed in zip(pairs.images, (0, 3, 2), strict=True):
        assert image.tobytes() == Image.open(io.BytesIO(png(seed))).tobytes()
    assert load_pairs(tmp_path / "own", limit=2).captions == ["a dog", "a cat"]
    (tmp_path / "there.png").write_bytes(png(5))
    with pytest.raises(ValueError, match="image of row 4 has changed: load them again"):
        pairs.images[1]


def write_parquet(path, columns):
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    cells = [{"bytes": png(), "path": None}] * len(columns["caption"])
    parquet.write_table(pyarrow.table({"image": pyarrow.array(cells, kind)} | columns), path)


def test_parquet_files_that_cannot_be_read_are_named(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    write_parquet(tmp_path / "set" / "0.PARQUET", {"caption": ["a dog"]})
    write_parquet(tmp_path / "set" / "1.parquet", {"caption": pyarrow_strings()})
    (tmp_path / "set" / "x.parquet").mkdir()
    assert load_pairs(tmp_path / "set").captions == ["a dog"]
    whole = (tmp_path / "set" / "0.PARQUET").read_bytes()
    for data in (whole[:-50], b"", b"<html>", b"version https://git-lfs.github.com/spec/v1\n"):
        (tmp_path / "set" / "1.parquet").write_bytes(data)
        with pytest.raises(ValueError, match=r"set/1\.parquet is no whole parquet file: "):
            load_pairs(tmp_path / "set")
    write_parquet(tmp_path / "empty" / "0.parquet", {"caption": pyarrow_strings()})
    with pytest.raises(ValueError, match="empty: no row in 1 parquet files"):
        load_pairs(tmp_path / "empty")
    assert capfd.readouterr().err == ""


def pyarrow_strings():
    import pyarrow

    return pyarrow.array([], pyarrow.string())


@pytest.mark.parametrize("captions", [[["a", "b"]], [1], [b"a"], ["a\0b"], [{"en": "a"}]])
def test_captions_of_datasets_are_texts(tmp_path, monkeypatch, captions):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    write_parquet(tmp_path / "set" / "0.parquet", {"caption": captions})
    for prefix in ("", "stream:") if captions != ["a\0b"] else ("",):
        with pytest.raises(ValueError, match=r"caption of row 0 .*is .*, not a string"):
            load_pairs(f"{prefix}{tmp_path / 'set'}")


@pytest.mark.parametrize("image", [[1], ["gone.png"]])
def test_images_of_datasets_that_are_none_are_told(tmp_path, monkeypatch, image):
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "set").mkdir()
    image = [{"bytes": [1, 2]}] if image[0] == 1 else image
    parquet.write_table(pyarrow.table({"image": image, "caption": ["a dog"]}), tmp_path / "set" / "0.parquet")
    with pytest.raises(ValueError, match=f"pairs '{tmp_path / 'set'}' (cannot be read|hold no image)"):
        load_pairs(tmp_path / "set")


def test_saved_datasets_that_are_damaged_are_named(tmp_path, monkeypatch):
    from datasets import Dataset

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    Dataset(table_with_holes(tmp_path)).with_format("numpy").save_to_disk(str(tmp_path / "own"))
    assert [type(caption) for caption in load_pairs(tmp_path / "own").captions] == [str] * 3
    for name in ("data-00000-of-00001.arrow", "state.json", "dataset_info.json"):
        broken = tmp_path / name.partition(".")[0]
        shutil.copytree(tmp_path / "own", broken)
        (broken / name).write_bytes((broken / name).read_bytes()[:40])
        with pytest.raises(ValueError, match=f"pairs '{broken}' cannot be read: "):
            load_pairs(broken)
