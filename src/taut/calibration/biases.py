"""Biases take up what the error of a layer does to its mean output: free, and exact for that."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from taut.calibration.overlay import as_stored
from taut.calibration.rounder import Rounder
from taut.io import Source
from taut.scheme import Scheme

_LARGEST = 65504.0  # in fp16


def corrected_biases(
    rounder: Rounder, source: Source, schemes: Mapping[str, Scheme], tensors: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Each bias plus (W - V) E[x], by tensor, where the file holds it as fp16 or exactly.

    `tensors` maps the network's parameters to tensors of the source.
    """
    infos = {info.name: info for info in source.infos}
    found: dict[str, np.ndarray] = {}
    for name, matrix in rounder.matrices.items():
        one = matrix.curvature
        bias = None if one is None or one.bias is None else tensors.get(one.bias)
        if one is None or one.mean_input is None or bias is None:
            continue
        rounded = rounder.found[name].decoded
        error = source.load(name).reshape(rounded.shape) - rounded
        error = error.T if one.swapped else error
        if one.mean_input.size != error.shape[1] or infos[bias].shape != (len(error),):
            continue
        corrected = source.load(bias).astype(np.float64) + error @ one.mean_input
        kind, largest = schemes[bias].kind, np.abs(corrected).max(initial=0)
        if kind == "lossless" or (kind == "fp16" and largest < _LARGEST):
            found[bias] = as_stored(infos[bias], corrected)
    return found
