"""Benchmarks of composed image retrieval, each read from its official files into one shape.

    from zscir.benchmarks import load_benchmark
    cirr = load_benchmark("cirr", "/data/cirr", split="val")
    dress = load_benchmark("fashioniq", "/data/FashionIQ", category="dress", require_images=False)

With `zscir.retrieval.score_features(benchmark, query_features, gallery_features)` anyone can score
features of their own. To add a benchmark: one module with a `READER`, one row in `READERS`.
"""

from pathlib import Path

from zscir.benchmarks import circo, cirr, composition, domains, fashioniq, genecis
from zscir.benchmarks.base import Benchmark, Query, Reader, check_consistency, check_images, size_note
from zscir.benchmarks.files import Problems, outside_of
from zscir.benchmarks.images import Region
from zscir.storage.checks import check, chosen, one_of
from zscir.storage.paths import local_path

__all__ = ["READERS", "Benchmark", "Query", "Region", "benchmark_root", "check_options", "load_benchmark"]

READERS: dict[str, Reader] = {
    "cirr": cirr.READER,
    "fashioniq": fashioniq.READER,
    "circo": circo.READER,
    "genecis": genecis.READER,
    "composition": composition.READER,
    "domains": domains.READER,
}


def load_benchmark(
    name: str,
    root: str | Path,
    split: str = "val",
    *,
    require_images: bool = True,
    allow_missing: bool = False,
    upright: bool = False,
    **protocol: str,
) -> Benchmark:
    """Read a benchmark and check all of it: files, keys, ids and every image, before any encoding.

    Args:
        name: "cirr", "fashioniq", "circo", "genecis", "composition" (COCO) or "domains" (ImageNet-R).
        root: the folder with the official files, or "pocket-tiny", "pocket-small", "pocket-large".
        split: "val", the only one of most; also "test1" (cirr) and "test" (circo), without targets.
        require_images: False to work from the annotations alone (to score stored features).
        allow_missing: True to drop the queries that need a missing or broken image; `protocol` then says so.
        upright: True to turn images as their EXIF orientation says; by default they are taken as they lie in
            the files, as the published numbers are (TIFF excepted, which Pillow turns itself).
        **protocol: options that the module of each benchmark explains, such as ``reference="removed"`` or
            FashionIQ's ``category="dress"``, ``gallery="original"``, ``captions="second-first"``.

    Returns:
        The benchmark; `protocol` states how it is scored, and its size beside the published one.

    Raises:
        ValueError: an unknown name, split or option, or annotations that are malformed, contradict each other
            or name images outside the folder.
        FileNotFoundError: files or images missing, all named in one error.
    """
    options = check_options(name, allow_missing=allow_missing, upright=upright, **protocol)
    reader = READERS[name]
    chosen("split", split, reader.splits)
    folder = _folder(name, root)
    problems = Problems(f"{name} {split} under {folder}")
    contents = reader.read(folder, split, options, problems)
    benchmark = Benchmark(
        name=name,
        split=split,
        exclude_reference=options.get("reference") == "removed",
        metrics=reader.metrics,
        ranked=reader.ranked,
        prompt=reader.prompt,
        upright=upright,
        **vars(contents),
    )
    benchmark.protocol = {"benchmark": name, "split": split, "dropped": "none"} | options | contents.protocol
    benchmark.protocol["orientation"] = "upright, by EXIF" if upright else "as the files lie"
    check_consistency(benchmark, problems)
    published = reader.published(split, options)
    problems.counts.append(f"read: {size_note(benchmark, published)}")
    outside = outside_of(folder, benchmark.paths.values())
    problems.add("paths of images that lead out of the folder", *outside)
    if require_images and not outside:
        benchmark = check_images(benchmark, allow_missing, problems)
    problems.raise_if_any()
    benchmark.protocol["size"] = size_note(benchmark, published)
    return benchmark


def benchmark_root(root: str, world: str) -> str:
    """``root`` of a real benchmark as `load_benchmark` takes it; if it is empty, the pocket world of a size.

    Raises:
        ValueError: there is no such size.
        FileNotFoundError: ``root`` names no folder.
    """
    from zscir.pocket import pocket_name

    pocket = pocket_name(world)
    if root and not Path(str(root)).expanduser().is_dir():
        raise FileNotFoundError(f"root is {root!r}: there is no such folder (empty: the pocket world's)")
    return root or pocket


def check_options(
    name: str, *, allow_missing: bool = False, upright: bool = False, **protocol: str
) -> dict[str, str]:
    """Every protocol option of a benchmark with its value, given or default; arguments as `load_benchmark`.

    Raises:
        ValueError: an unknown name or option, or an illegal value.
    """
    legal = READERS[chosen("name", name, READERS)].options
    for option, value in {"allow_missing": allow_missing, "upright": upright}.items():
        check(option, value, one_of(True, False))
    for option in protocol:
        if option not in legal:
            raise ValueError(f"{name} has no option {option!r}; its options are {', '.join(legal) or 'none'}")
    return {option: chosen(option, protocol.get(option, own[0]), own) for option, own in legal.items()}


def _folder(name: str, root: str | Path) -> Path:
    """The folder to read; "pocket-..." draws (or finds) the embedded world in that layout."""
    if isinstance(root, str) and root.startswith("pocket-"):
        from zscir.pocket import make_pocket
        from zscir.pocket.beyond import make_beyond

        size, beyond = root.removeprefix("pocket-"), name in ("genecis", "composition", "domains")
        return make_beyond(size) / name if beyond else make_pocket(size).root(name)
    folder = local_path(root, "root")
    if not folder.is_dir():
        raise FileNotFoundError(f"root={str(root)!r}: there is no such folder")
    return folder
