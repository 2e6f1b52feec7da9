"""Four-bit floats as compressed-tensors lays them out: NVFP4 and MXFP4, two codes in a byte.

Surprise: NVFP4's scales are divided by the global one, so that this is the inverse of the factor of
the grid. The first of two codes is the low half; a negative zero is written as zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.exporting.compressed_tensors.packed import quantization_config
from taut.io import TensorInfo, tensor_nbytes
from taut.io.quantized import from_four_bits
from taut.transform.float4 import GROUPS, LOW, Codes, codes_of, float4, shared_exponent
from taut.transform.grid import Grid, as_matrix

_SCALES: Final = {"nvfp4": "F8_E4M3", "mxfp4": "U8"}
_TYPES: Final = {"nvfp4": "torch.float8_e4m3fn", "mxfp4": "torch.uint8"}
_BIAS: Final = 127  # of exponents in E8M0


@dataclass(frozen=True)
class FloatGrid:
    """Four-bit floats, "nvfp4" or "mxfp4"; the other names are those of `PackedGrid`."""

    kind: str
    bits: int = 4
    asymmetric: bool = False
    dynamic: bool = False

    @property
    def group(self) -> int:
        """Columns that share a scale."""
        return GROUPS[self.kind]

    @property
    def format(self) -> str:
        """What compressed-tensors calls the layout."""
        return f"{self.kind}-pack-quantized"

    @property
    def told(self) -> str:
        """What weights are, in words."""
        return f"{self.kind.upper()}, a scale a group of {self.group}"

    def config(self, ignored: Sequence[str]) -> dict[str, object]:
        """The `quantization_config` of a folder's config."""
        weights = {
            "num_bits": 4,
            "type": "float",
            "symmetric": True,
            "strategy": "tensor_group" if self.kind == "nvfp4" else "group",
            "group_size": self.group,
            "dynamic": False,
            "scale_dtype": _TYPES[self.kind],
            "zp_dtype": _TYPES[self.kind],
        }
        return quantization_config(self.format, weights, None, ignored)

    def infos(self, info: TensorInfo) -> dict[str, TensorInfo]:
        """The tensors that a weight becomes, by what comes after the layer's name."""
        rows, columns = info.shape
        shapes: dict[str, tuple[str, tuple[int, ...]]] = {
            "weight_packed": ("U8", (rows, columns // 2)),
            "weight_scale": (_SCALES[self.kind], (rows, columns // self.group)),
        }
        if self.kind == "nvfp4":
            shapes["weight_global_scale"] = ("F32", (1,))
        stem = info.name.removesuffix("weight")
        return {
            part: TensorInfo(stem + part, dtype, shape, tensor_nbytes(dtype, shape))
            for part, (dtype, shape) in shapes.items()
        }

    def own_codes(self, values: np.ndarray) -> Codes | None:
        """The codes that give a matrix's very values; None if none do."""
        return codes_of(as_matrix(values), self.kind)

    def rounded(self, values: np.ndarray) -> Codes:
        """The codes nearest to a matrix.

        Raises:
            ArgumentError: values are outside of what the scales hold.
        """
        return codes_in(float4(values, self.kind), self.kind)

    def parts(self, codes: Codes) -> dict[str, np.ndarray]:
        """What is written of a matrix."""
        halves = np.where(codes.indices < 0, 8 - codes.indices, codes.indices).astype(np.uint8)
        found = {"weight_packed": halves[:, 0::2] | halves[:, 1::2] << 4}
        if self.kind == "nvfp4":
            found["weight_scale"] = codes.scales
            found["weight_global_scale"] = np.array([2.0**-codes.exponent], np.float32)
        else:
            _, exponents = np.frexp(codes.scales)
            found["weight_scale"] = (exponents - 1 + _BIAS).astype(np.uint8)
        return found

    def floats(self, info: TensorInfo, held: Callable[[str], np.ndarray]) -> NDArray[np.float32]:
        """The weight that what was read back stands for, in float32."""
        stem = info.name.removesuffix("weight")
        whole = held(f"{stem}weight_global_scale") if self.kind == "nvfp4" else None
        return from_four_bits(held(f"{stem}weight_packed"), held(f"{stem}weight_scale"), whole)


def codes_in(grid: Grid, kind: str) -> Codes:
    """The codes of a grid of four-bit floats.

    Raises:
        ArgumentError: the scales are further apart than float8_e4m3fn holds.
    """
    import ml_dtypes

    assert grid.scales is not None and grid.low == LOW
    if kind == "mxfp4":
        return Codes(grid.matrix, grid.scales)
    exponent = shared_exponent(grid.scales)
    stored = np.ldexp(grid.scales, -exponent).astype(ml_dtypes.float8_e4m3fn)
    if not np.array_equal(np.ldexp(stored.astype(np.float32), exponent), grid.scales):
        raise ArgumentError("nvfp4: scales are not of float8_e4m3fn")
    return Codes(grid.matrix, stored, exponent)
