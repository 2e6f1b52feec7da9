"""A matrix under the dial, and how it is rounded at one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from taut.analysis import Curvature
from taut.calibration.options import Options, typical_step
from taut.calibration.twins import alike, of_alike
from taut.coding import Effort
from taut.encoding.data_free_rounder import sparse
from taut.encoding.foresee_coded import estimate_smallest
from taut.encoding.tensor import check_finite
from taut.io import Source, TensorInfo
from taut.scheme import Scheme
from taut.transform import FactoredForms, Rounded, finest_dial, prune_and_round, round_matrix
from taut.transform.basis import Directions, round_in_basis
from taut.transform.rounding import LAMBDA


@dataclass(frozen=True, kw_only=True)
class MatrixWork:
    """A tensor under the dial: as stored it has shape (rows, columns) and `count` values.

    `gain` multiplies its steps; `scale` is the root of its mean square.
    """

    info: TensorInfo
    scheme: Scheme
    curvature: Curvature | None
    gain: float
    scale: float

    @property
    def name(self) -> str:
        """The tensor's name in the file."""
        return self.info.name

    @property
    def count(self) -> int:
        """How many values it has."""
        return math.prod(self.info.shape)

    @property
    def height(self) -> int:
        """How many rows it is rounded as: its first axis, or more where it holds matrices."""
        return self.info.shape[0] if self.curvature is None else len(self.curvature.rows)


def read_matrices(
    source: Source,
    schemes: Mapping[str, Scheme],
    infos: Sequence[TensorInfo],
    twins: Mapping[str, str],
    curvature: Mapping[str, Curvature],
    gains: Mapping[str, float],
) -> dict[str, MatrixWork]:
    """What is to be rounded of `infos`, by name: those that are no twins.

    Raises:
        ArgumentError: a tensor holds a value that is no number; it is named.
    """
    return {
        info.name: MatrixWork(
            info=info,
            scheme=schemes[info.name],
            curvature=of_alike(info.name, twins, curvature),
            gain=min(gains.get(name, 1.0) for name in alike(info.name, twins)),
            scale=_scale(source, info, schemes[info.name]),
        )
        for info in infos
        if info.name not in twins
    }


def _scale(source: Source, info: TensorInfo, scheme: Scheme) -> float:
    values = source.load(info.name)
    check_finite(info, values, scheme)
    power = float(np.mean(np.square(values, dtype=np.float64))) if values.size else 0.0
    return math.sqrt(power)


def round_rows(
    matrix: MatrixWork,
    rows: np.ndarray,
    metric: FactoredForms,
    dial: float,
    options: Options,
    threads: int,
    directions: Directions | None = None,
) -> Rounded:
    """Some rows of a matrix at a dial, those that its mask takes as zeros; in the basis of its
    directions, if it has any.

    At a dial that is too fine for the values, they are rounded at the finest there is.
    """
    scheme = matrix.scheme
    trellis = options.trellis and not sparse(scheme)
    if directions is not None:
        return round_in_basis(
            rows,
            metric,
            directions,
            dial * matrix.gain,
            lam=_lam_of(matrix, metric, dial, options),
            trellis=trellis,
            feedback=options.feedback,
            threads=threads,
        )
    step = max(dial * matrix.gain, finest_dial(rows, metric, trellis=trellis))
    if sparse(scheme):
        return prune_and_round(
            rows,
            metric,
            step,
            sparsity=scheme.sparsity,
            n_m=scheme.n_of_m,
            feedback=options.feedback,
        )
    return round_matrix(
        rows,
        metric,
        step,
        lam=_lam_of(matrix, metric, dial, options),
        trellis=trellis,
        feedback=options.feedback,
        threads=threads,
    )


def _lam_of(matrix: MatrixWork, metric: FactoredForms, dial: float, options: Options) -> float:
    """Lambda, down to nothing from 4 to 8 steps to the scale: there its prices mislead."""
    lam = LAMBDA if options.lam is None else options.lam
    steps = matrix.scale / (dial * matrix.gain * typical_step(metric))
    return lam * min(1.0, max(0.0, 2.0 - steps / 4))


def estimated(rounded: Rounded, effort: Effort) -> float:
    """Bytes that a rounded matrix takes, from its tables where these tell."""
    return estimate_smallest(rounded, effort=effort)
