"""Matrices that a file holds once, since they are equal: they are rounded once, for all uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from taut.analyze import Curvature
from taut.analyze._terms import Metric as Form
from taut.analyze._terms import added
from taut.inputs.digest import Digest
from taut.io import Source, TensorInfo
from taut.scheme import Scheme


def twins_of(
    source: Source, infos: Sequence[TensorInfo], schemes: Mapping[str, Scheme]
) -> dict[str, str]:
    """Of these tensors those that equal an earlier one of the same scheme: their names to its."""
    first: dict[tuple[object, ...], str] = {}
    twins: dict[str, str] = {}
    for info in infos:
        values = source.load(info.name)
        digest = Digest()
        digest.add(values, info.name)
        key = (info.dtype, info.shape, str(schemes[info.name]), digest.text())
        one = first.setdefault(key, info.name)
        if one != info.name and np.array_equal(source.load(one), values):
            twins[info.name] = one
    return twins


def united(curvature: Sequence[Curvature]) -> Curvature | None:
    """The curvature of a matrix that stands in several places; None if nothing is known of it."""
    distinct = {id(one): one for one in curvature if one.kind != "none"}
    known = list(distinct.values())
    if len(known) < 2:
        return known[0] if known else None
    form = Form(known[0].rows, known[0].columns)
    for one in known[1:]:
        form = added(form, Form(one.rows, one.columns))
    return replace(
        known[0],
        rows=form.rows,
        columns=form.columns,
        mean_input=None,  # each place has a bias of its own
        bias=None,
        positions=sum(one.positions for one in known),
        kind="+".join(one.kind for one in known),
    )
