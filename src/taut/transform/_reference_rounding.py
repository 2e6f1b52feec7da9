"""The numpy twin of the native `round_matrix`: slow, clear, and the same to the last bit.

Letters as in csrc/round/round.hpp: (i, j) is rounded to v, its target is t = w' + feedback of the
columns before, and w' = w + feedback of the rows before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding.matrix import (  # beyond it all count as odd, so that none is even
    LARGEST_INDEX,
    NEXT_STATE,
)

_BLOCK = 128  # columns; the search along a row is settled where a block ends
# Every state of the trellis is entered from two: from FIRST by an odd index where ODD_FIRST, and
# from SECOND by one of the other parity.
_FIRST = np.array([0, 2, 0, 2, 3, 1, 3, 1])
_SECOND = np.array([4, 6, 4, 6, 7, 5, 7, 5])
_ODD_FIRST = np.array([False, False, True, True, True, True, False, False])
_ODD = np.arange(8) & 1  # a state's quantiser

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Problem:
    """What is rounded, `values` (m, n), and at what cost; all arrays are float32.

    Steps are `row_steps` (m,) times `column_scales` (n,), `prices` (m, n) what a squared step
    costs, `curves` (m, n, 2, 4) say the bits, `lam` is what a bit costs. `upper` is A (n, n) and
    `lower` B^T (m, m), of which the diagonals do not count.
    """

    values: Floats
    row_steps: Floats
    column_scales: Floats
    prices: Floats
    curves: Floats
    upper: Floats
    lower: Floats
    lam: float


def round_reference(problem: Problem, *, trellis: bool) -> tuple[NDArray[np.int32], Floats]:
    """Indices and what they decode to, (m, n)."""
    values, lower, upper = problem.values, problem.lower, problem.upper
    prices, curves, lam = problem.prices, problem.curves, np.float32(problem.lam)
    indices, decoded = np.empty(values.shape, np.int32), np.empty_like(values)
    feedback, states = np.zeros_like(values), np.zeros(len(values), np.int64)
    search = _by_trellis if trellis else _plainly
    for begin in range(0, values.shape[1], _BLOCK):
        at = slice(begin, min(values.shape[1], begin + _BLOCK))
        missed = np.empty_like(values[:, at])
        for i in range(len(values)):
            wanted = values[i, at].copy()
            for r in range(i):
                wanted += lower[i, r] * (values[r, at] - decoded[r, at])
            steps = problem.row_steps[i] * problem.column_scales[at]
            row = _Row(wanted, steps, prices[i, at], curves[i, at], upper[at, at], lam)
            target = wanted + feedback[i, at]
            indices[i, at], levels, states[i] = search(row, target, int(states[i]))
            decoded[i, at] = levels * problem.row_steps[i] * problem.column_scales[at]
            missed[i] = wanted - decoded[i, at]
        for k in range(missed.shape[1]):
            feedback[:, at.stop :] += missed[:, k : k + 1] * upper[begin + k, at.stop :]
    return indices, decoded


def _bits(curve: Floats, q: Floats) -> Floats:
    beyond = q - np.float32(1)
    bits = curve[..., 1] + beyond * (curve[..., 2] + beyond * curve[..., 3])
    return np.where(q == 0, curve[..., 0], bits)


@dataclass(frozen=True)
class _Row:
    """What is given of a row in a block of n columns: w', steps, prices, curves, A and lambda."""

    wanted: Floats
    steps: Floats
    prices: Floats
    curves: Floats
    upper: Floats
    lam: np.float32


def _plainly(row: _Row, target: Floats, state: int) -> tuple[NDArray[np.int32], Floats, int]:
    """Each weight goes to the cheaper of the two levels around it."""
    indices = np.empty(len(target), np.int32)
    for k in range(len(target)):
        a = np.abs(target[k] / row.steps[k])
        both = np.floor(a) + np.array([0, 1], np.float32)
        distance = a - both
        costs = distance * distance * row.prices[k] + row.lam * _bits(row.curves[k, 0], both)
        q = both[1] if costs[1] < costs[0] else both[0]
        indices[k] = -q if target[k] < 0 else q
        missed = row.wanted[k] - np.float32(indices[k]) * row.steps[k]
        target[k + 1 :] += missed * row.upper[k, k + 1 :]
    return indices, indices.astype(np.float32), state


