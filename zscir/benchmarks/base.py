"""What every benchmark becomes: queries over an ordered gallery, checked before any encoding."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from PIL import Image

from zscir.benchmarks.files import Problems, missing_files, repeated
from zscir.benchmarks.images import Region, broken_images, open_image


@dataclass(frozen=True)
class Query:
    """One question put to a benchmark: a reference image and a relative caption.

    Attributes:
        id: unique within the benchmark; the benchmark's own id where it has one.
        reference: image id of the reference.
        text: the relative caption, as a tuple of its wordings: one, or several whose *features* are averaged
            into one row (FashionIQ in both orders). There is one row of query features for each query.
        targets: image ids of the right answers, the one that recall counts first; () on test splits.
        subset: image ids that Recall_subset ranks (CIRR: the other five of the set; GeneCIS: the candidates),
            else ().
        group: what `Scores.per_group` groups by (CIRR set, FashionIQ category, pocket kind).
    """

    id: str
    reference: str
    text: tuple[str, ...]
    targets: tuple[str, ...] = ()
    subset: tuple[str, ...] = ()
    group: str = ""


@dataclass
class Benchmark:
    """Queries over a gallery, and the protocol they are scored by.

    Attributes:
        name: "cirr", "fashioniq", "circo", "genecis", "composition" or "domains".
        split: the split as the benchmark names it.
        queries: in the order of the rows of query features.
        gallery: image ids in the order of the rows of gallery features; ties are broken by it.
        paths: image id -> file, for the gallery and for references that are not in it.
        exclude_reference: whether a query's reference is removed from its ranking.
        metrics: names as in `zscir.retrieval.metrics.metric_values`, in the order of a table.
        protocol: what a reader must know to compare a score, as words; copied into every Scores.
        regions: image id -> the part of its file that is meant, where it is not the whole file.
        ranked: "gallery", or "subset" where a query ranks its own candidates only (GeneCIS).
        prompt: the benchmark's own prompt for composed queries, unless another is asked for.
        upright: whether images are turned as their EXIF orientation says, or taken as they lie in the files.
    """

    name: str
    split: str
    queries: list[Query]
    gallery: list[str]
    paths: dict[str, Path]
    exclude_reference: bool
    metrics: tuple[str, ...]
    protocol: dict[str, object]
    regions: dict[str, Region] = field(default_factory=dict)
    ranked: str = "gallery"
    prompt: str = "pic2word"
    upright: bool = False

    def image_path(self, image_id: str) -> Path:
        """File of an image. Raises ValueError for an id the benchmark does not have."""
        if image_id not in self.paths:
            known = ", ".join(self.gallery[:3])
            raise ValueError(f"{self.name} {self.split} has no image id {image_id!r} (it has {known}, ...)")
        return self.paths[image_id]

    def open_image(self, image_id: str) -> Image.Image:
        """The image in RGB, cut to its region where it has one.

        Raises:
            FileNotFoundError, ValueError: the file is missing, or is not a whole image; it is named.
        """
        return open_image(self.image_path(image_id), self.regions.get(image_id), self.upright)

    def with_targets(self, answers: Mapping[str, Sequence[str]]) -> "Benchmark":
        """The same benchmark with right answers from elsewhere: of a test split, what only its server knows.

        Args:
            answers: query id -> image ids, the one that recall counts first.

        Raises:
            ValueError: a query has no answer, or one that is not in the gallery.
        """
        known = set(self.gallery)
        for query in self.queries:
            if not (given := answers.get(query.id)) or not known.issuperset(given):
                raise ValueError(f"{self.name} {self.split}: answers has {given!r} for query {query.id!r}")
        queries = [replace(query, targets=tuple(answers[query.id])) for query in self.queries]
        return replace(self, queries=queries)

    @cached_property
    def row(self) -> dict[str, int]:
        """Image id -> its row in the gallery features."""
        return {image_id: number for number, image_id in enumerate(self.gallery)}

    def __repr__(self) -> str:
        """The sizes and the protocol, on one line."""
        return (
            f"Benchmark({self.name} {self.split}: {len(self.queries):,} queries, "
            f"{len(self.gallery):,} gallery images)"
        )


@dataclass
class Contents:
    """What a reader finds in the files of a benchmark; attributes as in `Benchmark`."""

    queries: list[Query]
    gallery: list[str]
    paths: dict[str, Path]
    protocol: dict[str, object] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)


@dataclass(frozen=True)
class Reader:
    """One benchmark's reader, as `load_benchmark` uses it.

    Attributes:
        splits: legal splits.
        options: protocol option -> legal values, the default first; ``reference`` says whether a query's own
            reference is "kept" in its ranking (as without the option) or "removed".
        metrics, ranked, prompt: as in `Benchmark`.
        read: (root, split, options, problems) -> Contents; records in `problems` what is wrong.
        published: (split, options) -> published numbers of (queries, gallery images), None where unknown.
    """

    splits: tuple[str, ...]
    options: dict[str, tuple[str, ...]]
    metrics: tuple[str, ...]
    read: Callable[[Path, str, dict[str, str], Problems], Contents]
    published: Callable[[str, dict[str, str]], tuple[int, int | None] | None]
    ranked: str = "gallery"
    prompt: str = "pic2word"


def check_consistency(benchmark: Benchmark, problems: Problems) -> None:
    """Record ids that are double, targets and set members outside the gallery, references without a file."""
    problems.add("image ids listed twice in the gallery", *repeated(benchmark.gallery))
    problems.add("query ids used twice", *repeated(query.id for query in benchmark.queries))
    known = set(benchmark.gallery)
    for query in benchmark.queries:
        if query.reference not in known and query.reference not in benchmark.paths:
            problems.add("references not in the gallery", f"{query.reference} (query {query.id})")
        for role, image_ids in {"target": query.targets, "set member": query.subset}.items():
            outside = [f"{name} (query {query.id})" for name in image_ids if name not in known]
            problems.add(f"{role}s not in the gallery", *outside)
        if benchmark.exclude_reference and query.reference in query.targets:
            problems.add("queries whose target is their own reference, which is removed", query.id)


def check_images(benchmark: Benchmark, allow_missing: bool, problems: Problems) -> Benchmark:
    """Look at every image file; record what is missing or broken, or drop the queries that need it.

    A query is dropped when its reference, any of its targets or any member of its set cannot be had, since
    its score would otherwise mean something else.
    """
    missing = missing_files(benchmark.paths)
    broken = broken_images({name: path for name, path in benchmark.paths.items() if name not in missing})
    unusable = missing.keys() | broken.keys()
    if not unusable:
        return benchmark
    needs = [{q.reference, *q.targets, *q.subset} for q in benchmark.queries]
    kept = [q for q, ids in zip(benchmark.queries, needs, strict=True) if not ids & unusable]
    lost = len(benchmark.queries) - len(kept)
    if not allow_missing or not kept:
        problems.add("images missing or empty", *dict.fromkeys(missing.values()))
        problems.add("images that cannot be read", *dict.fromkeys(broken.values()))
        dropping = f"allow_missing=True would drop the {lost:,} queries that need them"
        if not kept:
            dropping = "no query can do without them"
        problems.advice.append(f"{dropping}; require_images=False works from the annotations alone.")
        return benchmark
    reason = "missing on disk" if missing else "unreadable"
    if missing and broken:
        reason = f"{len(missing):,} missing on disk and {len(broken):,} unreadable"
    gone = len(unusable.intersection(benchmark.gallery))
    benchmark.protocol["dropped"] = (
        f"{lost:,} of {len(benchmark.queries):,} queries and "
        f"{gone:,} of {len(benchmark.gallery):,} gallery images, {reason}"
    )
    benchmark.queries = kept
    benchmark.gallery = [image_id for image_id in benchmark.gallery if image_id not in unusable]
    benchmark.paths = {name: path for name, path in benchmark.paths.items() if name not in unusable}
    return benchmark


def size_note(benchmark: Benchmark, published: tuple[int, int | None] | None) -> str:
    """Numbers of queries and gallery images, beside the published ones (None: unknown) if they differ."""
    here = (len(benchmark.queries), len(benchmark.gallery))
    words = f"{here[0]:,} queries, {here[1]:,} gallery images"
    if published is None or published in (here, (here[0], None)):
        return words
    known = " and ".join(f"{number:,}" for number in published if number is not None)
    return f"{words} (published: {known})"
