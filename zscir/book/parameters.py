"""Parameters of a chapter, checked in the cell below the one that declares them, before any work.

>>> check_parameters(tau=0.3, world="tiny", seed=0, root="")
>>> check_parameters(tau=1.3)
Traceback (most recent call last):
...
ValueError: tau is 1.3; legal: numbers from 0 to 1
>>> check_parameters(world="huge")
Traceback (most recent call last):
...
ValueError: world is 'huge'; legal: tiny, small, large
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path


def check_parameters(**parameters: object) -> None:
    """Raise unless every parameter has a legal value.

    Args:
        **parameters: those that the chapter declares, by name:

            * ``tau``, ``lam``: numbers from 0 to 1;
            * ``seed``: whole numbers from 0 to 2**32 - 1;
            * ``steps``: whole numbers from 1; ``batch``: from 2;
            * ``limit``: whole numbers from 1 (None: all);
            * ``fill``, ``grain``: as ``build_masked_pairs`` knows them; ``cam_method`` too, or empty;
            * ``world``: a size of the pocket world;
            * ``root``: an existing folder (empty: the pocket world's); ``table``: an existing file, or empty;
            * ``pairs``, ``pretrained``: text (empty: the default); ``backbone``: text;
            * ``weight``: numbers from 0 to 1;
            * ``prompt``, ``cleaning``, ``preprocessing``: as `zscir.retrieval.protocols` names them.

            The plurals ``taus``, ``lams`` and ``seeds`` are non-empty lists of such values without repeats.

    Raises:
        ValueError: the first illegal value; the message names parameter, value and what is legal.
        FileNotFoundError: ``root`` names no folder, or ``table`` no file.
        TypeError: a parameter this function does not know.
    """
    for name, value in parameters.items():
        if name not in (*_RULES, *_PLURALS):
            near = ", ".join(get_close_matches(name, [*_RULES, *_PLURALS]) or [*_RULES, *_PLURALS])
            raise TypeError(f"check_parameters knows no parameter {name!r}; near: {near}")
        if name not in _PLURALS:
            _check(name, value, name)
            continue
        if not isinstance(value, (list, tuple)) or not value or len(set(map(repr, value))) < len(value):
            raise ValueError(f"{name} is {value!r}; legal: a list of different values, at least one")
        for one in value:
            _check(name, one, _PLURALS[name])


def _check(name: str, value: object, rule: str) -> None:
    """Check one value by the rule of a parameter; ``name`` is what the message calls it."""
    legal, is_legal = _RULES[rule]
    if not is_legal(value):
        said = legal() if callable(legal) else legal
        raise ValueError(f"{name} is {value!r}; legal: {said}")
    if rule == "root" and value and not Path(value).expanduser().is_dir():
        raise FileNotFoundError(f"root is {value!r}: there is no such folder (empty: the pocket world's)")
    if rule == "table" and value and not Path(value).expanduser().is_file():
        raise FileNotFoundError(f"table is {value!r}: there is no such file (empty: none)")


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _whole_from(first: int, last: float = math.inf) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and first <= value <= last


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_prompt(value: object) -> bool:
    from zscir.retrieval.protocols import PROMPTS

    return _is_text(value) and all(PROMPTS.get(value, value).count(mark) == 1 for mark in ("*", "{caption}"))


def _names(group: str) -> tuple[str, ...]:
    from zscir.retrieval import protocols

    return tuple(getattr(protocols, group))


def _worlds() -> tuple[str, ...]:
    with warnings.catch_warnings():  # of `datasets`, which misses the progress bars of Jupyter; we draw none
        warnings.filterwarnings("ignore", message="IProgress not found")
        from zscir.pocket import SIZES

    return tuple(SIZES)


def _fills() -> tuple[str, ...]:
    from zscir.regions.masks import FILLS

    return FILLS


def _methods() -> tuple[str, ...]:
    from zscir.regions.maps import METHODS

    return METHODS


#: Parameter -> what is legal in words (or a function that says it), and the test.
_RULES: dict[str, tuple[str | Callable[[], str], Callable[[object], bool]]] = {
    "tau": ("numbers from 0 to 1", _is_share),
    "lam": ("numbers from 0 to 1", _is_share),
    "weight": ("numbers from 0 to 1", _is_share),
    "prompt": ("pic2word, searle, or a template with one * and one {caption}", _is_prompt),
    "cleaning": (lambda: ", ".join(_names("CLEANINGS")), lambda value: value in _names("CLEANINGS")),
    "preprocessing": (
        lambda: ", ".join(_names("PREPROCESSINGS")),
        lambda value: value in _names("PREPROCESSINGS"),
    ),
    "seed": ("whole numbers from 0 to 2**32 - 1", _whole_from(0, 2**32 - 1)),
    "steps": ("whole numbers from 1", _whole_from(1)),
    "batch": ("whole numbers from 2", _whole_from(2)),
    "limit": (
        "None or whole numbers from 1",
        lambda value: value is None or _whole_from(1)(value),
    ),
    "world": (lambda: ", ".join(_worlds()), lambda value: value in _worlds()),
    "fill": (lambda: ", ".join(_fills()), lambda value: value in _fills()),
    "grain": ("pixel, patch", lambda value: value in ("pixel", "patch")),
    "cam_method": (
        lambda: ", ".join(_methods()) + " (empty: the backbone's own)",
        lambda value: value == "" or value in _methods(),
    ),
    "root": ("the path of a folder, or empty", _is_text),
    "table": ("the path of a file, or empty", _is_text),
    "pairs": ("text", _is_text),
    "pretrained": ("text", _is_text),
    "backbone": ("a name or the path of a folder", lambda value: _is_text(value) and value != ""),
}
_PLURALS = {"taus": "tau", "lams": "lam", "seeds": "seed"}
