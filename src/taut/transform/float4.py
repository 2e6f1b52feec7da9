"""Grids of four-bit floats (E2M1) with a scale for each group: NVFP4 and MXFP4.

Sources: OCP Microscaling Formats 1.0 (MXFP4: 32 columns, scales are powers of two); NVFP4 has 16
columns, scales in float8_e4m3fn and one factor for the tensor. Surprise: the factor here is a power
of two, which costs nothing, as scales are floats; products then have six bits of mantissa at most,
so that they are exact in bfloat16 and float16, and the codes can be told from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from taut.transform.grid import Grid, grouped

Floats = NDArray[np.float32]

GROUPS: Final = {"nvfp4": 16, "mxfp4": 32}
"""Columns that share a scale."""
_HALF: Final = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32)
LEVELS: Final = np.concatenate([-_HALF[:0:-1], _HALF]).astype(np.float32)
"""What the indices -7 .. 7 stand for, in order."""
LOW: Final = -7

_TOP: Final = 6.0
_LARGEST_SCALE: Final = 448.0  # in float8_e4m3fn
_RANGES: Final = 8  # scales that are tried below the one that covers all, an eighth octave apart
_BLOCK: Final = 1 << 19  # values that are fitted at a time
_LEAST: Final = -126  # exponents of MXFP4's scales
_MOST: Final = 126


@dataclass(frozen=True)
class Codes:
    """A matrix in four-bit floats: indices (rows, columns) of `LEVELS`, and scales (rows, groups).

    The scales are `scales` x 2^`exponent`, with `scales` in float8_e4m3fn; MXFP4's have no
    exponent, and are powers of two in float32.
    """

    indices: NDArray[np.int32]
    scales: np.ndarray
    exponent: int = 0


def float4(
    weights: np.ndarray, kind: str, *, mask: np.ndarray | None = None, largest: float | None = None
) -> Grid:
    """Round weights, rows being the first axis, to "nvfp4" or "mxfp4", by least squared error.

    Where they are some rows of a tensor `largest` is the largest magnitude of all of it.

    >>> grid = float4(np.array([[6.0, -0.4] + [0.0] * 30]), "mxfp4")
    >>> grid.values(np.dtype("f4"))[0, :2].tolist(), grid.scales.tolist()
    ([6.0, -0.5], [[1.0]])

    Raises:
        ArgumentError: a group does not divide the columns.
    """
    values = np.asarray(weights, np.float32)
    if mask is not None:
        values = np.where(mask, values, np.float32(0))
    group = GROUPS[kind]
    parts = grouped(values, group)
    tops = np.abs(parts).max(axis=2)
    trials = _powers(tops) if kind == "mxfp4" else _eighths(tops, largest)
    scales = np.empty(parts.shape[:2], np.float32)
    indices = np.empty(parts.shape, np.int32)
    each = max(1, _BLOCK // max(1, parts.shape[1] * group))
    for begin in range(0, len(parts), each):
        at = slice(begin, begin + each)
        scales[at], indices[at] = _best(parts[at], trials[:, at])
    return Grid(indices.reshape(values.shape), levels=LEVELS, low=LOW, scales=scales, group=group)


def nearest_index(values: Floats) -> NDArray[np.int32]:
    """The index of the level nearest to each value; of two, the one nearer to zero."""
    middles = (_HALF[1:] + _HALF[:-1]) / 2
    sizes = np.searchsorted(middles, np.abs(values)).astype(np.int32)
    return np.where(values < 0, -sizes, sizes)


def codes_of(values: np.ndarray, kind: str) -> Codes | None:
    """The codes and scales that give a matrix exactly, shape (rows, columns); None if none do.

    Raises:
        ArgumentError: a group does not divide the columns.
    """
    parts = grouped(np.asarray(values, np.float32), GROUPS[kind])
    scales, indices = _divided(parts, 1 if kind == "mxfp4" else 4)
    if scales is None or indices is None:
        return None
    matrix = indices.reshape(len(parts), -1)
    if kind == "mxfp4":
        return Codes(matrix, scales)
    exponent = shared_exponent(scales)
    small = np.ldexp(scales, -exponent)
    stored = small.astype(ml_dtypes.float8_e4m3fn)
    if not np.array_equal(stored.astype(np.float32), small):
        return None
    return Codes(matrix, stored, exponent)


def shared_exponent(scales: Floats) -> int:
    """The exponent of NVFP4's factor: with it the largest scale is just within float8_e4m3fn.

    >>> shared_exponent(np.array([[0.5, 448.0]], np.float32)), shared_exponent(np.ones((1, 1)))
    (0, -8)
    """
    largest = float(scales.max(initial=0))
    if not largest:
        return 0
    found = int(np.ceil(np.log2(largest / _LARGEST_SCALE)))
    return found + (largest > _LARGEST_SCALE * 2.0**found)


def _best(parts: Floats, trials: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """Of the scales to be tried (trials, rows, groups), those of least error, and indices."""
    scales = np.ones(parts.shape[:2], np.float32)
    indices = np.zeros(parts.shape, np.int32)
    least = np.full(scales.shape, np.inf)
    for trial in trials:
        q = nearest_index(parts / trial[..., None])
        missed = parts - LEVELS[q - LOW] * trial[..., None]
        error = np.square(missed).sum(axis=2, dtype=np.float64)
        better = error < least
        least[better], scales[better], indices[better] = error[better], trial[better], q[better]
    return scales, indices


def _powers(largest: Floats) -> Floats:
    """MXFP4's scales to be tried: the power of two that covers all, and the two below."""
    _, exponent = np.frexp(largest / np.float32(_TOP))
    exponent = np.where(
        np.ldexp(np.float32(0.5), exponent) * _TOP >= largest, exponent - 1, exponent
    )
    found = [np.clip(exponent - below, _LEAST, _MOST) for below in range(3)]
    live = [np.where(largest > 0, one, 0) for one in found]
    return np.stack([np.ldexp(np.float32(1), one) for one in live]).astype(np.float32)


