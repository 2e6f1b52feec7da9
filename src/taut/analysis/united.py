"""The curvature of a matrix that a network uses in several places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from taut.analysis._terms import Forms, added
from taut.analysis.curvature import Curvature
from taut.analysis.submatrices import Submatrix, Term, combined, outline


def united(curvature: Sequence[Curvature]) -> Curvature | None:
    """The curvature of a matrix that stands in several places; None if nothing is known of it."""
    distinct = {id(one): one for one in curvature if one.kind != "none"}
    known = list(distinct.values())
    if len(known) < 2:
        return known[0] if known else None
    form, parts = _summed(known)
    return replace(
        known[0],
        rows=form.rows,
        columns=form.columns,
        mean_input=None,  # each place has a bias of its own
        bias=None,
        positions=sum(one.positions for one in known),
        kind="+".join(one.kind for one in known),
        parts=parts,
    )


def _summed(known: Sequence[Curvature]) -> tuple[Forms, tuple[Submatrix, ...]]:
    """The metric of all, and the matrices that it falls into where any falls into several."""
    height, width = len(known[0].rows), known[0].columns.shape[-1]
    alike = [one for one in known if len(one.rows) == height]
    if not any(one.parts for one in alike):
        return reduce(added, (Forms(one.rows, one.columns) for one in alike)), ()
    terms = [
        Term(Forms(part.rows, part.columns), part.positions, numbers)
        for one in alike
        for numbers, part in _apart(one)
    ]
    parts = combined(terms, height, width)
    return outline(parts, height), parts


def _apart(one: Curvature) -> Iterator[tuple[NDArray[np.int64] | None, Curvature]]:
    """Each matrix of a tensor with its rows' numbers; None: all rows."""
    numbers: list[NDArray[np.int64] | None] = [part.numbers for part in one.parts]
    numbers = numbers or [None]
    return zip(numbers, one.apart(), strict=True)
