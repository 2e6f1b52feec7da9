"""How much of what curvature says is to be believed."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np

from taut.analysis import Curvature
from taut.transform.rounding import DAMPING

_LEAST_DAMPING, _MOST_DAMPING = 0.03, 1.0


def noise_of(curvature: Collection[Curvature]) -> float:
    """How much of the forms is chance: what is added to all of them, relative to their diagonals.

    A form of width n from N positions has eigenvalues that are off by about sqrt(n / N) of their
    mean (Marchenko and Pastur 1967). Half of that, by the mean over all weights, serves best; and
    one damping for all matrices better than one for each, for it also shifts bits between them
    (docs/method.md).
    """
    ratios, counts = [], []
    for one in (part for whole in curvature for part in whole.apart()):
        # Where the rows take the inputs, and no gradients are known, the rows are the form.
        form = one.rows if one.swapped and one.columns.ndim == 1 else one.columns
        if form.ndim > 1 and one.positions:
            ratios.append(form.shape[-1] / one.positions)
            counts.append(one.rows.shape[0] * one.columns.shape[-1])
    if not ratios:
        return DAMPING
    noise = 0.5 * math.sqrt(float(np.average(ratios, weights=counts)))
    return min(_MOST_DAMPING, max(_LEAST_DAMPING, noise))
