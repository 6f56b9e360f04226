"""What the chapters of the built book found, as they glue it for their prose; a test compares the two.

    zscir book
    python benchmarks/chapters.py --out benchmarks/results/chapters.json

Conclusions are written by people, for the chapters' own parameters; `tests/test_chapter_records.py` says
which of these numbers each of them rests on.
"""

import argparse
from pathlib import Path

from records import write

from zscir.book.record import chapter_records, recorded_values
from zscir.storage.paths import REPO


def summary(folder: Path) -> dict:
    """The record of a folder of executed chapters: for each its values, numbers to four places.

    Raises:
        ValueError: a chapter ran with other parameters than its own.
    """
    records = chapter_records(folder)
    if other := [record["chapter"] for record in records if record["changed"]]:
        raise ValueError(f"{', '.join(other)} ran with other parameters than the chapter's own")
    found = {record["chapter"]: recorded_values(folder / f"{record['chapter']}.ipynb") for record in records}
    last = max(records, key=lambda record: record["date"])
    return {
        "date": last["date"].partition(" ")[0],
        "machine": last["machine"],
        "runs": [{"git_commit": commit} for commit in dict.fromkeys(record["commit"] for record in records)],
        "precision": ", ".join(
            dict.fromkeys(record["parameters"].get("precision", "fp32") for record in records)
        ),
        "versions": last["versions"],
        "values": {
            name: {key: round(one, 4) if isinstance(one, float) else one for key, one in values.items()}
            for name, values in found.items()
        },
    }


def main() -> None:
    """Read, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=REPO / "book" / "notebooks", help="executed chapters")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    args = parser.parse_args()
    write(summary(args.folder), args.out)


if __name__ == "__main__":
    main()
