"""From curvature to the forms that rounding goes by, and how much of them is to be believed."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from taut.analyze import Curvature
from taut.transform import Metric, make_metric
from taut.transform.metric import Factor
from taut.transform.rounding import DAMPING

_LEAST_DAMPING, _MOST_DAMPING = 0.03, 1.0


@dataclass(frozen=True)
class Options:
    """How matrices are rounded; the defaults are what serves best (docs/method.md)."""

    damping: float | None = None  # None: by how much data a form was estimated from
    lam: float | None = None  # None: LAMBDA, until batches set aside choose another
    trellis: bool = True
    feedback: bool = True
    full_rows: bool = True  # feedback from row to row; False: the rows' diagonal alone
    steps_by_column: bool = True


def make_forms(curvature: Curvature | None, options: Options, damping: float) -> Metric | None:
    """A matrix's metric under these options; None if nothing is known of it."""
    if curvature is None:
        return None
    rows = curvature.rows
    if not options.full_rows and rows.ndim == 2:
        rows = np.diag(rows).copy()
    # A diagonal of counts is no estimate of a form: its damping is a prior for what was not seen.
    dampings = tuple(DAMPING if side.ndim == 1 else damping for side in (rows, curvature.columns))
    metric = make_metric(rows, curvature.columns, damping=(dampings[0], dampings[1]))
    if options.steps_by_column:
        return metric
    flat = tuple(
        Factor(np.full_like(c.weights, np.exp(np.log(c.weights).mean())), c.upper, c.damping)
        for c in metric.columns
    )
    return Metric(metric.rows, flat, metric.order)


def typical_step(metric: Metric) -> float:
    """The geometric mean of a matrix's steps at a dial of 1."""
    columns = np.mean([np.log2(side.weights).mean() for side in metric.columns])
    return float(2.0 ** (-0.5 * (np.log2(metric.rows.weights).mean() + columns)))


def noise_of(curvature: Collection[Curvature]) -> float:
    """How much of the forms is chance: what is added to all of them, relative to their diagonals.

    A form of width n from N positions has eigenvalues that are off by about sqrt(n / N) of their
    mean (Marchenko and Pastur 1967). Half of that, by the mean over all weights, serves best; and
    one damping for all matrices better than one for each, for it also shifts bits between them
    (docs/method.md).
    """
    ratios, counts = [], []
    for one in curvature:
        # Where the rows take the inputs, and no gradients are known, the rows are the form.
        form = one.rows if one.swapped and one.columns.ndim == 1 else one.columns
        if form.ndim > 1 and one.positions:
            ratios.append(form.shape[-1] / one.positions)
            counts.append(one.rows.shape[0] * one.columns.shape[-1])
    if not ratios:
        return DAMPING
    noise = 0.5 * math.sqrt(float(np.average(ratios, weights=counts)))
    return min(_MOST_DAMPING, max(_LEAST_DAMPING, noise))
