"""A weight as int8 within ±127: its own integers where it is on such a grid, else min-max."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.exporting.onnx.row_integers import stored

MOST: Final = 127


@dataclass(frozen=True)
class WeightGrid:
    """Integers int8 of a weight's shape, and a float32 scale for each entry of `axis`.

    `own` tells that they are the weight's own: integers times scales give it as it is, to the
    rounding of float32.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    axis: int
    own: bool


def weight_grid(values: np.ndarray, axis: int) -> WeightGrid:
    """The grid of a weight, float32 of any shape, with a scale for each entry along `axis`.

    >>> found = weight_grid(np.array([[0.5, -1.5], [2.0, 4.0]], np.float32), 0)
    >>> found.values.tolist(), found.scales.tolist(), found.own
    ([[1, -3], [1, 2]], [0.5, 2.0], True)
    """
    over = tuple(at for at in range(values.ndim) if at != axis)
    found = stored(values, over, narrow=False)
    if found.exact:
        return WeightGrid(found.values, found.flat_scales, axis, own=True)
    return min_max(values, axis)


def min_max(values: np.ndarray, axis: int) -> WeightGrid:
    """Integers whose scales take the largest of each entry along `axis` to 127.

    >>> min_max(np.array([[1.0, -0.26]], np.float32), 0).values.tolist()
    [[127, -33]]
    """
    over = tuple(at for at in range(values.ndim) if at != axis)
    largest = np.abs(values).max(axis=over, initial=0.0).astype(np.float32)
    whole = float(largest.max(initial=0.0)) or 1.0
    scales = np.where(largest > 0, largest, whole).astype(np.float32) / np.float32(MOST)
    shape = [-1 if at == axis else 1 for at in range(values.ndim)]
    q = np.clip(np.rint(values / scales.reshape(shape)), -MOST, MOST)
    return WeightGrid(q.astype(np.int8), scales, axis, own=False)
