"""A tensor whose bytes are records: blocks of quantised weights, codes packed into bytes."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from taut.coding import RecordLayout
from taut.io.tensor_info import TensorInfo


@dataclass(frozen=True, slots=True)
class RecordsInfo(TensorInfo):
    """A tensor of bytes that the coder may take as records of `layout`, `row_bytes` a row."""

    layout: RecordLayout
    row_bytes: int
    values: int = 0
    """The weights that they stand for; 0 where that is not known."""


def values_of(info: TensorInfo) -> int:
    """How many values a tensor has: of records the weights that they stand for."""
    known = info.values if isinstance(info, RecordsInfo) else 0
    return known or prod(info.shape)
