"""What a bit is taken to cost while a matrix is rounded: found by rounding, counting, and again.

The search for the best rounding needs the code length of each index, and these hang on what it
chooses: the more zeros it takes, the cheaper a zero. So prices are found by turns (entropy-
constrained quantisation, Chou, Lookabaugh and Gray 1989). They begin with those that settle on
drawn weights of each scale, and two turns over some rows of the matrix at hand fit them to it.
Prices are multiples of 2^-20 bit, lest a processor's own logarithm tell in what is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.transform.rates import (
    COUNTED,
    HALF_OCTAVES,
    bits_of,
    fit_curves,
    model_bits,
    share_below,
    starting_curves,
)
from taut.transform.steps import Steps

Curves = NDArray[np.float32]
"""Shape (scales, 2 quantisers, 4), as `RateCurve` in csrc/round/round.hpp."""
Counts = NDArray[np.int64]
"""How often each magnitude occurred, shape (scales, 2, COUNTED), signs taken together."""
Search = Callable[[Curves], Counts]
"""Rounds at these prices, and counts."""

_GRID = 0.05  # of the lambdas whose settled prices are kept
_DRAWN_ROWS, _DRAWN_COLUMNS = 32, 256
_DRAWN_TURNS = 14
_STRENGTH = 32.0  # counts that what was known before is worth
_FIT = 1 << 15
_TURNS = 2
_DEAREST = 18.0  # bits


def refit(counts: Counts, known: NDArray[np.float64]) -> Curves:
    """The prices that an ideal coder of these counts has; `known` are its chances before."""
    seen = counts + _STRENGTH * known
    lengths = -np.log2(seen / seen.sum(axis=-1, keepdims=True))
    lengths[..., 1:] += 1  # the sign
    return fit_curves(np.minimum(lengths, _DEAREST))


def chances(bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely magnitudes are whose code lengths (one sign's) are these."""
    found = 2.0**-bits
    found[..., 1:] *= 2  # either sign
    likely: NDArray[np.float64] = found / found.sum(axis=-1, keepdims=True)
    return likely


def fitted(values: NDArray[np.float32], steps: Steps, lam: float, *, trellis: bool) -> Curves:
    """Prices for a matrix whose rows, in the order of rounding, have these steps."""
    if lam <= 0:
        return starting_curves(trellis)
    begin = settled(trellis, lam)
    rows, columns = values.shape
    count = min(rows, max(1, _FIT // columns))
    picks = np.arange(count) * rows // count
    levels = values[picks] / steps.row_steps[picks, None] / steps.column_scales
    row_class = steps.row_class[picks]

    def search(prices: Curves) -> Counts:
        return counted(levels, row_class, steps.column_class, prices, lam, trellis)

    return by_turns(search, begin, _TURNS, chances(bits_of(begin)))


def by_turns(search: Search, begin: Curves, turns: int, known: NDArray[np.float64]) -> Curves:
    """Prices after so many turns. All but the last go twice as far as the counts say, which
    settles in half as many.
    """
    prices = begin
    for left in reversed(range(turns)):
        found = refit(search(prices), known)
        prices = found if left == 0 else found + (found - prices)
    return prices


def settled(trellis: bool, lam: float) -> Curves:
    """The prices that settle on drawn weights of each scale, at the nearest lambda on a grid."""
    return _settled(trellis, max(1, round(lam / _GRID)))


@cache
def _settled(trellis: bool, step: int) -> Curves:
    lam = step * _GRID
    scales = np.exp2(np.array(HALF_OCTAVES, np.float64) / 2)
    rows = np.repeat(np.arange(len(scales), dtype=np.uint8), _DRAWN_ROWS)
    values = (_drawn()[None] * scales[:, None, None]).astype(np.float32)
    flat = values.reshape(len(rows), _DRAWN_COLUMNS)
    columns = np.zeros(_DRAWN_COLUMNS, np.uint8)

    def search(prices: Curves) -> Counts:
        return counted(flat, rows, columns, prices, lam, trellis)

    return by_turns(search, starting_curves(trellis), _DRAWN_TURNS, chances(model_bits(trellis)))


def counted(
    levels: NDArray[np.float32],
    row_class: NDArray[np.uint8],
    column_class: NDArray[np.uint8],
    prices: Curves,
    lam: float,
    trellis: bool,
) -> Counts:
    """Round weights that are given in levels, without feedback, and count."""
    rows, columns = levels.shape
    ones, across, none = np.ones(rows, np.float32), np.ones(columns, np.float32), _NONE
    indices = np.empty(levels.size, np.int16)
    _core.round_matrix(
        levels.reshape(-1).copy(), columns, ones, across, ones, across, none, none,
        [0.0, 0.0, 0.0], lam, row_class, column_class, prices.reshape(-1), trellis, indices,
    )  # fmt: skip
    counts = np.zeros((*prices.shape[:2], COUNTED), np.int64)
    _core.count_magnitudes(indices, row_class, column_class, trellis, counts.reshape(-1))
    return counts


_NONE = np.empty(0, np.float32)


@cache
def _drawn() -> NDArray[np.float64]:
    """Weights of scale 1 as `rates` has them, the same on any machine: (rows, columns)."""
    count = _DRAWN_ROWS * _DRAWN_COLUMNS
    quantiles = np.array([_quantile((i + 0.5) / 1024) for i in range(1024)])
    number = np.arange(count, dtype=np.uint64)
    mixed = (number + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)  # splitmix64
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    order = np.argsort(mixed ^ (mixed >> np.uint64(31)), kind="stable")
    drawn: NDArray[np.float64] = quantiles[order % 1024].reshape(_DRAWN_ROWS, _DRAWN_COLUMNS)
    return drawn


def _quantile(share: float) -> float:
    """Where so much of the model lies below, to 2^-12."""
    low, high = -40.0, 40.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if share_below(middle) < share else (low, middle)
    return math.floor(low * 4096 + 0.5) / 4096
