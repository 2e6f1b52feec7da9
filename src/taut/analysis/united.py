"""The curvature of a matrix that a network uses in several places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from taut.analysis._terms import Forms, added
from taut.analysis.curvature import Curvature


def united(curvature: Sequence[Curvature]) -> Curvature | None:
    """The curvature of a matrix that stands in several places; None if nothing is known of it."""
    distinct = {id(one): one for one in curvature if one.kind != "none"}
    known = list(distinct.values())
    if len(known) < 2:
        return known[0] if known else None
    form = Forms(known[0].rows, known[0].columns)
    for one in known[1:]:
        form = added(form, Forms(one.rows, one.columns))
    return replace(
        known[0],
        rows=form.rows,
        columns=form.columns,
        mean_input=None,  # each place has a bias of its own
        bias=None,
        positions=sum(one.positions for one in known),
        kind="+".join(one.kind for one in known),
    )
