"""The one door by which pictures enter: files and bytes of strangers become RGB images, or one clear error.

    open_picture("photo.jpg").size                   # as a viewer shows it: upright, 16 bits scaled to 8
    open_picture(data, upright=False, name="row 7")  # as it lies

What Pillow remarks on a file (damaged EXIF, many pixels) is no error and never printed: it is kept in
``info["remarks"]`` of the picture, and counted until `take_remarks` asks.
"""

import io
import logging
import math
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

#: Endings of photos, those of which a sample of several is taken first; `picture_suffixes` are the readable.
PHOTOS = tuple(
    """.jpg .jpeg .png .webp .jfif .jpe .mpo .tif .tiff .bmp .dib .gif .avif .avifs .apng .heic .heif .jxl
    .jp2 .j2k .jpf .jpx .ppm .pgm .pbm .pnm .pfm .tga .qoi""".split()
)
#: Pictures of more pixels are refused; Pillow's own limit.
MOST_PIXELS = 2 * 89_478_485
#: Pixels that a resized picture may have before its middle is cut out.
_MOST_RESIZED = 2**24
#: What a picture that `zscir retrieve` wrote names as its program, so that no search finds it.
OWN_SOFTWARE = "zscir retrieve"


class _Decoding(threading.local):
    """Of each thread: the remarks on the picture that it decodes, or None. Stands in `warnings.filters`.

    ``warnings.catch_warnings`` would take those of all threads, and pictures are decoded by several.
    """

    remarks: list[str] | None = None

    def match(self, text: str) -> bool:
        """Whether a warning is of this thread's picture; it is then kept."""
        if self.remarks is not None:
            self.remarks.append(text)
        return self.remarks is not None


_DECODING = _Decoding()
_FILTER = ("ignore", _DECODING, Warning, None, 0)
_REMARKED: list[str] = []
_ONE_TIFF = threading.Lock()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints its errors, which are raised too


@cache
def picture_suffixes() -> tuple[str, ...]:
    """Endings (lower case, with the dot) of `PHOTOS` that this Pillow can read."""
    known = Image.registered_extensions()
    return tuple(suffix for suffix in PHOTOS if known.get(suffix) in Image.OPEN or suffix == ".mpo")


@cache
def _kinds() -> tuple[str, ...]:
    """Pillow's names of the formats of `PHOTOS`; reading another may start a program (EPS)."""
    known = Image.registered_extensions()
    return tuple(dict.fromkeys(known[suffix] for suffix in PHOTOS if known.get(suffix) in Image.OPEN))


def open_picture(
    source: str | Path | bytes | Image.Image, *, upright: bool = True, mode: str = "RGB", name: object = None
) -> Image.Image:
    """A picture in memory, in RGB; of several frames the first.

    Args:
        source: a file, its bytes, or a picture that is decoded already.
        upright: whether it is turned as its EXIF orientation says, as viewers do.
        mode: another mode of Pillow than RGB.
        name: what errors call it; by default the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be decoded, or has more than `MOST_PIXELS` pixels; it is named.
    """
    if isinstance(source, Image.Image):
        return _converted(source, mode)
    name = name or ("image" if isinstance(source, bytes) else source)
    try:
        with _remarks_kept() as remarks, _opened(source, load=True) as image:
            if upright:
                with suppress(Exception):  # damaged notes are no reason to lose a picture
                    ImageOps.exif_transpose(image, in_place=True)
            image = _converted(image, mode)
    except FileNotFoundError:
        raise
    except Exception as error:  # decoders raise nearly anything
        raise ValueError(f"{name} cannot be decoded as an image: {_trouble_text(error)}") from error
    image.info["remarks"] = remarks
    return image


def picture_header(path: Path) -> tuple[str | None, str]:
    """Format of a file, such as "JPEG", and the program that wrote it, where its header names one.

    Of formats without a mark at their end (all but JPEG and PNG) the picture is decoded.

    Raises:
        ValueError: Pillow knows no such format, or the picture cannot be decoded or has too many pixels; the
            file is named.
    """
    try:
        with _remarks_kept(count=False), _opened(path) as image:
            place = {"PNG": "Software", "GIF": "comment"}.get(image.format)
            maker = image.info.get(place) if place else _software(image)
            return image.format, maker.decode("latin-1") if isinstance(maker, bytes) else str(maker or "")
    except Exception as error:
        raise ValueError(f"{path} ({_trouble_text(error)})") from error


def take_remarks() -> str:
    """How many pictures were remarked on since the last call, and how, in one line; "" for none."""
    seen = Counter(_REMARKED)
    _REMARKED.clear()
    if not seen:
        return ""
    most = "; ".join(f"{count} x {text}" for text, count in seen.most_common(3))
    return f"{seen.total():,} pictures came with remarks of the decoder: {most}{'; ...' * (len(seen) > 3)}"


