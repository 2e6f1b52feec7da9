"""One-dimensional k-means to its optimum: the dynamic programme of codebook.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


def best_cells(points: Floats, masses: Floats, entries: int) -> Floats:
    """Means of the at most `entries` runs of ascending points with the least squared error.

    F_k(j), the error of the first j points in k runs, is the minimum over i of F_(k-1)(i) + error
    of points i to j. The first best i does not fall as j grows (Wang and Song 2011; Wu 1991), so
    the best i of a middle j bounds those of both halves.

    >>> best_cells(np.array([0.0, 1.0, 8.0, 9.0]), np.ones(4), 2).tolist()
    [0.5, 8.5]
    """
    sums = _Sums(points, masses)
    count = len(points)
    cost = sums.error(np.zeros(count + 1, np.int64), np.arange(count + 1))
    starts = np.zeros((entries, count + 1), np.int32)
    for run in range(1, entries):
        cost, starts[run] = _with_one_more(cost, sums)
    edges = [count]
    for run in reversed(range(1, entries)):
        edges.append(int(starts[run, edges[-1]]))
    return sums.means(np.unique([0, *edges]))


class _Sums:
    """Prefix sums of masses and moments, from which any run's error follows."""

    def __init__(self, points: Floats, masses: Floats) -> None:
        self._shift = float(np.average(points, weights=masses))
        x = points - self._shift  # squares of what lies far from zero would cancel
        parts = (masses, masses * x, masses * x * x)
        self._mass, self._first, self._second = (
            np.concatenate([[0.0], np.cumsum(part)]) for part in parts
        )

    def error(self, i: Places, j: Places) -> Floats:
        """Squared error of the points from i to before j about their mean."""
        mass, first = self._mass[j] - self._mass[i], self._first[j] - self._first[i]
        second = self._second[j] - self._second[i]
        found: Floats = np.maximum(second - first * first / np.where(mass > 0, mass, 1.0), 0.0)
        return found

    def means(self, cuts: Places) -> Floats:
        """Means of the runs between cuts."""
        found: Floats = np.diff(self._first[cuts]) / np.diff(self._mass[cuts]) + self._shift
        return found


def _with_one_more(cost: Floats, sums: _Sums) -> tuple[Floats, Places]:
    """The least error of every prefix with one run more, and where its last run starts.

    A round settles the middles of all open intervals of j, between the choices around them.
    """
    count = len(cost)
    best, start = np.zeros(count), np.zeros(count, np.int64)
    low, high = np.array([0]), np.array([count - 1])  # j, both included
    least, most = np.array([0]), np.array([count - 1])  # i likewise
    while low.size:
        middle = (low + high) // 2
        lengths = np.minimum(most, middle) - least + 1
        begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        i = np.arange(lengths.sum()) + np.repeat(least - begins, lengths)
        j = np.repeat(middle, lengths)
        total = cost[i] + sums.error(i, j)
        best[middle] = np.minimum.reduceat(total, begins)
        is_best = np.flatnonzero(total == np.repeat(best[middle], lengths))
        first = is_best[np.searchsorted(is_best, begins)]
        start[middle] = i[first]
        left, right = low < middle, middle < high
        low, high, least, most = (
            np.concatenate([low[left], middle[right] + 1]),
            np.concatenate([middle[left] - 1, high[right]]),
            np.concatenate([least[left], start[middle][right]]),
            np.concatenate([start[middle][left], most[right]]),
        )
    return best, start
