"""Matrices that a file holds once, since they are equal: they are rounded once, for all uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taut.io import Source, TensorInfo
from taut.io.equal_tensors import EqualTensors
from taut.scheme import Scheme


def twins_of(
    source: Source, infos: Sequence[TensorInfo], schemes: Mapping[str, Scheme]
) -> dict[str, str]:
    """Of these tensors those that equal an earlier one of the same scheme: their names to its."""
    known = EqualTensors(source)
    twins: dict[str, str] = {}
    for info in infos:
        one = known.first(info, source.load(info.name), str(schemes[info.name]))
        if one is not None:
            twins[info.name] = one
    return twins
