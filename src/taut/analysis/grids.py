"""A matrix rounded to nearest by a scheme: the quick answer to what a scheme does to it.

No data, no feedback of errors, no trellis: what these earn is on top of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from taut.analysis.statistics import bound_at, sample, step_for_bits
from taut.errors import ArgumentError
from taut.scheme import Scheme

_BITS: Final = {"int8": 8, "int4": 4, "int3": 3, "int2": 2}
_SCALE: Final = 16  # bits of a group's scale
_LARGEST_FP8: Final = 448.0  # in float8_e4m3fn
KINDS: Final = ("rd", "fp16", "fp8", *_BITS)


@dataclass(frozen=True)
class Nearest:
    """A matrix (rows, columns) rounded to nearest, float32, at `bits` per weight, scales counted.

    Those of `rd` are the entropy of its indices, those of the others are nominal.
    """

    values: NDArray[np.float32]
    bits: float


def check_scheme(scheme: Scheme) -> None:
    """Raise `ArgumentError` unless `round_to` knows the scheme."""
    if scheme.kind == "rd" and scheme.bits is None:
        raise ArgumentError("scheme rd: there is no dial here; give its bits, as rd:3")
    if scheme.kind not in KINDS or str(scheme) != str(
        Scheme(
            scheme.kind,
            bits=scheme.bits,
            group_size=scheme.group_size,
            asymmetric=scheme.asymmetric,
            per_tensor=scheme.per_tensor,
        )
    ):
        raise ArgumentError(
            f"scheme {scheme}: is not rounded to here; one of rd:BITS, {', '.join(KINDS[1:])}"
        )


def round_to(values: NDArray[np.floating], scheme: Scheme) -> Nearest:
    """Round finite values (rows, columns); integer grids have a scale a row, or a group of one.

    Where the scheme says so they have one for all.

    Raises:
        ArgumentError: the scheme is none of those above.

    >>> round_to(np.array([[7.0, 3.4, 0.2]]), Scheme("int4")).values.tolist()
    [[7.0, 3.0, 0.0]]
    """
    check_scheme(scheme)
    matrix = np.asarray(values, dtype=np.float32)
    if scheme.kind == "fp16":
        limit = np.float32(np.finfo(np.float16).max)
        half = np.clip(matrix, -limit, limit).astype(np.float16)
        return Nearest(half.astype(np.float32), 16)
    if scheme.kind == "fp8":
        return _fp8(matrix)
    if scheme.bits is not None:
        return _uniform(matrix, scheme.bits)
    bits = _BITS[scheme.kind]
    if scheme.per_tensor:
        row = _integers(matrix.reshape(1, -1), bits, None, False)
        return Nearest(row.values.reshape(matrix.shape), row.bits)
    return _integers(matrix, bits, scheme.group_size, scheme.asymmetric)


def _uniform(matrix: NDArray[np.float32], bits: float) -> Nearest:
    picks = sample(matrix)
    if not np.any(picks):
        return Nearest(matrix, 0.0)
    step = step_for_bits(picks, bits)
    rounded = np.rint(matrix / np.float32(step)) * np.float32(step)
    return Nearest(rounded, bound_at(picks, step).bits)


def _fp8(matrix: NDArray[np.float32]) -> Nearest:
    scale = np.max(np.abs(matrix), axis=1, keepdims=True) / np.float32(_LARGEST_FP8)
    scale[scale == 0] = 1
    eighth = (matrix / scale).astype(ml_dtypes.float8_e4m3fn).astype(np.float32)
    return Nearest(eighth * scale, 8 + _SCALE / matrix.shape[1])


def _integers(
    matrix: NDArray[np.float32], bits: int, group_size: int | None, asymmetric: bool
) -> Nearest:
    rows, columns = matrix.shape
    size = min(group_size or columns, columns)
    # The last group of a row may be shorter: filled up with its last value, it has the same range.
    padded = np.pad(matrix, ((0, 0), (0, -columns % size)), mode="edge").reshape(rows, -1, size)
    if asymmetric:
        low = np.minimum(padded.min(axis=2, keepdims=True), 0)
        high = np.maximum(padded.max(axis=2, keepdims=True), 0)
        step = (high - low) / np.float32(2**bits - 1)
    else:
        step = np.abs(padded).max(axis=2, keepdims=True) / np.float32(2 ** (bits - 1) - 1)
    step[step == 0] = 1
    if asymmetric:  # the zero point is an index, so that zero stays zero
        zero = np.rint(low / step)
        rounded = (np.clip(np.rint(padded / step) - zero, 0, 2**bits - 1) + zero) * step
    else:
        rounded = np.rint(padded / step) * step
    side = (_SCALE + bits * asymmetric) * padded.shape[1] / columns
    return Nearest(rounded.reshape(rows, -1)[:, :columns], bits + side)
