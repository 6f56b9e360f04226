"""A dry run at size: captioned images in webdataset tars, some of them broken, become masked pairs.

python benchmarks/dry_run.py --out benchmarks/results/dry_run.json

Draws the tars as img2dataset writes them (ten thousand samples each), 3 % of the samples broken in all the
ways that a sample can be broken; the others have a noun in their caption. Then masked pairs are made of them
twice, each time in a process of its own: once undisturbed, and once killed (SIGKILL) at a third and at two
thirds, and started again. Measured are images a second, memory, and each kind of what is left out; the run
stops with an error where a kind is not counted as it was drawn, where a finished shard is made again, or
where the two results differ in a byte.
"""

import argparse
import filecmp
import io
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import records
from PIL import Image

from zscir.backbone import load_backbone
from zscir.nouns import find_nouns
from zscir.pairs import build_masked_pairs, load_pairs
from zscir.storage.provenance import machine, peak_memory, thread_share, versions

#: Samples a tar, and one in how many is broken.
TAR, BROKEN = 10_000, 33
KINDS = ("nouns", "image-features", "cams", "masked-features")
Members = list[tuple[str, bytes | None]]


def encoded(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    """An image file of pixels [H, W, 3]."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG of a hundred bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b""))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")


def damaged_exif(jpeg: bytes) -> bytes:
    """The same picture, with an EXIF block that ends too early."""
    entry = struct.pack("<HHII", 0x010F, 2, 500, 4000)
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 20) + entry
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


#: What can be wrong with a sample: name -> (what it is counted as, its members by key, JPEG and caption).
#: "remarked" and "pair" are pairs all the same; "second" are pairs that are counted as incomplete, too.
FAULTS = {
    "JPEG cut off": ("unreadable", lambda k, j, c: [(f"{k}.jpg", j[: len(j) // 3]), (f"{k}.txt", c)]),
    "empty file": ("unreadable", lambda k, j, c: [(f"{k}.jpg", b""), (f"{k}.txt", c)]),
    "a web page": ("unreadable", lambda k, j, c: [(f"{k}.jpg", b"<html>404</html>"), (f"{k}.txt", c)]),
    "a pointer of LFS": (
        "unreadable",
        lambda k, j, c: [(f"{k}.jpg", b"version https://git-lfs.github.com/spec/v1\n"), (f"{k}.txt", c)],
    ),
    "a bomb": ("unreadable", lambda k, j, c: [(f"{k}.png", bomb()), (f"{k}.txt", c)]),
    "no caption": ("incomplete", lambda k, j, c: [(f"{k}.jpg", j)]),
    "no image": ("incomplete", lambda k, j, c: [(f"{k}.txt", c)]),
    "a null for a caption": (
        "incomplete",
        lambda k, j, c: [(f"{k}.jpg", j), (f"{k}.json", b'{"caption": null}')],
    ),
    "a link for an image": ("incomplete", lambda k, j, c: [(f"{k}.jpg", None)]),
    "a second image": (
        "second",
        lambda k, j, c: [(f"{k}.jpg", j), (f"{k}.png", j), (f"{k}.txt", c)],
    ),
    "a name twice": (
        "second",
        lambda k, j, c: [(f"{k}.jpg", j), (f"{k}.txt", c), (f"{k}.jpg", j), (f"{k}.txt", c)],
    ),
    "an empty caption": ("without_noun", lambda k, j, c: [(f"{k}.jpg", j), (f"{k}.txt", b"")]),
    "no noun": ("without_noun", lambda k, j, c: [(f"{k}.jpg", j), (f"{k}.txt", b"it is here")]),
    "damaged EXIF": ("remarked", lambda k, j, c: [(f"{k}.jpg", damaged_exif(j)), (f"{k}.txt", c)]),
    "a byte order mark": ("pair", lambda k, j, c: [(f"{k}.jpg", j), (f"{k}.txt", b"\xef\xbb\xbf" + c)]),
    "dots in the name": ("pair", lambda k, j, c: [(f"{k}.05.jpg", j), (f"{k}.05.txt", c)]),
}


def samples(count: int, pool: list[tuple[np.ndarray, str]], drawn: Counter) -> Iterator[Members]:
    """The members of each sample, every `BROKEN`-th of them broken, in turns; ``drawn`` counts the kinds."""
    for number in range(count):
        key = f"{number // TAR:05d}{number % TAR:04d}"
        pixels, caption = pool[number % len(pool)]
        jpeg = encoded(np.roll(pixels, number // len(pool) * 7 % pixels.shape[1], axis=1), quality=90)
        if number % BROKEN == BROKEN - 1:
            name = list(FAULTS)[number // BROKEN % len(FAULTS)]
            drawn[name] += 1
            yield FAULTS[name][1](key, jpeg, caption.encode())
            continue
        meta = {"caption": caption, "url": f"http://example.org/{key}.jpg", "key": key, "status": "success"}
        yield [
            (f"{key}.jpg", jpeg),
            (f"{key}.json", json.dumps(meta).encode()),
            (f"{key}.txt", caption.encode()),
        ]


def write_tars(folder: Path, count: int, pool: list[tuple[np.ndarray, str]]) -> Counter:
    """Tars as img2dataset writes them, with its other files; how many samples have which fault."""
    drawn: Counter = Counter()
    every = samples(count, pool, drawn)
    for first in range(0, count, TAR):
        stem = folder / f"{first // TAR:05d}"
        with tarfile.open(f"{stem}.tar", "w") as tar:
            for _, members in zip(range(min(TAR, count - first)), every, strict=False):
                for name, data in members:
                    entry = tarfile.TarInfo(name)
                    if data is None:
                        entry.type, entry.linkname = tarfile.SYMTYPE, "elsewhere.jpg"
                    entry.size = len(data or b"")
                    tar.addfile(entry, io.BytesIO(data or b""))
        stem.with_suffix(".parquet").write_bytes(b"PAR1")
        Path(f"{stem}_stats.json").write_text("{}", "utf-8")
    return drawn


def expected(count: int, drawn: Counter) -> dict[str, int]:
    """What the report of the masked pairs must count."""
    by = Counter()
    for name, number in drawn.items():
        by[FAULTS[name][0]] += number
    lost = by["unreadable"] + by["without_noun"]
    found = {"pairs": count - by["incomplete"], "masked": count - by["incomplete"] - lost}
    found |= {name: by[name] for name in ("unreadable", "without_noun", "remarked")}
    return found | {"incomplete": by["incomplete"] + by["second"]}


def memory_now() -> int:
    """Bytes that this process holds and no file backs."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])


def make_pairs(tars: str) -> dict[str, object]:
    """Make masked pairs of the tars in this process; seconds, report, memory once a second, and its peak."""
    held: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            held.append(memory_now())

    watcher = threading.Thread(target=watch)
    times = [time.perf_counter()]
    backbone = load_backbone("pocket")
    pairs = load_pairs(tars)
    times.append(time.perf_counter())
    watcher.start()
    masked = build_masked_pairs(backbone, pairs, tau=0.3, progress=False)
    times.append(time.perf_counter())
    over.set()
    watcher.join()
    seconds = {"reading names and captions": times[1] - times[0], "masked pairs": times[2] - times[1]}
    quarter = max(1, len(held) // 4)
    return {
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "report": masked.report,
        "most bytes in the second quarter": max(held[quarter : 2 * quarter], default=memory_now()),
        "most bytes in the last quarter": max(held[-quarter:], default=memory_now()),
        "peak bytes": peak_memory(),
    }


def child(tars: Path, artifacts: Path) -> subprocess.Popen:
    """`make_pairs` in a process of its own, on the reference machine."""
    env = os.environ | records.AVX2 | {"ZSCIR_ARTIFACTS": str(artifacts)}
    command = [sys.executable, __file__, "--tars", str(tars)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)


def killed(tars: Path, artifacts: Path, shards: int) -> dict[Path, int]:
    """Start, and kill when so many shards are stored; these, with the times of their files."""
    process = child(tars, artifacts)
    while len(parts := list(artifacts.glob("masked-features/.parts*/*.npz"))) < shards:
        if process.poll() is not None:
            raise RuntimeError("the run ended before it could be killed: more samples are needed")
        time.sleep(0.05)
    process.kill()  # SIGKILL
    process.wait()
    return {part: part.stat().st_mtime_ns for part in parts}


def differences(one: Path, other: Path) -> list[str]:
    """Files of the results that only one has, or that differ in a byte."""
    names = {
        path.relative_to(root)
        for root in (one, other)
        for kind in KINDS
        for path in (root / kind).rglob("*")
        if path.is_file()
    }
    same = filecmp.cmpfiles(one, other, map(str, names), shallow=False)
    return [*same[1], *same[2]]


def measured(count: int, world: str, scratch: Path) -> dict[str, object]:
    """The whole dry run; RuntimeError where it is not as it must be."""
    tars = scratch / "tars"
    tars.mkdir()
    found = load_pairs(world)
    named = [row for row, nouns in enumerate(find_nouns(found.captions)) if nouns]
    pool = [(np.asarray(found.images[row].resize((256, 256))), found.captions[row]) for row in named]
    drawn = write_tars(tars, count, pool)
    undisturbed = json.loads(child(tars, scratch / "once").communicate()[0])
    wanted, report = expected(count, drawn), undisturbed["report"]
    if wrong := {
        name: (value, report.get(name, 0)) for name, value in wanted.items() if value != report.get(name, 0)
    }:
        raise RuntimeError(f"drawn and counted: {wrong}")
    shards = -(-report["pairs"] // 256)
    stored: dict[Path, int] = {}
    for part in (1, 2):
        again = killed(tars, scratch / "killed", max(part, part * shards // 3))
        if changed := [path.name for path, when in stored.items() if again.get(path) != when]:
            raise RuntimeError(f"made again: {changed}")
        stored |= again
    resumed = json.loads(child(tars, scratch / "killed").communicate()[0])
    if wrong := differences(scratch / "once", scratch / "killed"):
        raise RuntimeError(f"other bytes after two kills: {wrong}")
    rate = report["pairs"] / undisturbed["seconds"]["masked pairs"]
    return {
        "samples": count,
        "broken": dict(drawn),
        "images per second": round(rate, 1),
        "undisturbed": undisturbed,
        "after two kills": resumed | {"shards stored when it was killed": len(stored), "shards": shards},
        "files that differ": 0,
    }


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--world", default="pocket-small", help="pairs whose pictures and captions are used")
    parser.add_argument(
        "--folder", type=Path, help="where the tars and the results lie meanwhile (30 KB a sample)"
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tars", help="only make masked pairs of these, printed as JSON")
    args = parser.parse_args()
    if args.tars:
        print(json.dumps(make_pairs(args.tars)))
        return
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        run = measured(args.samples, args.world, Path(scratch))
    known = {
        "date": records.today(),
        "machine": machine() | {"threads": thread_share(1), "instruction_set": "AVX2"},
    }
    records.write(known | {"versions": versions(("zscir", "torch", "pillow"))} | run, args.out)


if __name__ == "__main__":
    main()
