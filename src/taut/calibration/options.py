"""From curvature to the forms that rounding goes by, and how much of them is to be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from taut.analysis import Curvature
from taut.transform import FactoredForms, factor_forms
from taut.transform.forms import Factor
from taut.transform.rounding import DAMPING


@dataclass(frozen=True)
class Options:
    """How matrices are rounded; the defaults are what serves best (docs/method.md)."""

    damping: float | None = None  # None: by how much data a form was estimated from
    lam: float | None = None  # None: LAMBDA, until batches set aside choose another
    trellis: bool = True
    feedback: bool = True
    full_rows: bool = True  # feedback from row to row; False: the rows' diagonal alone
    steps_by_column: bool = True


def make_forms(
    curvature: Curvature | None, options: Options, damping: float
) -> FactoredForms | None:
    """A matrix's metric under these options; None if nothing is known of it."""
    if curvature is None:
        return None
    rows = curvature.rows
    if not options.full_rows and rows.ndim == 2:
        rows = np.diag(rows).copy()
    # A diagonal of counts is no estimate of a form: its damping is a prior for what was not seen.
    dampings = tuple(DAMPING if side.ndim == 1 else damping for side in (rows, curvature.columns))
    metric = factor_forms(rows, curvature.columns, damping=(dampings[0], dampings[1]))
    if options.steps_by_column:
        return metric
    flat = tuple(
        Factor(np.full_like(c.weights, np.exp(np.log(c.weights).mean())), c.upper, c.damping)
        for c in metric.columns
    )
    return FactoredForms(metric.rows, flat, metric.order)


def typical_step(metric: FactoredForms) -> float:
    """The geometric mean of a matrix's steps at a dial of 1."""
    columns = np.mean([np.log2(side.weights).mean() for side in metric.columns])
    return float(2.0 ** (-0.5 * (np.log2(metric.rows.weights).mean() + columns)))
