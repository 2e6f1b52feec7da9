"""Bits of an index before anything is coded: what the search for the best rounding is told.

A weight in steps is taken as a mixture of a Gaussian and a Laplacian of the scale that its row and
column suggest. The true code lengths differ a little; lambda is small, so that this matters little.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

HALF_OCTAVES = range(-8, 15)
"""The scales, 2^(k/2) levels, that have a curve each."""

_MAGNITUDES = 8
_GAUSSIAN = 0.6  # its share in the mixture; the Laplacian has the rest


@cache
def rate_curves(trellis: bool) -> NDArray[np.float32]:
    """Curves by scale, shape (scales, 2 quantisers, 4), as `RateCurve` in csrc/round/round.hpp."""
    curves = [
        [_fit(_bits(2.0 ** (k / 2), quantiser if trellis else None)) for quantiser in (0, 1)]
        for k in HALF_OCTAVES
    ]
    return np.array(curves, dtype=np.float32)


def _fit(bits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bits of zero, and the parabola over the magnitudes from 1, nearest where they are likely."""
    beyond = np.arange(len(bits) - 1, dtype=np.float64)
    weights = np.sqrt(2.0 ** -np.minimum(bits[1:], 30.0))[:, None]
    design = np.stack([np.ones_like(beyond), beyond, beyond * beyond], axis=1)
    found = np.linalg.lstsq(design * weights, bits[1:] * weights[:, 0], rcond=None)[0]
    return np.concatenate([bits[:1], found])


def _bits(scale: float, quantiser: int | None) -> NDArray[np.float64]:
    """Code lengths of the magnitudes 0 to 7 (one sign of them)."""
    return np.array(
        [-math.log2(max(_share(scale, *_cell(q, quantiser)), 1e-9)) for q in range(_MAGNITUDES)]
    )


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
    return _below(high / scale) - _below(low / scale)


def _below(x: float) -> float:
    gaussian = 0.5 * (1 + math.erf(x / math.sqrt(2)))
    tail = 0.5 * math.exp(-math.sqrt(2) * abs(x))
    laplacian = 1 - tail if x > 0 else tail
    return _GAUSSIAN * gaussian + (1 - _GAUSSIAN) * laplacian
