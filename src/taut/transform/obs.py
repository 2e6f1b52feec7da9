"""Pruning by optimal brain surgeon: what goes is made good by the columns that come after.

The loss of an error E is tr(R E C E^T) (metric.py): with C = A diag(c) A^T it is, row by row, the
sum of c_j (E A)_j^2. Going through the columns with the feedback of rounding (GPTQ), an entry is
t_j = w_j + what came before, and to make it zero costs r_i c_j t_j^2: the w^2 / [H^-1]_jj of
SparseGPT (Frantar and Alistarh 2023) and of Hassibi and Stork (1992). Masks are chosen block by
block of columns, when the errors before are known. Quantising what stays in the same pass makes its
errors part of the feedback too. Rows are taken by the diagonal of their form alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.transform.forms import Factor
from taut.transform.grid import Grid, as_matrix, check_divides
from taut.transform.mask import Mask, n_of_m, unstructured
from taut.transform.rounding import FactoredForms, Rounded
from taut.transform.steps import Steps

# Columns whose mask is chosen at once: a sixteenth of all, within these, loses least of what was
# tried, 4 to 128 of 64 to 1,024 columns at 50 and 90 % zeros. Of N:M it is M.
_LEAST, _MOST = 16, 128

Floats = NDArray[np.float32]
Nearest = Callable[[int, Floats], tuple[NDArray[np.int32], Floats]]
"""For a column and its targets: indices, and what they stand for."""
Bounds = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class PrunedMatrix:
    """A matrix with zeros where `mask` is not True; `values` float32 make good what went."""

    values: Floats
    mask: Mask


def prune_matrix(
    values: np.ndarray,
    metric: FactoredForms,
    *,
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    mask: np.ndarray | None = None,
    name: str = "the matrix",
) -> PrunedMatrix:
    """Prune a matrix, shape (rows, columns), to a sparsity, to N:M, or by a mask that is given.

    The sparsity is that of every block of columns, so that late ones make early ones good.

    >>> from taut.transform.rounding import factor_forms
    >>> metric = factor_forms(np.ones(1), np.array([[1.0, 0.9], [0.9, 1.0]]), damping=(0.0, 0.0))
    >>> prune_matrix(np.array([[1.0, 2.0]]), metric, n_m=(1, 2)).values.tolist()
    [[0.0, 2.9000000953674316]]

    Raises:
        ArgumentError: M does not divide the columns, or nothing would be left.
    """
    pass_ = _Pass(values, metric, _Choice(sparsity, n_m, mask, name))
    pass_.run()
    return PrunedMatrix(pass_.decoded, pass_.mask)


def prune_and_round(
    values: np.ndarray,
    metric: FactoredForms,
    dial: float,
    *,
    sparsity: float | None = None,
    n_m: tuple[int, int] | None = None,
    mask: np.ndarray | None = None,
    feedback: bool = True,
    name: str = "the matrix",
) -> Rounded:
    """As `prune_matrix`, and round what stays to steps of `dial` / sqrt(row * column weight).

    Plain rounding to nearest, without the trellis: its prices do not fit pruned weights. Without
    `feedback` every weight is rounded for itself.

    Raises:
        ArgumentError: as `prune_matrix`, or a step is too fine for the values.
    """
    matrix = np.ascontiguousarray(values, dtype=np.float32)
    order = np.arange(len(matrix)) if metric.order is None else metric.order
    rows = Factor(metric.rows.weights[np.argsort(order, kind="stable")], None, 0.0)
    steps = Steps(matrix, rows, metric.columns, dial, False)

    def to_steps(j: int, targets: Floats) -> tuple[NDArray[np.int32], Floats]:
        index = np.rint(targets / (steps.row_steps * steps.column_scales[j])).astype(np.int32)
        return index, index.astype(np.float32) * steps.row_steps * steps.column_scales[j]

    pass_ = _Pass(matrix, metric, _Choice(sparsity, n_m, mask, name), to_steps, feedback)
    pass_.run()
    return Rounded(
        pass_.indices,
        pass_.decoded,
        steps.step,
        steps.row_exponents if np.ptp(steps.row_exponents) else None,
        steps.column_exponents if np.ptp(steps.column_exponents) else None,
        False,
    )


def round_onto(
    values: np.ndarray,
    metric: FactoredForms,
    grid: Grid,
    bounds: Bounds | None,
    mask: np.ndarray | None = None,
) -> Grid:
    """Round a matrix to a grid that is given, by its nearest levels, with feedback of errors.

    `grid` has the tensor's shape, one for (rows, columns) in the metric's sense; what it has as
    indices does not count. `bounds` (low, high) are the least and the largest index of each group
    of columns, shape (rows, groups), of a grid without levels; None: there is -1 and 1.
    """
    matrix = as_matrix(values)
    levels = None if grid.levels is None else np.asarray(grid.levels, np.float32)
    width = grid.group or max(1, matrix.shape[1])
    middles = None if levels is None else (levels[1:] + levels[:-1]) / 2

    def to_grid(j: int, targets: Floats) -> tuple[NDArray[np.int32], Floats]:
        one = np.float32(1 if grid.step is None else grid.step)
        scale = one if grid.scales is None else grid.scales[:, j // width]
        if levels is not None and middles is not None:
            place = np.searchsorted(middles, targets / scale)
            return (place + grid.low).astype(np.int32), levels[place] * scale
        if bounds is None:
            index = np.where(targets < 0, -1, 1).astype(np.int32)
        else:
            low, high = (bound[:, j // width] for bound in bounds)
            index = np.clip(np.rint(targets / scale), low, high).astype(np.int32)
        return index, index.astype(np.float32) * scale

    everything = np.ones(matrix.shape, np.bool_)
    kept = everything if mask is None else np.asarray(mask, np.bool_).reshape(matrix.shape)
    pass_ = _Pass(matrix, metric, _Choice(None, None, kept, "the matrix"), to_grid)
    pass_.run()
    return replace(grid, indices=pass_.indices.reshape(values.shape))


@dataclass(frozen=True)
class _Choice:
    """Which weights stay: one of a fraction of zeros, N:M, or a mask."""

    sparsity: float | None
    n_m: tuple[int, int] | None
    mask: np.ndarray | None
    name: str

    def __post_init__(self) -> None:
        given = (self.sparsity is not None) + (self.n_m is not None) + (self.mask is not None)
        if given != 1:
            raise ArgumentError(f"{self.name}: give one of sparsity, n_m and mask")

    def block(self, columns: int) -> int:
        """Columns that are chosen at once."""
        if self.n_m is None:
            return min(_MOST, max(_LEAST, columns // 16))
        m = self.n_m[1]
        check_divides(f"{self.name}: {self.n_m[0]}:{m}: an M", m, columns)
        return m

    def of(self, scores: Floats, at: slice) -> Mask:
        """What stays of some columns."""
        if self.mask is not None:
            return np.asarray(self.mask, np.bool_)[:, at]
        if self.n_m is not None:
            return n_of_m(scores, *self.n_m, name=self.name)
        assert self.sparsity is not None
        return unstructured(scores, self.sparsity, name=self.name)


class _Pass:
    """One way through the columns: targets, choice, rounding, feedback."""

    def __init__(
        self,
        values: np.ndarray,
        metric: FactoredForms,
        choice: _Choice,
        nearest: Nearest | None = None,
        feedback: bool = True,
    ) -> None:
        self._values = np.ascontiguousarray(values, dtype=np.float32)
        self._metric, self._choice, self._nearest = metric, choice, nearest
        self._feedback = feedback
        self.mask = np.zeros(self._values.shape, np.bool_)
        self.decoded = np.zeros_like(self._values)
        self.indices = np.zeros(self._values.shape, np.int32)
        weights = metric.rows.weights
        if metric.order is not None:
            weights = weights[np.argsort(metric.order, kind="stable")]
        self._rows = weights.astype(np.float32)[:, None]

    def run(self) -> None:
        """Fill `mask`, `decoded` and `indices`."""
        columns = self._values.shape[1]
        width = self._choice.block(columns)
        targets = self._values.copy()
        for begin in range(0, columns, width):
            at = slice(begin, min(columns, begin + width))
            scores = np.square(targets[:, at]) * self._rows * self._column_weights(at)
            self.mask[:, at] = self._choice.of(scores, at)
            missed = self._settle(targets, at)
            for part, upper in self._groups():
                if upper is not None:
                    targets[part, at.stop :] += missed[part] @ upper[at, at.stop :]

    def _settle(self, targets: Floats, at: slice) -> Floats:
        """Round a block's columns one by one; what they missed, shape (rows, columns)."""
        missed = np.zeros((len(targets), at.stop - at.start), np.float32)
        for j in range(at.start, at.stop):
            level, kept = targets[:, j], self.mask[:, j]
            if self._nearest is not None:
                index, level = self._nearest(j, level)
                self.indices[:, j] = np.where(kept, index, 0)
            self.decoded[:, j] = np.where(kept, level, 0)
            missed[:, j - at.start] = error = self._values[:, j] - self.decoded[:, j]
            for part, upper in self._groups():
                if upper is not None:
                    targets[part, j + 1 : at.stop] += np.outer(
                        error[part], upper[j, j + 1 : at.stop]
                    )
        return missed

    def _groups(self) -> list[tuple[slice, Floats | None]]:
        """Runs of rows and their columns' factor."""
        each = len(self._values) // len(self._metric.columns)
        return [
            (slice(number * each, (number + 1) * each), one.upper if self._feedback else None)
            for number, one in enumerate(self._metric.columns)
        ]

    def _column_weights(self, at: slice) -> Floats:
        """What a squared error costs, one number a row's group and column."""
        each = len(self._values) // len(self._metric.columns)
        rows = np.stack([one.weights[at] for one in self._metric.columns])
        return np.repeat(rows, each, axis=0).astype(np.float32)
