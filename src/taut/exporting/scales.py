"""Scales in the dtype that a format stores, chosen so that integers give a file's values back.

Surprise: the scale that fits a group's values best may be a last bit away from the one that made
them, and then most products differ in their last bit. Of its neighbours one gives all of them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from taut.exporting.integers import Integers

_NEAR: Final = (0, 1, -1, 2, -2, 3, -3)  # units in the last place; the first of equals is taken


def stored(found: Integers, values: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, bool]:
    """Scales (rows, groups) in `dtype`, and whether products in it are `values` to the bit.

    >>> from taut.exporting.integers import to_integers
    >>> values = np.array([[3, -1, 2]], np.float32) * np.float32(0.1)
    >>> scales, exact = stored(to_integers(values, 4), values, np.dtype(np.float32))
    >>> exact, bool(scales[0, 0] == np.float32(0.1))
    (True, True)
    """
    best = found.scales.astype(dtype)
    if not found.exact:
        return best, False
    rows, groups = best.shape
    q = found.values.reshape(rows, groups, -1)
    if found.zeros is not None:
        q = q - found.zeros[:, :, None]
    wanted = values.reshape(q.shape)
    first, factors = best.copy(), q.astype(dtype)
    wrong = np.full(best.shape, q.shape[2] + 1)
    for ulps in _NEAR:
        trial = _moved(first, ulps)
        missed = (factors * trial[:, :, None] != wanted).sum(axis=2)
        better = missed < wrong
        best[better], wrong[better] = trial[better], missed[better]
        if not wrong.any():
            return best, True
    return best, False


def _moved(scales: np.ndarray, ulps: int) -> np.ndarray:
    """Positive floats, so many last bits further."""
    width = {2: np.int16, 4: np.int32}[scales.dtype.itemsize]
    bits = scales.view(width) + width(ulps)
    found: np.ndarray = np.maximum(bits, 1).astype(width).view(scales.dtype)
    return found
