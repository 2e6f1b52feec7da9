"""Adaptive arrays as docs/coding.md describes them: their header and values.

The fourth part of the reference decoder: `_reference.py` reads what all arrays have, and
`_reference_rows.py` the rows of indices.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding._reference_range import Range
from taut.coding._reference_rows import Model, Rows, to_int32
from taut.coding._reference_symbols import OUTPUTS, Bytes, demand

_LEVELS, _SCALES, _ZEROS, _KERNELS, _GROUPS, _HALVES = (4 << i for i in range(6))

# --- header -----------------------------------------------------------------------------------


@dataclass
class Adaptive:
    """What an adaptive array's header says beyond its shape."""

    model: Model
    columns: int
    group: int
    output: np.dtype
    step: float = 1.0
    low: int = 0
    levels: NDArray[np.float32] | None = None
    scales: NDArray[np.float32] | None = None  # by row and group
    zeros: NDArray[np.int64] | None = None


def read_adaptive(b: Bytes, rows: int, columns: int, width: int) -> Adaptive:
    """The rest of the header of an adaptive array whose values have `width` bytes."""
    form, options, prior, largest = b.take(4)
    demand(columns <= 1 << 20, "rows are too long")
    demand(OUTPUTS[form & 3].itemsize == width, "output type and width disagree")
    demand(largest < 64, "unknown options")
    period, group = _sizes(b, form, columns)
    model = Model(options, prior, largest & 31, largest > 31, period)
    a = Adaptive(model, columns, group, OUTPUTS[form & 3])
    half = bool(form & _HALVES)
    if not form & (_LEVELS | _SCALES):
        demand(not half, "no number is a half")
        [a.step] = struct.unpack("<f", b.take(4))
        demand(math.isfinite(a.step), "step is not finite")
    if form & _LEVELS:
        a.low, a.levels = _levels(b, half)
    demand(not form & _ZEROS or form & (_SCALES | _LEVELS) == _SCALES, "zeros without scales")
    groups = -(-columns // group)
    if form & _SCALES:
        a.scales = _floats(b, rows, groups, half)
    if form & _ZEROS:
        a.zeros = _numbers(b, rows, groups, 32)
    return a


def _sizes(b: Bytes, form: int, columns: int) -> tuple[int, int]:
    """How many columns make a kernel, and how many share a scale."""
    period, group = 1, columns
    if form & _KERNELS:
        period = b.varint()
        demand(period > 1 and columns % period == 0, "broken kernels")
    if form & _GROUPS:
        group = b.varint()
        demand(bool(form & _SCALES) and 0 < group < columns, "groups out of range")
    return period, group


def _levels(b: Bytes, half: bool) -> tuple[int, NDArray[np.float32]]:
    """The index of the first level, and the levels."""
    low, count = b.varint(), b.varint()
    demand(low < 1 << 32, "a number of more than 32 bits")
    first = _unfold(low)
    demand(1 <= count <= 65536 and first + count <= 1 << 31, "too many levels")
    return first, _floats(b, count, 1, half)[:, 0]


def _unfold(z: int) -> int:
    return z >> 1 ^ -(z & 1)


def _numbers(b: Bytes, rows: int, columns: int, bits: int) -> NDArray[np.int64]:
    how = b.u8()
    demand(how < 32 or how == 128, "unknown kind of numbers")
    if how == 128:
        raw = b.take(rows * columns * bits // 8)
        return np.frombuffer(raw, f"<i{bits // 8}").astype(np.int64).reshape(rows, columns)
    model, middle = Model(0, b.u8(), how), b.varint()
    demand(middle < 1 << 32, "a number of more than 32 bits")
    coder = Range(b.take(b.varint()))
    coded = Rows(coder, model, columns)
    numbers = [[to_int32(n + _unfold(middle)) for n in coded.row(columns)] for _ in range(rows)]
    coder.check()
    found = np.array(numbers, np.int64)
    demand(bool((abs(found * 2 + 1) < 1 << bits).all()), "a number of too many bits")
    return found


def _floats(b: Bytes, rows: int, columns: int, half: bool) -> NDArray[np.float32]:
    patterns = _numbers(b, rows, columns, 16 if half else 32)
    bits = patterns.astype(np.int16 if half else np.int32)
    values = bits.view(np.float16 if half else np.float32).astype(np.float32)
    demand(bool(np.isfinite(values).all()), "a number that is not finite")
    return values


# --- values -----------------------------------------------------------------------------------


def decode_adaptive_chunk(a: Adaptive, first: int, rows: int, chunk: bytes) -> bytes:
    """Bytes of rows `first` to `first + rows`."""
    coder = Range(chunk)
    coded = Rows(coder, a.model, a.columns)
    q = [coded.row(a.columns) for _ in range(rows)]
    coder.check()
    with np.errstate(all="ignore"):
        return _values(a, first, q).astype(a.output).tobytes()


def _values(a: Adaptive, first: int, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    q = np.array(rows, np.int64)
    here = slice(first, first + len(q))
    group_of = np.arange(a.columns) // a.group
    if a.levels is not None:
        at = q - a.low
        demand(bool(((at >= 0) & (at < len(a.levels))).all()), "an index without a level")
        level = a.levels[at]
    else:
        zeros = 0 if a.zeros is None else a.zeros[here][:, group_of]
        level = (q - zeros).astype(np.float32)
    scale = np.float32(a.step) if a.levels is None else np.float32(1)
    values: NDArray[np.float32] = level * (
        scale if a.scales is None else a.scales[here][:, group_of]
    )
    return values
