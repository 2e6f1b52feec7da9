"""Entropy-coded uniform quantisation with rate-distortion-optimised rounding (docs/method.md).

Every value goes to one of the two levels around it, at the least `squared distance + lambda *
bits`, where the bits are those of the entropy coder's contexts (rows of like scale). There is no
clipping range and there are no group scales: the coder makes both needless. Matrices can go
through the trellis instead: about 0.15 bit per value better, decoded at half the speed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding import row_length
from taut.errors import ArgumentError
from taut.transform.forms import Factor
from taut.transform.prices import Curves, fitted
from taut.transform.rounded import Rounded, narrow
from taut.transform.steps import Steps

# In squared steps per bit. The textbook's optimum for a fixed slope is 2 ln 2 / 12 = 0.1155;
# bench/lossy/measure.py finds the error at a given size flat between 0.05 and 0.13.
LAMBDA = 0.1

# Beyond these a float32 step or its inverse overflows, or an index its int32.
_SMALLEST, _LARGEST = 1e-30, 1e30
_LARGEST_INDEX = 1 << 29

# The trellis, in squared levels per bit; levels lie half a step apart. Fine steps are priced at
# nothing: the curves of prices.py are made for magnitudes of a few levels (docs/method.md).
TRELLIS_LAMBDA = 0.4
_UNPRICED = 8.0  # steps to a tensor's scale; from half of it on lambda falls

# Where the trellis serves, measured: outside scalar rounding is as good, or decodes much faster.
_FINEST = 32.0  # of the tensor's scale, in steps: beyond, too many indices are exceptions
_NONZERO = 0.7  # of the values: with fewer (pruned weights) the trellis' prices do not fit
_LEAST_COLUMNS = 8
_LEAST_ROWS, _SMALL = 64, 1 << 16  # rows that fill the decoder's lanes; fewer if values are few
_MOST_COLUMNS = 1 << 22  # of a coded matrix
_LARGEST_LEVEL = 1 << 19  # in steps: beyond, float32 no longer tells neighbouring levels apart

_BLOCK = 1 << 20  # values that are rounded at a time: what bounds the memory beside the result
_FIT = 1 << 14  # values that the offsets are fitted to
_GRAIN = 128  # offsets are multiples of 1/128 of a level: a byte each in the file

_NONE = np.empty(0, np.float32)


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
    with np.errstate(over="ignore"):
        flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    largest = float(np.max(np.abs(flat), initial=0))
    step = checked_step(largest, step)
    if largest < step / 4:  # no threshold lies so low
        return Indices(np.zeros(values.shape, np.int32), step, (0.0, 0.0, 0.0))
    indices = np.empty(flat.size, np.int32)
    one, two, more = _core.quantize(flat, row_length(values.shape), step, lam, indices)
    return Indices(indices.reshape(values.shape), step, (one, two, more))


def checked_step(largest: float, step: float) -> float:
    """The step that `quantize` takes, as float32 has it, for values up to `largest` in magnitude.

    Raises:
        ArgumentError: values above float32's range, or more than 2^29 steps from zero.
    """
    step = float(np.float32(min(max(step, _SMALLEST), _LARGEST)))
    with np.errstate(over="ignore"):
        finite = bool(np.isfinite(np.float32(largest)))
    if not finite:
        raise ArgumentError("values above 3.4e38 cannot be quantised; leave the tensor lossless")
    if largest > step * _LARGEST_INDEX:
        raise ArgumentError(
            f"a step of {step:.3g} is too fine for values up to {largest:.3g}; "
            "ask for fewer bits, or leave the tensor lossless"
        )
    return step


def finest_step(largest: float) -> float:
    """The least step that `quantize` takes for values up to `largest` in magnitude.

    >>> most = quantize(np.array([3.0, -1.0], np.float32), finest_step(3.0), lam=0).values.max()
    >>> bool(0.999 * 2**29 < most <= 2**29)
    True
    """
    return largest / _LARGEST_INDEX * (1 + 1e-7)


def quantize_matrix(values: np.ndarray, step: float, *, threads: int = 1) -> Rounded | Indices:
    """Round finite floats of any shape by the trellis, at levels half a `step` apart.

    The first axis are the rows. Takes about as many bits as `quantize` at the same step, for a
    smaller error; where that is not so (vectors, few rows or columns, pruned weights, steps very
    fine or out of range) the result, or the error, is that of `quantize`. What the indices
    decode to is left out: the coder does not need it. The result is the same at any number of
    threads.

    >>> w = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    >>> quantize_matrix(w, 0.5).step, type(quantize_matrix(w[0], 0.5)).__name__
    (0.25, 'Indices')
    """
    if values.ndim < 2 or not values.size:
        return quantize(values, step)
    matrix = values.reshape(len(values), -1)
    levels = trellis_levels(RowsAtHand(matrix), step)
    if levels is None:
        return quantize(values, step)
    block = block_rows(matrix.shape[1])
    parts = [
        search_rows(matrix[begin : begin + block], levels, threads=threads)
        for begin in range(0, len(matrix), block)
    ]
    return Rounded(narrow(np.concatenate(parts)), levels.distance, None, None, True, levels.offsets)


class MatrixRows(Protocol):
    """A matrix of which rows are asked for."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, neither zero."""

    @property
    def largest(self) -> float:
        """The largest magnitude."""

    @property
    def power(self) -> float:
        """The sum of squares, in float64, of `block_rows` at a time."""

    def pick(self, rows: NDArray[np.int64]) -> np.ndarray:
        """Some rows, by number."""


