"""The pocket world: small data on the real code path, drawn from OpenMoji's pictures.

`make_pocket` writes scenes as image–caption pairs and as benchmark roots in the official
CIRR, FashionIQ and CIRCO layouts; `weights/` holds the small CLIP that reads them.
Drawings by OpenMoji, CC BY-SA 4.0.
"""

from zscir.storage.checks import chosen

from .control import make_control
from .layouts import SIZES, Pocket, make_pocket

__all__ = ["SIZES", "Pocket", "make_control", "make_pocket", "pocket_name"]


def pocket_name(world: str) -> str:
    """What `zscir.load_pairs` and `zscir.load_benchmark` call the pocket world of a size.

    Raises:
        ValueError: there is no such size.

    >>> pocket_name("tiny")
    'pocket-tiny'
    """
    return f"pocket-{chosen('world', world, SIZES)}"
