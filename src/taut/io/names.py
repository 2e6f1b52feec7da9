"""Words for errors: the names nearest to one that was not found."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice

MAX_NAMES = 10_000  # names compared at most: an error message may not take long


def nearest(name: str, names: Iterable[str]) -> str:
    """`; nearest: a, b, c` for the end of a message, or "" where nothing is near.

    >>> nearest("layer.wieght", ["layer.weight", "head.bias"])
    '; nearest: layer.weight'
    """
    found = get_close_matches(name, islice(names, MAX_NAMES), n=3, cutoff=0.6)
    return f"; nearest: {', '.join(found)}" if found else ""
