"""In what form a graph is written: the numbers of its weights and activations, ONNX's version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from taut.errors import ArgumentError
from taut.exporting.onnx.ranges import RANGES

Weights = Literal["float32", "float16", "int8", "int4"]
Activations = Literal["none", "dynamic", "static"]
Ranges = Literal["minmax", "percentile", "mse", "entropy"]

_GROUPS: Final = (16, 32, 64, 128, 256)


@dataclass(frozen=True)
class OnnxForm:
    """The numbers that a graph is written in.

    `weights` are stored as float32, float16, int8 (a scale a row; the tensor's own integers where
    it is on such a grid) or int4 (`group_size` values of a row share a scale; `asymmetric` ones
    have zero points). `activations` concern int8 weights: "static" rounds them by the `ranges` that
    calibration shows, "dynamic" by their range at run time, "none" leaves them float. `opset` is
    ONNX's version of a graph that is traced, by default what PyTorch's exporter takes.

    Raises:
        ArgumentError: one of them is unknown.
    """

    weights: Weights = "int8"
    group_size: int = 32
    asymmetric: bool = False
    activations: Activations = "static"
    ranges: Ranges = "mse"
    opset: int | None = None

    def __post_init__(self) -> None:
        for name, given, known in (
            ("weights", self.weights, get_args(Weights)),
            ("activations", self.activations, get_args(Activations)),
            ("ranges", self.ranges, RANGES),
        ):
            if given not in known:
                raise ArgumentError(f'{name}: "{given}" is none of {", ".join(known)}')
        if self.weights == "int4" and self.group_size not in _GROUPS:
            raise ArgumentError(
                f"group_size: {self.group_size} is none of {', '.join(map(str, _GROUPS))}, which "
                "MatMulNBits takes"
            )

    @property
    def calibrated(self) -> bool:
        """Whether data are needed, for the ranges of activations."""
        return self.weights == "int8" and self.activations == "static"


@dataclass(frozen=True)
class Placed:
    """What became of a graph's constants: how many hold their very values, and how many do not."""

    exact: int
    rounded: int
    notes: tuple[str, ...] = ()


def count_floats(constants: Mapping[str, np.ndarray]) -> int:
    """How many constants are float32 tensors, and no single numbers."""
    return sum(values.dtype == np.float32 and values.ndim > 0 for values in constants.values())
