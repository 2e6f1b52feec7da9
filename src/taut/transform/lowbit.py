"""Grids that runtimes execute: ternary, binary, integers, 8-bit floats; a scale for each group.

Every function takes weights of any shape (rows are the first axis), fits a scale to each row, or to
each `group` of columns, and gives a `Grid`. Zeros of `mask` (True: kept) stay exact zeros and have
no say in the fit; `importance`, of the weights' shape, weighs squared errors. With a `fraction`
scales are powers of 2^(1 / 2^fraction): a byte each in the file, where exact ones take four.

Sources: ternary weights (Li et al. 2016), XNOR-Net (Rastegari et al. 2016), ranges by least squared
error (ACIQ, Banner et al. 2019; OCTAV, Sakr et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.transform.grid import Grid, grouped

Floats = NDArray[np.float32]

_BLOCK = 1 << 20  # values that are fitted at a time
_RANGES = (24, 6)  # tried up to 4 bits, and beyond, each 2^(1/16) below the one before
_OCTAVE = 16
_LARGEST_FP8 = 448.0  # in float8_e4m3fn
_CODES_FP8 = 127  # of them without sign, the last is NaN


def ternary(
    weights: np.ndarray,
    *,
    group: int | None = None,
    mask: np.ndarray | None = None,
    importance: np.ndarray | None = None,
    fraction: int | None = None,
) -> Grid:
    """-a, 0 or a, with threshold and scale of least squared error: exactly, by sorting.

    For scale a the best support is |w| > a / 2, so it is the k largest for some k; over those the
    best scale is their mean, and k is where the error falls by most: S_k^2 / k, S_k their sum.

    >>> grid = ternary(np.array([[0.1, -2.0, 2.2, 0.0]]))
    >>> grid.indices.tolist(), grid.scales.tolist()
    ([[0, -1, 1, 0]], [[2.0999999046325684]])
    """
    parts = grouped(_kept(weights, mask), group)
    weighing = None if importance is None else grouped(importance, group)
    scales = np.empty(parts.shape[:2], np.float32)
    indices = np.empty(parts.shape, np.int32)
    for at in _blocks(parts):
        sizes = np.abs(parts[at])
        order = np.argsort(-sizes, axis=2, kind="stable")
        ranked = np.take_along_axis(sizes, order, 2).astype(np.float64)
        h = np.ones_like(ranked)
        if weighing is not None:
            h = np.take_along_axis(weighing[at], order, 2).astype(np.float64)
        sums, counts = np.cumsum(h * ranked, axis=2), np.cumsum(h, axis=2)
        fall = sums * sums / np.where(counts > 0, counts, 1.0)
        best = np.argmax(fall, axis=2)[..., None]
        scale = np.take_along_axis(sums, best, 2) / np.maximum(
            np.take_along_axis(counts, best, 2), 1e-300
        )
        least = np.take_along_axis(ranked, best, 2)
        scales[at] = _grained(scale[..., 0], fraction)
        indices[at] = np.where((sizes >= least) & (sizes > 0), np.sign(parts[at]), 0)
    return _scaled(weights, indices, scales, group)


def binary(
    weights: np.ndarray,
    *,
    group: int | None = None,
    mask: np.ndarray | None = None,
    importance: np.ndarray | None = None,
    fraction: int | None = None,
) -> Grid:
    """-a or a, with a the mean of |w|: the least squared error (XNOR-Net, section 3.1).

    A zero counts as positive, unless `mask` has taken it.
    """
    parts = grouped(_kept(weights, mask), group)
    live = np.ones(weights.shape, np.bool_) if mask is None else np.asarray(mask, np.bool_)
    h = grouped(live if importance is None else live * importance, group).astype(np.float64)
    mass = h.sum(axis=2)
    scales = np.sum(h * np.abs(parts), axis=2) / np.where(mass > 0, mass, 1.0)
    signs = np.where(parts < 0, -1, 1).astype(np.int32) * grouped(live, group).astype(np.int32)
    return _scaled(weights, signs, _grained(scales, fraction), group)


def integers(
    weights: np.ndarray,
    bits: int,
    *,
    group: int | None = None,
    asymmetric: bool = False,
    mask: np.ndarray | None = None,
    importance: np.ndarray | None = None,
    clip: bool = True,
    fraction: int | None = None,
) -> Grid:
    """Two's complement of 2 to 8 bits, scales of least squared error; of 8 bits without -128.

    With `clip` ranges from the whole one down to about a third are tried; without, nothing is cut
    off. Asymmetric grids run from a zero point z to z + 2^bits - 1, always across zero; their
    indices are counted from z too: a runtime's are `q - z`, any z that fits the group will do.

    >>> integers(np.array([[7.0, 3.4, 0.2]]), 4, clip=False).values(np.dtype("f4")).tolist()
    [[7.0, 3.0, 0.0]]
    """
    if not 2 <= bits <= 8:
        raise ArgumentError(f"integers: {bits} bits; give 2 to 8")
    parts = grouped(_kept(weights, mask), group)
    weighing = None if importance is None else grouped(importance, group)
    scales = np.empty(parts.shape[:2], np.float32)
    indices = np.empty(parts.shape, np.int32)
    for at in _blocks(parts):
        h = None if weighing is None else weighing[at]
        scales[at], indices[at] = _best_range(parts[at], bits, asymmetric, h, clip, fraction)
    return _scaled(weights, indices, scales, group)


def fp8(weights: np.ndarray, *, group: int | None = None, mask: np.ndarray | None = None) -> Grid:
    """float8_e4m3fn times a power of two that puts the largest of a group just below 448.

    Powers of two cost no accuracy, as the numbers are floats; what they stand for has four bits of
    mantissa, so that it is exact in any wider float. Indices are codes with their signs.

    >>> fp8(np.array([[1.0, -0.3]])).values(np.dtype("f4")).tolist()
    [[1.0, -0.3125]]
    """
    parts = grouped(_kept(weights, mask), group)
    largest = np.abs(parts).max(axis=2, initial=0)
    _, exponents = np.frexp(largest / np.float32(_LARGEST_FP8))
    scales = np.where(largest > 0, np.ldexp(np.float32(1), np.clip(exponents, -120, 120)), 1)
    scales = scales.astype(np.float32)
    eighths = (parts / scales[..., None]).astype(ml_dtypes.float8_e4m3fn)
    codes = eighths.view(np.uint8).astype(np.int32)
    signed = np.where(codes & 0x80, -(codes & 0x7F), codes)
    low, high = int(signed.min(initial=0)), int(signed.max(initial=0))
    levels = fp8_levels(low, high)
    return Grid(signed.reshape(weights.shape), levels=levels, low=low, scales=scales, group=group)


def fp8_levels(low: int, high: int) -> Floats:
    """What codes from `low` to `high`, with their signs, stand for.

    >>> fp8_levels(-1, 1).tolist() == [-(2.0**-9), 0.0, 2.0**-9]
    True
    """
    half = np.arange(_CODES_FP8, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    found: Floats = np.concatenate([-half[:0:-1], half])[_CODES_FP8 - 1 + low : _CODES_FP8 + high]
    return found


def one_step(blocks: Callable[[], Iterable[np.ndarray]], bits: int) -> float:
    """One scale for all values, of least squared error; they come in blocks, flat, pass after pass.

    Other blocks may give another one of two that are as good.

    >>> one_step(lambda: [np.array([7.0, 3.4]), np.array([0.2])], 4)
    1.0
    """
    half, top = -lowest(bits), 2 ** (bits - 1) - 1
    least, most = 0.0, 0.0
    for block in blocks():
        least, most = min(least, float(block.min())), max(most, float(block.max()))
    whole = _grained(np.array([max(most / top, -least / half)]), None, up=True).astype(np.float64)
    tried = [_grained(whole * 2.0 ** (-n / _OCTAVE), None) for n in range(_RANGES[bits > 4])]
    errors = np.zeros(len(tried))
    for block in blocks():
        parts = np.asarray(block, np.float32).reshape(-1)
        for number, trial in enumerate(tried):
            missed = parts - at_step(parts, float(trial[0]), bits).astype(np.float32) * trial
            errors[number] += np.square(missed, dtype=np.float32).sum(dtype=np.float64)
    return float(tried[int(np.argmin(errors))][0])


def at_step(values: np.ndarray, step: float, bits: int) -> NDArray[np.int32]:
    """The nearest integers of so many bits, each standing for as many steps."""
    steps = np.rint(np.asarray(values, np.float32) / np.float32(step))
    found: NDArray[np.int32] = np.clip(steps, lowest(bits), 2 ** (bits - 1) - 1).astype(np.int32)
    return found


def lowest(bits: int) -> int:
    """The lowest symmetric integer: two's complement's, but of 8 bits -127.

    One step of 256 is not missed, and runtimes whose int8 is symmetric take the others as they are.

    >>> lowest(4), lowest(8)
    (-8, -127)
    """
    return (bits == 8) - (1 << (bits - 1))


def _best_range(
    parts: Floats,
    bits: int,
    asymmetric: bool,
    h: Floats | None,
    clip: bool,
    fraction: int | None,
) -> tuple[Floats, NDArray[np.int32]]:
    """Scales (rows, groups) and indices; the first try covers every value."""
    full, half = 2**bits - 1, -lowest(bits)
    top = 2 ** (bits - 1) - 1
    least = np.minimum(parts.min(axis=2), 0).astype(np.float64)
    most = np.maximum(parts.max(axis=2), 0).astype(np.float64)
    whole = (most - least) / full if asymmetric else np.maximum(most / top, -least / half)
    whole = _grained(whole, fraction, up=True).astype(np.float64)
    best_error = np.full(whole.shape, np.inf)
    scales = np.ones(whole.shape, np.float32)
    indices = np.zeros(parts.shape, np.int32)
    for number in range(_RANGES[bits > 4] if clip else 1):
        shrink = 2.0 ** (-number / _OCTAVE)
        trial = _grained(whole * shrink, fraction)
        low = np.full(whole.shape, -half)
        if asymmetric:  # the zero point is an index, so that zero stays zero
            low = np.clip(np.rint(least * shrink / trial), -full, 0)
        high = low + full if asymmetric else np.full(whole.shape, top)
        q = np.clip(np.rint(parts / trial[..., None]), low[..., None], high[..., None])
        missed = np.square(parts - q.astype(np.float32) * trial[..., None], dtype=np.float32)
        weighed = missed if h is None else missed * h
        error: NDArray[np.float64] = np.asarray(weighed.sum(axis=2, dtype=np.float64))
        better = error < best_error
        best_error[better], scales[better] = error[better], trial[better]
        indices[better] = q[better]
    return scales, indices


def _kept(weights: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """The weights, zero where the mask is not True."""
    values = np.asarray(weights, np.float32)
    return values if mask is None else np.where(mask, values, np.float32(0))


def _scaled(
    weights: np.ndarray, indices: NDArray[np.int32], scales: Floats, group: int | None
) -> Grid:
    return Grid(indices.reshape(weights.shape), scales=scales, group=group)


def _grained(scales: NDArray[np.floating], fraction: int | None, *, up: bool = False) -> Floats:
    """Scales as float32, or as the nearest power (`up`: from above); where they are 0 it is 1."""
    live: NDArray[np.float64] = np.where(scales > 0, scales, 1.0).astype(np.float64)
    if fraction is None:
        single = live.astype(np.float32)
        return np.where(single > 0, single, np.float32(1))  # below what float32 has it is 0
    number = np.log2(live) * 2**fraction
    sixteenths = (np.ceil(number - 1e-9) if up else np.rint(number)).astype(np.int32) * (
        16 >> fraction
    )
    mantissa = (2.0 ** (np.arange(16) / 16)).astype(np.float32)
    found: Floats = np.ldexp(mantissa[sixteenths & 15], sixteenths >> 4)
    return found


def _blocks(parts: Floats) -> list[slice]:
    """Runs of rows that hold about as many values as are fitted at a time."""
    rows, each = parts.shape[0], max(1, parts.shape[1] * parts.shape[2])
    count = max(1, _BLOCK // each)
    return [slice(begin, begin + count) for begin in range(0, rows, count)]
