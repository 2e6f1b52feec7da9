"""Biases take up what the error of a layer does to its mean output: free, and exact for that."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from taut.analysis import Curvature
from taut.calibration.overlay import as_stored
from taut.calibration.rounder import Rounder
from taut.io import Source
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
    shared = _shared(rounder, tensors)
    found: dict[str, np.ndarray] = {}
    for name, matrix in rounder.matrices.items():
        one = matrix.curvature if names is None or name in names else None
        if one is None or one.bias is None or (bias := tensors.get(one.bias)) is None:
            continue
        shift = _mean_error(source.load(name), rounder.decoded(name), one)
        if bias in shared or shift is None or infos[bias].shape != shift.shape:
            continue
        values = source.load(bias).astype(np.float64) + shift
        if _holds(schemes[bias], values):
            found[bias] = as_stored(infos[bias], values)
    return found


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
