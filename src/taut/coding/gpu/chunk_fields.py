"""Where the parts of a chunk lie, read from its first bytes; what a GPU is not given is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from taut.coding.coder import Buffer

LANES = (128, 64, 4)  # by coder: fast, dense, small
UNIT = (1, 2, 2)  # bytes of a unit

Rows: TypeAlias = NDArray[np.int64]


class NotForGpuError(Exception):
    """Something that the CPU decodes, or finds wrong."""


@dataclass(frozen=True)
class ChunkFields:
    """Bytes of a chunk at which its parts begin, and how long they are."""

    raw: int
    raw_nbytes: int
    units: int
    units_nbytes: int
    tail: bytes
    escapes: int  # of a matrix; others do not say
    exceptions: int
    exceptions_nbytes: int
    states: int


def chunk_fields(
    chunk: Buffer, coder: int, values: int, entry: int, *, matrix: bool
) -> ChunkFields:
    """Where the parts of a chunk of so many values lie, whose exceptions have `entry` bytes each.

    Raises:
        NotForGpuError: they do not fit the chunk.
    """
    data = memoryview(chunk).cast("B")
    units, at = _varint(data, 0)
    tail, at = _varint(data, at)
    exceptions, at = _varint(data, at)
    escapes = 0
    if matrix and tail:
        escapes, at = _varint(data, at)
    states = LANES[coder] * 2 * UNIT[coder]
    raw = len(data) - at - units - tail - exceptions - states
    if raw < 0 or units % UNIT[coder] or units > values * UNIT[coder]:
        raise NotForGpuError
    if exceptions % entry or exceptions > values * entry:
        raise NotForGpuError
    if matrix:
        _check_matrix(raw, tail, escapes, values)
    behind = at + raw + units
    return ChunkFields(
        at,
        raw,
        at + raw,
        units,
        bytes(data[behind : behind + tail]),
        escapes,
        behind + tail,
        exceptions,
        behind + tail + exceptions,
    )


def chunk_rows(length: int, at: Sequence[int], fields: Sequence[ChunkFields], entry: int) -> Rows:
    """The numbers of chunks that begin `at` those bytes, a row each, as far as they say them."""
    rows = np.zeros((len(fields), length), np.int64)
    for row, begin, one in zip(rows, at, fields, strict=True):
        row[:3] = begin + one.units, one.units_nbytes, begin + one.states
        row[12:14] = begin + one.exceptions, one.exceptions_nbytes // entry
    return rows


def _check_matrix(raw: int, tail: int, escapes: int, values: int) -> None:
    if raw or escapes > values or bool(tail) != bool(escapes):
        raise NotForGpuError


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 63, 7):
        if at >= len(data):
            raise NotForGpuError
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise NotForGpuError
