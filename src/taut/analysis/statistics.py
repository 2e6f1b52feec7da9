"""What a tensor's values are like, and how few bits a uniform quantiser could code them with.

Statistics are over the finite values; NaN and infinite ones are counted, since no lossy scheme
takes them. Sums are of values over the largest magnitude, so that no square overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE: Final = 1 << 16  # values that entropies are taken from
ERRORS: Final = (0.9, 0.5, 0.2, 0.1, 0.03, 0.01, 0.001, 0.0001)
"""Relative squared errors at which a tensor's entropy is given."""

_BLOCK: Final = 1 << 16  # values; a block stays in the cache
_GOLDEN: Final = 0.6180339887498949  # multiples of it, modulo 1, fill the unit interval evenly
_TURNS: Final = 24
Pieces = Callable[[], Iterable[NDArray[np.generic]]]
"""Gives all values of a tensor once more, flat, some at a time and in order."""

_NOISE: Final = 1e-24  # of squares: equal values differ by less once scaled
_NEAR: Final = 0.01  # relative, of an error, or bits, of an entropy


@dataclass(frozen=True)
class Distribution:
    """Moments of the finite values; counts of zeros, NaN and infinities among all.

    `kurtosis` is 3 for Gaussian values, `outlier` the largest magnitude over the rms.
    """

    least: float
    largest: float
    mean: float
    std: float
    rms: float
    kurtosis: float
    outlier: float
    zeros: int
    nans: int
    infinities: int


@dataclass(frozen=True)
class Bound:
    """A uniform quantiser at `step` errs by `rel_mse` and takes `bits` per value, by its entropy.

    `rel_mse` is sum((w - v)^2) / sum(w^2). No coder without contexts takes less.
    """

    rel_mse: float
    step: float
    bits: float


def describe(values: NDArray[np.generic]) -> Distribution | None:
    """The distribution of an array of any shape and numeric dtype; None if it has no values.

    Complex numbers count as two values each.

    >>> describe(np.array([0.0, 3.0, -4.0, np.nan], np.float32)).largest
    3.0
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    return describe_pieces(lambda: (flat,))


def describe_pieces(pieces: Pieces) -> Distribution | None:
    """The same of a tensor that is read in pieces, three times; however they are cut."""
    least, largest, nans, finite, zeros, size = math.inf, -math.inf, 0, 0, 0, 0
    for block in _blocks(pieces):
        size += block.size
        known, missing = _finite(block)
        nans, finite = nans + missing, finite + known.size
        zeros += known.size - int(np.count_nonzero(known))
        if known.size:
            least, largest = min(least, float(known.min())), max(largest, float(known.max()))
    if not size:
        return None
    infinities = size - finite - nans
    if not finite:
        return Distribution(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, zeros, nans, infinities)
    most = max(abs(least), abs(largest))
    mean, second, fourth = _moments(pieces, most or 1.0, finite)
    rms = math.sqrt(mean * mean + second)
    return Distribution(
        least=least,
        largest=largest,
        mean=mean * most,
        std=math.sqrt(second) * most,
        rms=rms * most,
        kurtosis=fourth / second**2 if second > _NOISE else 0.0,
        outlier=1 / rms if rms else 0.0,
        zeros=zeros,
        nans=nans,
        infinities=infinities,
    )


def entropy_bounds(
    values: NDArray[np.generic], errors: tuple[float, ...] = ERRORS
) -> tuple[Bound, ...]:
    """What a uniform quantiser takes at each of `errors`, from a sample; () for nothing but zeros.

    The step is the largest whose error is within a hundredth of the one asked for, or below it:
    values that lie on a grid have no other.
    """
    return bounds_of(sample(values), errors)


def bounds_of(picks: NDArray[np.float64], errors: tuple[float, ...] = ERRORS) -> tuple[Bound, ...]:
    """The same of a sample."""
    if not np.any(picks):
        return ()
    return tuple(bound_at(picks, step_for_error(picks, error)) for error in errors)


def sample(values: NDArray[np.generic], most: int = SAMPLE) -> NDArray[np.float64]:
    """Up to `most` finite values, float64, spread over the tensor without a period.

    >>> sample(np.arange(5)).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    flat = values.reshape(-1)
    return sample_pieces((flat,), flat.size, most)


def sample_pieces(
    pieces: Iterable[NDArray[np.generic]], count: int, most: int = SAMPLE
) -> NDArray[np.float64]:
    """The same of `count` values that come in pieces, flat and in order."""
    places = np.arange(min(count, most))
    if count > most:
        places = (places * _GOLDEN % 1.0 * count).astype(np.int64)
    picks, begin = np.zeros(places.size), 0
    for piece in pieces:
        here = (places >= begin) & (places < begin + piece.size)
        picks[here] = piece[places[here] - begin]
        begin += piece.size
    finite: NDArray[np.float64] = picks[np.isfinite(picks)]
    return finite


