"""Codebooks: the few numbers that stand for all weights with the least squared error.

Sources: one-dimensional k-means to its optimum by dynamic programming (Wang and Song 2011), made
O(K n log n) by the monotone choice of the last cell's start (divide and conquer); Lloyd's iteration
(1982) beyond. With `importance` squared errors are weighed, as by a curvature.

Surprises first: above `_EXACT` distinct values the dynamic programme sees means of bins of nearly
equal values, and Lloyd's iteration over all of them follows: then it is optimal but for that. So it
is of more values than `_MANY`, of which a million bins are made as they come.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.transform._cells import best_cells
from taut.transform.grid import MOST_LEVELS, Grid

Floats = NDArray[np.float64]

_EXACT = 1 << 12  # points that the dynamic programme takes
_MOST_CELLS = 256  # of the dynamic programme; larger codebooks start at quantiles
_ROUNDS, _SETTLED = 20, 1e-5  # of Lloyd's iteration
_BLOCK = 1 << 20  # distances, or values, at a time
_MANY = 1 << 24  # values that are sorted; of more, those alike in so many bits are taken as one
_BITS = 20


def codebook(
    weights: np.ndarray,
    entries: int,
    *,
    mask: np.ndarray | None = None,
    importance: np.ndarray | None = None,
) -> Grid:
    """One codebook of at most `entries` numbers for a tensor; index 0 is the one nearest to zero.

    With a `mask` zero is one of the entries, for the weights that are not True.

    >>> codebook(np.array([0.0, 0.1, 1.0, 1.2, 5.0]), 3).values(np.dtype("f4")).tolist()
    [0.05000000074505806, 0.05000000074505806, 1.100000023841858, 1.100000023841858, 5.0]
    """
    if not 2 <= entries <= MOST_LEVELS:
        raise ArgumentError(f"a codebook has 2 to {MOST_LEVELS:,} entries, not {entries}")
    flat = np.asarray(weights).reshape(-1)
    h = None if importance is None else np.asarray(importance, np.float64).reshape(-1)
    live = slice(None) if mask is None else np.asarray(mask, np.bool_).reshape(-1)
    kept, masses = flat[live], None if h is None else h[live]
    levels = optimal_levels(kept, entries - (mask is not None), masses).astype(np.float32)
    return onto_levels(weights, levels, mask)


def onto_levels(
    weights: np.ndarray, levels: NDArray[np.float32], mask: np.ndarray | None = None
) -> Grid:
    """Every weight to the nearest of ascending levels; those that `mask` takes to a zero of theirs.

    >>> onto_levels(np.array([0.4, 2.2]), np.array([0, 2], np.float32)).indices.tolist()
    [0, 1]
    """
    flat = np.asarray(weights, np.float64).reshape(-1)
    live = slice(None) if mask is None else np.asarray(mask, np.bool_).reshape(-1)
    indices = np.zeros(flat.size, np.int32)
    nearest = _nearest(flat[live], levels)
    if mask is None:
        low = -int(np.argmin(np.abs(levels)))
        indices[live] = nearest + low
    else:
        low = -int(np.searchsorted(levels, 0.0))
        indices[live] = nearest + low + (nearest >= -low)  # zero's own place lies between
        levels = np.insert(levels, -low, np.float32(0))
    return Grid(indices.reshape(weights.shape), levels=levels, low=low)


def optimal_levels(
    values: np.ndarray, entries: int, importance: np.ndarray | None = None
) -> Floats:
    """At most `entries` levels, ascending, of least weighted squared error.

    >>> optimal_levels(np.array([1.0, 2.0, 10.0]), 2).tolist()
    [1.5, 10.0]
    """
    if importance is None and np.size(values) > _MANY:
        flat = np.asarray(values).reshape(-1)
        blocks = (flat[at : at + _BLOCK] for at in range(0, flat.size, _BLOCK))
        return levels_of_blocks(blocks, entries)
    flat = np.asarray(values, np.float64).reshape(-1)
    if not flat.size:
        raise ArgumentError("there are no values to make a codebook of")
    h = np.ones(flat.size) if importance is None else np.asarray(importance, np.float64).reshape(-1)
    if h.size != flat.size or not np.all(h >= 0) or not h.any():
        raise ArgumentError("importance: give each value a number of 0 or more, not all 0")
    order = np.argsort(flat, kind="stable")
    return _levels_of(*_merged(flat[order], h[order]), entries)


def levels_of_blocks(blocks: Iterable[np.ndarray], entries: int) -> Floats:
    """The same of many values that come in blocks: those alike in 20 bits of float32 are one.

    Sums of such are exact, so that it does not matter how the blocks are cut.

    >>> levels_of_blocks([np.array([1.0, 2.0]), np.array([10.0, 2.0])], 3).tolist()
    [1.0, 2.0, 10.0]
    """
    sums, counts = np.zeros(1 << _BITS), np.zeros(1 << _BITS, np.int64)
    for block in blocks:
        values = np.asarray(block, np.float32).reshape(-1) + np.float32(0)  # no negative zero
        bits = values.view(np.uint32)
        ordered = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31)) >> (32 - _BITS)
        counts += np.bincount(ordered, minlength=1 << _BITS)
        sums += np.bincount(ordered, values, 1 << _BITS)
    live = np.flatnonzero(counts)
    if not live.size:
        raise ArgumentError("there are no values to make a codebook of")
    masses = counts[live].astype(np.float64)
    return _levels_of(sums[live] / masses, masses, entries)


def _levels_of(points: Floats, masses: Floats, entries: int) -> Floats:
    """Levels of ascending points, each as often as its mass says."""
    if len(points) <= entries:
        return points
    means, bins = _binned(points, masses, _EXACT)
    if entries <= _MOST_CELLS:
        levels = best_cells(means, bins, entries)
    else:
        levels = _quantiles(points, masses, entries)
    exact = len(points) <= _EXACT and entries <= _MOST_CELLS
    return levels if exact else _lloyd(points, masses, levels)


def vector_codebook(
    weights: np.ndarray,
    dim: int,
    entries: int,
    *,
    importance: np.ndarray | None = None,
    seed: int = 0,
    rounds: int = _ROUNDS,
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Runs of `dim` weights as entries of one codebook: (entries, dim) float32, and int32 indices.

    Lloyd's iteration from seeded k-means++ starts; a start's luck decides, so this is no optimum.
    A file cannot hold it yet: its levels are single numbers. `codebook[indices]` are the values.

    >>> book, at = vector_codebook(np.array([0.0, 0, 4, 4, 0, 0]), 2, 2)
    >>> book[at].tolist()
    [[0.0, 0.0], [4.0, 4.0], [0.0, 0.0]]

    Raises:
        ArgumentError: `dim` does not divide the weights, or they make fewer runs than entries.
    """
    flat = np.asarray(weights, np.float64).reshape(-1)
    if dim < 1 or flat.size % dim:
        raise ArgumentError(f"runs of {dim} do not divide {flat.size:,} weights")
    runs = flat.reshape(-1, dim)
    if not 1 <= entries <= len(runs):
        raise ArgumentError(f"a codebook of {entries} entries for {len(runs):,} runs of {dim}")
    h = np.ones_like(runs) if importance is None else np.asarray(importance, np.float64)
    h = h.reshape(runs.shape)
    book = _starts(runs, h, entries, np.random.default_rng(seed))
    at = _closest(runs, h, book)
    for _ in range(rounds):
        mass = np.stack([np.bincount(at, h[:, d], entries) for d in range(dim)], axis=1)
        sums = [np.bincount(at, h[:, d] * runs[:, d], entries) for d in range(dim)]
        book = np.where(mass > 0, np.stack(sums, axis=1) / np.maximum(mass, 1e-300), book)
        anew = _closest(runs, h, book)
        if np.array_equal(anew, at):
            break
        at = anew
    return book.astype(np.float32), at.astype(np.int32)


