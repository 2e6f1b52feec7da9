"""From what a tensor was rounded to, to its coded array: of the ways that fit, the smallest.

Surprises first. The adaptive coder takes any grid and is smallest where values are few, sparse or
coarse, but decodes a hundred times slower than the others; so large dense tensors go to these
wherever their scales are powers of 2^(1/16), which the matrix coder knows. A grid with a scale for
each group is a matrix with a row for each group. At very fine steps many indices are exceptions of
these coders, four bytes each: what they decode to may take less as floats, and tensors that are no
matrices with scales of rows and columns go to the adaptive coder however large they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding import (
    NO_EXPONENT,
    CodedArray,
    Effort,
    IndexValues,
    Job,
    decode,
    encode_adaptive,
    encode_indices,
    encode_lossless,
    encode_matrix,
    exponent_scale,
)
from taut.coding.coder import OUTPUTS
from taut.transform import Grid, Indices, Rounded
from taut.transform.steps import FRACTION

FINE_BITS = 10.0
"""Bits of a value from which on most indices are exceptions, and other ways are tried."""

SPARSE = 0.7
"""Zeros of a tensor that the adaptive coder is for, however large; it skips most of them."""

_TINY, _SMALL, _LARGE = (
    1 << 10,
    1 << 16,
    1 << 20,
)  # values: of any range, of few levels, of few bits
_FEW_BITS = 2.0  # a value
_FLOATS = 0.6  # of the bytes that floats take as they are; below, coded ones hardly take less
MOST_FEW = _LARGE
"""Values of a tensor that `coded_few` looks at, at most."""
_TABLE = 256  # levels of a table that stands for a step with offsets; beyond, these are left out
_PALETTE = 16  # values that are a handful
# Times that the slow coder of a handful of values must save to be worth its time: masks do, and
# with "max" weights of three values too.
_PAYS: dict[Effort, int] = {"fast": 32, "max": 16}
_MANY = 64  # levels beyond which the decoded floats may be smaller, bit for bit
_LARGEST_KERNEL = 256
_FRACTION = 4
_F32 = np.dtype(np.float32)


def coded_smallest(
    found: Indices | Rounded | Grid, dtype: np.dtype, *, effort: Effort = "max", threads: int = 1
) -> CodedArray:
    """Code what a tensor was rounded to; the bytes do not depend on `threads`."""
    if isinstance(found, Grid):
        return min(_grid(found, dtype, effort, threads), key=lambda coded: coded.nbytes)
    if isinstance(found, Rounded):
        ways, shape = iter([_matrix(found, dtype, effort, threads)]), found.indices.shape
    else:
        ways, shape = _indices(found, dtype, effort, threads), found.values.shape
    best = min(ways, key=lambda coded: coded.nbytes)
    if not floats_serve(best.nbytes, math.prod(shape), dtype):
        return best
    decoded = np.empty(shape, dtype)
    decode([Job(best.header, best.chunks, decoded)], threads=threads)
    floats = encode_lossless(decoded, effort=effort, threads=threads)
    return min(best, floats, key=lambda coded: coded.nbytes)


def coded_few(values: np.ndarray, *, effort: Effort = "max", threads: int = 1) -> CodedArray | None:
    """Code floats of a handful of values (a mask's zeros and lowest floats) bit for bit.

    None where they are more, or not such as float32 holds, or too little is gained by the slow
    coder.
    """
    coded = _by_palette(values, threads)
    return coded if coded is not None and _PAYS[effort] * coded.nbytes < values.nbytes else None


def _by_palette(values: np.ndarray, threads: int) -> CodedArray | None:
    if values.dtype not in OUTPUTS or not _TINY <= values.size <= _LARGE:
        return None
    with np.errstate(over="ignore"):
        flat = values.reshape(-1).astype(np.float32)
    if np.unique(flat[:_TINY]).size > _PALETTE:
        return None
    levels, where = np.unique(flat, return_inverse=True)
    if levels.size > _PALETTE or not np.isfinite(levels).all():
        return None
    low = -int(np.searchsorted(levels, 0))  # zero is the index 0: it is the cheapest
    q = (where.reshape(values.shape) + low).astype(np.int32)
    coded = encode_adaptive(
        q, levels=levels, low=low, period=kernel(q.shape), dtype=values.dtype, threads=threads
    )
    decoded = np.empty_like(values)
    decode([Job(coded.header, coded.chunks, decoded)], threads=threads)
    return coded if decoded.tobytes() == values.tobytes() else None  # not so of a negative zero


def kernel(shape: tuple[int, ...]) -> int:
    """Values of a convolution's kernel, which lie side by side; 1 for what is none.

    >>> kernel((16, 8, 3, 3)), kernel((10, 20)), kernel((8, 512, 512))
    (9, 1, 1)
    """
    size = math.prod(shape[2:])
    return size if 1 <= size <= _LARGEST_KERNEL else 1


@dataclass(frozen=True)
class IndexFacts:
    """Of some indices: how many they are, how many of them are not zero, the least and the most."""

    count: int
    nonzero: int
    least: int
    most: int

    @classmethod
    def of(cls, q: NDArray[np.int32]) -> IndexFacts:
        """Look at them."""
        return cls(q.size, int(np.count_nonzero(q)), int(q.min()), int(q.max()))


def adaptive_serves(q: IndexFacts, effort: Effort, nbytes: int) -> bool:
    """Whether the adaptive coder is worth its time, where another one takes so many bytes."""
    if effort != "max":
        return False
    if 8 * nbytes > FINE_BITS * q.count:
        return True
    if q.nonzero <= (1 - SPARSE) * q.count or q.count < _TINY:
        return True
    if q.most - q.least >= _TABLE:
        return False
    return q.count <= (_LARGE if 8 * nbytes <= _FEW_BITS * q.count else _SMALL)


def floats_serve(nbytes: int, count: int, dtype: np.dtype) -> bool:
    """Whether what indices decode to may take less as floats than the bytes that they take."""
    return nbytes > _FLOATS * count * dtype.itemsize


def _indices(found: Indices, dtype: np.dtype, effort: Effort, threads: int) -> Iterator[CodedArray]:
    q = found.values
    plain = encode_indices(
        q, step=found.step, offsets=found.offsets, dtype=dtype, effort=effort, threads=threads
    )
    yield plain
    facts = IndexFacts.of(q)
    if not adaptive_serves(facts, effort, plain.nbytes):
        return
    period, values = kernel(q.shape), uniform_values(facts, found.step, found.offsets)
    yield encode_adaptive(
        q,
        step=values.step,
        levels=values.levels,
        low=values.low,
        period=period,
        dtype=dtype,
        threads=threads,
    )


def uniform_values(q: IndexFacts, step: float, offsets: tuple[float, float, float]) -> IndexValues:
    """What the indices of a uniform quantiser stand for, as the adaptive coder takes it."""
    if any(offsets) and q.most - q.least < _TABLE:
        levels = offset_levels(np.arange(q.least, q.most + 1), step, offsets)
        return IndexValues(levels=levels, low=q.least)
    # Steps are fine: where their members' means lie within them no longer matters.
    return IndexValues(step=step)


def offset_levels(
    q: NDArray[np.integer], of: float, offsets: tuple[float, float, float]
) -> NDArray[np.float32]:
    """What indices stand for at a step, as docs/coding.md has it: all in float32."""
    step = np.float32(of)
    inside = np.array((0.0, *offsets), np.float32)[np.minimum(np.abs(q), 3)]
    plain = q.astype(np.float32) * step
    levels: NDArray[np.float32] = plain - np.sign(q).astype(np.float32) * inside * step
    return levels


def _grid(grid: Grid, dtype: np.dtype, effort: Effort, threads: int) -> Iterator[CodedArray]:
    fast = None
    if grid.step is not None:
        fast = encode_indices(
            grid.indices,
            step=grid.step,
            offsets=(0.0, 0.0, 0.0),
            dtype=dtype,
            effort=effort,
            threads=threads,
        )
    rounded = _as_rows(grid)
    if rounded is not None:
        fast = _matrix(rounded, dtype, effort, threads)
    if fast is not None:
        yield fast
    if many_levels(grid.levels):  # few bits of mantissa: fp8
        yield encode_lossless(grid.values(dtype), effort=effort, threads=threads)
    if fast is None or adaptive_serves(IndexFacts.of(grid.indices), effort, fast.nbytes):
        yield encode_adaptive(
            grid.indices,
            step=grid.step,
            levels=grid.levels,
            low=grid.low,
            scales=grid.scales,
            zeros=grid.zeros,
            group=grid.group,
            period=kernel(grid.indices.shape),
            dtype=dtype,
            threads=threads,
        )


def many_levels(levels: NDArray[np.float32] | None) -> bool:
    """Whether what indices stand for has so many values that floats may take less."""
    return levels is not None and len(levels) > _MANY


def _as_rows(grid: Grid) -> Rounded | None:
    """The grid as a matrix with a row for each group; None where its scales are no exponents."""
    if grid.scales is None or grid.levels is not None or grid.zeros is not None:
        return None
    rows, columns = grid.matrix.shape
    width = grid.group or columns
    if not columns or columns % width or (found := row_scales(grid.scales)) is None:
        return None
    indices = grid.matrix.reshape(rows * (columns // width), width)
    return Rounded(indices, found.step, found.exponents, None, False, fraction=found.fraction)


@dataclass(frozen=True)
class RowScales:
    """Scales of rows as the matrix coder knows them; no exponents where all are the same."""

    step: float
    exponents: NDArray[np.uint8] | None
    fraction: int


def row_scales(scales: NDArray[np.float32]) -> RowScales | None:
    """Exactly these scales, one a row; None where they are no powers of 2^(1/16) that fit."""
    if (found := _as_exponents(scales)) is None:
        return None
    step, each = found
    if np.ptp(each) == 0:
        return RowScales(float(scales.flat[0]), None, FRACTION)
    return RowScales(step, each, _FRACTION)


def _as_exponents(scales: np.ndarray) -> tuple[float, np.ndarray] | None:
    """A step and an exponent for each scale, which give exactly these; None if nothing does."""
    live = np.where(scales > 0, scales, 1.0).reshape(-1).astype(np.float64)
    numbers = np.rint(16 * np.log2(live)).astype(np.int64)
    middle = (int(numbers.min()) + int(numbers.max())) // 32 * 16
    exponents = numbers - middle + NO_EXPONENT
    if exponents.min() < 0 or exponents.max() > 255 or abs(middle) > 16 * 100:
        return None
    step, each = 2.0 ** (middle // 16), exponents.astype(np.uint8)
    same = np.array_equal(np.float32(step) * exponent_scale(each, _FRACTION), scales.ravel())
    return (step, each) if same else None


def _matrix(found: Rounded, dtype: np.dtype, effort: Effort, threads: int) -> CodedArray:
    return encode_matrix(
        found.indices,
        step=found.step,
        offsets=found.offsets,
        row_exponents=found.row_exponents,
        column_exponents=found.column_exponents,
        row_fraction=found.fraction,
        column_fraction=found.fraction,
        basis=None if found.basis is None else _matrix(found.basis, _F32, effort, threads),
        trellis=found.trellis,
        dtype=dtype,
        effort=effort,
        threads=threads,
    )
