"""Calibrated rounding: feedback of errors on both sides, steps by curvature, a trellis.

Sources: optimal brain surgeon (Hassibi and Stork 1992), GPTQ (Frantar et al. 2022), feedback on
both sides (YAQA, Tseng et al. 2025), trellis coded quantisation (Marcellin and Fischer 1990); the
derivation stands in docs/method.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.transform.forms import Factor, factor
from taut.transform.rates import rate_curves
from taut.transform.steps import FRACTION, Steps, typical

LAMBDA = 0.25
"""Squared levels per bit: what a bit must save to be spent (docs/method.md)."""

DAMPING = 0.3
"""What is added to a form that nothing else is known of, relative to the mean of its diagonal."""

_NONE = np.empty(0, np.float32)


@dataclass(frozen=True)
class Rounded:
    """A quantised matrix as the coder takes it; `decoded` are the numbers it stands for.

    `indices` int32 and `decoded` float32 have shape (rows, columns); exponents are uint8, or None
    where all rows, or columns, have the same step.
    """

    indices: NDArray[np.int32]
    decoded: NDArray[np.float32]
    step: float
    row_exponents: NDArray[np.uint8] | None
    column_exponents: NDArray[np.uint8] | None
    trellis: bool
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fraction: int = FRACTION


@dataclass(frozen=True)
class FactoredForms:
    """Both forms of a matrix, factored.

    `columns` holds one factor, or one for each of several equal groups of rows (convolutions in
    groups). `order` is the order in which rows are rounded, None for their own.
    """

    rows: Factor
    columns: tuple[Factor, ...]
    order: NDArray[np.int64] | None = None

    def sample(self, picks: NDArray[np.int64]) -> FactoredForms:
        """The metric of some rows alone, for rounding without feedback: a guess of the rate."""
        rows = self.rows.weights if self.order is None else self.rows.weights[_turned(self.order)]
        columns = Factor(typical(self.columns), None, 0.0)
        return FactoredForms(Factor(rows[picks], None, 0.0), (columns,))


def factor_forms(
    rows: NDArray[np.floating],
    columns: NDArray[np.floating],
    *,
    damping: tuple[float, float] = (DAMPING, DAMPING),
) -> FactoredForms:
    """Factor the forms of a matrix: rows (m, m) or (m,), columns (n, n), (n,) or (groups, n, n).

    `damping` is what is added to both, relative to the mean of their diagonals.

    Rows with a full form are rounded from the least to the most important: what is lost early can
    still be made good, and measurably more of it (docs/method.md). With several groups rows do
    not share their columns' form, and only the diagonal of theirs counts.
    """
    if columns.ndim == 3:
        diagonal = np.diag(rows) if rows.ndim == 2 else rows
        groups = tuple(factor(form, damping[1]) for form in columns)
        return FactoredForms(factor(diagonal, damping[0]), groups)
    order = None
    if rows.ndim == 2:
        order = np.argsort(np.diag(rows), kind="stable")
        rows = rows[np.ix_(order, order)]
    return FactoredForms(factor(rows, damping[0]), (factor(columns, damping[1]),), order)


def round_matrix(
    values: NDArray[np.floating],
    metric: FactoredForms,
    dial: float,
    *,
    lam: float = LAMBDA,
    trellis: bool = True,
    feedback: bool = True,
    threads: int = 1,
    kernels: str = "",
) -> Rounded:
    """Round a matrix, shape (rows, columns), at steps of `dial` / sqrt(row weight * column weight).

    `lam` is in squared levels per bit. Without `feedback` every weight goes to the level that is
    best for it alone. The result is the same at any number of threads.

    Raises:
        ArgumentError: a step is too fine for the values.
    """
    weights = np.ascontiguousarray(values, dtype=np.float32)
    if metric.order is not None:
        weights = np.ascontiguousarray(weights[metric.order])
    steps = Steps(weights, metric.rows, metric.columns, dial, trellis)
    indices = np.empty(weights.shape, np.int32)
    decoded = np.empty(weights.shape, np.float32)
    rows_factor = metric.rows.upper if feedback else None
    lower = _NONE if rows_factor is None else np.ascontiguousarray(rows_factor.T).reshape(-1)
    each = len(weights) // len(metric.columns)
    for group, columns in enumerate(metric.columns):
        part = slice(group * each, (group + 1) * each)
        upper = columns.upper if feedback else None
        _core.round_matrix(
            weights[part].reshape(-1), weights.shape[1], steps.row_steps[part], steps.column_scales,
            steps.row_weights[part], steps.column_weights[group],
            _NONE if upper is None else upper.reshape(-1), lower,
            [0.0, 0.0, 0.0], lam, steps.row_class[part], steps.column_class,
            rate_curves(trellis).reshape(-1), trellis, indices[part].reshape(-1),
            decoded[part].reshape(-1), threads, kernels,
        )  # fmt: skip
    back = None if metric.order is None else _turned(metric.order)
    return Rounded(
        _in_order(indices, back),
        _in_order(decoded, back),
        steps.step,
        _in_order(steps.row_exponents, back) if np.ptp(steps.row_exponents) else None,
        steps.column_exponents if np.ptp(steps.column_exponents) else None,
        trellis,
    )


def _turned(order: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.argsort(order, kind="stable")


def _in_order(rows: np.ndarray, back: NDArray[np.int64] | None) -> np.ndarray:
    return rows if back is None else np.ascontiguousarray(rows[back])
