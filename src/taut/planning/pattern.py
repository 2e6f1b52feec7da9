"""Patterns of tensor names: globs, or regular expressions that begin with `re:`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import translate
from typing import Final

REGEX: Final = "re:"


def matching(pattern: str, names: Mapping[str, object]) -> list[str]:
    """The names, in order, that a glob or `re:` pattern matches from end to end.

    >>> matching("re:h[.][0-9].w", {"h.0.w": 0, "h.10.w": 0}), matching("*.w", {"h.0.w": 0})
    (['h.0.w'], ['h.0.w'])
    """
    if is_name(pattern):  # plans with a rule for each tensor take one look each
        return [pattern] if pattern in names else []
    if pattern.startswith(REGEX):
        found = re.compile(pattern.removeprefix(REGEX)).fullmatch
    else:
        found = re.compile(translate(pattern)).fullmatch
    return [name for name in names if found(name)]


def is_name(pattern: str) -> bool:
    """Whether a pattern can match nothing but the name that it is."""
    return not (pattern.startswith(REGEX) or any(sign in pattern for sign in "*?["))
