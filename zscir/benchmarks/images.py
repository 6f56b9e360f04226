"""Image files of a benchmark: opened whole, or cut to a region; broken ones found before any encoding."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from zscir.storage.contents import stamp_of
from zscir.storage.pictures import check_pixels, open_picture, picture_header

_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
_TAIL = 4096  # bytes in which the end mark is looked for; cameras and servers append a little


@dataclass(frozen=True)
class Region:
    """A part of an image file.

    Attributes:
        box: left, top, width, height in pixels.
        dilation: how far the box is widened, as a share of its sides: its left and top edges move out by this
            share, then the box measures (1 + share) of its sides, both within the image (GeneCIS: 0.7).
        square: whether the cut is padded with black to a square.
    """

    box: tuple[float, float, float, float]
    dilation: float = 0.0
    square: bool = False

    def cut(self, image: Image.Image) -> Image.Image:
        """The region of an image. Raises ValueError when no pixel of it is in the image.

        >>> Region((10, 10, 20, 10), dilation=0.5, square=True).cut(Image.new("RGB", (100, 100))).size
        (30, 30)
        """
        x, y, width, height = self.box
        left, top = max(0, x - self.dilation * width), max(0, y - self.dilation * height)
        right = min(image.width, left + (1 + self.dilation) * width)
        bottom = min(image.height, top + (1 + self.dilation) * height)
        corners = tuple(map(round, (left, top, right, bottom)))
        if corners[0] >= corners[2] or corners[1] >= corners[3]:
            raise ValueError(
                f"region {self.box} is outside of the image's {image.width} x {image.height} pixels"
            )
        part = image.crop(corners)
        return padded_to_square(part) if self.square else part


def padded_to_square(image: Image.Image) -> Image.Image:
    """The image in the middle of a black square of its longer side."""
    side = max(image.size)
    check_pixels(side, side, "a region padded to a square")
    square = Image.new(image.mode, (side, side))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def open_image(path: Path, region: Region | None = None, upright: bool = False) -> Image.Image:
    """The whole image in memory, in RGB, cut to a region where one is given.

    As it lies in the file: published numbers are of such images, and regions are given in their pixels; with
    ``upright`` turned as its EXIF orientation says.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or the region is outside of it; the file is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"image missing: {path}")
    image = open_picture(path, upright=upright)
    try:
        return region.cut(image) if region else image
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def broken_images(paths: dict[str, Path]) -> dict[str, str]:
    """Image id -> what is wrong, for the files that are not whole images.

    Looked at are the header and the mark that ends a JPEG or PNG file, so text saved under the name of an
    image and cut-off downloads are found; a fault in the middle shows when the image is encoded. Others are
    decoded. A file is looked at once in a process as long as its stamp (size, times, inode) stays.
    """
    with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
        troubles = pool.map(_trouble_of, paths.values())
        return {name: trouble for name, trouble in zip(paths, troubles, strict=True) if trouble}


def _trouble_of(path: Path) -> str:
    stat = path.stat()
    return _trouble(path, stat.st_size, stamp_of(stat))


@lru_cache(maxsize=2**18)
def _trouble(path: Path, size: int, stamp: int) -> str:
    """What is wrong with an image file, "" when nothing is."""
    try:
        kind, _ = picture_header(path)
        with path.open("rb") as file:
            file.seek(max(0, size - _TAIL))
            if kind in _ENDS and _ENDS[kind] not in file.read():
                return f"{path} (the file is cut off)"
    except (OSError, ValueError) as error:
        return str(error)
    return ""
