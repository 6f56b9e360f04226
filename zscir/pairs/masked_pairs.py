"""What `zscir.pairs.build_masked_pairs` gives: masked pairs, their report, and the way to disk."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from zscir.storage.paths import artifacts_root, is_url
from zscir.storage.urls import put_folder
from zscir.storage.whole import check_new_folder, whole_folder

#: Pairs written at once.
WRITE_BATCH = 4096


@dataclass
class MaskedPairs:
    """Pairs with one noun masked in the caption and the rest masked in the image; N of them, from P pairs.

    Attributes:
        image_features: [N, D] float32, L2-normalised: the whole images.
        masked_features: [N, D] float32, L2-normalised: the masked images.
        masked_captions: the captions with ``*`` for the noun.
        nouns: what stood there. lemmas: its singular, in lower case, as the maps are made of it.
        rows: [N] int64, not decreasing: which of the pairs (several times with ``nouns="all"``).
        report: ``pairs`` P, ``masked`` N; left out are ``unreadable`` images, ``incomplete`` samples (of a
            source, without image or caption), captions ``without_noun`` or with none within the text that
            the backbone reads (``beyond_context``), and nouns ``without_true_mask``; ``empty_masks`` (where
            the threshold alone kept nothing) and ``mean_kept_area`` (share of the image, 0 to 1) of the N.
            ``remarked`` images, where there are some, were read with a remark of the decoder (damaged EXIF).
        kept_area: [N] float32, share of each image that is kept.
        skipped: reason -> (row, text) of every pair that was left out.
    """

    image_features: Tensor
    masked_features: Tensor
    masked_captions: list[str]
    nouns: list[str]
    lemmas: list[str]
    rows: Tensor
    report: dict
    kept_area: Tensor
    skipped: dict[str, list[tuple[int, str]]] = field(default_factory=dict, repr=False)

    def save(self, folder: str | Path) -> str | Path:
        """Write a ``datasets.Dataset`` (``datasets.load_from_disk`` reads it), with ``report.json`` in it.

        ``folder`` may be a URL that fsspec knows; the report is then written last.

        Columns: ``row``, ``image_feature`` and ``masked_image_feature`` [D], ``masked_caption``, ``noun``,
        ``kept_area``. The report lists what was left out, with its reason. Whole or not at all.

        Raises:
            FileExistsError: the folder exists and is not empty.
        """
        from datasets import Dataset, Features, List, Value
        from datasets.arrow_writer import ArrowWriter

        if is_url(folder):
            with TemporaryDirectory(dir=artifacts_root()) as scratch:
                put_folder(self.save(Path(scratch, "dataset")), folder, last="report.json")
            return folder
        folder = check_new_folder(folder)
        feature = List(Value("float32"), length=self.image_features.shape[1])
        columns = {
            "row": (Value("int64"), self.rows.numpy()),
            "image_feature": (feature, self.image_features.numpy()),
            "masked_image_feature": (feature, self.masked_features.numpy()),
            "masked_caption": (Value("string"), self.masked_captions),
            "noun": (Value("string"), self.nouns),
            "kept_area": (Value("float32"), self.kept_area.numpy()),
        }
        kinds = Features({name: kind for name, (kind, _) in columns.items()})
        with whole_folder(folder) as scratch, TemporaryDirectory(dir=scratch.parent, prefix=".rows-") as rows:
            table = Path(rows, "table.arrow")
            with ArrowWriter(path=str(table), features=kinds) as writer:
                for first in range(0, len(self.rows), WRITE_BATCH):
                    part = slice(first, first + WRITE_BATCH)
                    writer.write_batch({name: values[part] for name, (_, values) in columns.items()})
                writer.finalize()
            Dataset.from_file(str(table)).save_to_disk(str(scratch))
            report = {**self.report, "skipped": self.skipped}
            text = json.dumps(report, ensure_ascii=False, indent=1) + "\n"
            (scratch / "report.json").write_text(text, encoding="utf-8")
        return folder
