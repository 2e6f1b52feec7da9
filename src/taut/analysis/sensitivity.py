"""What an error in a tensor costs, before anybody makes it: curvature, summed up and applied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.analysis.curvature import Curvature
from taut.analysis.submatrices import Submatrix
from taut.errors import ArgumentError

DAMPING: Final = 0.3
"""What is added to a diagonal factor, relative to its mean, and by default to a full one."""

_WORK: Final = 5e10  # multiply-adds that one prediction may take
_WIDEST: Final = 4096  # a determinant of wider factors takes minutes


@dataclass(frozen=True)
class Sensitivity:
    """How much the loss minds a matrix (m, n), and what calibrated rounding can make of it.

    `trace` is tr(R) tr(C) / (m n), the mean curvature of a weight. `effective_rows` and
    `effective_columns` are participation ratios, tr(A)^2 / tr(A^2): how many directions matter.
    The gains are in bits per weight at equal loss: half log2 of the arithmetic over the geometric
    mean of the factor's conditional variances, which steps of their own and feedback of errors
    earn (at high rate). `step` is the geometric mean of the steps at a dial of 1, 0 where the loss
    does not depend on the matrix.
    """

    kind: str
    stage: int
    samples: int
    positions: int
    trace: float
    effective_rows: float
    effective_columns: float
    dead_inputs: int
    row_gain: float
    column_gain: float
    step: float
    notes: tuple[str, ...]

    @property
    def gain(self) -> float:
        """Bits per weight that both sides earn together."""
        return self.row_gain + self.column_gain


def summarise(curvature: Curvature, damping: float = DAMPING) -> Sensitivity:
    """The curvature of a matrix in a few numbers.

    `damping` is what rounding adds to full factors, relative to the mean of their diagonals.

    >>> c = Curvature(np.ones(2), np.diag([1.0, 4.0]), None, None, 9, 9, "linear", 0)
    >>> round(summarise(c).column_gain, 3), summarise(c).effective_columns
    (0.086, 1.4705882352941178)
    """
    if curvature.parts:
        return _of_parts(curvature, damping)
    rows, columns = curvature.rows, curvature.columns
    row_mean, column_mean = _mean(rows), _mean(columns)
    row_damping, column_damping = (DAMPING if f.ndim == 1 else damping for f in (rows, columns))
    row_gain = _gain(rows, row_mean, row_damping)
    column_gain = _gain(columns, column_mean, column_damping)
    trace = row_mean * column_mean
    damped = trace * (1 + row_damping) * (1 + column_damping)
    return Sensitivity(
        kind=curvature.kind,
        stage=curvature.stage,
        samples=curvature.samples,
        positions=curvature.positions,
        trace=trace,
        effective_rows=_effective(rows),
        effective_columns=_effective(columns),
        dead_inputs=int((_diagonal(columns) == 0).sum()) if trace else 0,
        row_gain=row_gain,
        column_gain=column_gain,
        step=math.exp2(row_gain + column_gain) / math.sqrt(damped) if damped else 0.0,
        notes=curvature.notes,
    )


def _of_parts(curvature: Curvature, damping: float) -> Sensitivity:
    """Of a tensor that holds several matrices: means by how many weights each has."""
    known = [summarise(one, damping) for one in curvature.apart()]
    sizes = np.array([len(one.numbers) for one in curvature.parts], np.float64)
    share = sizes / sizes.sum()

    names = ("trace", "effective_rows", "effective_columns", "row_gain", "column_gain")
    trace, across, along, *gains = (
        float(share @ [getattr(one, name) for one in known]) for name in names
    )
    steps = np.array([one.step for one in known])
    step = float(np.exp2(share @ np.log2(steps))) if steps.all() else 0.0
    dead = sum(one.dead_inputs for one in known)
    return replace(
        known[0],
        positions=curvature.positions,
        trace=trace,
        effective_rows=across,
        effective_columns=along,
        dead_inputs=dead,
        row_gain=gains[0],
        column_gain=gains[1],
        step=step,
    )


def predict_loss(error: NDArray[np.float32], curvature: Curvature) -> float:
    """The loss of a sample by an error E (m, n): tr(R E C E^T).

    >>> c = Curvature(np.array([1.0, 3.0]), np.eye(2), None, None, 1, 1, "linear", 0)
    >>> predict_loss(np.array([[1, 1], [0, 2]], np.float32), c)
    14.0
    """
    return loss_of(curvature)(error)


def loss_of(curvature: Curvature) -> Callable[[NDArray[np.float32]], float]:
    """`predict_loss` for many errors of one matrix: a function of the error (m, n).

    Where it takes too long only the diagonals of R and C count, as for errors that are white. It
    raises ArgumentError for an error of another shape. Of a tensor that holds several matrices the
    error is that of the tensor, its first axis by all others, and the losses of all are added.
    """
    if curvature.parts:
        return _loss_of_parts(curvature)
    rows, columns = curvature.rows, curvature.columns
    m, n = len(rows), columns.shape[-1]
    row_mean, column_mean = _mean(rows), _mean(columns)
    if m * n * ((m if rows.ndim > 1 else 0) + (n if columns.ndim > 1 else 0)) > _WORK:
        rows = _diagonal(rows)
        columns = _diagonal(columns) if columns.ndim == 2 else columns
    # All near 1, so that single precision neither overflows nor vanishes.
    R = (rows / (row_mean or 1.0)).astype(np.float32)
    C = (columns / (column_mean or 1.0)).astype(np.float32)

    def loss(error: NDArray[np.float32]) -> float:
        if error.shape != (m, n):
            raise ArgumentError(f"an error of shape {error.shape} for a curvature of {(m, n)}")
        scale = float(np.max(np.abs(error), initial=0))
        if not (row_mean and column_mean and scale):
            return 0.0
        E = (error / np.float32(scale)).astype(np.float32)
        EC = E * C if C.ndim == 1 else _times(E, C)
        RE = R[:, None] * E if R.ndim == 1 else R @ E
        unit = max(0.0, float(np.sum(np.multiply(RE, EC, out=EC), dtype=np.float64)))
        return unit * scale**2 * row_mean * column_mean

    return loss


def _loss_of_parts(curvature: Curvature) -> Callable[[NDArray[np.float32]], float]:
    height, width = len(curvature.rows), curvature.columns.shape[-1]

    def loss(error: NDArray[np.float32]) -> float:
        if error.size != height * width:
            raise ArgumentError(
                f"an error of shape {error.shape} for a curvature of {height} rows of {width}"
            )
        rows = error.reshape(height, width)
        # One after the other: all parts' factors in single precision may not fit in memory.
        return sum(loss_of(one)(rows[part.numbers]) for part, one in _apart(curvature))

    return loss


def _apart(curvature: Curvature) -> Iterator[tuple[Submatrix, Curvature]]:
    return zip(curvature.parts, curvature.apart(), strict=True)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Spearman's, ties sharing their mean rank; 0 where either has no two different values.

    >>> rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([0.1, 0.2, 0.3]))
    1.0
    """
    x, y = _ranks(first), _ranks(second)
    x, y = x - x.mean(), y - y.mean()
    power = math.sqrt(float(np.sum(x * x)) * float(np.sum(y * y)))
    return float(np.sum(x * y)) / power if power else 0.0