def _by_trellis(row: _Row, target: Floats, state: int) -> tuple[NDArray[np.int32], Floats, int]:
    """Viterbi search: each state's survivor has targets of its own."""
    n, half, one = len(target), np.float32(0.5), np.float32(1)
    targets = np.repeat(target[:, None], 8, axis=1)
    cost = np.where(np.arange(8) == state, 0, 1e30).astype(np.float32)
    choices, levels = np.empty((n, 8), np.float32), np.empty((n, 8), np.float32)
    parents = np.empty((n, 8), np.int64)
    for k in range(n):
        u = targets[k] * (one / row.steps[k])
        a = np.abs(u)
        q = (a + _ODD.astype(np.float32)) * half
        even_q = np.minimum(np.round(q * half) * 2, np.float32(LARGEST_INDEX))
        near = (even_q, np.maximum(np.round((q - one) * half) * 2 + one, one))
        found = [_candidate(a, near[p], p, row.prices[k], row.curves[k], row.lam) for p in (0, 1)]
        even, odd = (cost + candidate[2] for candidate in found)
        first = np.where(_ODD_FIRST, odd[_FIRST], even[_FIRST])
        second = np.where(_ODD_FIRST, even[_SECOND], odd[_SECOND])
        take = second < first
        cost, parents[k] = np.where(take, second, first), np.where(take, _SECOND, _FIRST)
        by_odd, parent = _ODD_FIRST ^ take, parents[k]
        sign = np.copysign(one, u[parent])
        choices[k] = sign * np.where(by_odd, found[1][0][parent], found[0][0][parent])
        levels[k] = sign * np.where(by_odd, found[1][1][parent], found[0][1][parent])
        missed = row.wanted[k] - levels[k] * row.steps[k]
        targets[k + 1 :] = targets[k + 1 :, parent] + missed * row.upper[k, k + 1 :, None]
    best = end = int(np.argmin(cost))
    path = np.empty(n, np.int64)
    for k in reversed(range(n)):
        path[k], best = best, int(parents[k, best])
    at = np.arange(n), path
    return choices[at].astype(np.int32), levels[at], end


def _candidate(
    a: Floats, nearest: Floats, least: int, price: np.float32, curve: Floats, lam: np.float32
) -> tuple[Floats, Floats, Floats]:
    """One parity's best magnitude with its level and cost: the nearest, or the next below it."""
    closer = np.maximum(nearest - np.float32(2), np.float32(least))
    both = []
    for q in (nearest, closer):
        level = q + q - np.where((_ODD == 1) & (q > 0), np.float32(1), np.float32(0))
        distance = a - level
        cost = distance * distance * price + lam * _bits(curve[_ODD], q)
        both.append((q, level, cost))
    take = both[1][2] < both[0][2]
    q, level, cost = (np.where(take, y, x) for x, y in zip(*both, strict=True))
    return q, level, cost


def count_reference(
    indices: NDArray[np.int16],
    row_class: NDArray[np.uint8],
    column_class: NDArray[np.uint8],
    *,
    curves: int,
    counted: int,
    trellis: bool,
) -> NDArray[np.int64]:
    """How often each magnitude occurs, shape (curves, 2 quantisers, counted)."""
    counts = np.zeros((curves, 2, counted), np.int64)
    state = np.zeros(len(indices), np.uint8)
    for column in range(indices.shape[1]):
        q = indices[:, column].astype(int)
        curve = np.minimum(row_class.astype(int) + column_class[column], curves - 1)
        quantiser = state & 1 if trellis else np.zeros_like(state)
        np.add.at(counts, (curve, quantiser, np.minimum(np.abs(q), counted - 1)), 1)
        state = NEXT_STATE[state, np.where((q >= -128) & (q <= LARGEST_INDEX), q & 1, 1)]
    return counts
