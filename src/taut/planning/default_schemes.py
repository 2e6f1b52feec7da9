"""What a tensor gets of which nothing was said: one answer, with calibration data or without."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from taut.io import Source, TensorInfo
from taut.io.source import fixed_of
from taut.planning.halves import holds_half
from taut.planning.rules import quantisable
from taut.scheme import Scheme


def free_schemes(
    source: Source, plan: Mapping[str, Scheme], fixed: Collection[str] = ()
) -> dict[str, Scheme]:
    """`plan`, and where it says nothing: matrices under the dial, other floats as fp16.

    It says nothing of a tensor that is lossless and not among `fixed`; a mask on it stays. What
    float16 does not hold (planning/halves.py) stays lossless. Loads the tensors that are no
    matrices, one at a time.
    """
    fixed = {*fixed, *fixed_of(source)}
    return {
        info.name: _scheme(source, info, plan[info.name], fixed)
        for info in source.infos
        if info.name in plan
    }


def _scheme(source: Source, info: TensorInfo, scheme: Scheme, fixed: Collection[str]) -> Scheme:
    """The scheme of one tensor."""
    if info.name in fixed or scheme.kind != "lossless":
        return scheme
    if quantisable(info.dtype, info.shape):
        return replace(scheme, kind="rd")
    if scheme == Scheme() and holds_half(info.dtype, source.load(info.name)):
        return Scheme("fp16")
    return scheme
