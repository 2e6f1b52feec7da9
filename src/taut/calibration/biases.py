"""Biases take up what the error of a layer does to its mean output: free, and exact for that."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from taut.analysis import Curvature
from taut.calibration.overlay import as_stored
from taut.calibration.rounder import Rounder
from taut.io import Source, TensorInfo
from taut.io.dtypes import LARGEST_HALF
from taut.scheme import Scheme


def corrected_biases(
    rounder: Rounder,
    source: Source,
    schemes: Mapping[str, Scheme],
    tensors: Mapping[str, str],
    names: Collection[str] | None = None,
) -> dict[str, np.ndarray]:
    """Each bias plus (W - V) E[x], by tensor, where the file holds it as fp16 or exactly.

    Of the matrices in `names`, or of all; `tensors` maps the network's parameters to tensors that
    hold values of their own. A bias of several matrices is left alone: what helps one would add to
    the error of the others.
    """
    infos = {info.name: info for info in source.infos}
    found: dict[str, np.ndarray] = {}
    for name, bias in _own_biases(rounder, tensors).items():
        if names is None or name in names:
            values = _corrected(rounder, source, name, infos[bias])
            if values is not None and _holds(schemes[bias], values):
                found[bias] = as_stored(infos[bias], values)
    return found


def _own_biases(rounder: Rounder, tensors: Mapping[str, str]) -> dict[str, str]:
    """Matrices that are rounded, to the tensors that are their biases, and no other's."""
    shared = _shared(rounder, tensors)
    known = {
        name: tensors[one.bias]
        for name, matrix in rounder.matrices.items()
        if (one := matrix.curvature) is not None and one.bias is not None and one.bias in tensors
    }
    return {name: bias for name, bias in known.items() if bias not in shared}


def _corrected(rounder: Rounder, source: Source, name: str, bias: TensorInfo) -> np.ndarray | None:
    """A bias with what it takes up of a matrix's error; None where it does not fit its outputs."""
    curvature = rounder.matrices[name].curvature
    assert curvature is not None
    shift = _mean_error(source.load(name), rounder.decoded(name), curvature)
    if shift is None or shift.shape != bias.shape:
        return None
    values: np.ndarray = source.load(bias.name).astype(np.float64) + shift
    return values


def _shared(rounder: Rounder, tensors: Mapping[str, str]) -> set[str]:
    """The biases of more than one matrix."""
    matrices: dict[str, set[str]] = {}
    for name, one in rounder.curvature.items():
        if one.bias is not None and one.bias in tensors:
            matrices.setdefault(tensors[one.bias], set()).add(name)
    return {bias for bias, users in matrices.items() if len(users) > 1}


def _mean_error(values: np.ndarray, decoded: np.ndarray, curvature: Curvature) -> np.ndarray | None:
    """(W - V) E[x], a value for each output; None if the mean input is not of this matrix."""
    mean = curvature.mean_input
    error = values.reshape(decoded.shape) - decoded
    error = error.T if curvature.swapped else error
    if mean is None or mean.size != error.shape[1]:
        return None
    shift: np.ndarray = error @ mean
    return shift


def _holds(scheme: Scheme, values: np.ndarray) -> bool:
    """Whether the file can hold such values of a bias: exactly, or as fp16."""
    if scheme.kind == "fp16":
        return bool(np.abs(values).max(initial=0) < LARGEST_HALF)
    return scheme.kind == "lossless"
