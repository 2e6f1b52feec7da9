"""Adaptive arrays as docs/coding.md describes them: the model of their rows, header, values.

The fourth part of the reference decoder: `_reference.py` reads what all arrays have.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding._reference_range import ModelWeight, Range
from taut.coding._reference_symbols import OUTPUTS, Bytes, demand

_LEVELS, _SCALES, _ZEROS, _KERNELS, _GROUPS, _HALVES = (4 << i for i in range(6))
_LINE = (0, 1 << 24, 1 << 26, 1 << 28)
_NEAR = (0, 1 << 22, 1 << 24, 1 << 26)


@dataclass(frozen=True)
class Model:
    """How the model of an array begins."""

    options: int
    prior: int
    largest: int
    signs: bool = False
    period: int = 1


def _weights(count: int, variance: int, mean: int = 0) -> list[ModelWeight]:
    return [ModelWeight(mean, variance) for _ in range(count)]


class Rows:
    """Decodes the rows of a chunk one after the other."""

    def __init__(self, coder: Range, model: Model, columns: int) -> None:
        self.coder, self.model = coder, model
        line, near = _LINE[model.options >> 4 & 3], _NEAR[model.options >> 6]
        [self.bias] = _weights(1, 1 << 29, ((model.prior & 15) - 10) * (3 << 22))
        self.steps = _weights(32, 1 << 29, ((model.prior >> 4) - 11) * (3 << 22))
        self.near, self.around = _weights(27, near), _weights(320, near)
        self.step_near, self.step_scale = _weights(48, near), _weights(32, 1 << 24)
        self.tree = [_weights(8, 1 << 28) for _ in range(32)]
        self.sign_near = _weights(9, 1 << 24)
        self.column, self.step_column = _weights(columns, line), _weights(columns, line)
        self.sign_column = _weights(columns, 1 << 24)
        self.span = model.period if model.period > 1 else 8
        self.positions = model.period if model.period <= 64 else 1
        self.block = _weights(-(-columns // self.span), near)
        self.flags = _weights(8, 1 << 29)
        self.live, self.dead_before = list(range(columns)), 0
        if model.options & 2:
            self.live = self._live_columns(columns)
        self.above = [0] * (len(self.live) + 1)

    def _live_columns(self, columns: int) -> list[int]:
        before, live = 0, []
        for c in range(columns):
            dead, _ = self.coder.decide(self.flags[before])
            before = (before << 1 | dead) & 3
            live += [] if dead else [c]
        return live

    def row(self, columns: int) -> list[int]:
        q = [0] * columns
        if self.model.options & 1:
            dead, _ = self.coder.decide(self.flags[4 + self.dead_before])
            self.dead_before = (self.dead_before << 1 | dead) & 3
            if dead:
                return q
        line = _LINE[self.model.options >> 2 & 3]
        [of_row, of_steps], [of_signs] = _weights(2, line), _weights(1, 1 << 24)
        left = left2 = corner = history = inside = before = 0
        for i, c in enumerate(self.live):
            up, following = self.above[i], self.above[i + 1]
            inside = inside if c // self.span == before else 0
            before = c // self.span
            near = self.near[min(abs(left), 2) * 9 + min(abs(left2), 2) * 3 + min(abs(up), 2)]
            if self.model.period > 1:
                around = c % self.positions * 5 + min(inside, 4)
            else:
                around = min(history.bit_count(), 7) * 3 + (corner != 0) + (following != 0)
            block, logit, some = self.block[c // self.span], 0, 1
            if not (self.model.options & 1 and i + 1 == len(self.live) and not any(q)):
                some, logit = self.coder.decide(
                    self.bias, of_row, self.column[c], block, near, self.around[around]
                )
            if some:
                q[c] = self._nonzero(c, logit, left, up, of_steps, of_signs)
            history, inside = (history << 1 | some) & 0xFFFF, inside + some
            left2, left, corner = left, min(max(q[c], -3), 3), up
            self.above[i] = left
        return q

    def _nonzero(
        self, c: int, logit: int, left: int, up: int, of_row: ModelWeight, of_signs: ModelWeight
    ) -> int:
        scale, near = min(max((logit >> 23) + 8, 0), 15), min(abs(left), 3) * 4 + min(abs(up), 3)
        e = 0
        while e < self.model.largest:
            step_near = self.step_near[min(e, 2) * 16 + near]
            step_scale = self.step_scale[scale * 2 + min(e, 1)]
            features = self.steps[e], of_row, self.step_column[c], step_scale, step_near
            if not self.coder.decide(*features)[0]:
                break
            e += 1
        magnitude = 1
        for k in range(e):
            leaf = (1 << k) - 1 + magnitude - (1 << k)
            bit = self.coder.decide(self.tree[e][leaf])[0] if k < 3 else self.coder.bit(32768)
            magnitude = magnitude << 1 | bit
        if self.model.signs:
            sides = self.sign_near[(_sign(left) + 1) * 3 + _sign(up) + 1]
            negative, _ = self.coder.decide(sides, self.sign_column[c], of_signs)
        else:
            negative = self.coder.bit(32768)
        return _int32(-magnitude if negative else magnitude)


def _sign(q: int) -> int:
    return (q > 0) - (q < 0)


def _int32(value: int) -> int:
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


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
    numbers = [[_int32(n + _unfold(middle)) for n in coded.row(columns)] for _ in range(rows)]
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
