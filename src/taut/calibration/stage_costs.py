"""What the stages of a calibrated run cost against each other, in multiplications from shapes."""

from __future__ import annotations

from math import prod
from typing import Final

from taut.calibration.inputs import Work
from taut.transform.runtime import GRIDS

_CURVATURE: Final = 8  # for a weight and position: forward, recomputed, two gradients (docs/scale)
_FORWARD: Final = 1
_ROUNDED: Final = 1e4  # a weight, with feedback on both sides: 100 ns at 100 GFLOP/s
_CODED: Final = 2e3  # a weight that is coded, or read back to be verified
_PER_INPUT: Final = 12  # positions for each input of a block, of which its forms are made
_JUDGED: Final = 2048  # positions set aside
_SAMPLED: Final = 1 << 24  # weights that are rounded for each of the lambdas
_LAMBDAS: Final = 3
_PASSES: Final = 3  # of a search by score
_FINISHING: Final = 5e12  # at most, however large the network


def stage_costs(work: Work) -> dict[str, float]:
    """The stages of a network that is rounded in one pass, in order, each with what it costs."""
    request = work.request
    shapes = [
        info.shape
        for info in work.source.infos
        if info.name not in work.source.aliases and _is_rounded(work, info.name)
    ]
    weights = sum(map(prod, shapes))
    positions = work.calibration.positions
    widest = max((prod(shape[1:]) for shape in shapes), default=1)
    carried = min(positions, _PER_INPUT * widest)
    judged = min(positions, _JUDGED)
    squares = sum(shape[0] ** 2 + prod(shape[1:]) ** 2 for shape in shapes) / 2
    passes = 1 if request.allowed is None else _PASSES
    costs = {
        "curvature": positions * (_CURVATURE * weights + squares),
        "lambda": _LAMBDAS * (_ROUNDED * min(weights, _SAMPLED) + judged * _FORWARD * weights),
        "sequence": passes * weights * (_ROUNDED + 2 * _FORWARD * carried),
        "finish": _FINISHING if request.finish else 0.0,
        "encode": _CODED * weights,
        "verify": _CODED * weights,
    }
    return {stage: float(cost) for stage, cost in costs.items() if cost}


def _is_rounded(work: Work, name: str) -> bool:
    scheme = work.schemes.get(name)
    return scheme is not None and scheme.kind in ("rd", *GRIDS)
