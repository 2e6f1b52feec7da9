"""A mask by one threshold of a tensor that is not held: the same, from scores in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.transform.mask import Mask, kept_of

Scores = NDArray[np.float32]
Pieces = Callable[[], Iterable[Scores]]
"""Gives scores of 0 or more, flat and in order, as often as it is called."""

_HALF = 16  # bits of a score that are looked at a time


@dataclass(frozen=True)
class Threshold:
    """The least score that stays, and the place of the last that does of those that equal it."""

    least: float
    last: int

    def mask(self, scores: Scores, begin: int = 0) -> Mask:
        """Which scores stay; the first of them stands at `begin` in the tensor, flat.

        >>> Threshold(2.0, 1).mask(np.array([3, 2, 2, 1], np.float32)).tolist()
        [True, True, False, False]
        """
        flat = scores.reshape(-1)
        tied = max(0, min(flat.size, self.last + 1 - begin))
        mask: Mask = flat > np.float32(self.least)
        mask[:tied] |= flat[:tied] == np.float32(self.least)
        return mask.reshape(scores.shape)


def find_threshold(pieces: Pieces, count: int, sparsity: float, name: str) -> Threshold:
    """What `unstructured` would keep of `count` scores, the fraction of zeros being `sparsity`.

    Three passes at most. Non-negative floats are ordered as their bits are.

    >>> scores = np.array([3, 1, 2, 4, 2], np.float32)
    >>> threshold = find_threshold(lambda: [scores[:2], scores[2:]], 5, 0.4, "w")
    >>> threshold.mask(scores).tolist()
    [True, False, True, True, False]

    Raises:
        ArgumentError: nothing would be left.
    """
    left = kept_of(count, sparsity, name)  # how many of the best are still to be found
    upper, left = _holding((_bits(piece) >> _HALF for piece in pieces()), left)
    of_these = (_bits(piece) for piece in pieces())
    below = (bits[bits >> _HALF == upper] & ((1 << _HALF) - 1) for bits in of_these)
    lower, left = _holding(below, left)
    least = np.array([upper << _HALF | lower], np.uint32).view(np.float32)[0]
    return Threshold(float(least), _place(pieces(), least, left))


def _bits(scores: Scores) -> NDArray[np.uint32]:
    # A negative zero is a score of 0, and has the bits of a large number.
    return np.abs(np.ascontiguousarray(scores, dtype=np.float32)).reshape(-1).view(np.uint32)


def _holding(parts: Iterator[NDArray[np.integer]], wanted: int) -> tuple[int, int]:
    """The `wanted`-th largest of numbers below 2^16, and how many of those that equal it stay."""
    counts = np.zeros(1 << _HALF, np.int64)
    for part in parts:
        counts += np.bincount(part, minlength=1 << _HALF)
    above = np.cumsum(counts[::-1])[::-1]  # of this number and larger
    found = int(np.flatnonzero(above >= wanted)[-1])
    return found, wanted - int(above[found] - counts[found])


def _place(pieces: Iterable[Scores], least: np.float32, wanted: int) -> int:
    """Where the `wanted`-th score stands that is `least`."""
    begin = 0
    for piece in pieces:
        places = np.flatnonzero(piece.reshape(-1) == least)
        if len(places) >= wanted:
            return begin + int(places[wanted - 1])
        wanted -= len(places)
        begin += piece.size
    raise AssertionError("a score that was counted is not there")
