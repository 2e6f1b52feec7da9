"""`quantize` of a tensor that is not held: the same indices, from values that come in pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding import row_length
from taut.transform.quantize import LAMBDA, checked_step

_BLOCK = 1 << 20  # values at a time
_LOOKS = 3  # passes before indices are put

Read = Callable[[int, int], np.ndarray]


@dataclass(frozen=True)
class UniformGrid:
    """What indices stand for, as `Indices` has it."""

    step: float
    offsets: tuple[float, float, float]


def quantize_pieces(
    read: Read,
    shape: tuple[int, ...],
    largest: float,
    step: float,
    put: Callable[[NDArray[np.int32]], object],
    *,
    lam: float = LAMBDA,
) -> UniformGrid:
    """Round finite floats to multiples of `step`; `read` gives some of them, flat, four times.

    `largest` is the largest magnitude of all. `put` gets the indices in order.

    Raises:
        ArgumentError: as `quantize`.

    >>> found = []
    >>> values = np.array([0.9, -2.2])
    >>> grid = quantize_pieces(lambda a, b: values[a:b], (2,), 2.2, 1.0, found.append)
    >>> found[0].tolist()
    [1, -2]
    """
    with np.errstate(over="ignore"):
        largest = float(np.float32(largest))
    step = checked_step(largest, step)
    count, each = int(np.prod(shape, dtype=np.int64)), row_length(shape)
    block = each * max(1, _BLOCK // each)
    places = [(at, min(count, at + block)) for at in range(0, count, block)]
    if largest < step / 4:  # no threshold lies so low
        for begin, end in places:
            put(np.zeros(end - begin, np.int32))
        return UniformGrid(step, (0.0, 0.0, 0.0))
    passes = _core.QuantizePasses(count, each, step, lam)
    for _ in range(_LOOKS):
        for begin, end in places:
            passes.look(_floats(read(begin, end)))
    for begin, end in places:
        indices = np.empty(end - begin, np.int32)
        passes.put(_floats(read(begin, end)), indices)
        put(indices)
    one, two, more = passes.offsets()
    return UniformGrid(step, (one, two, more))


def _floats(values: np.ndarray) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
