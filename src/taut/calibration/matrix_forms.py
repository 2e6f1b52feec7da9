"""The forms that matrices are rounded by, and the rows of them that a guess of the size takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from taut.analysis import Curvature
from taut.calibration.matrix_work import MatrixWork
from taut.calibration.options import Options, make_forms, typical_step
from taut.io import Source
from taut.transform import FactoredForms
from taut.transform.basis import Directions
from taut.transform.damping import noise_of
from taut.transform.forms import Factor

_SAMPLE = 1 << 20  # values that a guess of the size looks at
_LEAST = 1 << 12  # of each matrix
_KEPT = 1 << 29  # bytes of factors that are kept from one dial to the next


class MatrixForms:
    """The forms of matrices, factored when they are first wanted; kept while there is room.

    `damping` is that of all forms; `typical` is the middle one of the matrices' steps, relative to
    their scale, at a dial of 1.
    """

    def __init__(self, matrices: Mapping[str, MatrixWork], options: Options) -> None:
        self._matrices, self._options = matrices, options
        self._factored: dict[str, FactoredForms] = {}
        self._weights: dict[str, FactoredForms] = {}
        self._bytes = sum(map(_factor_bytes, matrices.values()))
        known = [one.curvature for one in matrices.values() if one.curvature is not None]
        self.damping = noise_of(known) if options.damping is None else options.damping
        self.typical = self._typical_step()

    def weights(self, name: str) -> FactoredForms:
        """The forms of a matrix by their weights alone, which are kept: enough for steps."""
        if name not in self._weights:
            self.of(name)
        return self._weights[name]

    def of(self, name: str) -> FactoredForms:
        """The forms of a matrix."""
        if name in self._factored:
            return self._factored[name]
        matrix = self._matrices[name]
        metric = self.under(matrix.curvature) or self._by_scale(matrix)
        if name not in self._weights:
            self._weights[name] = _without_factors(metric)
        if self._all_fit:
            self._factored[name] = metric
        return metric

    @property
    def _all_fit(self) -> bool:
        """Whether there is room for all factors; if not, none is kept: they are wanted in turn."""
        return self._bytes <= _KEPT

    def under(self, curvature: Curvature | None) -> FactoredForms | None:
        """The forms that such a curvature gives; None if nothing is known."""
        return make_forms(curvature, self._options, self.damping)

    def _by_scale(self, matrix: MatrixWork) -> FactoredForms:
        """Of a matrix of which nothing is known: steps as large, by its scale, as the others'."""
        rows, columns = matrix.height, matrix.count // matrix.height
        step = self.typical * (matrix.scale or 1.0)
        return FactoredForms(
            Factor(np.full(rows, step**-2), None, 0.0), (Factor(np.ones(columns), None, 0.0),)
        )

    def _typical_step(self) -> float:
        if self._options.by_scale:
            return 1.0
        ratios, counts = [], []
        for matrix in self._matrices.values():
            if matrix.curvature is None or not matrix.scale:
                continue
            step = typical_step(self.weights(matrix.name))
            ratios.append(step * matrix.gain / matrix.scale)
            counts.append(matrix.count)
        if not ratios:
            return 1.0
        order = np.argsort(ratios)
        half = np.searchsorted(np.cumsum(np.array(counts)[order]), sum(counts) / 2)
        return float(ratios[order[half]])


def _factor_bytes(matrix: MatrixWork) -> int:
    """What the factors of a matrix take."""
    apart = () if matrix.curvature is None else matrix.curvature.apart()
    sides = (side for one in apart for side in (one.rows, one.columns))
    return sum(4 * side.size for side in sides if side.ndim > 1)


def _without_factors(metric: FactoredForms) -> FactoredForms:
    def bare(one: Factor) -> Factor:
        return replace(one, upper=None, again=None)

    return replace(
        metric,
        rows=bare(metric.rows),
        columns=tuple(map(bare, metric.columns)),
        parts=tuple(map(bare, metric.parts)),
    )


@dataclass(frozen=True)
class Sample:
    """Some `rows` of a matrix in float32, and its forms for them."""

    matrix: MatrixWork
    rows: np.ndarray
    metric: FactoredForms
    directions: Directions | None


def samples_of(
    source: Source,
    matrices: Mapping[str, MatrixWork],
    forms: MatrixForms,
    directions_of: Callable[[str, np.ndarray, FactoredForms], Directions | None],
) -> tuple[Sample, ...]:
    """Rows of all matrices that have no bits of their own, more of larger ones."""
    total = sum(one.count for one in matrices.values())
    found = []
    for matrix in matrices.values():
        if matrix.scheme.bits is not None:
            continue
        rows = source.load(matrix.name).reshape(matrix.height, -1)
        most = max(_LEAST, matrix.count * _SAMPLE // max(1, total))
        count = max(1, min(len(rows), most // max(1, rows.shape[1])))
        picks = np.arange(count) * len(rows) // count
        metric = forms.weights(matrix.name)
        directions = None
        if metric.rows.diagonal:
            metric = forms.of(matrix.name)
            directions = directions_of(matrix.name, rows, metric)
        sampled = metric.sample(picks)
        if directions is not None:  # no errors are fed back, but the basis wants the whole form
            sampled = replace(sampled, columns=metric.columns)
        found.append(Sample(matrix, np.array(rows[picks], dtype=np.float32), sampled, directions))
    return tuple(found)
