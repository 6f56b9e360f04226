"""Checks of single settings: one error that names the parameter, its value and what is legal.

>>> check("tau", 1.7, number("0 <= tau <= 1", lambda tau: 0 <= tau <= 1))
Traceback (most recent call last):
...
ValueError: tau is 1.7; legal: 0 <= tau <= 1
"""

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple


class Rule(NamedTuple):
    """What is legal for a setting: in words, and as a test of a value."""

    legal: str
    test: Callable[[Any], bool]


def check(name: str, value: object, rule: Rule) -> None:
    """Raise ValueError, naming parameter, value and what is legal, unless ``value`` keeps the rule."""
    if not rule.test(value):
        raise ValueError(f"{name} is {value!r}; legal: {rule.legal}")


def check_fields(config: object, rules: Mapping[str, Rule]) -> None:
    """`check` the attributes of ``config`` that have a rule, in the order of the rules."""
    for name, rule in rules.items():
        check(name, getattr(config, name), rule)


def one_of(*legal: object) -> Rule:
    """One of some values."""
    return Rule(", ".join(map(str, legal)), lambda value: any(value is one or value == one for one in legal))


def chosen(name: str, value: object, legal: Iterable[object]) -> Any:
    """The value when it is one of some; else the error of `check`."""
    check(name, value, one_of(*legal))
    return value


def number(legal: str, test: Callable[[float], bool]) -> Rule:
    """A finite number (no boolean) that passes the test; ``legal`` says it in words."""

    def is_legal(value: object) -> bool:
        plain = isinstance(value, (int, float)) and not isinstance(value, bool)
        return plain and abs(value) <= sys.float_info.max and test(value)

    return Rule(legal, is_legal)


def whole(legal: str, test: Callable[[int], bool]) -> Rule:
    """A whole number (no boolean) that passes the test; ``legal`` says it in words."""
    return Rule(legal, lambda value: isinstance(value, int) and not isinstance(value, bool) and test(value))


def whole_from(first: int) -> Rule:
    """A whole number that is not smaller than ``first``."""
    return whole(f"whole numbers from {first}", lambda value: value >= first)


def is_text(value: object) -> bool:
    """Whether a value is a string that can be stored and printed: without NUL and lone surrogates.

    >>> is_text("是红色的"), is_text("a\\0b"), is_text("\\ud83d"), is_text(5)
    (True, False, False, False)
    """
    return isinstance(value, str) and not re.search(r"[\0\ud800-\udfff]", value)


def optional(rule: Rule) -> Rule:
    """None, or what another rule allows."""
    return Rule(f"None or {rule.legal}", lambda value: value is None or rule.test(value))


#: A share of something.
SHARE = number("numbers from 0 to 1", lambda value: 0 <= value <= 1)
#: The same for every seed: what NumPy and torch both take.
SEED = whole("0 <= seed < 2**32", lambda value: 0 <= value < 2**32)
