"""Rounding in a basis: rows that go the same ways have less to tell, each by itself.

A table of words has many more rows than columns, and its columns correlate: most of what its rows
hold lies in some directions. In the basis of these directions what an error costs is the sum of
what it costs in each, and numbers no longer tell of each other (Karhunen-Loeve; transform coding,
Huang and Schultheiss 1963): fewer bits for the same loss, and directions that hold less than an
error costs vanish. The basis lies in the file, and a decoder sums its rows (docs/coding.md).
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from taut.coding import MOST_BASIS_COLUMNS, combined
from taut.transform.forms import Factor, factor
from taut.transform.rounded import Rounded
from taut.transform.rounding import FactoredForms, finest_dial, round_matrix

_LEAST_COLUMNS = 16
_LEAST_ROWS = 16  # for each column: a basis of few rows costs more than it spares
_SAMPLE = 1 << 14  # rows that correlations are measured by, and more of wide matrices
_BASIS_BITS = 6.0  # about what a number of a basis takes
_WORTH = 0.02  # bits a weight that a basis has to spare, or it is not worth its time
_FLOOR = 2.0**-4  # of the mean: about where numbers vanish, at the rates that matter
_FINEST = 64.0  # of the numbers' scale, in steps: beyond, a basis spares few of the bits
_RIDGE = 1e-9
_SMALLEST, _LARGEST = 1e-15, 1e15  # of what a row holds: float32 has room around it
_BLOCK = 1 << 11  # rows at a time


@dataclass(frozen=True)
class Directions:
    """Where the rows of a matrix go: `basis` (columns, columns), a direction a row.

    They are those in which neither rows nor what errors cost correlate. `weights` (columns,) are
    what an error in each direction's row costs: the sum of squared coefficients, by what the
    matrix's rows cost. `scale` is the root of the mean of these squares, over all coefficients.
    """

    basis: NDArray[np.float64]
    weights: NDArray[np.float64]
    scale: float


def find_directions(values: NDArray[np.floating], metric: FactoredForms) -> Directions | None:
    """The directions of a matrix, shape (rows, columns); None where a basis would not pay.

    Rows must cost by themselves: where they have a full form, or are few, or are matrices by
    themselves, and where columns are many or very few, there are none.
    """
    rows, columns = values.shape
    served = _LEAST_COLUMNS <= columns <= MOST_BASIS_COLUMNS and rows >= _LEAST_ROWS * columns
    if not served or not metric.rows.diagonal or metric.parts or len(metric.columns) > 1:
        return None
    along = metric.columns[0]
    alike, weighed = _second_moments(values, metric.row_weights())
    root = _form(along, root=True)
    powers, turned = np.linalg.eigh(root.T @ alike @ root)
    largest = float(np.sqrt(powers[-1])) if powers[-1] > 0 else 0.0
    if not _SMALLEST < largest < _LARGEST or not _pays(
        np.diag(alike) * along.weights, powers, rows
    ):
        return None
    turned = turned[:, ::-1]
    heaviest = turned[np.abs(turned).argmax(axis=0), np.arange(columns)]
    into = root @ (turned * np.where(heaviest < 0, -1.0, 1.0))
    squares = np.sum(into * (weighed @ into), axis=0)
    return Directions(np.linalg.inv(into), rows * squares, math.sqrt(float(squares.mean())))


def _second_moments(
    values: NDArray[np.floating], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of a row's products with itself, (columns, columns), of some rows spread evenly;
    and the same with each row weighed.
    """
    rows, columns = values.shape
    count = min(rows, max(_SAMPLE, 16 * columns))
    alike, weighed = np.zeros((2, columns, columns))
    for begin in range(0, count, _BLOCK):
        picks = np.arange(begin, min(count, begin + _BLOCK)) * rows // count
        some = np.asarray(values[picks], np.float64)
        alike += some.T @ some
        weighed += (some.T * weights[picks]) @ some
    return alike / count, weighed / count


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
    the rounded basis best. Where steps are very fine, or so coarse that nothing is left of the
    basis, the matrix is rounded as it is.
    """
    along = metric.columns[0]
    once = partial(round_matrix, lam=lam, trellis=trellis, feedback=feedback, threads=threads)
    least = 1e-12 * max(float(directions.weights.max()), 1e-300)
    of_basis = FactoredForms(Factor(np.maximum(directions.weights, least), None, 0.0), (along,))
    if directions.scale > _FINEST * dial:
        return once(values, metric, max(dial, finest_dial(values, metric, trellis=trellis)))
    first = np.asarray(directions.basis, np.float32)
    coarse = max(dial, finest_dial(first, of_basis, trellis=trellis))
    basis = once(first, of_basis, coarse)
    rows = basis.decoded.astype(np.float64)
    if not rows.any():
        return once(values, metric, max(dial, finest_dial(values, metric, trellis=trellis)))
    across = _form(along) @ rows.T
    inner = rows @ across
    mean = float(np.trace(inner)) / len(inner)
    inner[np.diag_indices(len(inner))] += np.where(np.diag(inner) > 0, _RIDGE, 1.0) * mean
    into = _settled(np.linalg.solve(inner, across.T).T)
    numbers = _products(values, into, threads)
    own = FactoredForms(metric.rows, (factor(_settled(inner), 0.0),), metric.order)
    dial = max(dial, finest_dial(numbers, own, trellis=trellis))
    return replace(once(numbers, own, dial, owned=True), basis=basis)


def _products(
    values: NDArray[np.floating], into: NDArray[np.float32], threads: int
) -> NDArray[np.float32]:
    """The coefficients of all rows: the same at any number of threads."""
    out = np.empty(values.shape, np.float32)
    blocks = [slice(at, at + _BLOCK) for at in range(0, len(values), _BLOCK)]

    def one(block: slice) -> None:
        out[block] = combined(np.asarray(values[block], np.float32), into)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        for _ in pool.map(one, blocks):
            pass
    return out


def _settled(numbers: NDArray[np.floating]) -> NDArray[np.float32]:
    """As float32 of 12 bits less: linear algebra that adds in another order gives the same."""
    bits = numbers.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(1 << 11)) & np.uint32(0xFFFFF000)).view(np.float32)


def _form(along: Factor, *, root: bool = False) -> NDArray[np.float64]:
    """The form of a factor, or a root of it: U diag(weights) U^T."""
    upper = along.matrix()
    half = np.sqrt(along.weights)
    found = np.diag(half) if upper is None else np.asarray(upper, np.float64) * half
    return found if root else found @ found.T


def _pays(apart: NDArray[np.float64], powers: NDArray[np.float64], rows: int) -> bool:
    """Whether numbers in the basis take fewer bits, at the same error, than the basis does.

    `apart` are the columns' own powers, `powers` those in the directions.
    """
    floor = _FLOOR * float(np.mean(powers))
    spared = np.mean(np.log2(np.maximum(apart, floor))) - np.mean(
        np.log2(np.maximum(powers, floor))
    )
    return bool(spared / 2 >= _WORTH + _BASIS_BITS * len(powers) / rows)
