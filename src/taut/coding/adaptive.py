"""Small, sparse and very coarse arrays: one adaptive model, arithmetic coding, any grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding.coder import OUTPUTS, CodedArray, encode_lossless
from taut.errors import ArgumentError

_MOST_COLUMNS = 1 << 20
_MOST_LEVELS = 1 << 16
_NO_FLOATS = np.empty(0, np.float32)
_NO_INTEGERS = np.empty(0, np.int32)


def encode_adaptive(
    indices: NDArray[np.int32],
    *,
    step: float | None = None,
    levels: NDArray[np.float32] | None = None,
    low: int = 0,
    scales: NDArray[np.float32] | None = None,
    zeros: NDArray[np.int32] | None = None,
    group: int | None = None,
    period: int = 1,
    dtype: np.dtype,
    threads: int = 1,
) -> CodedArray:
    """Code int32 indices `q`, shape (rows, ...), with a model that learns their densities.

    They decode to `dtype` (float32, float16, bfloat16 or float64), one rounding of the float32

        q * step                                 with `step`
        levels[q - low]                          with `levels`, float32 of shape (K,)
        (q - zeros[row, group]) * scales[row, group]     with `scales`, and `zeros` or none
        levels[q - low] * scales[row, group]     with both

    `scales` (float32) and `zeros` (int32) have the shape (rows, groups); `group` columns share a
    scale, by default the whole row. The columns of a row are what follows the first axis, and
    `period` of them make a kernel (height * width of a convolution). Fewer than two axes are one
    row. Rows and columns without a nonzero cost next to nothing, and so do zeros where they abound.

    Raises ArgumentError for a grid that gives an index no value, or more than one.

    >>> q = np.zeros((300, 784), np.int32)
    >>> q[40, ::7] = 1
    >>> encode_adaptive(q, step=0.25, dtype=np.dtype(np.float32)).nbytes < 100
    True
    """
    output = OUTPUTS.get(np.dtype(dtype))
    if output is None:
        raise ArgumentError(f"cannot decode indices to {dtype}; give one of {list(OUTPUTS)}")
    rows = indices.shape[0] if indices.ndim > 1 else 1
    if indices.size == 0:
        return encode_lossless(np.empty(indices.shape, dtype), threads=threads)
    flat = np.ascontiguousarray(indices, dtype=np.int32).reshape(rows, -1)
    columns = flat.shape[1]
    check_rows(columns, period)
    grid = _IndexGrid(step, levels, low, scales, zeros)
    grid.check(flat)
    groups = _groups(columns, group, scales)
    shape = (rows, groups)
    of_scales = _side(scales, shape, np.dtype(np.float32), "scales")
    of_zeros = _side(zeros, shape, np.dtype(np.int32), "zeros")
    table = _NO_FLOATS if levels is None else np.ascontiguousarray(levels, dtype=np.float32)
    value = grid.constant(flat)
    if value is not None:  # a dozen bytes, whatever its shape
        return encode_lossless(np.full(indices.shape, value).astype(dtype), threads=threads)
    header, chunks = _core.encode_adaptive(
        flat.reshape(-1), columns, 0.0 if step is None else step, table, low, of_scales, of_zeros,
        0 if groups == 1 or group is None else group, period, output, threads,
    )  # fmt: skip
    return CodedArray(header, chunks)


def check_rows(columns: int, period: int) -> None:
    """Raise `ArgumentError` for rows that the adaptive coder does not take."""
    if columns > _MOST_COLUMNS:
        raise ArgumentError(f"rows of {columns} values are longer than {_MOST_COLUMNS}")
    if period < 1 or columns % period:
        raise ArgumentError(f"kernels of {period} values do not fill a row of {columns}")


@dataclass(frozen=True)
class _IndexGrid:
    """What says which value an index has; the letters are those of `encode_adaptive`."""

    step: float | None
    levels: NDArray[np.float32] | None
    low: int
    scales: NDArray[np.float32] | None
    zeros: NDArray[np.int32] | None

    def check(self, indices: NDArray[np.int32]) -> None:
        """Whether every index has exactly one value."""
        given = self._given()
        if not given & {"step", "levels", "scales"}:
            raise ArgumentError("indices without step, levels or scales have no values; give one")
        if "step" in given and given & {"levels", "scales"}:
            raise ArgumentError(
                "a step comes with neither levels nor scales; multiply it into those"
            )
        if self.step is not None and not math.isfinite(np.float32(self.step)):
            raise ArgumentError(f"step {self.step} must be finite as float32")
        if "zeros" in given and given & {"levels", "scales"} != {"scales"}:
            raise ArgumentError("zeros are those of scaled indices; give scales, and no levels")
        if self.levels is not None:
            _check_levels(self.levels, self.low, indices)

    def constant(self, indices: NDArray[np.int32]) -> np.float32 | None:
        """The value of all indices, if they are one and the same without scales."""
        first = int(indices.flat[0])
        if self.scales is not None or (indices != first).any():
            return None
        if self.levels is not None:
            return np.float32(self.levels[first - self.low])
        assert self.step is not None
        return np.float32(first) * np.float32(self.step)

    def _given(self) -> set[str]:
        names = ("step", "levels", "scales", "zeros")
        return {name for name in names if getattr(self, name) is not None}


def _check_levels(levels: NDArray[np.float32], low: int, indices: NDArray[np.int32]) -> None:
    if levels.ndim != 1 or not 1 <= levels.size <= _MOST_LEVELS or not np.isfinite(levels).all():
        raise ArgumentError(
            f"levels of shape {levels.shape} must be 1 to {_MOST_LEVELS} finite numbers"
        )
    least, largest = int(indices.min()), int(indices.max())
    if least < low or largest >= low + levels.size:
        raise ArgumentError(
            f"indices {least} .. {largest} lie outside the levels {low} .. {low + levels.size - 1}"
        )


def _groups(columns: int, group: int | None, scales: NDArray[np.float32] | None) -> int:
    if group is None:
        return 1
    if scales is None or group < 1:
        raise ArgumentError(f"groups of {group} columns need scales and at least one column")
    return -(-columns // group)


def _side(
    given: NDArray[np.float32] | NDArray[np.int32] | None,
    shape: tuple[int, int],
    dtype: np.dtype,
    name: str,
) -> np.ndarray:
    if given is None:
        return np.empty(0, dtype)
    if given.shape != shape or given.dtype != dtype or not np.isfinite(given).all():
        raise ArgumentError(
            f"{name} of {given.dtype} and shape {given.shape} must be finite {dtype}s of shape"
            f" {shape}, one for each row and group"
        )
    return np.ascontiguousarray(given).reshape(-1)
