"""What an error in a matrix costs: two positive definite forms, made ready for rounding.

The loss of an error E in a matrix is about tr(R E C E^T) (analysis/curvature.py). With
R = B diag(r) B^T and C = A diag(c) A^T, A and B unit upper triangular, it is the sum of
r_i c_j (B^T E A)_ij^2:
rounding with feedback makes the entries of B^T E A independent of each other, so that steps in
proportion to (r_i c_j)^(-1/2) share the error out best (reverse water-filling on both sides).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MOST_DAMPING = 1e6
_LEAST = 1e-12  # of the mean: a weight of zero would ask for an infinite step
_LEAST_ROOT = 1e-9  # of the mean's root
_AT_ONCE = 2048  # rows of a form up to which all of it is in float64
_PANEL = 512
_IN_MEMORY = 1 << 30  # bytes of U that need no file

_Found = tuple[NDArray[np.float32], NDArray[np.float64]] | None


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


def factor(
    form: NDArray[np.floating],
    damping: float,
    *,
    order: NDArray[np.int64] | None = None,
    folder: Path | None = None,
) -> Factor:
    """Factor a form, (n, n) symmetric or (n,) diagonal, after adding `damping` times its mean.

    `order` (n,) takes its rows and columns in another order. A form without any weight becomes the
    identity: nothing is known of it.

    Up to n = 2,048 all is float64, which takes 28 n^2 bytes beside the form. Of larger ones `upper`
    is made in panels, sums in float64 and what is kept in float32, which takes 4 n^2 bytes and
    16,384 n. With a `folder`, and in any case beyond 1 GiB, the 4 n^2 lie in a file there, or else
    where temporary files do; it vanishes with the array.

    Raises:
        OSError: the disk has no room for that file.

    >>> f = factor(np.array([[2.0, 1.0], [1.0, 1.0]]), 0.0)
    >>> f.weights.tolist(), f.upper.tolist()
    ([1.0, 1.0], [[1.0, 1.0], [0.0, 1.0]])
    """
    diagonal = np.array(form if form.ndim == 1 else np.diag(form), np.float64)
    diagonal = diagonal if order is None else diagonal[order]
    mean = float(diagonal.mean()) if diagonal.size else 0.0
    if not np.isfinite(mean) or mean <= 0:
        return Factor(np.ones(len(diagonal)), None, damping)
    if form.ndim == 1:
        return Factor(np.maximum(diagonal + damping * mean, _LEAST * mean), None, damping)
    damped = _Damped(form, order, mean)
    while damping < _MOST_DAMPING:
        found = damped.at_once(damping) if len(form) <= _AT_ONCE else damped.panels(damping, folder)
        if found is not None:
            upper, weights = found
            return Factor(weights * mean, upper, damping)
        damping = max(10 * damping, 1e-6)
    return Factor(np.maximum(diagonal, _LEAST * mean), None, damping)


@dataclass(frozen=True)
class _Damped:
    """A form in some order of its rows, relative to the mean of its diagonal.

    Both ways give U and the weights; None where the form has none.
    """

    form: NDArray[np.floating]
    order: NDArray[np.int64] | None
    mean: float

    def part(self, rows: slice, columns: slice, damping: float) -> NDArray[np.float64]:
        """A part of it, the damping added to its diagonal."""
        if self.order is None:
            part = self.form[rows, columns].astype(np.float64)
        else:
            part = self.form[np.ix_(self.order[rows], self.order[columns])].astype(np.float64)
        part /= self.mean
        if rows == columns:
            part[np.diag_indices(len(part))] += damping
        return part

    def at_once(self, damping: float) -> _Found:
        """By the Cholesky factor of the form turned round."""
        everything = slice(0, len(self.form))
        root = _root(self.part(everything, everything, damping))
        if root is None:
            return None
        scale = np.diag(root).copy()
        upper = np.divide(root, scale, out=np.empty(root.shape, np.float32), casting="same_kind")
        return upper, scale * scale

    def panels(self, damping: float, folder: Path | None) -> _Found:
        """The same by panels of columns from the last to the first.

        What lies above a panel's corner is X of X R^T = S with the corner's root R and S = the form
        less what the panels behind have of it.
        """
        n = len(self.form)
        upper, scale = _room(n, folder), np.empty(n)
        for begin in range((n - 1) // _PANEL * _PANEL, -1, -_PANEL):
            at, behind = slice(begin, min(n, begin + _PANEL)), slice(min(n, begin + _PANEL), n)
            right = upper[at, behind].astype(np.float64).T
            root = _root(self.part(at, at, damping) - right.T @ right)
            if root is None:
                return None
            scale[at], upper[at, at] = np.diag(root), root
            turned = np.linalg.inv(root).T
            for top in range(0, begin, _PANEL):
                rows = slice(top, top + _PANEL)
                rest = self.part(rows, at, damping)
                rest -= upper[rows, behind].astype(np.float64) @ right
                upper[rows, at] = rest @ turned
        for top in range(0, n, _PANEL):
            upper[top : top + _PANEL, top:] /= scale[top:].astype(np.float32)
        return upper, scale * scale


def _root(form: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """R, upper triangular, with R R^T = form; None if there is none."""
    try:
        root = np.asarray(np.linalg.cholesky(form[::-1, ::-1])[::-1, ::-1], np.float64)
    except np.linalg.LinAlgError:
        return None
    return root if np.isfinite(root).all() and np.diag(root).min() > _LEAST_ROOT else None


def _room(n: int, folder: Path | None) -> NDArray[np.float32]:
    """Zeros, shape (n, n): in memory, or in a file without a name."""
    nbytes = 4 * n * n
    if folder is None and nbytes <= _IN_MEMORY:
        return np.zeros((n, n), np.float32)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is told now, and does not end the process
            os.posix_fallocate(file.fileno(), 0, nbytes)
        else:
            file.truncate(nbytes)
        return np.memmap(file, np.float32, "r+", shape=(n, n))
