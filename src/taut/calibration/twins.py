"""Matrices that a file holds once, since they are equal: they are rounded once, for all uses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taut.analysis import Curvature
from taut.analysis.united import united
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


def of_alike(
    name: str, twins: Mapping[str, str], curvature: Mapping[str, Curvature]
) -> Curvature | None:
    """The curvature of a tensor in all its uses: with that of those that equal it; None of none."""
    return united([curvature[one] for one in alike(name, twins) if one in curvature])


def alike(name: str, twins: Mapping[str, str]) -> list[str]:
    """The names of a tensor and of all that equal it."""
    return [name, *(twin for twin, one in twins.items() if one == name)]
