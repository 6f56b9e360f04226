"""Sphinx extension: every figure stands on the page's own ground, and has a twin for the dark theme.

White becomes transparent. In the twin what is drawn keeps its hue and changes its lightness: black lines
become white, blue ones a lighter blue. Pictures within a figure stay as they are: where they are, figures of
``zscir.figures`` note in the PNG itself (`PageFigure`). In an SVG the colours are exchanged.
"""

import base64
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

#: The ground of the dark theme, which white becomes.
GROUND = 0x12 / 255
_IMG = re.compile(r'<img\b([^>]*?)\bsrc="([^"]+?)"([^>]*)>')
_INLINE = "data:image/png;base64,"


def groundless_png(data: bytes, dark: bool) -> bytes:
    """A PNG on white without its ground: what is drawn as it was, or for a dark page."""
    figure = Image.open(io.BytesIO(data))
    boxes = json.loads(figure.info["pictures"])
    pixels = np.asarray(figure.convert("RGBA").convert("RGB"), dtype=np.float32) / 255
    alpha = 1 - pixels.min(axis=2, keepdims=True)  # how much ink there is on the white, at least
    alpha = np.minimum(1, 2 * alpha) if dark else alpha  # light colours are no shades of darker ones
    ink = np.clip((pixels - (1 - alpha)) / np.maximum(alpha, 1e-6), 0, 1)
    twin = np.concatenate([lightened(ink) if dark else ink, alpha], axis=2)
    for left, top, right, bottom in boxes:
        place = (slice(max(0, top), bottom), slice(max(0, left), right))
        twin[place] = np.concatenate([pixels[place], np.ones_like(alpha[place])], axis=2)
    out = io.BytesIO()
    Image.fromarray((255 * twin).round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def lightened(colours: np.ndarray) -> np.ndarray:
    """Colours [..., 3] in [0, 1], dark ones lighter, the more the less colour they have: black is white."""
    most, least = colours.max(axis=-1, keepdims=True), colours.min(axis=-1, keepdims=True)
    return colours + np.maximum(0, 1 - most - least) * (1 - most + least)


def dark_svg(text: str) -> str:
    """The dark twin of an SVG: dark colours become light, pale ones the ground; pictures stay."""

    def exchanged(found: re.Match) -> str:
        colour = np.array([int(found[1][n : n + 2], 16) for n in (0, 2, 4)]) / 255
        pale, opposite = colour.min() > 0.8, colour + 1 - colour.max() - colour.min()
        dark = GROUND + 0.9 * opposite if pale else lightened(colour)
        return "#" + "".join(f"{round(255 * value):02x}" for value in dark)

    return re.sub(r"#([0-9a-fA-F]{6})\b", exchanged, text)


def file_of(app, source: str) -> tuple[str, bytes, Path | None]:
    """Name and bytes of an image of a page, and where it lies; no bytes where it is not the book's own."""
    if source.startswith(_INLINE):
        data = base64.b64decode(source.removeprefix(_INLINE))
        return f"{hashlib.sha256(data).hexdigest()[:32]}.png", data, None
    name, known = Path(source).name, {file: path for path, file in app.builder.images.items()}
    if "_images/" not in source or name not in known:
        return name, b"", None
    path = Path(app.srcdir, known[name])
    return name, path.read_bytes(), path


def twins(name: str, data: bytes) -> dict[str, bytes]:
    """A figure for each theme; nothing for what is no figure, such as a picture in a table."""
    if name.endswith(".svg") and data:
        return {"light": data, "dark": dark_svg(data.decode("utf-8")).encode()}
    if name.endswith(".png") and data and "pictures" in Image.open(io.BytesIO(data)).info:
        return {"light": groundless_png(data, False), "dark": groundless_png(data, True)}
    return {}


def add_twins(app, pagename, templatename, context, doctree):
    """Put the dark twin of each figure of a page beside it; the theme shows one of the two.

    Of a drawing NAME.svg with a NAME-tall.svg beside it, phones are shown that one.
    """
    if app.builder.name != "html" or "<img" not in context.get("body", ""):
        return
    folder = Path(app.outdir, "_images")
    folder.mkdir(exist_ok=True)
    images = context["pathto"]("_images/", resource=True)

    def stored(name: str, data: bytes) -> dict[str, str]:
        """Addresses of a figure by theme; none for what is no figure."""
        made = twins(name, data)
        for mode, content in made.items():
            (folder / f"{mode}-{name}").write_bytes(content)
        return {mode: f"{images}{mode}-{name}" for mode in made}

    def pair(found: re.Match) -> str:
        before, source, after = found.groups()
        name, data, path = file_of(app, source)
        wide, tall = stored(name, data), path and path.with_name(f"{path.stem}-tall{path.suffix}")
        if not wide:
            return found[0]
        if not tall or not tall.is_file():
            before += _size(data)
            shown = "".join(_image(before, after, wide[mode], mode) for mode in wide)
            return f'<span class="figure-box pst-scrollable-table-container">{shown}</span>'
        phone = stored(tall.name, tall.read_bytes())
        return "".join(
            f'<picture><source media="(max-width: 600px)" srcset="{phone[mode]}">'
            f"{_image(before, after, wide[mode], mode)}</picture>"
            for mode in wide
        )

    context["body"] = _IMG.sub(pair, context["body"])


def _size(data: bytes) -> str:
    """Attributes that keep the place of a PNG until it is loaded; none of an SVG."""
    if data[:4] != b"\x89PNG":
        return ""
    wide, high = Image.open(io.BytesIO(data)).size
    return f' width="{wide}" height="{high}"'


def _image(before: str, after: str, source: str, mode: str) -> str:
    """One of the two as HTML."""
    rest = f"{before} {after}".replace('class="', f'class="only-{mode} ', 1)
    rest = rest if "class=" in rest else f'class="only-{mode}" {rest}'
    lazy = ' loading="lazy"' if mode == "dark" else ""
    return f'<img src="{source}"{lazy} {" ".join(rest.split())}>'


def setup(app):
    """Connect."""
    app.connect("html-page-context", add_twins)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
