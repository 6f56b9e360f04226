"""Sphinx extension: every figure has a dark twin, made from itself: no white panel stands in a dark page.

The ground of the twin is transparent, and what is drawn keeps its hue and changes its lightness: black lines
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
GROUND = np.array([0x14, 0x18, 0x1E]) / 255
_IMG = re.compile(r'<img\b([^>]*?)\bsrc="([^"]+?)"([^>]*)>')
_INLINE = "data:image/png;base64,"


def dark_png(data: bytes) -> bytes:
    """The dark twin of a PNG on white."""
    figure = Image.open(io.BytesIO(data))
    boxes = json.loads(figure.info["pictures"])
    pixels = np.asarray(figure.convert("RGBA").convert("RGB"), dtype=np.float32) / 255
    alpha = 1 - pixels.min(axis=2, keepdims=True)  # how much ink there is on the white
    ink = np.clip((pixels - (1 - alpha)) / np.maximum(alpha, 1e-6), 0, 1)
    twin = np.concatenate([lightened(ink), alpha], axis=2)
    for left, top, right, bottom in boxes:
        place = (slice(max(0, top), bottom), slice(max(0, left), right))
        twin[place] = np.concatenate([pixels[place], np.ones_like(alpha[place])], axis=2)
    out = io.BytesIO()
    Image.fromarray((255 * twin).round().astype(np.uint8)).save(out, "PNG")
    return out.getvalue()


def lightened(colours: np.ndarray) -> np.ndarray:
    """Colours [..., 3] in [0, 1] with the opposite lightness and the same hue."""
    most, least = colours.max(axis=-1, keepdims=True), colours.min(axis=-1, keepdims=True)
    return np.clip(colours + 1 - most - least, 0, 1)


def dark_svg(text: str) -> str:
    """The dark twin of an SVG: each written colour becomes its opposite in lightness; pictures stay."""

    def opposite(found: re.Match) -> str:
        colour = np.array([int(found[1][n : n + 2], 16) for n in (0, 2, 4)]) / 255
        dark = GROUND + (1 - GROUND) * lightened(colour)
        return "#" + "".join(f"{round(255 * value):02x}" for value in dark)

    return re.sub(r"#([0-9a-fA-F]{6})\b", opposite, text)


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


def dark(name: str, data: bytes) -> bytes:
    """The dark twin of a figure; nothing for what is none, such as a picture in a table."""
    if name.endswith(".svg") and data:
        return dark_svg(data.decode("utf-8")).encode()
    if name.endswith(".png") and data and "pictures" in Image.open(io.BytesIO(data)).info:
        return dark_png(data)
    return b""


def add_twins(app, pagename, templatename, context, doctree):
    """Put the dark twin of each figure of a page beside it; the theme shows one of the two.

    Of a drawing NAME.svg with a NAME-tall.svg beside it, phones are shown that one.
    """
    if app.builder.name != "html" or "<img" not in context.get("body", ""):
        return
    folder = Path(app.outdir, "_images")
    folder.mkdir(exist_ok=True)
    images = context["pathto"]("_images/", resource=True)

    def stored(name: str, data: bytes, twin: bytes) -> dict[str, str]:
        """Address of a figure and of its twin, by mode."""
        for file, content in ((name, data), (f"dark-{name}", twin)):
            (folder / file).write_bytes(content)
        return {"light": images + name, "dark": f"{images}dark-{name}"}

    def pair(found: re.Match) -> str:
        before, source, after = found.groups()
        name, data, path = file_of(app, source)
        twin = dark(name, data)
        if not twin:
            return found[0]
        wide, tall = stored(name, data, twin), path and path.with_name(f"{path.stem}-tall{path.suffix}")
        if not tall or not tall.is_file():
            shown = "".join(_image(before, after, wide[mode], mode) for mode in wide)
            return f'<span class="figure-box pst-scrollable-table-container">{shown}</span>'
        phone = stored(tall.name, tall.read_bytes(), dark(tall.name, tall.read_bytes()))
        return "".join(
            f'<picture><source media="(max-width: 600px)" srcset="{phone[mode]}">'
            f"{_image(before, after, wide[mode], mode)}</picture>"
            for mode in wide
        )

    context["body"] = _IMG.sub(pair, context["body"])


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
