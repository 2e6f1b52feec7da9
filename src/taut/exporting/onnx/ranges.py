"""The range of an activation, from histograms of what calibration data make of it.

minmax      all that was seen
percentile  all but 0.01 % at either end
mse         the range whose rounding and clipping cost the least squared error
entropy     the range whose rounded histogram is nearest in KL divergence (Migacz, GTC 2017)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError

RANGES: Final = ("minmax", "percentile", "mse", "entropy")
_BINS: Final = 2048
_TAIL: Final = 1e-4
_SHRINKS: Final = 100  # ranges tried, from the whole down to the least part of it
_LEAST: Final = 0.02
_NOTHING: Final = 1e-12  # the width of a range of zeros
Run = Callable[[Mapping[str, np.ndarray], Sequence[str]], Sequence[Any]]


@dataclass
class RangeHistogram:
    """Counts of values in bins of one width from `low` to `high`."""

    low: float
    high: float
    counts: NDArray[np.float64]

    @property
    def empty(self) -> bool:
        """Whether all values are zero, so that nothing is known of where others would lie."""
        return not self.low and self.high <= _NOTHING

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        edges = np.linspace(self.low, self.high, len(self.counts) + 1)
        found: NDArray[np.float64] = (edges[1:] + edges[:-1]) / 2
        return found


def observe(
    feeds: Iterable[Mapping[str, np.ndarray]], names: Sequence[str], run: Run
) -> dict[str, RangeHistogram]:
    """Run every batch twice: for the limits of the values named, and for their histograms.

    Raises:
        ArgumentError: there is no batch, or a value is not finite.
    """
    kept = list(feeds)
    if not kept:
        raise ArgumentError("activations: calibration takes at least one batch; none was given")
    low = dict.fromkeys(names, 0.0)  # zero has to be in: padding is
    high = dict.fromkeys(names, 0.0)
    for feed in kept:
        for name, values in zip(names, run(feed, names), strict=True):
            if not np.isfinite(values).all():
                raise ArgumentError(f'calibration: "{name}" is not finite; look at the data')
            low[name] = min(low[name], float(values.min(initial=0)))
            high[name] = max(high[name], float(values.max(initial=0)))
    found = {
        n: RangeHistogram(low[n], max(high[n], low[n] + _NOTHING), np.zeros(_BINS)) for n in names
    }
    for feed in kept:
        for name, values in zip(names, run(feed, names), strict=True):
            one = found[name]
            one.counts += np.histogram(values, _BINS, (one.low, one.high))[0]
    return found


def find_range(histogram: RangeHistogram, ranges: str, levels: int) -> tuple[float, float]:
    """The lowest and highest value that `levels` steps are laid over; zero is between them."""
    if ranges == "minmax":
        return histogram.low, histogram.high
    if ranges == "percentile":
        return _percentile(histogram)
    cost = _squared if ranges == "mse" else _divergence
    best, least = (histogram.low, histogram.high), np.inf
    for share in np.geomspace(1.0, _LEAST, _SHRINKS):
        low, high = histogram.low * share, histogram.high * share
        if (found := cost(histogram, low, high, levels)) < least:
            best, least = (low, high), found
    return best


def affine(low: float, high: float, levels: int) -> tuple[float, int]:
    """Scale and zero point of uint8 integers from 0 to `levels`, zero among them.

    >>> affine(-1.0, 3.0, 200)
    (0.02, 50)
    """
    scale = max((high - low) / levels, 1e-9)
    return scale, int(np.clip(round(-low / scale), 0, levels))


def _percentile(histogram: RangeHistogram) -> tuple[float, float]:
    share = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1)
    edges = np.linspace(histogram.low, histogram.high, len(share) + 1)
    low = edges[np.searchsorted(share, _TAIL, side="right")] if histogram.low < 0 else 0.0
    high = edges[min(int(np.searchsorted(share, 1 - _TAIL)) + 1, len(share))]
    return min(float(low), 0.0), max(float(high), 0.0)


def _squared(histogram: RangeHistogram, low: float, high: float, levels: int) -> float:
    """Expected squared error: that of rounding in the range, and of clipping beyond it."""
    x = histogram.centres
    scale, zero = affine(low, high, levels)
    over = np.maximum(x - (levels - zero) * scale, 0) + np.maximum(-zero * scale - x, 0)
    inside = histogram.counts[over == 0].sum() - histogram.counts[np.abs(x) < scale / 16].sum()
    return float((histogram.counts * over**2).sum() + inside * scale**2 / 12)


def _divergence(histogram: RangeHistogram, low: float, high: float, levels: int) -> float:
    """KL divergence of the histogram clipped to a range from what the levels leave of it."""
    x, counts = histogram.centres, histogram.counts.copy()
    at_zero = int(np.abs(x).argmin())  # every grid has zero, and Relu makes most values zero
    counts[at_zero] = min(counts[at_zero], *counts[max(at_zero - 1, 0) : at_zero + 2][[0, -1]])
    scale, zero = affine(low, high, levels)
    level = np.clip(np.rint(x / scale) + zero, 0, levels).astype(np.int64)
    inside = (x >= -zero * scale) & (x <= (levels - zero) * scale)
    clipped = np.where(inside, counts, 0.0)
    at = np.flatnonzero(inside)
    if not at.size:
        return float("inf")
    clipped[at[0]] += counts[: at[0]].sum()
    clipped[at[-1]] += counts[at[-1] + 1 :].sum()
    total = np.bincount(level[inside], counts[inside], levels + 1)
    held = np.bincount(level[inside], (counts[inside] > 0).astype(float), levels + 1)
    spread = np.where(inside & (counts > 0), total[level] / np.maximum(held[level], 1), 0.0)
    p, q = clipped / max(clipped.sum(), 1e-30), spread / max(spread.sum(), 1e-30)
    q = np.maximum(q, 1e-9)
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())
