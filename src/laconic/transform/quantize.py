"""Entropy-coded uniform quantisation with rate-distortion-optimised rounding (docs/method.md).

Every value goes to one of the two levels around it, at the least `squared distance + lambda *
bits`, where the bits are those of the entropy coder's contexts (rows of like scale). There is no
clipping range and there are no group scales: the coder makes both needless.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from laconic import _core
from laconic.coding import row_length
from laconic.errors import ArgumentError

# In squared steps per bit. The textbook's optimum for a fixed slope is 2 ln 2 / 12 = 0.1155;
# bench/lossy.py finds the error at a given size flat between 0.05 and 0.13.
LAMBDA = 0.1

# Beyond these a float32 step or its inverse overflows, or an index its int32.
_SMALLEST, _LARGEST = 1e-30, 1e30
_LARGEST_INDEX = 1 << 29


@dataclass(frozen=True)
class Indices:
    """A quantised tensor: it decodes to sign(q) * (|q| - offsets[min(|q|, 3) - 1]) * step.

    `values` are int32 of the tensor's shape, `offsets` are in steps.
    """

    values: NDArray[np.int32]
    step: float
    offsets: tuple[float, float, float]


def quantize(values: np.ndarray, step: float, *, lam: float = LAMBDA) -> Indices:
    """Round finite floats of any shape to multiples of `step` (in the values' units).

    Raises:
        ArgumentError: values above float32's range, or more than 2^29 steps from zero.

    >>> quantize(np.array([[0.9, -2.2, 0.1]], np.float32), 1.0, lam=0).values.tolist()
    [[1, -2, 0]]
    """
    step = float(np.float32(min(max(step, _SMALLEST), _LARGEST)))
    with np.errstate(over="ignore"):
        flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    largest = float(np.max(np.abs(flat), initial=0))
    if not np.isfinite(largest):
        raise ArgumentError("values above 3.4e38 cannot be quantised; leave the tensor lossless")
    if largest > step * _LARGEST_INDEX:
        raise ArgumentError(
            f"a step of {step:.3g} is too fine for values up to {largest:.3g}; "
            "ask for fewer bits, or leave the tensor lossless"
        )
    if largest < step / 4:  # no threshold lies so low
        return Indices(np.zeros(values.shape, np.int32), step, (0.0, 0.0, 0.0))
    indices = np.empty(flat.size, np.int32)
    one, two, more = _core.quantize(flat, row_length(values.shape), step, lam, indices)
    return Indices(indices.reshape(values.shape), step, (one, two, more))


def sample_rows(values: np.ndarray, most: int) -> np.ndarray:
    """About `most` values of a tensor as evenly spread whole rows of its first axis.

    >>> sample_rows(np.arange(100).reshape(50, 2), 10)[:, 0].tolist()
    [0, 20, 40, 60, 80]
    """
    if values.size <= most or values.ndim < 2:
        return values
    rows = max(1, most * values.shape[0] // values.size)
    picks = np.arange(rows) * values.shape[0] // rows
    spread: np.ndarray = values[picks]
    return spread
