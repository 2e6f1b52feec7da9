"""From curvature to the forms that rounding goes by, and how much of them is to be believed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.analysis import Curvature
from taut.transform import FactoredForms, factor_forms
from taut.transform.forms import factor
from taut.transform.rounding import DAMPING, joined

_KEPT: Final = 1 << 28  # bytes of one tensor's factors: of more, one after the other is made


@dataclass(frozen=True)
class Options:
    """How matrices are rounded; the defaults are what serves best (docs/method.md)."""

    damping: float | None = None  # None: by how much data a form was estimated from
    lam: float | None = None  # None: LAMBDA, until batches set aside choose another
    trellis: bool = True
    feedback: bool = True
    full_rows: bool = True  # feedback from row to row; False: the rows' diagonal alone
    steps_by_column: bool = True
    basis: bool = True  # of tables whose rows go the same ways
    by_scale: bool = False  # steps by the matrices' own scales, whatever the curvature


def make_forms(
    curvature: Curvature | None, options: Options, damping: float
) -> FactoredForms | None:
    """A matrix's metric under these options; None if nothing is known of it."""
    if curvature is None or options.by_scale:
        return None
    if not curvature.parts:
        return _one_form(curvature, options, damping)
    late = _bytes(curvature) > _KEPT
    parts = []
    for part, one in zip(curvature.parts, curvature.apart(), strict=True):
        forms = _one_form(one, options, damping)
        parts.append((part.numbers, _late(forms, one, options, damping) if late else forms))
    return joined(parts)


def _one_form(curvature: Curvature, options: Options, damping: float) -> FactoredForms:
    rows = _rows(curvature, options)
    metric = factor_forms(rows, curvature.columns, damping=_dampings(curvature, options, damping))
    if options.steps_by_column:
        return metric
    flat = tuple(
        replace(c, weights=np.full_like(c.weights, np.exp(np.log(c.weights).mean())))
        for c in metric.columns
    )
    return replace(metric, columns=flat)


def _rows(curvature: Curvature, options: Options) -> NDArray[np.floating]:
    rows = curvature.rows
    return np.diag(rows).copy() if not options.full_rows and rows.ndim == 2 else rows


def _dampings(curvature: Curvature, options: Options, damping: float) -> tuple[float, float]:
    """Of rows and columns. A diagonal of counts is no estimate of a form: its damping is a prior
    for what was not seen.
    """
    sides = (_rows(curvature, options), curvature.columns)
    rows, columns = (DAMPING if side.ndim == 1 else damping for side in sides)
    return rows, columns


def _late(
    forms: FactoredForms, curvature: Curvature, options: Options, damping: float
) -> FactoredForms:
    """The same forms, whose factors are made again each time that they are wanted."""
    of_rows, of_columns = _dampings(curvature, options, damping)

    def again() -> NDArray[np.float32] | None:
        rows, order = _rows(curvature, options), forms.order
        return factor(rows, of_rows, order=order).upper

    (columns,) = forms.columns
    return replace(
        forms,
        rows=forms.rows.late(again),
        columns=(columns.late(lambda: factor(curvature.columns, of_columns).upper),),
    )


def _bytes(curvature: Curvature) -> int:
    """What the factors of all parts take."""
    sides = (side for one in curvature.parts for side in (one.rows, one.columns))
    return sum(4 * side.size for side in sides if side.ndim > 1)


def typical_step(metric: FactoredForms) -> float:
    """The geometric mean of a matrix's steps at a dial of 1."""
    columns = np.mean([np.log2(side.weights).mean() for side in metric.columns])
    return float(2.0 ** (-0.5 * (np.log2(metric.rows.weights).mean() + columns)))
