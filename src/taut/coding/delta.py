"""Values as what they differ by from a base's (docs/coding.md, "Delta")."""

from __future__ import annotations

import numpy as np

from taut import _core
from taut.coding.coder import CodedArray, Effort, row_length, word_kind
from taut.errors import ArgumentError


def encode_delta(
    values: np.ndarray, base: np.ndarray, *, effort: Effort = "fast", threads: int = 1
) -> CodedArray:
    """Code an array, bit-exactly, for a decoder that has `base`, of the same dtype and shape.

    What is the base's costs nothing, whole rows and columns of it not even a symbol. The bytes
    depend on `values`, `base` and `effort` alone; `"max"` is a percent smaller and decodes slower.

    Raises:
        ArgumentError: the two differ in dtype or shape, or there are no values.

    >>> base = np.arange(4096, dtype=np.float32)
    >>> encode_delta(np.nextafter(base, 9e9), base).nbytes < 64
    True
    """
    if (values.dtype, values.shape) != (base.dtype, base.shape) or not values.size:
        raise ArgumentError(
            f"a delta of {values.dtype} {list(values.shape)} to {base.dtype} {list(base.shape)}; "
            "give arrays of one dtype and shape that are not empty"
        )
    width, mode, mantissa = word_kind(values.dtype)
    first, second = (np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (values, base))
    length = row_length(values.shape)
    header, chunks = _core.encode_delta(
        first, second, width, mode, mantissa, length, effort == "max", threads
    )
    return CodedArray(header, chunks)
