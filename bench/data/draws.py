"""Samples drawn at random, always the same ones: sets come sorted, by genre or by difficulty.

The first pieces of a set say little about it: STS-B begins with captions of videos alone, and the
first half of MNIST's test images is easier than the second.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeVar

import numpy as np

Piece = TypeVar("Piece")


def places(total: int, count: int, seed: int = 0) -> list[int]:
    """Return `count` different numbers below `total`, or all of them, in the order as drawn."""
    return [int(i) for i in np.random.default_rng(seed).permutation(total)[:count]]


def drawn(
    pieces: Sequence[Piece], count: int, seed: int = 0, *, without: Collection[Piece] = ()
) -> list[Piece]:
    """Draw `count` of the pieces, each once, and none that is in `without`."""
    left = [one for one in pieces if one not in without] if without else pieces
    return [left[i] for i in places(len(left), count, seed)]