def check_pixels(width: int, height: int, name: str) -> None:
    """ValueError, naming both, when a picture of this size would have more than `MOST_PIXELS` pixels."""
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"{name} has {width:,} x {height:,} = {width * height:,} pixels; legal: at most {MOST_PIXELS:,}"
        )


def resized_middle(image: Image.Image, side: int, resample: Image.Resampling) -> Image.Image:
    """The middle square of a picture whose shorter side is resized to ``side``, or the picture as it is.

    Of a very long picture only what the middle is made of is resized: 60,000 x 1 pixels would else become 13
    million x 224. Torchvision's ``Resize`` and ``CenterCrop`` give the same pixels, and keep these.

    >>> resized_middle(Image.new("L", (60_000, 1)), 224, Image.Resampling.BICUBIC).size
    (224, 224)
    """
    short, long = sorted(image.size)
    resized = int(side * long / short)
    if resized * side <= _MOST_RESIZED:
        return image
    scale, first = long / resized, int(round((resized - side) / 2.0))
    margin = 2 + math.ceil(3 * max(1.0, scale))  # what the widest filter reads beyond an edge
    low = max(0, math.floor(first * scale) - margin)
    high = min(long, math.ceil((first + side) * scale) + margin)
    box = (first * scale - low, 0, (first + side) * scale - low, short)
    if image.width == long:
        return image.crop((low, 0, high, short)).resize((side, side), resample, box)
    box = (0, box[0], short, box[2])
    return image.crop((0, low, short, high)).resize((side, side), resample, box)


@contextmanager
def _remarks_kept(count: bool = True) -> Iterator[list[str]]:
    """Inside the block this thread's warnings are not shown but listed; `take_remarks` counts the first."""
    if warnings.filters[:1] != [_FILTER]:
        warnings.filters.insert(0, _FILTER)
    _DECODING.remarks = remarks = []
    try:
        yield remarks
    finally:
        _DECODING.remarks = None
        _REMARKED.extend(re.sub(r"\s+", " ", text).strip() for text in remarks[:count])


def _opened(source: str | Path | bytes, load: bool = False) -> Image.Image:
    """Pillow's image of a file or its bytes, also where only the notes in it are damaged.

    With ``load`` it is decoded; without, only those are whose end has no mark.
    """
    image = None
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=_kinds())
        if load or image.format not in ("JPEG", "PNG"):
            with _quiet_libtiff() if image.format == "TIFF" else nullcontext():
                image.load()
        return image
    except Exception as error:
        if image is not None:
            image.close()
        if isinstance(error, (Image.DecompressionBombError, FileNotFoundError, IsADirectoryError)):
            raise
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        if (bare := _without_notes(data)) == data:
            raise
    image = Image.open(io.BytesIO(bare), formats=_kinds())
    image.load()
    return image


@contextmanager
def _quiet_libtiff() -> Iterator[None]:
    """Inside the block nothing reaches the process's stderr, where libtiff itself writes of damaged files."""
    with _ONE_TIFF, open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _without_notes(data: bytes) -> bytes:
    """A PNG without EXIF, texts and profile, or an AVIF whose EXIF is not seen; other data as they are.

    Pillow gives such pictures up where these parts are damaged.
    """
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return data.replace(b"Exif", b"free")
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    kept, place = [data[:8]], 8
    while place < len(data):
        size = 12 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] not in (b"eXIf", b"iTXt", b"tEXt", b"zTXt", b"iCCP"):
            kept.append(data[place : place + size])
        place += size
    return b"".join(kept)


def _trouble_text(error: Exception) -> str:
    """What Pillow says, without the address of an object in memory."""
    return str(error).partition(" <")[0] or type(error).__name__


def _software(image: Image.Image) -> object:
    """The program that the notes of a picture name, if they can be read."""
    with suppress(Exception):  # damaged notes are no reason to lose a picture
        return image.getexif().get(ExifTags.Base.Software)


def _converted(image: Image.Image, mode: str) -> Image.Image:
    """A picture in another mode, also one of see-through colours, or of grey in other than 8 bits."""
    if "transparency" in image.info and image.mode in ("1", "L", "P", "RGB"):
        image = image.convert("RGBA")  # else a palette's transparency is lost, with a warning
    return _eight_bits(image).convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits a pixel, or of floating-point numbers, in 8 bits; others as they are.

    White is the largest number of 16 bits; without that knowledge the first of 1 (floating point), 255,
    65,535 and 2,147,483,647 that no pixel exceeds.
    """
    if image.mode[0] not in "IF":
        return image
    grey = np.nan_to_num(np.asarray(image))
    scales = [1] * (image.mode == "F") + [2**8 - 1] * (image.mode in "IF") + [2**16 - 1]
    white = next((scale for scale in scales if grey.max() <= scale), 2**31 - 1)
    grey = grey.clip(0, white) * (255 / white) if image.mode == "F" else grey.clip(0, white) // (white // 255)
    return Image.fromarray(grey.astype(np.uint8))
