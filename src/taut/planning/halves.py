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
LEAST: Final = 2.0**-21  # a magnitude of which float16 keeps all but a sixteenth
_NARROWED: Final = ("F32", "F64")
_BLOCK: Final = 1 << 20  # values that are looked at at a time


def serves_as_half(dtype: str, least: float, largest: float, rel_mse: float) -> bool:
    """Whether a tensor loses next to nothing as float16, and gets smaller.

    `least` and `largest` are its ends, `rel_mse` sum((w - v)^2) / sum(w^2) with `v` the nearest
    float16. Not-a-numbers make it False. What has one sign and no zero may be divided by, as
    deviations and variances are: there each value has to keep most of itself, and elsewhere a tiny
    one may become zero.

    >>> serves_as_half("F32", -3.0, 3.0, 4e-8), serves_as_half("BF16", -3.0, 3.0, 4e-8)
    (True, False)
    >>> serves_as_half("F32", 2e-8, 1.0, 4e-8), serves_as_half("F32", -2e-8, 1.0, 4e-8)
    (False, True)
    """
    if dtype not in _NARROWED or not max(abs(least), abs(largest)) <= LARGEST_HALF:
        return False
    divides = least > 0 or largest < 0
    return rel_mse <= LOST and not (divides and min(abs(least), abs(largest)) < LEAST)


def holds_half(dtype: str, values: np.ndarray) -> bool:
    """`serves_as_half` of a tensor's values, of any shape.

    >>> holds_half("F32", np.array([0.0, 1.5, -300.0])), holds_half("F32", np.array([1e-6]))
    (True, False)
    """
    if dtype not in _NARROWED:
        return False
    if not values.size:
        return True
    least, largest, error, power = np.inf, -np.inf, 0.0, 0.0
    flat = values.reshape(-1)
    for begin in range(0, flat.size, _BLOCK):
        block = flat[begin : begin + _BLOCK].astype(np.float64)
        if not np.abs(block).max() <= LARGEST_HALF:  # too large, or not a number
            return False
        least, largest = min(least, float(block.min())), max(largest, float(block.max()))
        power += float(np.sum(block * block))
        block -= block.astype(np.float16).astype(np.float64)
        error += float(np.sum(block * block))
    return serves_as_half(dtype, least, largest, error / power if power else error)
