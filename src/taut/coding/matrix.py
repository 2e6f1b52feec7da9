"""Quantised matrices: scales for rows and columns, contexts for both, and trellis coding."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding.coder import OUTPUTS, CodedArray, Effort, encode_lossless
from taut.errors import ArgumentError, FormatError

NO_EXPONENT = 128
"""The exponent of a row or column that is not scaled."""

LARGEST_INDEX = 126
"""Indices up to this magnitude have a symbol each; others cost bytes and count as odd."""

NEXT_STATE = np.array(
    [[0, 2], [7, 5], [1, 3], [6, 4], [2, 0], [5, 7], [3, 1], [4, 6]], dtype=np.uint8
)
"""State of the trellis after a symbol, by [state, lowest bit of the symbol]; `state & 1` is the
quantiser (Marcellin and Fischer 1990; the trellis of JPEG 2000 part 2)."""

MOST_BASIS_COLUMNS = 2048
"""Columns of a matrix that can have a basis."""

_MOST_COLUMNS = 1 << 22
_NONE = np.empty(0, np.uint8)


def exponent_scale(exponents: NDArray[np.uint8], fraction: int) -> NDArray[np.float32]:
    """What rows or columns with these exponents are multiplied by: 2^((e - 128) / 2^fraction).

    >>> exponent_scale(np.array([124, 128, 130], np.uint8), 2).tolist()
    [0.5, 1.0, 1.4142135381698608]
    """
    sixteenths = (exponents.astype(np.int32) - NO_EXPONENT) * (16 >> fraction)
    mantissa = (2.0 ** (np.arange(16) / 16)).astype(np.float32)
    scale: NDArray[np.float32] = np.ldexp(mantissa[sixteenths & 15], sixteenths >> 4)
    return scale


def matrix_levels(indices: NDArray[np.int32], *, trellis: bool) -> NDArray[np.int64]:
    """Reconstruction levels of `indices`, shape (rows, columns), in steps.

    Without a trellis a level is its index. With it each row starts in state 0; quantiser 0 has the
    even levels, quantiser 1 the odd ones and zero.

    >>> matrix_levels(np.array([[1, 1, -1]], np.int32), trellis=True).tolist()
    [[2, 2, -1]]
    """
    q = indices.astype(np.int64)
    if not trellis:
        return q
    levels = 2 * q
    odd = np.where((q >= -128) & (q <= LARGEST_INDEX), q & 1, 1)
    state = np.zeros(len(q), np.uint8)
    for column in range(q.shape[1]):
        levels[:, column] -= (state & 1) * np.sign(q[:, column])
        state = NEXT_STATE[state, odd[:, column]]
    return levels


def encode_matrix(
    indices: NDArray[np.int32],
    *,
    step: float,
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0),
    row_exponents: NDArray[np.uint8] | None = None,
    column_exponents: NDArray[np.uint8] | None = None,
    row_fraction: int = 2,
    column_fraction: int = 2,
    basis: CodedArray | None = None,
    trellis: bool,
    dtype: np.dtype,
    effort: Effort = "max",
    threads: int = 1,
) -> CodedArray:
    """Code the indices of a quantised matrix, shape (rows, columns), each row whole.

    A value decodes to `level - sign(q) * offsets[min(|q|, 3) - 1]`, times the row's scale, times
    the column's, each rounded to float32, and is then rounded to `dtype` (float32, float16,
    bfloat16 or float64). The row's scale is `step * 2^((exponent - 128) / 2^row_fraction)`, the
    column's the same without the step; `matrix_levels` tells the levels. Offsets are in steps;
    such as are multiples of 1/128 take a byte each, others four.

    With a `basis`, a matrix of (columns, columns) float32 that this function coded, those numbers
    (as float32) are coefficients: a row of values is the sum of the basis' rows, each times its
    coefficient (`combined`). A basis has at most 2,048 columns.

    Raises ArgumentError for a row whose scale is not finite, and for what `encode_indices` refuses.

    >>> q = np.array([[1, 0, -2], [0, 3, 1]], np.int32)
    >>> encode_matrix(q, step=0.5, trellis=True, dtype=np.dtype(np.float32)).nbytes < 80
    True
    """
    output = OUTPUTS.get(np.dtype(dtype))
    if output is None:
        raise ArgumentError(f"cannot decode indices to {dtype}; give one of {list(OUTPUTS)}")
    if not (0 <= np.float32(step) < np.inf and all(abs(offset) <= 1 for offset in offsets)):
        raise ArgumentError(
            f"step {step} must be finite and not negative, offsets {offsets} within -1 .. 1"
        )
    flat, rows, columns = _flat(indices)
    for name, fraction in (("row_fraction", row_fraction), ("column_fraction", column_fraction)):
        if not 0 <= fraction <= 4:
            raise ArgumentError(f"{name} {fraction} must be 0, 1, 2, 3 or 4")
    row_bytes = _exponents(row_exponents, rows, "row")
    column_bytes = _exponents(column_exponents, columns, "column")
    if row_bytes.size:
        largest = exponent_scale(row_bytes.max(keepdims=True), row_fraction)[0]
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(np.float32(step) * largest))
        if not finite:
            raise ArgumentError(f"step {step} times the largest row's scale {largest} is infinite")
    if not flat.any():  # a constant array takes a dozen bytes, whatever its shape
        return encode_lossless(np.zeros(indices.shape, dtype), threads=threads)
    header, chunks = _core.encode_matrix(
        flat, columns, step, list(offsets), output, trellis, row_bytes, column_bytes,
        row_fraction, column_fraction, *_parts_of(basis), effort == "max", threads,
    )  # fmt: skip
    return CodedArray(header, chunks)


def combined(coefficients: NDArray[np.float32], basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of values (rows, columns) from their coefficients and a basis (columns, columns).

    Each is the sum of the basis' rows times the row's coefficients, from the first to the last,
    every product rounded before it is added: what a decoder gives, bit for bit.

    Raises:
        FormatError: a value is infinite.

    >>> basis = np.array([[1, 2], [0, 1]], np.float32)
    >>> combined(np.array([[3, -1]], np.float32), basis).tolist()
    [[3.0, 5.0]]
    """
    rows, columns = coefficients.shape
    out = np.empty((rows, columns), np.float32)
    one, other = (np.ascontiguousarray(a, np.float32).reshape(-1) for a in (coefficients, basis))
    try:
        _core.combine_rows(one, other, columns, out.reshape(-1))
    except _core.CoreFormatError as error:
        raise FormatError(str(error)) from None
    return out