def _eighths(largest: Floats, of_all: float | None) -> Floats:
    """NVFP4's scales to be tried: floats of e4m3 from the one that covers all down by an octave."""
    whole = largest / np.float32(_TOP)
    most = whole if of_all is None else np.array([of_all], np.float32) / np.float32(_TOP)
    exponent = shared_exponent(most)
    codes = np.clip(np.ldexp(whole, -exponent), 2.0**-6, _LARGEST_SCALE)
    first = codes.astype(ml_dtypes.float8_e4m3fn)
    numbers = first.view(np.uint8).astype(np.int32)
    numbers += (first.astype(np.float32) < codes).astype(np.int32)
    found = []
    for below in range(_RANGES + 1):
        one = np.clip(numbers - below, 8, 126).astype(np.uint8).view(ml_dtypes.float8_e4m3fn)
        found.append(np.ldexp(one.astype(np.float32), exponent))
    return np.stack(found).astype(np.float32)


def _divided(parts: Floats, bits: int) -> tuple[Floats, NDArray[np.int32]] | tuple[None, None]:
    """Scales with so many bits of mantissa of which all values of a group are levels, exactly."""
    largest = np.abs(parts).max(axis=2)
    scales = np.where(largest > 0, 0.0, 1.0).astype(np.float32)
    indices = np.zeros(parts.shape, np.int32)
    for level in _HALF[:0:-1]:
        open_ = scales == 0
        if not open_.any():
            break
        trial = _rounded(largest[open_] / level, bits)
        q = nearest_index(parts[open_] / trial[:, None])
        exact = (LEVELS[q - LOW] * trial[:, None] == parts[open_]).all(axis=1)
        rows, groups = np.nonzero(open_)
        scales[rows[exact], groups[exact]] = trial[exact]
        indices[rows[exact], groups[exact]] = q[exact]
    if not (scales > 0).all():
        return None, None
    live = scales[largest > 0]
    scales[largest == 0] = live.max() if live.size else 1.0
    return scales, indices


def _rounded(values: Floats, bits: int) -> Floats:
    """Positive values with so many bits of mantissa, the first included."""
    mantissa, exponent = np.frexp(values)
    found: Floats = np.ldexp(np.rint(mantissa * 2**bits), exponent - bits).astype(np.float32)
    return found
