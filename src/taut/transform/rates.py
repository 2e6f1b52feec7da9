"""Bits of an index before anything is rounded, by the scale that its row and column suggest.

A weight in steps is taken as a mixture of a Gaussian and a Laplacian. The true code lengths differ:
prices.py goes on from here.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

HALF_OCTAVES = range(-8, 15)
"""The scales, 2^(k/2) levels, that have a curve each."""

COUNTED = 24
"""Magnitudes that are told apart: the last stands for all beyond, too (kCounted in csrc)."""

_NEAR = 8
_GAUSSIAN = 0.6  # its share in the mixture; the Laplacian has the rest
_GRAIN = 1 << 20  # prices are multiples of 2^-20 bit: the same on any processor


@cache
def rate_curves(trellis: bool) -> NDArray[np.float32]:
    """Curves by scale, shape (scales, 2 quantisers, 4), as `RateCurve` in csrc/round/round.hpp.

    For calibrated rounding, where lambda is small: nearest to the magnitudes below 8.
    """
    bits = model_bits(trellis)[..., :_NEAR]
    return np.array([[_near(one) for one in pair] for pair in bits], dtype=np.float32)


@cache
def starting_curves(trellis: bool) -> NDArray[np.float32]:
    """The same, nearest to what is likely among all magnitudes: where fitted prices begin."""
    return fit_curves(np.minimum(model_bits(trellis), 30.0))


def _near(bits: NDArray[np.float64]) -> NDArray[np.float64]:
    beyond = np.arange(len(bits) - 1, dtype=np.float64)
    weights = np.sqrt(2.0 ** -np.minimum(bits[1:], 30.0))[:, None]
    design = np.stack([np.ones_like(beyond), beyond, beyond * beyond], axis=1)
    found = np.linalg.lstsq(design * weights, bits[1:] * weights[:, 0], rcond=None)[0]
    return np.concatenate([bits[:1], found])


def fit_curves(bits: NDArray[np.float64]) -> NDArray[np.float32]:
    """Curves nearest to code lengths, shape (..., magnitudes), where these are likely.

    Bits of zero, and the parabola over the magnitudes from 1 on.
    """
    beyond = np.arange(bits.shape[-1] - 1, dtype=np.float64)
    powers = beyond[:, None] ** np.arange(3)
    weights = 2.0 ** (1.5 * (bits[..., 1:2] - bits[..., 1:]))[..., None]  # 1 for the magnitude 1
    form = np.swapaxes(powers * weights, -1, -2) @ powers
    right = np.swapaxes(powers * weights, -1, -2) @ bits[..., 1:, None]
    found = np.concatenate([bits[..., :1], np.linalg.solve(form, right)[..., 0]], axis=-1)
    return (np.round(found * _GRAIN) / _GRAIN).astype(np.float32)


def bits_of(curves: NDArray[np.float32]) -> NDArray[np.float64]:
    """Code lengths that curves say, shape (..., COUNTED)."""
    at = curves.astype(np.float64)[..., None]
    beyond = np.arange(COUNTED - 1)
    tail = at[..., 1, :] + beyond * (at[..., 2, :] + beyond * at[..., 3, :])
    return np.concatenate([at[..., 0, :], tail], axis=-1)


@cache
def model_bits(trellis: bool) -> NDArray[np.float64]:
    """Code lengths of the magnitudes 0 to 23 (one sign of them), shape (scales, 2, COUNTED)."""
    return np.array(
        [
            [_bits(2.0 ** (k / 2), quantiser if trellis else None) for quantiser in (0, 1)]
            for k in HALF_OCTAVES
        ]
    )


def _bits(scale: float, quantiser: int | None) -> list[float]:
    return [-math.log2(max(_share(scale, *_cell(q, quantiser)), 1e-9)) for q in range(COUNTED)]


def _cell(magnitude: int, quantiser: int | None) -> tuple[float, float]:
    """What lies nearer to this level than to the quantiser's others, in steps."""
    if quantiser is None:
        return magnitude - 0.5, magnitude + 0.5
    if quantiser == 0:
        return 2.0 * magnitude - 1, 2.0 * magnitude + 1
    if magnitude < 2:
        return (-0.5, 0.5) if magnitude == 0 else (0.5, 2.0)
    return 2.0 * magnitude - 2, 2.0 * magnitude


def _share(scale: float, low: float, high: float) -> float:
    return share_below(high / scale) - share_below(low / scale)


def share_below(x: float) -> float:
    """How much of the weights of scale 1 lies below x."""
    gaussian = 0.5 * (1 + math.erf(x / math.sqrt(2)))
    tail = 0.5 * math.exp(-math.sqrt(2) * abs(x))
    laplacian = 1 - tail if x > 0 else tail
    return _GAUSSIAN * gaussian + (1 - _GAUSSIAN) * laplacian
