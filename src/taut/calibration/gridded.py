"""Matrices on the grids of runtimes, masked or not, rounded by their curvature before the dial."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from taut.analysis import Curvature
from taut.calibration.options import Options, make_forms
from taut.calibration.twins import of_alike, twins_of
from taut.encoding.tensor import check_finite
from taut.errors import ArgumentError
from taut.io import Source, TensorInfo
from taut.scheme import Scheme
from taut.transform import Grid
from taut.transform.damping import noise_of
from taut.transform.runtime import GRIDS, calibrated_grid, make_grid, scheme_mask


def gridded(
    source: Source,
    schemes: Mapping[str, Scheme],
    curvature: Mapping[str, Curvature],
    options: Options,
) -> dict[str, Grid]:
    """The grids of all tensors whose schemes name one; equal tensors share theirs.

    What has no curvature is rounded without data.

    Raises:
        ArgumentError: a scheme does not fit its tensor; it is named.
    """
    infos = _on_grids(source, schemes)
    twins = twins_of(source, infos, schemes)
    known = {name: one for name, one in curvature.items() if schemes[name].kind in GRIDS}
    damping = noise_of(known.values()) if options.damping is None else options.damping
    found = {
        info.name: _grid(
            info,
            source.load(info.name),
            schemes[info.name],
            of_alike(info.name, twins, known),
            damping,
        )
        for info in infos
        if info.name not in twins
    }
    return found | {twin: found[one] for twin, one in twins.items()}


def _on_grids(source: Source, schemes: Mapping[str, Scheme]) -> list[TensorInfo]:
    """The stored tensors, with any values, whose schemes name a grid."""
    return [
        info
        for info in source.infos
        if info.name not in source.aliases and schemes[info.name].kind in GRIDS and info.nbytes
    ]


def _grid(
    info: TensorInfo,
    values: np.ndarray,
    scheme: Scheme,
    curvature: Curvature | None,
    damping: float,
) -> Grid:
    check_finite(info, values, scheme)
    name = f'tensor "{info.name}"'
    metric = None
    if curvature is not None and curvature.kind != "none" and values.ndim > 1:
        metric = make_forms(curvature, Options(), damping)
    try:
        if metric is None:
            return make_grid(values, scheme, scheme_mask(values, scheme, "the mask"))
        return calibrated_grid(values, scheme, metric)
    except ArgumentError as error:
        raise ArgumentError(f"{name}: scheme {scheme}: {error}") from None
