"""URLs that fsspec knows (s3://, gs://, hf://, memory://, file://): copied to this machine, or filled.

What is read is copied once, file by file, and then read as any other files; so a URL gives what its files
give. A killed copy goes on where it was. Most protocols need a package of their own, which the error names.
"""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from zscir.storage.artifacts import artifact, fingerprint
from zscir.storage.contents import files_below
from zscir.storage.paths import artifacts_root
from zscir.storage.whole import written_whole


def file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and its path there.

    Raises:
        ValueError: fsspec does not know it, or lacks a package for it.
    """
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url} cannot be opened: {error}") from error


def fetched(url: str) -> Path:
    """A folder, or for one file a file, with a copy of what lies at a URL; of a pattern, the files that fit.

    It is an artifact, named by the URL and by what the file system says of its files (sizes and times, or
    checksums), so what changed there is copied anew.

    Raises:
        ValueError: as `file_system`, or a file that would leave the folder.
        FileNotFoundError: nothing lies there.
    """
    system, path = file_system(url)
    plain = re.split(r"[*?[]", path)[0]  # what stands before a pattern
    single = plain == path and system.isfile(path)
    found = [path] if single else system.find(path) if plain == path else system.glob(path)
    base = plain.rpartition("/")[0] if single or plain != path else path
    files = {PurePosixPath(file).relative_to(base).as_posix(): file for file in sorted(found)}
    if outside := [name for name in files if ".." in name.split("/")]:
        raise ValueError(f"{url} holds {outside[0]!r}, which leads out of its folder")
    if not files:
        raise FileNotFoundError(f"{url}: nothing lies there")
    key = {"url": url, "files": {name: system.ukey(file) for name, file in files.items()}}
    parts = artifacts_root() / "copies" / f".parts-{fingerprint(key)}"

    def build(folder: Path) -> None:
        for name, file in files.items():
            if not (parts / name).is_file():
                with written_whole(parts / name) as scratch:
                    system.get_file(file, str(scratch))
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(parts / name, folder / name)

    folder = artifact("copies", key, build)
    shutil.rmtree(parts, ignore_errors=True)
    return folder / next(iter(files)) if single else folder


def check_new_url(url: str) -> None:
    """Look at a URL before long work whose result it is to hold.

    Raises:
        ValueError: as `file_system`.
        FileExistsError: something lies there.
    """
    system, path = file_system(url)
    if system.exists(path) and system.find(path):
        raise FileExistsError(f"{url} is not empty; name a new folder")


def put_folder(folder: Path, url: str, last: str) -> None:
    """Copy a folder to a URL; the file ``last`` comes last, so where it is, all is. On an error all goes."""
    check_new_url(url)
    system, path = file_system(url)
    names = [file.relative_to(folder).as_posix() for file in files_below(folder)]
    try:
        for name in sorted(names, key=lambda name: (name == last, name)):
            system.makedirs(f"{path}/{name}".rpartition("/")[0], exist_ok=True)
            system.put_file(str(folder / name), f"{path}/{name}")
    except BaseException:
        with suppress(Exception):  # the first error is the one to tell
            system.rm(path, recursive=True)
        raise