def bound_at(picks: NDArray[np.float64], step: float) -> Bound:
    """What rounding to multiples of `step` costs these values, in error and in bits."""
    scaled = picks / step
    indices = np.rint(scaled)
    power = float(np.sum(scaled * scaled))
    error = float(np.sum(np.square(scaled - indices)))
    return Bound(error / power if power else 0.0, step, _entropy(indices))


def step_for_error(picks: NDArray[np.float64], error: float) -> float:
    """The step at which rounding errs by `error`: a secant, since errors go with squared steps."""
    largest = float(np.max(np.abs(picks)))
    values = picks / largest
    power = float(np.mean(values * values))
    at = 0.5 * math.log2(12 * error * power)
    best, low, high = -math.inf, -math.inf, math.inf
    for _ in range(_TURNS):
        step = math.exp2(at)
        scaled = values / step
        found = float(np.mean(np.square(scaled - np.rint(scaled)))) * step * step / power
        if found <= error * (1 + _NEAR):
            best, low = max(best, at), at
            if found >= error * (1 - _NEAR):
                break
        else:
            high = at
        ahead = 0.5 * math.log2(error / found) if found else 1.0
        at = _within(at + max(-1.0, min(1.0, ahead)), low, high)
    return math.exp2(best if math.isfinite(best) else low if math.isfinite(low) else at) * largest


def step_for_bits(picks: NDArray[np.float64], bits: float) -> float:
    """The step at which the indices' entropy is `bits` per value: about one bit a doubling."""
    power = float(np.mean(np.square(picks)))
    at = 0.5 * math.log2(2 * math.pi * math.e * power) - bits
    low, high = -math.inf, math.inf
    for _ in range(_TURNS):
        ahead = _entropy(np.rint(picks / math.exp2(at))) - bits
        if abs(ahead) < _NEAR:
            break
        low, high = (at, high) if ahead > 0 else (low, at)
        at = _within(at + max(-1.0, min(1.0, ahead)), low, high)
    return math.exp2(at)


def _within(at: float, low: float, high: float) -> float:
    """`at` if it lies in the bracket, else the bracket's middle; half a step past an open end."""
    if low < at < high:
        return at
    if math.isinf(low):
        return high - 0.5
    return low + 0.5 if math.isinf(high) else (low + high) / 2


def _entropy(indices: NDArray[np.float64]) -> float:
    """Bits per index; with what a sample of them makes too little (Miller 1955)."""
    _, counts = np.unique(indices, return_counts=True)
    shares = counts / indices.size
    unseen = (len(counts) - 1) / (2 * math.log(2) * indices.size)
    return float(-np.sum(shares * np.log2(shares)) + unseen)


def _moments(pieces: Pieces, scale: float, count: int) -> tuple[float, float, float]:
    """Of the finite values over `scale`: the mean, and mean powers 2 and 4 of what is about it."""
    mean = sum(float(np.sum(_finite(block)[0] / scale)) for block in _blocks(pieces)) / count
    second = fourth = 0.0
    for block in _blocks(pieces):
        squares = np.square(_finite(block)[0] / scale - mean)
        second, fourth = second + float(np.sum(squares)), fourth + float(np.sum(squares * squares))
    return mean, second / count, fourth / count


def _finite(block: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """The finite values, and how many of the others are NaN."""
    known = np.isfinite(block)
    if known.all():
        return block, 0
    return block[known], int(np.count_nonzero(np.isnan(block)))


def _blocks(pieces: Pieces) -> Iterator[NDArray[np.float64]]:
    """All values, as many at a time however they come; complex ones as two each."""
    left = np.empty(0)
    for piece in pieces():
        flat = piece
        if flat.dtype.kind == "c":
            flat = np.ascontiguousarray(flat).view(f"f{flat.dtype.itemsize // 2}")
        first = min(flat.size, -left.size % _BLOCK)
        left = np.concatenate([left, flat[:first].astype(np.float64)]) if first else left
        if left.size == _BLOCK:
            yield left
            left = np.empty(0)
        whole = first + (flat.size - first) // _BLOCK * _BLOCK
        for begin in range(first, whole, _BLOCK):
            yield flat[begin : begin + _BLOCK].astype(np.float64)
        if whole < flat.size:
            left = flat[whole:].astype(np.float64)
    if left.size:
        yield left
