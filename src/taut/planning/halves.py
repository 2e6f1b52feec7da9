"""Which tensors serve as well in float16: biases, norms, statistics, small matrices.

They are few, but bit-exact they would cost 25 bits a value or more: in a small network as much as
all its matrices together. Surprise: BF16 is never narrowed, for its eight bits of mantissa code
into fewer bytes as they are.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from taut.io.dtypes import LARGEST_HALF

LOST: Final = 1e-6  # relative squared error that float16 may make: its own, unless values underflow
_NARROWED: Final = ("F32", "F64")
_BLOCK: Final = 1 << 20  # values that are looked at at a time


def serves_as_half(dtype: str, most: float, rel_mse: float) -> bool:
    """Whether a tensor loses next to nothing as float16, and gets smaller.

    `most` is its largest magnitude, `rel_mse` sum((w - v)^2) / sum(w^2) with `v` the nearest
    float16. Not-a-numbers make it False.

    >>> serves_as_half("F32", 3.0, 4e-8), serves_as_half("BF16", 3.0, 4e-8)
    (True, False)
    """
    return dtype in _NARROWED and most <= LARGEST_HALF and rel_mse <= LOST


def holds_half(dtype: str, values: np.ndarray) -> bool:
    """`serves_as_half` of a tensor's values, of any shape.

    >>> holds_half("F32", np.array([0.0, 1.5, -300.0])), holds_half("F32", np.array([1e-6]))
    (True, False)
    """
    if dtype not in _NARROWED:
        return False
    most = error = power = 0.0
    flat = values.reshape(-1)
    for begin in range(0, flat.size, _BLOCK):
        block = flat[begin : begin + _BLOCK].astype(np.float64)
        most = max(most, float(np.max(np.abs(block))))
        if not most <= LARGEST_HALF:  # too large, or not a number
            return False
        power += float(np.sum(block * block))
        block -= block.astype(np.float16).astype(np.float64)
        error += float(np.sum(block * block))
    return serves_as_half(dtype, most, error / power if power else error)