def _lloyd(points: Floats, masses: Floats, levels: Floats) -> Floats:
    """Every level to the mean of what is nearest to it, until that no longer pays."""
    before = np.inf
    for _ in range(_ROUNDS):
        at = _nearest(points, levels)
        mass = np.bincount(at, masses, len(levels))
        sums = np.bincount(at, masses * points, len(levels))
        levels = np.where(mass > 0, sums / np.maximum(mass, 1e-300), levels)
        error = float(np.sum(masses * np.square(points - levels[at])))
        if error >= before * (1 - _SETTLED):
            break
        before = error
    return np.unique(levels)


def _nearest(values: np.ndarray, levels: np.ndarray) -> NDArray[np.int64]:
    """The number of the level nearest to each value."""
    ascending = levels.astype(np.float64)
    return np.searchsorted((ascending[1:] + ascending[:-1]) / 2, values)


def _merged(points: Floats, masses: Floats) -> tuple[Floats, Floats]:
    """Sorted points without repeats, and without such as have no mass."""
    points, masses = points[masses > 0], masses[masses > 0]
    first = np.flatnonzero(np.concatenate([[True], points[1:] != points[:-1]]))
    return points[first], np.add.reduceat(masses, first)


def _binned(points: Floats, masses: Floats, most: int) -> tuple[Floats, Floats]:
    """At most so many points: means of runs of equally many distinct ones, sparse tails whole."""
    if len(points) <= most:
        return points, masses
    even = np.arange(most // 2) * len(points) // (most // 2)  # by number, and by place
    wide = np.searchsorted(points, np.linspace(points[0], points[-1], most // 2))
    first = np.unique(np.minimum(np.concatenate([even, wide]), len(points) - 1))
    mass = np.add.reduceat(masses, first)
    return np.add.reduceat(masses * points, first) / mass, mass


def _quantiles(points: Floats, masses: Floats, entries: int) -> Floats:
    """Levels as dense as the cube root of the points (Panter and Dite 1951): best if many."""
    means, bins = _binned(points, masses, _EXACT)
    gaps = np.gradient(means)
    share = np.cumsum(np.cbrt(bins * gaps * gaps))
    at = (np.arange(entries) + 0.5) / entries * share[-1]
    return np.unique(np.interp(at, share, means))


def _starts(runs: Floats, h: Floats, entries: int, rng: np.random.Generator) -> Floats:
    """Entries drawn one by one, in proportion to the error that those before leave (k-means++)."""
    picks = [int(np.argmax(np.sum(h * runs * runs, axis=1)))]
    left = np.full(len(runs), np.inf)
    for _ in range(entries - 1):
        left = np.minimum(left, np.sum(h * np.square(runs - runs[picks[-1]]), axis=1))
        total = float(left.sum())
        chance = left / total if total > 0 else None
        picks.append(int(rng.choice(len(runs), p=chance)))
    return runs[picks]


def _closest(runs: Floats, h: Floats, book: Floats) -> NDArray[np.int64]:
    """The entry nearest to each run; of equal ones the first."""
    found = np.empty(len(runs), np.int64)
    block = max(1, _BLOCK // len(book))
    for begin in range(0, len(runs), block):
        part = slice(begin, begin + block)
        distance = h[part] @ (book * book).T - 2 * (h[part] * runs[part]) @ book.T
        found[part] = np.argmin(distance, axis=1)
    return found
