"""Weights kept in fewer bits than the file has: rounded, where the caller asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final, Literal, TypeAlias

import numpy as np
import torch

from taut.container import TautFile
from taut.io.tensor_info import TensorInfo
from taut.loading.arrays import to_torch

CacheDtype: TypeAlias = Literal["bfloat16", "int8"]
_WIDER: Final = {"bfloat16": ("F32", "F64"), "int8": ("F16", "BF16", "F32", "F64")}
_BLOCK = 1 << 20  # values that are rounded at a time
_LARGEST = 127


@dataclass(frozen=True)
class RoundedRows:
    """Values rounded to bfloat16, or to int8 with a float32 scale for each row; `dtype` is theirs.

    `values` has the shape (rows, row), `scales` (rows, 1).
    """

    values: torch.Tensor
    scales: torch.Tensor | None
    dtype: str

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.values.nbytes + (0 if self.scales is None else self.scales.nbytes)

    def read(self, begin: int, out: np.ndarray) -> None:
        """Put all values into the uint8 array of their bytes; `begin` is 0."""
        self._put(self.values, self.scales, out)

    def read_rows(self, rows: np.ndarray, length: int, out: np.ndarray) -> None:
        """Put rows by int64 numbers into `out`, one behind the other."""
        numbers = torch.from_numpy(rows)
        scales = None if self.scales is None else self.scales[numbers]
        self._put(self.values[numbers], scales, out)

    def _put(self, values: torch.Tensor, scales: torch.Tensor | None, out: np.ndarray) -> None:
        made = to_torch(out.view(_STORED[self.dtype]).reshape(values.shape), self.dtype)
        made.copy_(values)
        if scales is not None:
            made.mul_(scales)


_STORED: Final = {"F16": np.float16, "BF16": np.int16, "F32": np.float32, "F64": np.float64}


class RoundedReader:
    """Rounds one tensor of a file, some rows at a time; `nbytes` is what it comes to."""

    def __init__(self, file: TautFile, info: TensorInfo, dtype: CacheDtype) -> None:
        self._file, self._info, self._dtype = file, info, dtype
        self._rows = info.shape[0]
        self._row = prod(info.shape[1:])
        each = 2 if dtype == "bfloat16" else 1
        self.nbytes = self._rows * (self._row * each + (4 if dtype == "int8" else 0))

    def hold(self) -> RoundedRows:
        """Decode and round it.

        Raises:
            VerifyError, FormatError: the tensor is damaged.
        """
        kind = torch.bfloat16 if self._dtype == "bfloat16" else torch.int8
        values = torch.empty((self._rows, self._row), dtype=kind)
        scales = torch.empty((self._rows, 1)) if kind == torch.int8 else None
        step = max(1, _BLOCK // self._row)
        for first in range(0, self._rows, step):
            last = min(self._rows, first + step)
            some = self._file.span(self._info.name, first * self._row, last * self._row)
            floats = to_torch(some, self._info.dtype).reshape(last - first, self._row)
            if scales is not None:
                found = floats.abs().amax(1, keepdim=True).float() / _LARGEST
                scales[first:last] = found
                floats = (floats / found.where(found > 0, 1)).round()
            values[first:last] = floats.to(kind)
        return RoundedRows(values, scales, self._info.dtype)


def rounded_reader(
    file: TautFile, info: TensorInfo, dtype: CacheDtype | None
) -> RoundedReader | None:
    """What rounds a tensor to `dtype`; None where that is none, or does not make it smaller."""
    if dtype is None or info.dtype not in _WIDER[dtype] or not prod(info.shape):
        return None
    return RoundedReader(file, info, dtype)
