"""Rounding in a basis: rows that go the same ways have less to tell, each by itself.

A table of words has many more rows than columns, and its columns correlate: most of what its rows
hold lies in some directions. In the basis of these directions what an error costs is the sum of
what it costs in each, and numbers no longer tell of each other (Karhunen-Loeve; transform coding,
Huang and Schultheiss 1963): fewer bits for the same loss, and directions that hold less than an
error costs vanish. The basis lies in the file, and a decoder sums its rows (docs/coding.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from taut.coding import MOST_BASIS_COLUMNS
from taut.transform.forms import Factor, factor
from taut.transform.rounded import Rounded
from taut.transform.rounding import FactoredForms, finest_dial, round_matrix, round_owned

_LEAST_COLUMNS = 16
_LEAST_ROWS = 16  # for each column: a basis of few rows costs more than it spares
_SAMPLE = 1 << 14  # rows that correlations are measured by, and more of wide matrices
_BASIS_BITS = 6.0  # about what a number of a basis takes
_WORTH = 0.02  # bits a weight that a basis has to spare, or it is not worth its time
_FLOOR = 2.0**-4  # of the mean: about where numbers vanish, at the rates that matter
_RIDGE = 1e-9


@dataclass(frozen=True)
class Directions:
    """Where the rows of a matrix go: `basis` (columns, columns), a direction a row.

    They are those in which neither rows nor what errors cost correlate. `weights` (columns,) are
    what an error in each direction's row costs: the sum of squared coefficients, by what the
    matrix's rows cost.
    """

    basis: NDArray[np.float64]
    weights: NDArray[np.float64]


def find_directions(values: NDArray[np.floating], metric: FactoredForms) -> Directions | None:
    """The directions of a matrix, shape (rows, columns); None where a basis would not pay.

    Rows must cost by themselves: of those that have a full form, few rows or few columns, and of
    matrices in groups, there are none.
    """
    rows, columns = values.shape
    served = _LEAST_COLUMNS <= columns <= MOST_BASIS_COLUMNS and rows >= _LEAST_ROWS * columns
    if not served or not metric.rows.diagonal or metric.parts or len(metric.columns) > 1:
        return None
    picks = np.arange(min(rows, max(_SAMPLE, 16 * columns)))
    picks = picks * rows // len(picks)
    some = np.asarray(values[picks], np.float64)
    along, weights = metric.columns[0], metric.row_weights()
    root = _form(along, root=True)
    second = root.T @ (some.T @ some / len(some)) @ root
    powers, turned = np.linalg.eigh(second)
    if not powers[-1] > 0 or not _pays(some, along, powers, rows):
        return None
    into = root @ turned[:, ::-1]
    squares = weights[picks] @ np.square(some @ into)
    return Directions(np.linalg.inv(into), squares * (rows / len(picks)))


def round_in_basis(
    values: NDArray[np.floating],
    metric: FactoredForms,
    directions: Directions,
    dial: float,
    *,
    lam: float,
    trellis: bool = True,
    feedback: bool = True,
    threads: int = 1,
) -> Rounded:
    """`round_matrix` in the basis of these directions, which is rounded itself, at the same dial.

    Its rows' errors cost what their coefficients say; the coefficients are then those that serve
    the rounded basis best.
    """
    along = metric.columns[0]
    way = {"lam": lam, "trellis": trellis, "feedback": feedback, "threads": threads}
    least = 1e-12 * max(float(directions.weights.max()), 1e-300)
    of_basis = FactoredForms(Factor(np.maximum(directions.weights, least), None, 0.0), (along,))
    first = np.asarray(directions.basis, np.float32)
    coarse = max(dial, finest_dial(first, of_basis, trellis=trellis))
    basis = round_matrix(first, of_basis, coarse, **way)
    rows = basis.decoded.astype(np.float64)
    if not rows.any():  # the coarsest dials leave nothing of it
        return round_matrix(
            values, metric, max(dial, finest_dial(values, metric, trellis=trellis)), **way
        )
    across = _form(along) @ rows.T
    inner = rows @ across
    empty = np.diag(inner) <= 0
    mean = float(np.trace(inner)) / len(inner)
    inner[np.diag_indices(len(inner))] += _RIDGE * mean + np.where(empty, mean, 0.0)
    into = np.linalg.solve(inner, across.T).T.astype(np.float32)
    numbers = np.asarray(values, np.float32) @ into
    own = FactoredForms(metric.rows, (factor(inner, 0.0),), metric.order)
    dial = max(dial, finest_dial(numbers, own, trellis=trellis))
    return replace(round_owned(numbers, own, dial, **way), basis=basis)


def _form(along: Factor, *, root: bool = False) -> NDArray[np.float64]:
    """The form of a factor, or a root of it: U diag(weights) U^T."""
    upper = along.matrix()
    half = np.sqrt(along.weights)
    found = np.diag(half) if upper is None else np.asarray(upper, np.float64) * half
    return found if root else found @ found.T


def _pays(some: NDArray[np.float64], along: Factor, powers: NDArray[np.float64], rows: int) -> bool:
    """Whether numbers in the basis take fewer bits, at the same error, than the basis does."""
    apart = np.mean(np.square(some), axis=0) * along.weights
    floor = _FLOOR * float(np.mean(powers))
    spared = 0.5 * np.mean(np.log2(np.maximum(apart, floor) / np.maximum(powers[::-1], floor)))
    return bool(spared >= _WORTH + _BASIS_BITS * some.shape[1] / rows)
