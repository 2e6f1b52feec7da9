"""The integers behind a tensor's values: what a runtime's own grid needs, exact where it can be.

A Taut file gives floats back. Of a tensor that was put on a grid of integers (int8, int4:g64,
ternary, a trained step) the integers and their scale can be had again from the floats alone: the
scale is a common divisor of a group's values. A tensor that was on no such grid is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.transform.grid import grouped
from taut.transform.lowbit import integers


@dataclass(frozen=True)
class Integers:
    """Integers q int32 (rows, columns) of value (q - zero) * scale.

    `scales` float32 and `zeros` int32 have the shape (rows, groups); `zeros` is None where the
    grid is symmetric. `exact` tells whether they give the tensor's values back as they were (to the
    rounding of its dtype, of float32 at most).
    """

    values: NDArray[np.int32]
    scales: NDArray[np.float32]
    zeros: NDArray[np.int32] | None
    group: int | None
    exact: bool

    def floats(self) -> NDArray[np.float32]:
        """What they stand for, shape (rows, columns)."""
        rows, columns = self.values.shape
        q = self.values.reshape(rows, self.scales.shape[1], -1)
        if self.zeros is not None:
            q = q - self.zeros[:, :, None]
        found: NDArray[np.float32] = q.astype(np.float32) * self.scales[:, :, None]
        return found.reshape(rows, columns)


def to_integers(
    values: np.ndarray, bits: int, *, group: int | None = None, asymmetric: bool = False
) -> Integers:
    """Find the integers of a tensor, shape (rows, ...), or round it to some.

    `bits` is 2 to 8; symmetric integers lie in -2^(bits-1) .. 2^(bits-1)-1, asymmetric ones in
    0 .. 2^bits - 1. `group` columns share a scale, by default the whole row.

    Raises:
        ArgumentError: `group` does not divide the columns, or there are no values.

    >>> found = to_integers(np.array([[0.5, -1.5, 2.0]]), 4)
    >>> found.values.tolist(), found.scales.tolist(), found.exact
    ([[1, -3, 4]], [[0.5]], True)
    """
    blocks = grouped(values, group)  # (rows, groups, columns of a group)
    shape = blocks.shape[:2]
    flat = blocks.reshape(-1, blocks.shape[2])
    wanted = _Wanted(bits, group, asymmetric)
    scales = _divisors(flat, bits, _rounding(values.dtype, bits))
    if (scales > 0).all():
        q = np.rint(flat / scales[:, None]).astype(np.int32)
        if values.dtype.itemsize == 2 and not asymmetric:
            q = _within(q, bits)
        if (found := _placed(q, scales, shape, wanted, exact=True)) is not None:
            return found
    grid = integers(np.asarray(values, np.float32), bits, group=group, asymmetric=asymmetric)
    assert grid.scales is not None
    q, scales = grid.matrix.reshape(flat.shape), grid.scales.reshape(-1)
    rounded = _placed(q, scales, shape, wanted, exact=False)
    assert rounded is not None
    return rounded


@dataclass(frozen=True)
class _Wanted:
    """The integers that a runtime holds: their bits, what shares a scale, what they lie around."""

    bits: int
    group: int | None
    asymmetric: bool


def _placed(
    q: NDArray[np.int32],
    scales: NDArray[np.float32],
    shape: tuple[int, int],
    wanted: _Wanted,
    *,
    exact: bool,
) -> Integers | None:
    """Integers of groups (a row each) within what the bits hold; None where they do not fit."""
    half, zeros = 1 << (wanted.bits - 1), None
    if wanted.asymmetric:
        shift = np.clip(-q.min(axis=1), 0, 2 * half - 1).astype(np.int32)
        q, zeros = q + shift[:, None], shift.reshape(shape)
    least = 0 if wanted.asymmetric else -half
    if q.min() < least or q.max() >= least + 2 * half:
        return None
    return Integers(
        values=q.reshape(shape[0], -1),
        scales=scales.reshape(shape),
        zeros=zeros,
        group=wanted.group,
        exact=exact,
    )


def _within(q: NDArray[np.int32], bits: int) -> NDArray[np.int32]:
    """Integers whose largest were moved out of their range by a half's rounding, by one."""
    half = 1 << (bits - 1)
    if q.max() > half or q.min() < -half - 1:
        return q
    return np.clip(q, -half, half - 1)


def _rounding(dtype: np.dtype, bits: int) -> tuple[float, float]:
    """How far from an integer a value over its scale may be: at all, and of that integer.

    float32 rounds values and their scale by so little that one bound does for all; a half rounds
    each value by a part of it, beyond which the large integers of bfloat16 are not told apart.
    """
    if dtype.itemsize != 2:
        return 2 * 2.0**-22 * 2**bits, 1.0
    return 0.5, 2.0**-7 if str(dtype) == "bfloat16" else 2.0**-10


def _divisors(
    flat: NDArray[np.float32], bits: int, rounding: tuple[float, float]
) -> NDArray[np.float32]:
    """The largest scale of each row whose multiples all its values are; 0 where there is none."""
    size = np.abs(flat)
    least = np.where(size > 0, size, np.inf).min(axis=1)
    scales = np.where(np.isfinite(least), 0.0, 1.0).astype(np.float32)  # zeros have any scale
    most = 1 << bits
    for divisor in range(1, most + 1):
        open_ = np.flatnonzero(scales == 0)
        open_ = open_[size[open_].max(axis=1) * divisor <= least[open_] * (most + 0.5)]
        if not open_.size:
            break
        step = (least[open_] / divisor).astype(np.float32)
        if rounding[1] < 1:
            step = _refined(flat[open_], step, most)
        ratio = flat[open_] / step[:, None]
        q = np.rint(ratio)
        found = (np.abs(ratio - q) <= np.minimum(rounding[0], rounding[1] * np.abs(q))).all(axis=1)
        scales[open_[found]] = _best(flat[open_], q, step)[found]
    return scales


def _best(
    flat: NDArray[np.float32], q: NDArray[np.float32], step: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The best scale of all values, not of the least one alone, whose rounding it would carry."""
    power = (q * q).sum(axis=1)
    found: NDArray[np.float32] = (flat * q).sum(axis=1) / np.where(power > 0, power, 1.0)
    return np.where(power > 0, found, step).astype(np.float32)


def _refined(
    flat: NDArray[np.float32], step: NDArray[np.float32], most: int
) -> NDArray[np.float32]:
    """Steps that were told from the least value, told from more of them.

    Its rounding would grow with an integer, so that the small ones come first.
    """
    limit = 4
    while limit < most:
        q = np.rint(flat / step[:, None])
        step = _best(flat, np.where(np.abs(q) <= limit, q, 0), step)
        limit *= 4
    return step