@dataclass(frozen=True)
class RowsAtHand:
    """All rows of a matrix."""

    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def largest(self) -> float:
        """The largest magnitude."""
        return max(float(self.values.max()), -float(self.values.min()))

    @property
    def power(self) -> float:
        """The sum of squares."""
        rows, columns = self.shape
        block = block_rows(columns)
        return sum(power_of(self.values[at : at + block]) for at in range(0, rows, block))

    def pick(self, rows: NDArray[np.int64]) -> np.ndarray:
        """Some rows, by number."""
        picked: np.ndarray = self.values[rows]
        return picked


def block_rows(columns: int) -> int:
    """How many rows are rounded at a time."""
    return max(1, _BLOCK // columns)


def power_of(rows: np.ndarray) -> float:
    """The sum of squares of some rows, in float64."""
    return float(np.sum(np.square(rows, dtype=np.float64)))


def trellis_levels(matrix: MatrixRows, step: float) -> Levels | None:
    """Where the trellis' levels lie for a matrix; None for what it cannot or should not round."""
    scale = _scale_in_steps(matrix, step)
    if scale is None or scale > _FINEST:
        return None
    lam = TRELLIS_LAMBDA * min(1.0, max(0.0, 2 - 2 * scale / _UNPRICED))
    sample = np.array(matrix.pick(picked_rows(matrix.shape, _FIT)), dtype=np.float32)
    if np.count_nonzero(sample) < _NONZERO * sample.size:
        return None
    return fitted_levels(sample, step, lam)


def _scale_in_steps(matrix: MatrixRows, step: float) -> float | None:
    """Root mean square in steps; None for what the trellis cannot or should not round."""
    rows, columns = matrix.shape
    if not _SMALLEST < step < _LARGEST or not _LEAST_COLUMNS <= columns <= _MOST_COLUMNS:
        return None
    if rows < _LEAST_ROWS and rows * columns > _SMALL:
        return None
    if not step / 8 <= matrix.largest < min(step * _LARGEST_LEVEL, _LARGEST):
        return None
    return float(np.sqrt(matrix.power / (rows * columns))) / step


def rounds_to_zero(largest: float, step: float) -> bool:
    """Whether `quantize` leaves nothing of values up to `largest` in magnitude."""
    return largest < min(max(step, _SMALLEST), _LARGEST) / 4


def fitted_levels(values: NDArray[np.float32], step: float, lam: float) -> Levels:
    """Prices and offsets: how far levels of magnitude 1, 2, and beyond lie outside of their
    members' mean.
    """
    prices = fitted(values, _steps(values, step), lam, trellis=True)
    levels = Levels(step, (0.0, 0.0, 0.0), lam, prices)
    indices = search_rows(values, levels, threads=1)
    decoded = Rounded(indices, levels.distance, None, None, True).decoded
    group = np.minimum(np.abs(indices.astype(np.int32)), 3).reshape(-1)
    missed = (decoded - values) * np.sign(indices) / np.float32(step / 2)
    sums = np.bincount(group, missed.reshape(-1), minlength=4)
    means = np.clip(sums / np.maximum(np.bincount(group, minlength=4), 1), -0.5, 0.5)
    one, two, more = (round(float(mean) * _GRAIN) / _GRAIN for mean in means[1:])
    return replace(levels, offsets=(one, two, more))


@dataclass(frozen=True)
class Levels:
    """Where the trellis' levels lie, half a `step` apart, a bit's price, and an index's bits."""

    step: float
    offsets: tuple[float, float, float]
    lam: float
    prices: Curves

    @property
    def distance(self) -> float:
        """Between two levels."""
        return float(np.float32(self.step / 2))


def search_rows(given: np.ndarray, levels: Levels, *, threads: int) -> NDArray[np.signedinteger]:
    """The trellis search over some rows: indices; every error costs the same."""
    values = np.array(given, dtype=np.float32)
    steps = _steps(values, levels.step)
    indices = np.empty(values.shape, np.int16)
    large = _core.round_matrix(
        values.reshape(-1), values.shape[1], steps.row_steps, steps.column_scales,
        steps.row_weights, steps.column_weights[0], _NONE, _NONE, list(levels.offsets), levels.lam,
        steps.row_class, steps.column_class, levels.prices.reshape(-1), True,
        indices.reshape(-1), threads, "",
    )  # fmt: skip
    return narrow(indices, large)


def _steps(values: NDArray[np.float32], step: float) -> Steps:
    """The same step, and price of an error, everywhere."""
    rows, columns = (Factor(np.ones(count), None, 0.0) for count in values.shape)
    return Steps(values, rows, (columns,), step, True)


def sample_rows(values: np.ndarray, most: int) -> np.ndarray:
    """About `most` values of a tensor as evenly spread whole rows of its first axis.

    >>> sample_rows(np.arange(100).reshape(50, 2), 10)[:, 0].tolist()
    [0, 20, 40, 60, 80]
    """
    if values.size <= most or values.ndim < 2:
        return values
    rows, columns = values.shape[0], values.size // values.shape[0]
    spread: np.ndarray = values[picked_rows((rows, columns), most)]
    return spread


def picked_rows(shape: tuple[int, int], most: int) -> NDArray[np.int64]:
    """The numbers of evenly spread rows that have about `most` values; of a small matrix all."""
    rows, columns = shape
    if rows * columns <= most:
        return np.arange(rows)
    count = max(1, most * rows // (rows * columns))
    return np.arange(count) * rows // count
