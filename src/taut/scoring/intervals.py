"""Percentile bootstrap: how far a number would move if the samples were drawn once more.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. A resample is the same as
a weight for each sample, how often it was drawn; whatever is a sum over samples is then a product
with the weights, and what is made of counts alone (accuracy, F1) needs but one multinomial draw.
Everything comes in blocks, so that memory does not grow with the number of resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from taut.scoring.checked import Floats, Integers

RESAMPLES: Final = 1000
LEAST: Final = 100  # resamples, where samples are many
_WORK: Final = 100_000_000  # steps in all, about a second
_MOST: Final = 4_000_000  # steps of one resample; with more there is no interval
_BLOCK: Final = 1 << 21  # weights at once


def interval(estimates: Floats) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of the estimates.

    >>> interval(np.arange(1001.0))
    (25.0, 975.0)
    """
    low, high = np.percentile(estimates, (2.5, 97.5))
    return float(low), float(high)


def resamples(samples: int, work: int = 1) -> int:
    """How many resamples are worth their time, at `work` steps a sample; 0 if that is too long.

    >>> resamples(10_000), resamples(10_000, 40), resamples(50_000, 1000)
    (1000, 250, 0)
    """
    steps = max(1, samples * work)
    return 0 if steps > _MOST else max(LEAST, min(RESAMPLES, _WORK // steps))


def weights(samples: int, count: int, seed: int) -> Iterator[Floats]:
    """How often each sample was drawn, (resamples, samples), in blocks that make `count`."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // samples)
    for begin in range(0, count, block):
        rows = min(block, count - begin)
        drawn = generator.integers(samples, size=(rows, samples))
        drawn += np.arange(rows)[:, None] * samples
        held = np.bincount(drawn.ravel(), minlength=rows * samples)
        yield held.reshape(rows, samples).astype(np.float64)  # floats, for fast products


def counts(cells: Integers, count: int, seed: int) -> Iterator[Integers]:
    """Resampled counts of cells that hold `cells` samples, (resamples, cells), in blocks."""
    generator = np.random.default_rng(seed)
    total = int(cells.sum())
    block = max(1, _BLOCK // len(cells))
    for begin in range(0, count, block):
        yield generator.multinomial(total, cells / total, size=min(block, count - begin))


def bootstrap(
    samples: int, statistic: Callable[[Floats], Floats], seed: int, work: int = 1
) -> Floats | None:
    """`statistic` of the weights of every resample, joined; None where that would take long."""
    number = resamples(samples, work)
    if not number or samples < 2:
        return None
    return np.concatenate([statistic(block) for block in weights(samples, number, seed)])


class Ranked:
    """Values in order, so that their ranks in any resample cost no further sorting.

    `places` are the values' places in that order, equal values having the same.
    """

    def __init__(self, values: Floats) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        fresh = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        self._begins = np.flatnonzero(fresh)
        group = np.cumsum(fresh) - 1
        self.places = np.empty_like(group)
        self.places[self._order] = group

    def ranks(self, weights: Floats) -> Floats:
        """Mean rank of each sample among all that were drawn, (resamples, samples).

        Equal values share the mean of their ranks, and so do the draws of one sample.

        >>> Ranked(np.array([3.0, 1.0, 3.0])).ranks(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]))
        array([[2.5, 1. , 2.5],
               [2. , 0.5, 2. ]])
        """
        drawn = weights[:, self._order]
        if len(self._begins) < len(self._order):
            drawn = np.add.reduceat(drawn, self._begins, axis=1)
        middle = np.cumsum(drawn, axis=1)
        middle -= (drawn - 1) / 2
        return np.asarray(middle[:, self.places])


def pearson(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Pearson's correlation of (samples,) values in each resample; 0 where a side is constant."""
    x, y = x - x.mean(), y - y.mean()  # or large means would cost digits
    total = weights.sum(1)
    mx, my = weights @ x / total, weights @ y / total
    xx, yy = weights @ (x * x) / total - mx * mx, weights @ (y * y) / total - my * my
    return _over(weights @ (x * y) / total - mx * my, xx, yy)


def spearman(x: Ranked, y: Ranked, weights: Floats) -> Floats:
    """Spearman's correlation in each resample: Pearson's of ranks, whose mean is (n + 1) / 2."""
    middle = (weights.sum(1, keepdims=True) + 1) / 2
    rx, ry = x.ranks(weights) - middle, y.ranks(weights) - middle
    xy, xx, yy = (np.einsum("ij,ij,ij->i", weights, *two) for two in ((rx, ry), (rx, rx), (ry, ry)))
    return _over(xy, xx, yy)


def _over(xy: Floats, xx: Floats, yy: Floats) -> Floats:
    scale = np.sqrt(np.maximum(xx, 0) * np.maximum(yy, 0))
    return np.asarray(xy / np.where(scale > 0, scale, np.inf))