def _times(E: NDArray[np.float32], C: NDArray[np.float32]) -> NDArray[np.float32]:
    """E C, or with several groups of rows each group times its own C."""
    if C.ndim == 2:
        return E @ C
    product: NDArray[np.float32] = (E.reshape(len(C), -1, E.shape[1]) @ C).reshape(E.shape)
    return product


def _diagonal(factor: NDArray[np.floating]) -> NDArray[np.floating]:
    return factor if factor.ndim == 1 else np.diagonal(factor, axis1=-2, axis2=-1)


def _mean(factor: NDArray[np.floating]) -> float:
    return float(np.mean(_diagonal(factor), dtype=np.float64))


def _effective(factor: NDArray[np.floating]) -> float:
    """tr(A)^2 / tr(A^2); the mean over groups."""
    trace = np.sum(_diagonal(factor), axis=-1, dtype=np.float64)
    axes = -1 if factor.ndim == 1 else (-2, -1)
    square = np.sum(np.square(factor, dtype=np.float64), axis=axes)
    ratio = np.divide(trace**2, square, out=np.zeros_like(square), where=square > 0)
    return float(np.mean(ratio))


def _gain(factor: NDArray[np.floating], mean: float, damping: float) -> float:
    """Half log2 of the arithmetic over the geometric mean of D, with A + damping = U D U^T."""
    if not mean:
        return 0.0
    if factor.ndim == 1 or factor.shape[-1] > _WIDEST:  # the diagonal's own: less than there is
        logs = np.log2(_diagonal(factor) / mean + damping)
    else:
        unit = factor.astype(np.float64) / mean
        unit[..., range(unit.shape[-1]), range(unit.shape[-1])] += damping
        sign, natural = np.linalg.slogdet(unit)
        logs = np.where(sign > 0, natural, 0.0) / math.log(2) / unit.shape[-1]
    return max(0.0, 0.5 * (math.log2(1 + damping) - float(np.mean(logs))))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = (ends - (counts - 1) / 2)[place.reshape(-1)]
    return means
