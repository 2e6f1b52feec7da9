"""In what form a graph is written: the numbers of its weights and activations, ONNX's version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.onnx.ranges import RANGES

Weights = Literal["float32", "float16", "int8", "int4"]
Activations = Literal["none", "dynamic", "static"]
Ranges = Literal["minmax", "percentile", "mse", "entropy"]

USUAL_ERROR: Final = 0.1  # of an output's range
_GROUPS: Final = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class OnnxForm:
    """The numbers that a graph is written in.

    `weights` are stored as float32, float16, int8 (a scale a row; the tensor's own integers where
    it is on such a grid) or int4 (`group_size` values of a row share a scale; `asymmetric` ones
    have zero points). `activations` concern int8 weights: "static" rounds them by the `ranges` that
    calibration shows, "dynamic" by their range at run time, "none" leaves them float. `opset` is
    ONNX's version of a graph that is traced, by default what PyTorch's exporter takes.

    `max_error` bounds the largest error of an output's value, as a part of the output's range:
    where it is passed, other ranges are tried, and then the worst layers stay float. By default it
    is `USUAL_ERROR` of static activations, and there is none of other forms.

    Raises:
        ArgumentError: one of them is unknown, or the bound is none.
    """

    weights: Weights = "int8"
    group_size: int = 32
    asymmetric: bool = False
    activations: Activations = "static"
    ranges: Ranges = "mse"
    opset: int | None = None
    max_error: float | None = None

    def __post_init__(self) -> None:
        for name, given, known in (
            ("weights", self.weights, get_args(Weights)),
            ("activations", self.activations, get_args(Activations)),
            ("ranges", self.ranges, RANGES),
        ):
            if given not in known:
                raise ArgumentError(f'{name}: "{given}" is none of {", ".join(known)}')
        if self.max_error is not None and not 0 < self.max_error < float("inf"):
            raise ArgumentError(
                f"max_error: {self.max_error} is no bound; give a part of the range, as .05"
            )
        if self.weights == "int4" and self.group_size not in _GROUPS:
            raise ArgumentError(
                f"group_size: {self.group_size} is none of {', '.join(map(str, _GROUPS))}, which "
                "MatMulNBits takes"
            )

    @property
    def calibrated(self) -> bool:
        """Whether data are needed, for the ranges of activations."""
        return self.weights == "int8" and self.activations == "static"

    @property
    def bound(self) -> float | None:
        """The largest error of an output's value that is let pass, as a part of its range."""
        return USUAL_ERROR if self.max_error is None and self.calibrated else self.max_error


@dataclass(frozen=True)
class Placed:
    """What became of a graph's constants: how many hold their very values, and how many do not.

    `held` are those that are stored in the form's numbers, in the graph's order, and how many
    values each has.
    """

    exact: int
    rounded: int
    notes: tuple[str, ...] = ()
    held: Mapping[str, int] = field(default_factory=dict)


def count_floats(constants: Mapping[str, np.ndarray]) -> int:
    """How many constants are tensors of floats, and no single numbers."""
    kinds = ("float32", "float16", "bfloat16")
    return sum(str(values.dtype) in kinds and values.ndim > 0 for values in constants.values())
