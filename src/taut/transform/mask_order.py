"""An order of columns in which N:M masks keep more: good neighbours are those that differ.

Surprises first: the mask is for `weights[:, order]`. Whatever makes those columns (the layer
before, with its norm and bias) must put out its channels in the same order, and so must every
other reader of them: the model changes unless all of it is turned alike. Nothing here does that.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taut.transform.grid import as_matrix, check_divides

_TRIES = 4000  # exchanges of two columns that are looked at
_MOST = 1 << 24  # values that are scored in all tries of one round


def order_columns(
    scores: np.ndarray, n: int, m: int, *, tries: int = _TRIES, seed: int = 0
) -> NDArray[np.int64]:
    """An order of columns whose N:M mask keeps at least as much score as the given one.

    Two groups are drawn at a time, and that exchange of two of their columns is made that keeps
    most (the greedy search of Pool and Yu 2021, on drawn pairs).

    >>> scores = np.array([[9.0, 8, 7, 6, 1, 1, 1, 1]])
    >>> order = order_columns(scores, 2, 4)
    >>> sorted(order.tolist()), float(kept_score(scores[:, order], 2, 4))
    ([0, 1, 2, 3, 4, 5, 6, 7], 30.0)

    Raises:
        ArgumentError: M does not divide the columns.
    """
    matrix = as_matrix(scores)
    columns = matrix.shape[1]
    check_divides(f"{n}:{m}: an M", m, columns)
    order, groups = np.arange(columns), columns // m
    if groups < 2:
        return order
    rng = np.random.default_rng(seed)
    for _ in range(min(tries, max(1, 64 * _MOST // max(1, matrix.size)))):
        first, second = rng.choice(groups, 2, replace=False)
        left, right = slice(first * m, first * m + m), slice(second * m, second * m + m)
        pair = matrix[:, np.concatenate([order[left], order[right]])]
        gain, i, j = _best_exchange(pair, n, m)
        if gain > 0:
            a, b = first * m + i, second * m + j
            order[a], order[b] = order[b], order[a]
    return order


def kept_score(scores: np.ndarray, n: int, m: int) -> float:
    """The sum of the scores that an N:M mask keeps."""
    return _kept(as_matrix(scores).reshape(-1, m), n)


def _best_exchange(pair: NDArray[np.float32], n: int, m: int) -> tuple[float, int, int]:
    """Of two groups side by side: what the best exchange gains, and its columns."""
    now = _kept(pair[:, :m], n) + _kept(pair[:, m:], n)
    best = (0.0, 0, 0)
    for i in range(m):
        for j in range(m):
            left, right = pair[:, :m].copy(), pair[:, m:].copy()
            left[:, i], right[:, j] = pair[:, m + j], pair[:, i]
            gain = _kept(left, n) + _kept(right, n) - now
            if gain > best[0] + 1e-6 * now:
                best = (gain, i, j)
    return best


def _kept(runs: NDArray[np.float32], n: int) -> float:
    m = runs.shape[1]
    return float(np.partition(runs, m - n, axis=1)[:, m - n :].sum(dtype=np.float64))
