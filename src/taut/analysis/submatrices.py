"""A stored tensor whose rows fall into several matrices, each with a metric of its own.

Experts are stored as one tensor, the projections of an attention as one matrix: which rows make a
matrix is known from how they were used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from taut.analysis._terms import Forms, added

if TYPE_CHECKING:
    from taut.analysis._block import Block


@dataclass(frozen=True)
class Submatrix:
    """Rows of a tensor that are a matrix by themselves, by number (int64), and their metric.

    `rows` and `columns` are as those of a `Curvature`; `positions` are those it was found from, 0
    where nothing reached the matrix and its metric is the mean of the others'.
    """

    numbers: NDArray[np.int64]
    rows: NDArray[np.floating]
    columns: NDArray[np.floating]
    positions: int


@dataclass(frozen=True)
class Term:
    """A metric of some rows and columns of a tensor; None: of all."""

    forms: Forms
    positions: int
    rows: NDArray[np.int64] | None = None
    columns: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, block: Block, forms: Forms, positions: int) -> Term:
        """The metric of a block."""
        return cls(forms, positions, block.rows, block.columns)


def combined(terms: Sequence[Term], height: int, width: int) -> tuple[Submatrix, ...]:
    """The matrices that a tensor of (height, width) falls into, in the order of their first rows.

    Rows that are used together make one; uses of the same rows are summed. Rows of no use at all
    get the mean metric of the others, matrix by matrix where these are all of one height.
    """
    found, unused = [], np.empty(0, np.int64)
    for rows, members in _together(terms, height):
        if members:
            found.append(_summed([terms[number] for number in members], rows, width))
        else:
            unused = rows
    if len(unused) and found:
        found += _unreached(unused, found)
    return tuple(sorted(found, key=lambda one: int(one.numbers[0])))


def unreached(parts: Sequence[Submatrix]) -> tuple[int, ...]:
    """Numbers of the matrices, of all, to which nothing was given.

    >>> parts = [Submatrix(np.arange(2) + 2 * i, np.ones(2), np.ones(2), i) for i in range(3)]
    >>> unreached(parts)
    (0,)
    """
    return tuple(number for number, one in enumerate(parts) if not one.positions)


def outline(parts: Sequence[Submatrix], height: int) -> Forms:
    """Diagonals that stand for all parts together: their traces are kept, and no more."""
    rows = np.zeros(height)
    columns: NDArray[np.floating] = np.zeros(parts[0].columns.shape[-1])
    for one in parts:
        across, along = _diagonal(one.rows), _diagonal(one.columns)
        total = float(along.sum(dtype=np.float64))
        rows[one.numbers] = across * total
        columns = columns + along * (float(across.sum(dtype=np.float64)) if total else 0.0)
    whole = float(columns.sum(dtype=np.float64))
    return Forms(rows, columns / whole if whole else columns)


def _together(
    terms: Sequence[Term], height: int
) -> Iterable[tuple[NDArray[np.int64], tuple[int, ...]]]:
    """Rows that are used by the same terms, and these terms' numbers."""
    group = np.zeros(height, np.int64)
    members: dict[int, tuple[int, ...]] = {0: ()}
    for number, term in enumerate(terms):
        at = slice(None) if term.rows is None else term.rows
        old, place = np.unique(group[at], return_inverse=True)
        fresh = {len(members) + k: (*members[int(one)], number) for k, one in enumerate(old)}
        group[at] = len(members) + place
        members |= fresh
    order = np.argsort(group, kind="stable")
    ends = np.flatnonzero(np.diff(group[order])) + 1
    for rows in np.split(order, ends):
        yield rows, members[int(group[rows[0]])]


def _summed(terms: Sequence[Term], rows: NDArray[np.int64], width: int) -> Submatrix:
    forms = reduce(added, (_restricted(term, rows, width) for term in terms))
    positions = sum(term.positions for term in terms)
    return Submatrix(rows, forms.rows, forms.columns, positions)


def _restricted(term: Term, rows: NDArray[np.int64], width: int) -> Forms:
    """A term's metric of some of its rows, and of all columns: of those it lacks it is zero."""
    known, columns = term.forms.rows, term.forms.columns
    if term.rows is None or not np.array_equal(term.rows, rows):
        at = rows if term.rows is None else _places(term.rows, rows)
        if not np.array_equal(at, np.arange(len(known))):
            known = known[at] if known.ndim == 1 else known[np.ix_(at, at)]
    if term.columns is not None:
        wide = np.zeros((width,) * columns.ndim, columns.dtype)
        wide[term.columns if columns.ndim == 1 else np.ix_(term.columns, term.columns)] = columns
        columns = wide
    return Forms(known, columns)


def _places(among: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(among, kind="stable")
    places: NDArray[np.int64] = order[np.searchsorted(among, rows, sorter=order)]
    return places


def _unreached(unused: NDArray[np.int64], found: Sequence[Submatrix]) -> list[Submatrix]:
    """Matrices of the rows that had no use, with the mean of the others' metrics."""
    runs = _like(unused, found)
    if runs is not None:
        total = reduce(added, (Forms(one.rows, one.columns) for one in found))
        mean = Forms(total.rows / len(found), total.columns)
        return [Submatrix(run, mean.rows, mean.columns, 0) for run in runs]
    known = outline(found, int(max(one.numbers.max() for one in found)) + 1)
    each = float(known.rows.sum()) / sum(len(one.numbers) for one in found)
    return [Submatrix(unused, np.full(len(unused), each), known.columns, 0)]


def _like(unused: NDArray[np.int64], found: Sequence[Submatrix]) -> NDArray[np.int64] | None:
    """The rows as matrices like those found, one a row; None if these are not of one height."""
    height = len(found[0].numbers)
    run = np.arange(height)
    if len(unused) % height:
        return None
    runs = [*unused.reshape(-1, height), *(one.numbers for one in found)]
    alike = all(one[0] % height == 0 and np.array_equal(one, one[0] + run) for one in runs)
    return unused.reshape(-1, height) if alike else None


def _diagonal(form: NDArray[np.floating]) -> NDArray[np.floating]:
    return form if form.ndim == 1 else np.diagonal(form)
