"""Domain conversion on ImageNet-R (Saito et al., CVPR 2023): *this thing, as a sculpture*.

Files, as Pic2Word keeps them in ``data/imgnet``: ``imgnet_real_query.txt`` and ``imgnet_targets.txt``, one
image a line, ``imgnet/real/n02268443/ILSVRC2012_val_00036578.JPEG 5``, the number being the class plus
1,000 times the domain; the paths start at the root. The lists lie in the root or in its ``imgnet``.
A file ``domains.txt`` beside them, one name a line, replaces Pic2Word's four domains in that order.

Every query image is asked for in each domain (``a cartoon of *``); all images of its class in that domain
are right answers, and all of ``imgnet_targets.txt`` is the gallery. The measure of the papers is the share
of the right answers among the first k, here ``recall_all@k``. Real images are in the gallery too, the
query's own where it is listed.

A class without an image in a domain has no right answer there: such queries are left out and counted in
``protocol["without"]``. Pic2Word's own code keeps them, as misses, which lowers its numbers by their share.
"""

from collections import defaultdict
from pathlib import Path

from zscir.benchmarks.base import Contents, Query, Reader
from zscir.benchmarks.files import Problems, read_text, says_something

DOMAINS = ("cartoon", "origami", "toy", "sculpture")
CLASSES = 1000
_DIGITS = 9
#: real images and images of the gallery
PUBLISHED = (10_000, 16_983)


def _listed(path: Path, problems: Problems) -> dict[str, int]:
    """Image -> its number, of a list with one ``path number`` a line."""
    found = {}
    for line_number, line in enumerate(read_text(path, problems).splitlines(), start=1):
        name, _, label = line.strip().rpartition(" ")
        if not line.strip():
            continue
        if not name or not label.isdecimal() or len(label) > _DIGITS:
            example = f"line {line_number} has {line[:60]!r}"
            problems.add(f"lines of {path.name} that are not a path and a number", example)
        elif name in found:
            problems.add(f"images listed twice in {path.name}", name)
        else:
            found[name] = int(label)
    return found


def _read(root: Path, split: str, options: dict[str, str], problems: Problems) -> Contents:
    inner = root / "imgnet"
    folder = inner if (inner / "imgnet_targets.txt").is_file() else root
    real = _listed(folder / "imgnet_real_query.txt", problems)
    targets = _listed(folder / "imgnet_targets.txt", problems)
    named = folder / "domains.txt"
    lines = read_text(named, problems).splitlines() if named.is_file() else DOMAINS
    domains = tuple(name.strip() for name in lines if name.strip())
    wordless = [repr(name) for name in domains if not says_something(name)]
    problems.add(f"domains of {named.name} without a letter or a digit", *wordless)
    answers = defaultdict(list)
    for name, label in targets.items():
        answers[label].append(name)
    asked = domains if options["domain"] == "all" else (options["domain"],)
    if options["domain"] not in ("all", *domains):
        problems.add("domains that are not among those of domains.txt", options["domain"])
        asked = ()
    queries, without = [], 0
    for domain in asked:
        shift = CLASSES * domains.index(domain)
        for name, label in real.items():
            right = tuple(answers.get(label + shift, ()))
            without += not right
            if right:
                queries.append(Query(f"{domain}-{name}", name, (domain,), right, group=domain))
    protocol = {
        "gallery": "all images of imgnet_targets.txt",
        "captions": "name of the domain",
        "without": f"{without:,} queries whose class has no image in the domain, not counted",
    }
    return Contents(queries, list(targets), {name: root / name for name in {**real, **targets}}, protocol)


def _published(split: str, options: dict[str, str]) -> tuple[int, int]:
    return PUBLISHED[0] * (len(DOMAINS) if options["domain"] == "all" else 1), PUBLISHED[1]


READER = Reader(
    splits=("val",),
    options={"domain": ("all", *DOMAINS)},
    metrics=(*(f"recall_all@{k}" for k in (10, 50)), *(f"precision@{k}" for k in (10, 50))),
    read=_read,
    published=_published,
    prompt="a {caption} of *",
)
