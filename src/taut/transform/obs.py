"""Pruning by optimal brain surgeon: what goes is made good by the columns that come after.

The loss of an error E is tr(R E C E^T) (metric.py): with C = A diag(c) A^T it is, row by row, the
sum of c_j (E A)_j^2. Going through the columns with the feedback of rounding (GPTQ), an entry is
t_j = w_j + what came before, and to make it zero costs r_i c_j t_j^2: the w^2 / [H^-1]_jj of
SparseGPT (Frantar and Alistarh 2023) and of Hassibi and Stork (1992). Masks are chosen block by
block of columns, when the errors before are known. Quantising what stays in the same pass makes its
errors part of the feedback too. Rows are taken by the diagonal of their form alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.transform.forms import Factor
from taut.transform.grid import Grid, check_divides, matrix_shape
from taut.transform.mask import Mask, n_of_m, unstructured
from taut.transform.rounded import Rounded, narrow
from taut.transform.rounding import FactoredForms
from taut.transform.steps import Steps

# Columns whose mask is chosen at once: a sixteenth of all, within these, loses least of what was
# tried, 4 to 128 of 64 to 1,024 columns at 50 and 90 % zeros. Of N:M it is M.
_LEAST, _MOST = 16, 128

Floats = NDArray[np.float32]
Rows = NDArray[np.int64] | slice
Nearest = Callable[[Rows, int, Floats], tuple[NDArray[np.int32], Floats]]
"""For some rows of a column and their targets: indices, and what they stand for."""
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
    rows = Factor(metric.row_weights(), None, 0.0)
    steps = Steps(matrix, rows, metric.columns, dial, False)

    def to_steps(some: Rows, j: int, targets: Floats) -> tuple[NDArray[np.int32], Floats]:
        row_steps = steps.row_steps[some]
        index = np.rint(targets / (row_steps * steps.column_scales[j])).astype(np.int32)
        return index, index.astype(np.float32) * row_steps * steps.column_scales[j]

    pass_ = _Pass(matrix, metric, _Choice(sparsity, n_m, mask, name), to_steps, feedback)
    pass_.run()
    return Rounded(narrow(pass_.indices), steps.step, *steps.exponents(), False)


def round_onto(
    values: np.ndarray,
    metric: FactoredForms,
    grid: Grid,
    bounds: Bounds | None,
    mask: np.ndarray | None = None,
) -> Grid:
    """Round a matrix to a grid that is given, by its nearest levels, with feedback of errors.

    `grid` has the tensor's shape; what it has as indices does not count. The metric may take each
    entry of the tensor's first axis as several rows: the grid's groups run on from one to the next.
    `bounds` (low, high) are the least and the largest index of each group of columns, shape (rows,
    groups), of a grid without levels; None: there is -1 and 1.
    """
    height = len(metric.rows.weights)
    matrix = np.asarray(values, np.float32).reshape(height, -1)
    each = height // matrix_shape(values.shape)[0]
    levels = None if grid.levels is None else np.asarray(grid.levels, np.float32)
    width = grid.group or max(1, matrix.shape[1] * each)
    numbers = np.arange(height)
    middles = None if levels is None else (levels[1:] + levels[:-1]) / 2

    def to_grid(some: Rows, j: int, targets: Floats) -> tuple[NDArray[np.int32], Floats]:
        one = np.float32(1 if grid.step is None else grid.step)
        row, within = np.divmod(numbers[some], each)
        group = (within * matrix.shape[1] + j) // width
        scale = one if grid.scales is None else grid.scales[row, group]
        if levels is not None and middles is not None:
            place = np.searchsorted(middles, targets / scale)
            return (place + grid.low).astype(np.int32), levels[place] * scale
        if bounds is None:
            index = np.where(targets < 0, -1, 1).astype(np.int32)
        else:
            low, high = (bound[row, group] for bound in bounds)
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

    def of(self, scores: Floats, rows: Rows, at: slice) -> Mask:
        """What stays of some rows and columns."""
        if self.mask is not None:
            return np.asarray(self.mask, np.bool_)[rows, at]
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
        self._rows = metric.row_weights().astype(np.float32)[:, None]

    def run(self) -> None:
        """Fill `mask`, `decoded` and `indices`."""
        groups = self._metric.members()
        if self._choice.sparsity is None or any(columns.again for _, columns in groups):
            for rows, columns in groups:  # one after the other: so one factor is in memory
                self._run(rows, [(slice(None), columns)])
        else:  # what goes is chosen among all of them
            self._run(slice(None), groups)

    def _run(self, rows: Rows, groups: Sequence[tuple[Rows, Factor]]) -> None:
        """One way through the columns of some rows, which fall into groups."""
        columns = self._values.shape[1]
        width = self._choice.block(columns)
        targets = self._values[rows].copy()
        uppers = [(part, one.matrix() if self._feedback else None) for part, one in groups]
        known = [(part, upper) for part, upper in uppers if upper is not None]
        for begin in range(0, columns, width):
            at = slice(begin, min(columns, begin + width))
            weights = np.empty((len(targets), at.stop - at.start), np.float32)
            for part, one in groups:
                weights[part] = one.weights[at]
            scores = np.square(targets[:, at]) * self._rows[rows] * weights
            self.mask[rows, at] = self._choice.of(scores, rows, at)
            missed = self._settle(targets, rows, at, known)
            for part, upper in known:
                targets[part, at.stop :] += missed[part] @ upper[at, at.stop :]

    def _settle(
        self, targets: Floats, rows: Rows, at: slice, known: Sequence[tuple[Rows, Floats]]
    ) -> Floats:
        """Round a block's columns one by one; what they missed, shape (rows, columns)."""
        missed = np.zeros((len(targets), at.stop - at.start), np.float32)
        for j in range(at.start, at.stop):
            level, kept = targets[:, j], self.mask[rows, j]
            if self._nearest is not None:
                index, level = self._nearest(rows, j, level)
                self.indices[rows, j] = np.where(kept, index, 0)
            self.decoded[rows, j] = np.where(kept, level, 0)
            missed[:, j - at.start] = error = self._values[rows, j] - self.decoded[rows, j]
            for part, upper in known:
                targets[part, j + 1 : at.stop] += np.outer(error[part], upper[j, j + 1 : at.stop])
        return missed
