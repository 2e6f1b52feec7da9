"""What an error in a matrix costs: two positive definite forms, made ready for rounding.

The loss of an error E in a matrix is about tr(R E C E^T) (analysis/curvature.py). With
R = B diag(r) B^T and C = A diag(c) A^T, A and B unit upper triangular, it is the sum of
r_i c_j (B^T E A)_ij^2:
rounding with feedback makes the entries of B^T E A independent of each other, so that steps in
proportion to (r_i c_j)^(-1/2) share the error out best (reverse water-filling on both sides).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_MOST_DAMPING = 1e6
_LEAST = 1e-12  # of the mean: a weight of zero would ask for an infinite step


@dataclass(frozen=True)
class Factor:
    """A form as U diag(weights) U^T; `upper` is U (n, n) float32 with ones on the diagonal.

    `upper` is None for a diagonal form. `damping` is what was added, relative to the mean of the
    diagonal: more than was asked for where the form was not positive definite. Where many factors
    would fill the memory `again` makes `upper` anew each time that it is wanted.
    """

    weights: NDArray[np.float64]
    upper: NDArray[np.float32] | None
    damping: float
    again: Callable[[], NDArray[np.float32] | None] | None = None

    @property
    def diagonal(self) -> bool:
        """Whether the form has no more than its weights."""
        return self.upper is None and self.again is None

    def matrix(self) -> NDArray[np.float32] | None:
        """U, kept or made anew; None for a diagonal form."""
        return self.again() if self.again is not None else self.upper

    def scaled(self, scale: float) -> Factor:
        """The factor of `scale` times the form."""
        return replace(self, weights=self.weights * scale)

    def late(self, again: Callable[[], NDArray[np.float32] | None]) -> Factor:
        """The same, whose U `again` makes whenever it is wanted."""
        return self if self.upper is None else replace(self, upper=None, again=again)


def factor(form: NDArray[np.floating], damping: float) -> Factor:
    """Factor a form, (n, n) symmetric or (n,) diagonal, after adding `damping` times its mean.

    A form without any weight becomes the identity: nothing is known of it.

    >>> f = factor(np.array([[2.0, 1.0], [1.0, 1.0]]), 0.0)
    >>> f.weights.tolist(), f.upper.tolist()
    ([1.0, 1.0], [[1.0, 1.0], [0.0, 1.0]])
    """
    values = np.asarray(form, np.float64)
    diagonal = values if values.ndim == 1 else np.diag(values)
    mean = float(diagonal.mean()) if diagonal.size else 0.0
    if not np.isfinite(mean) or mean <= 0:
        return Factor(np.ones(len(values)), None, damping)
    if values.ndim == 1:
        return Factor(np.maximum(values + damping * mean, _LEAST * mean), None, damping)
    while damping < _MOST_DAMPING:
        found = _upper(values / mean, damping)
        if found is not None:
            upper, weights = found
            return Factor(weights * mean, upper, damping)
        damping = max(10 * damping, 1e-6)
    return Factor(np.maximum(diagonal, _LEAST * mean), None, damping)


def _upper(
    form: NDArray[np.float64], damping: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """U and the weights, by the Cholesky factor of the form turned round; None if it has none."""
    turned = form[::-1, ::-1] + damping * np.eye(len(form))
    try:
        root = np.linalg.cholesky(turned)[::-1, ::-1]
    except np.linalg.LinAlgError:
        return None
    scale = np.diag(root)
    if not (np.isfinite(root).all() and scale.min() > 1e-9):
        return None
    return np.ascontiguousarray(root / scale, dtype=np.float32), scale * scale