def estimate_matrix(
    indices: NDArray[np.int32],
    *,
    trellis: bool,
    row_exponents: NDArray[np.uint8] | None = None,
    column_exponents: NDArray[np.uint8] | None = None,
    effort: Effort = "max",
) -> float:
    """Bytes that `encode_matrix` would take, exponents included, from its tables without coding.

    >>> estimate_matrix(np.zeros((300, 300), np.int32), trellis=True)
    16.0
    """
    flat, rows, columns = _flat(indices)
    if not flat.any():
        return 16.0
    row_bytes = _exponents(row_exponents, rows, "row")
    column_bytes = _exponents(column_exponents, columns, "column")
    return float(
        _core.estimate_matrix(flat, columns, trellis, row_bytes, column_bytes, effort == "max")
    )


def _parts_of(basis: CodedArray | None) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The header and the one chunk of a basis; nothing for none."""
    if basis is None:
        return _NONE, _NONE
    if len(basis.chunks) != 1:
        raise ArgumentError(f"a basis of {len(basis.chunks)} chunks; it must be one, and not zero")
    return np.frombuffer(basis.header, np.uint8), np.frombuffer(basis.chunks[0], np.uint8)


def _flat(indices: NDArray[np.int32]) -> tuple[NDArray[np.int32], int, int]:
    if indices.ndim != 2 or indices.shape[1] > _MOST_COLUMNS:
        raise ArgumentError(
            f"indices of shape {indices.shape} are no matrix of at most {_MOST_COLUMNS} columns"
        )
    flat = np.ascontiguousarray(indices, dtype=np.int32).reshape(-1)
    return flat, indices.shape[0], indices.shape[1]


def _exponents(given: NDArray[np.uint8] | None, count: int, of: str) -> NDArray[np.uint8]:
    if given is None:
        return _NONE
    if given.dtype != np.uint8 or given.shape != (count,):
        raise ArgumentError(
            f"{of}_exponents of {given.dtype} and shape {given.shape} must be uint8, one for each"
            f" of {count} {of}s"
        )
    return np.ascontiguousarray(given)
