"""Masks: which weights stay (True) and which become zero, by scores of what each is worth.

Sources: magnitude with a cubic schedule (Zhu and Gupta 2017), |w| times the norm of its input
(Wanda, Sun et al. 2023), growing back where gradients are large (RigL, Evci et al. 2020). Rows are
a tensor's first axis, columns all others. Of equal scores the first in memory stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.transform.grid import as_matrix, check_divides, matrix_shape

Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]


def magnitude(weights: np.ndarray, curvature: np.ndarray | None = None) -> Scores:
    """|w|; with the loss's curvature of every weight (not negative), |w| sqrt(curvature).

    The square of the latter is twice what the loss rises by, were the curvature diagonal.
    """
    scores = np.abs(np.asarray(weights, np.float32))
    if curvature is None:
        return scores
    return scores * np.sqrt(np.asarray(curvature, np.float32)).reshape(scores.shape)


def wanda(weights: np.ndarray, input_norms: np.ndarray) -> Scores:
    """|w_ij| times the norm of input j over the calibration data (Sun et al. 2023).

    `input_norms` has one number a column: of a convolution one for each (channel, offset).
    Wanda compares within rows: use `unstructured(scores, sparsity, per="row")`.

    >>> wanda(np.array([[1.0, -2.0]]), np.array([4.0, 1.0])).tolist()
    [[4.0, 2.0]]
    """
    matrix = np.abs(as_matrix(weights))
    norms = np.asarray(input_norms, np.float32).reshape(-1)
    if norms.size != matrix.shape[1]:
        raise ArgumentError(
            f"wanda: {norms.size} input norms for {matrix.shape[1]} columns; give one a column"
        )
    scores: Scores = (matrix * norms).reshape(weights.shape)
    return scores


def unstructured(
    scores: np.ndarray,
    sparsity: float,
    *,
    per: Literal["tensor", "row"] = "tensor",
    keep_rows: bool = False,
    name: str = "the tensor",
) -> Mask:
    """Keep the best scores; the fraction of zeros is `sparsity`, to the nearest weight.

    >>> unstructured(np.array([[3, 1], [2, 4]]), 0.5).tolist()
    [[True, False], [False, True]]

    Raises:
        ArgumentError: nothing would be left, or, with `keep_rows`, nothing of some row.
    """
    matrix = _checked(scores, name)
    if per == "row":
        kept = kept_of(matrix.shape[1], sparsity, f"a row of {name}")
        mask = np.zeros(matrix.shape, np.bool_)
        np.put_along_axis(mask, _best(matrix, kept), True, axis=1)
    else:
        mask = _top(matrix, kept_of(matrix.size, sparsity, name))
    if keep_rows and not mask.any(axis=1).all():
        row = int(np.argmin(mask.any(axis=1)))
        raise ArgumentError(
            f"{name}: {sparsity:.4g} of zeros empties row {row}; ask for fewer, or mask by row"
        )
    return mask.reshape(scores.shape)


def global_masks(scores: Mapping[str, np.ndarray], sparsity: float) -> dict[str, Mask]:
    """One threshold for all tensors: the best scores of the whole model stay, wherever they are.

    Raises:
        ArgumentError: a tensor would lose all its weights; it is named.
    """
    if not scores:
        raise ArgumentError("global mask: there are no tensors to mask")
    parts = [_checked(one, name).reshape(-1) for name, one in scores.items()]
    flat = np.concatenate(parts)
    kept = _top(flat, kept_of(flat.size, sparsity, "the model"))
    masks, begin = {}, 0
    for name, one in scores.items():
        masks[name] = kept[begin : begin + one.size].reshape(one.shape)
        begin += one.size
        if not masks[name].any():
            raise ArgumentError(
                f'a global sparsity of {sparsity:.4g} empties "{name}" ({one.size:,} weights); '
                "ask for fewer zeros, leave this tensor out, or mask each by itself"
            )
    return masks


def n_of_m(scores: np.ndarray, n: int, m: int, *, name: str = "the tensor") -> Mask:
    """Keep the best N in each run of M columns, as 2:4 units want it.

    >>> n_of_m(np.array([[4, 1, 3, 2]]), 2, 4).tolist()
    [[True, False, True, False]]

    Raises:
        ArgumentError: not 1 <= N < M, or M does not divide the columns.
    """
    matrix = _checked(scores, name)
    if not 1 <= n < m:
        raise ArgumentError(f"{name}: N:M keeps N of M weights with 1 <= N < M, not {n}:{m}")
    check_divides(f"{name}: {n}:{m}: an M", m, matrix.shape[1])
    runs = matrix.reshape(-1, m)
    mask = np.zeros(runs.shape, np.bool_)
    np.put_along_axis(mask, _best(runs, n), True, axis=1)
    return mask.reshape(scores.shape)


def blocks(
    scores: np.ndarray, block: tuple[int, int], sparsity: float, *, name: str = "the tensor"
) -> Mask:
    """Keep the blocks of (rows, columns) whose scores add up to the most.

    Raises:
        ArgumentError: the block does not divide the matrix, or nothing would be left.
    """
    matrix = _checked(scores, name)
    (rows, columns), (high, wide) = matrix.shape, block
    check_divides(f"{name}: a block", high, rows, "rows")
    check_divides(f"{name}: a block", wide, columns)
    sums = matrix.reshape(rows // high, high, columns // wide, wide).sum(axis=(1, 3))
    mask = unstructured(sums, sparsity, name=f"{name}, in blocks of {high} x {wide},")
    return mask.repeat(high, axis=0).repeat(wide, axis=1).reshape(scores.shape)


def cubic(progress: float, final: float, initial: float = 0.0) -> float:
    """The sparsity at `progress` (0 to 1) of the way (Zhu and Gupta 2017, equation 1).

    >>> [round(cubic(p, 0.8), 3) for p in (0.0, 0.5, 1.0)]
    [0.0, 0.7, 0.8]
    """
    left = 1.0 - min(1.0, max(0.0, progress))
    return final + (initial - final) * left**3


def regrow(mask: Mask, weights: np.ndarray, gradients: np.ndarray, fraction: float) -> Mask:
    """Move a `fraction` of the kept weights: the smallest go, the largest gradients come.

    As many as before are kept. Those that just went may come back (Evci et al. 2020, algorithm 1);
    the caller sets what came anew to zero.

    >>> mask = np.array([True, True, False, False])
    >>> regrow(mask, np.array([5.0, 1, 0, 0]), np.array([0.0, 0, 2, 1]), 0.5).tolist()
    [True, False, True, False]
    """
    if not 0 <= fraction < 1:
        raise ArgumentError(f"regrow: {fraction!r} is no fraction below 1")
    kept = int(np.count_nonzero(mask))
    moved = int(fraction * kept)
    if not moved:
        return mask.copy()
    worth = np.where(mask, np.abs(np.asarray(weights, np.float64)), -1.0)
    stay = _top(worth, kept - moved)
    slope = np.where(stay, -1.0, np.abs(np.asarray(gradients, np.float64)))
    found: Mask = stay | _top(slope, moved)
    return found


def _checked(scores: np.ndarray, name: str) -> Scores:
    matrix: Scores = np.asarray(scores, np.float32).reshape(matrix_shape(scores.shape))
    if np.isnan(matrix).any():
        raise ArgumentError(f"{name}: a score is NaN; mend the weights or what they are scored by")
    return matrix


def kept_of(count: int, sparsity: float, name: str) -> int:
    """How many of `count` weights stay, the fraction of zeros being `sparsity`; one at least.

    Raises:
        ArgumentError: nothing would be left.
    """
    if not 0 <= sparsity < 1:
        raise ArgumentError(f"{name}: a sparsity of {sparsity!r}; give a fraction from 0 to 1")
    kept = count - round(sparsity * count)
    if kept < 1:
        raise ArgumentError(
            f"{name}: {sparsity:.6g} of zeros leaves none of {count:,} weights; "
            f"at most {max(0, count - 1) / max(1, count):.6g} leaves one"
        )
    return kept


def _top(scores: np.ndarray, count: int) -> Mask:
    """The `count` best of all; of equal ones the first."""
    flat = scores.reshape(-1)
    least = np.partition(flat, flat.size - count)[flat.size - count]
    mask: Mask = flat > least
    ties = np.flatnonzero(flat == least)
    mask[ties[: count - int(np.count_nonzero(mask))]] = True
    return mask.reshape(scores.shape)


def _best(runs: np.ndarray, count: int) -> NDArray[np.int64]:
    """Places of the `count` best in each row; of equal ones the first."""
    return np.argsort(-runs, axis=1, kind="stable")[:, :count]
