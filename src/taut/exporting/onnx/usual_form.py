"""The form of a graph that was asked for, filled up from what the file's matrices already are."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Final, cast

from taut.container import TautFile
from taut.errors import ArgumentError
from taut.exporting.onnx.onnx_form import Activations, OnnxForm, Ranges, Weights
from taut.exporting.request import ExportRequest
from taut.scheme import Scheme, recorded_scheme

_NARROW: Final = ("binary", "ternary", "int2", "int3")
_GROUP: Final = 32  # values that share a scale, where nothing says how many


def form_for(file: TautFile, request: ExportRequest) -> OnnxForm:
    """The weights that were asked for, or what most of the file's matrices already are.

    Activations of int8 weights are static where there are data to calibrate on, else dynamic.

    Raises:
        ArgumentError: ONNX does not take what was asked for.
    """
    usual, size, asymmetric = _usual(file)
    weights = _checked(request.weights or usual, request.group_size)
    same = weights == usual
    activations = _activations(request, weights)
    return OnnxForm(
        weights=weights,
        group_size=request.group_size or (size if same else None) or _GROUP,
        asymmetric=same and asymmetric,
        activations=cast("Activations", activations),
        ranges=cast("Ranges", request.ranges or "mse"),
        max_error=request.max_error,
    )


def _checked(weights: str, group_size: int | None) -> Weights:
    """The weights, if ONNX takes them with such a group size."""
    if weights not in ("float32", "float16", "int8", "int4"):
        raise ArgumentError(f"weights {weights}: ONNX takes float32, float16, int8, int4")
    if weights != "int4" and group_size is not None:
        raise ArgumentError(f"group_size: goes with weights int4, and these are {weights}")
    return cast("Weights", weights)


def _activations(request: ExportRequest, weights: str) -> str:
    """The activations that were asked for, or those that go with such weights.

    Raises:
        ArgumentError: weights of this kind are multiplied by floats alone, or ranges were given,
            and none are measured.
    """
    found = request.activations
    if weights != "int8" and found in ("static", "dynamic"):
        raise ArgumentError(f"activations {found}: go with weights int8, and these are {weights}")
    if found is None:
        found = "none" if weights != "int8" else "dynamic" if request.calib is None else "static"
    if request.ranges is not None and found != "static":
        raise ArgumentError(
            f"ranges {request.ranges}: go with static activations, and these are {found}"
        )
    return found


def _usual(file: TautFile) -> tuple[str, int | None, bool]:
    """The weights, group size and asymmetry of most of the file's matrices."""
    kinds: Counter[tuple[str, int | None, bool]] = Counter()
    for record in file.index.records:
        scheme = recorded_scheme(record.scheme)
        if len(record.shape) >= 2:
            kind = scheme.group_size, scheme.asymmetric
            kinds[(_held_in(scheme), *kind)] += prod(record.shape)
    return kinds.most_common(1)[0][0] if kinds else ("float32", None, False)


def _held_in(scheme: Scheme) -> str:
    """The weights of ONNX that hold a scheme's as they are."""
    if scheme.kind in _NARROW and scheme.group_size is None:
        return "int8"
    return scheme.kind if scheme.kind in ("int8", "int4") else "float32"
