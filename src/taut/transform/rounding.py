"""Calibrated rounding: feedback of errors on both sides, steps by curvature, a trellis.

Sources: optimal brain surgeon (Hassibi and Stork 1992), GPTQ (Frantar et al. 2022), feedback on
both sides (YAQA, Tseng et al. 2025), trellis coded quantisation (Marcellin and Fischer 1990); the
derivation stands in docs/method.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.transform.forms import Factor, factor
from taut.transform.rates import rate_curves
from taut.transform.rounded import Rounded, narrow
from taut.transform.steps import Steps, finest_level, typical

LAMBDA = 0.25
"""Squared levels per bit: what a bit must save to be spent (docs/method.md)."""

DAMPING = 0.3
"""What is added to a form that nothing else is known of, relative to the mean of its diagonal."""

_NONE = np.empty(0, np.float32)


@dataclass(frozen=True)
class FactoredForms:
    """Both forms of a matrix, factored.

    `columns` holds one factor, or one for each of several groups of rows that are matrices by
    themselves: groups of a convolution, experts. `parts` are then their rows' factors, and `rows`
    has the weights of all; without `parts` the groups are equal. `order` is the order in which rows
    are rounded, group after group; None for their own.
    """

    rows: Factor
    columns: tuple[Factor, ...]
    order: NDArray[np.int64] | None = None
    parts: tuple[Factor, ...] = ()

    def groups(self) -> Iterator[tuple[slice, Factor, Factor]]:
        """Each group: where it lies in the order of rounding, its rows' factor and its columns'."""
        each = len(self.rows.weights) // len(self.columns)
        begin = 0
        for number, columns in enumerate(self.columns):
            rows = self.parts[number] if self.parts else self.rows
            count = len(rows.weights) if self.parts else each
            yield slice(begin, begin + count), rows, columns
            begin += count

    def members(self) -> list[tuple[NDArray[np.int64], Factor]]:
        """Each group's rows, by number, and its columns' factor."""
        order = np.arange(len(self.rows.weights)) if self.order is None else self.order
        return [(np.sort(order[part]), columns) for part, _, columns in self.groups()]

    def row_weights(self) -> NDArray[np.float64]:
        """The rows' weights in the rows' own order."""
        weights = self.rows.weights
        return weights if self.order is None else weights[_turned(self.order)]

    def sample(self, picks: NDArray[np.int64]) -> FactoredForms:
        """The metric of some rows alone, for rounding without feedback: a guess of the rate."""
        columns = Factor(typical(self.columns), None, 0.0)
        return FactoredForms(Factor(self.row_weights()[picks], None, 0.0), (columns,))


def factor_forms(
    rows: NDArray[np.floating],
    columns: NDArray[np.floating],
    *,
    damping: tuple[float, float] = (DAMPING, DAMPING),
    folder: Path | None = None,
) -> FactoredForms:
    """Factor the forms of a matrix: rows (m, m) or (m,), columns (n, n), (n,) or (groups, n, n).

    `damping` is what is added to both, relative to the mean of their diagonals. Factors of more
    than 2,048 rows lie in files in `folder`, if there is one (`factor`).

    Rows with a full form are rounded from the least to the most important: what is lost early can
    still be made good, and measurably more of it (docs/method.md). With several groups rows of two
    groups do not share their columns' form, and each group's rows have the form of these alone.
    """
    if columns.ndim == 3:
        runs = np.split(np.arange(len(rows)), len(columns))
        cut = [rows[run] if rows.ndim == 1 else rows[np.ix_(run, run)] for run in runs]
        sides = zip(cut, columns, strict=True)
        forms = [factor_forms(*two, damping=damping, folder=folder) for two in sides]
        return joined(list(zip(runs, forms, strict=True)))
    order = None
    if rows.ndim == 2:
        order = np.argsort(np.diag(rows), kind="stable")
    along = factor(columns, damping[1], folder=folder)
    return FactoredForms(factor(rows, damping[0], order=order, folder=folder), (along,), order)


def joined(parts: Sequence[tuple[NDArray[np.int64], FactoredForms]]) -> FactoredForms:
    """The metric of a matrix whose rows are matrices by themselves: rows' numbers, their metric.

    A file has steps for the columns that serve all of them: what one's columns weigh more in the
    mean is taken to its rows, whose steps are their own.

    >>> one, other = (factor_forms(np.ones(2), np.full(3, c), damping=(0, 0)) for c in (1.0, 4.0))
    >>> both = joined([(np.array([0, 1]), one), (np.array([2, 3]), other)])
    >>> both.rows.weights.tolist(), both.columns[1].weights.tolist()
    ([1.0, 1.0, 4.0, 4.0], [1.0, 1.0, 1.0])
    """
    rows, columns, orders = [], [], []
    for numbers, forms in parts:
        (along,) = forms.columns
        scale = float(np.exp2(np.mean(np.log2(along.weights))))
        rows.append(forms.rows.scaled(scale))
        columns.append(along.scaled(1 / scale))
        orders.append(numbers if forms.order is None else numbers[forms.order])
    order = np.concatenate(orders)
    weights = np.concatenate([one.weights for one in rows])
    natural = np.array_equal(order, np.arange(len(order)))
    return FactoredForms(
        Factor(weights, None, 0.0), tuple(columns), None if natural else order, tuple(rows)
    )


def finest_dial(values: NDArray[np.floating], metric: FactoredForms, *, trellis: bool) -> float:
    """A dial that is about the finest at which `round_matrix` takes these values.

    Beyond it float32 no longer tells neighbouring levels apart, so that nothing more is spared.
    """
    largest = float(np.max(np.abs(values), initial=0.0))
    least = float(np.max(metric.rows.weights)) * float(np.max(typical(metric.columns)))
    return finest_level(largest) * (2.0 if trellis else 1.0) * math.sqrt(least)


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
    owned: bool = False,
) -> Rounded:
    """Round a matrix, shape (rows, columns), at steps of `dial` / sqrt(row weight * column weight).

    `lam` is in squared levels per bit. Without `feedback` every weight goes to the level that is
    best for it alone. The result is the same at any number of threads. Values that are `owned`, in
    float32, may be lost: errors take their place, and no copy is made.

    Raises:
        ArgumentError: a step is too fine for the values.
    """
    weights = _ordered(values, metric.order, owned=owned)
    steps = Steps(weights, metric.rows, metric.columns, dial, trellis)
    indices = _Way(lam, trellis, feedback, threads, kernels).indices(weights, metric, steps)
    row_exponents, column_exponents = steps.exponents()
    if metric.order is not None:
        back = _turned(metric.order)
        indices = indices[back]
        row_exponents = None if row_exponents is None else row_exponents[back]
    return Rounded(indices, steps.step, row_exponents, column_exponents, trellis)


@dataclass(frozen=True)
class _Way:
    """How a matrix is rounded: as the arguments of `round_matrix`."""

    lam: float
    trellis: bool
    feedback: bool
    threads: int
    kernels: str

    def indices(
        self, weights: NDArray[np.float32], metric: FactoredForms, steps: Steps
    ) -> NDArray[np.signedinteger]:
        """Indices of `weights`, in whose place errors are left."""
        indices = np.empty(weights.shape, np.int16)
        large: list[tuple[int, int]] = []
        groups = zip(metric.groups(), steps.column_weights, strict=True)
        for (part, rows, columns), weighed in groups:
            found = _core.round_matrix(
                weights[part].reshape(-1), weights.shape[1],
                steps.row_steps[part], steps.column_scales, steps.row_weights[part], weighed,
                self._flat(columns), self._flat(rows), [0.0, 0.0, 0.0], self.lam,
                steps.row_class[part], steps.column_class, rate_curves(self.trellis).reshape(-1),
                self.trellis, indices[part].reshape(-1), self.threads, self.kernels,
            )  # fmt: skip
            large += [(place + part.start * weights.shape[1], index) for place, index in found]
        return narrow(indices, large)

    def _flat(self, factor: Factor) -> NDArray[np.float32]:
        """The factor row after row; empty for none."""
        upper = factor.matrix() if self.feedback else None
        return _NONE if upper is None else upper.reshape(-1)


def _turned(order: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.argsort(order, kind="stable")


def _ordered(
    values: NDArray[np.floating], order: NDArray[np.int64] | None, *, owned: bool
) -> NDArray[np.float32]:
    """The rows in this order, as float32: a copy unless they are `owned`."""
    if order is None:
        return np.array(values, np.float32, order="C", copy=None if owned else True)
    return np.ascontiguousarray(values[order], np.float32)
