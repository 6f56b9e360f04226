"""Folders of photos as people have them: which of their files are pictures, and what is left out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from zscir.benchmarks.images import broken_images
from zscir.storage.contents import files_below
from zscir.storage.paths import local_path, printable
from zscir.storage.pictures import OWN_SOFTWARE, picture_header, picture_suffixes


def image_files(gallery: str | Path | Sequence[str | Path], say: Callable[[str], None] = print) -> list[Path]:
    """Pictures of a folder and its subfolders, sorted; a list is taken as it is.

    Links are followed, each folder is searched once. Left out are files with other endings and files that are
    no whole pictures, which are counted in a line; and without a word the pictures that `zscir retrieve`
    drew and the notes of macOS (``._photo.jpg``).

    Args:
        gallery: the folder, or a list of files.
        say: takes the line on what is left out.

    Raises:
        FileNotFoundError: no such folder, or no picture in it.
    """
    if not isinstance(gallery, (str, Path)):
        return [Path(path) for path in gallery]
    folder = local_path(gallery, "gallery")
    if not str(gallery) or not folder.is_dir():
        raise FileNotFoundError(f"gallery={str(gallery)!r}: there is no such folder")
    files = [path for path in files_below(folder) if not path.name.startswith("._")]
    found = sorted(path for path in files if path.suffix.lower() in picture_suffixes() and path.is_file())
    broken = broken_images({str(path): path for path in found})
    whole = [path for path in found if str(path) not in broken]
    pictures = [path for path in whole if picture_header(path)[1] != OWN_SOFTWARE]
    left_out = left_out_line(set(files) - set(found), list(broken.values()))
    if not pictures:
        endings = ", ".join(picture_suffixes())
        raise FileNotFoundError(
            f"gallery={str(gallery)!r} holds no image ({endings}); {left_out or 'no file'}"
        )
    if left_out:
        say(left_out)
    return pictures


def left_out_line(others: Iterable[Path], broken: list[str]) -> str:
    """What is left out, in words; "" for nothing."""
    endings = Counter(path.suffix.lower() or "no ending" for path in others)
    parts = [f"{count:,} {suffix}" for suffix, count in sorted(endings.items())]
    if broken:
        parts.append(
            f"{len(broken):,} that cannot be read: "
            f"{printable('; '.join(broken[:3]))}{'; ...' * (len(broken) > 3)}"
        )
    return f"left out of the gallery: {', '.join(parts)}" if parts else ""
