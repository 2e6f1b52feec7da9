"""A tensor on a grid of its own: indices, and what each of them stands for.

Every scheme that leaves a tensor with few distinct values gives one of these: runtime grids
(lowbit.py), codebooks (codebook.py), and whatever a training ends with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError

MOST_LEVELS = 1 << 16


@dataclass(frozen=True)
class Grid:
    """Indices int32 of a tensor's shape; the rows are its first axis, a vector is one row.

    An index q stands for q * step, or for `levels[q - low]` (float32), or, with `scales` (float32,
    shape (rows, groups): each group of `group` columns has one, None is the whole row), for
    (q - zero) * scale, or levels[q - low] * scale. `zeros` are int32 of the scales' shape.

    >>> Grid(np.array([[-1, 0, 3]]), step=0.5).values(np.dtype("f4")).tolist()
    [[-0.5, 0.0, 1.5]]

    Raises:
        ArgumentError: the parts do not fit together.
    """

    indices: NDArray[np.int32]
    step: float | None = None
    levels: NDArray[np.float32] | None = None
    low: int = 0
    scales: NDArray[np.float32] | None = None
    zeros: NDArray[np.int32] | None = None
    group: int | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be decoded."""
        given = [name for name in ("step", "levels", "scales") if getattr(self, name) is not None]
        if given not in (["step"], ["levels"], ["scales"], ["levels", "scales"]):
            raise ArgumentError(f"grid: give step, or levels, scales, or both; not {given}")
        self._check_levels()
        self._check_scales()

    @property
    def matrix(self) -> NDArray[np.int32]:
        """The indices, shape (rows, columns)."""
        return self.indices.reshape(matrix_shape(self.indices.shape))

    def values(self, dtype: np.dtype) -> np.ndarray:
        """What the decoder gives: float32 throughout, then rounded to `dtype`."""
        found: NDArray[np.float32]
        if self.levels is not None:
            found = np.asarray(self.levels, np.float32)[self.matrix - self.low]
        elif self.step is not None:
            found = self.matrix.astype(np.float32) * np.float32(self.step)
        else:
            q = self.matrix if self.zeros is None else self.matrix - self._spread(self.zeros)
            found = q.astype(np.float32)
        if self.scales is not None:
            found = found * self._spread(np.asarray(self.scales, np.float32))
        with np.errstate(over="ignore"):
            return found.astype(dtype).reshape(self.indices.shape)

    def _spread(self, each: np.ndarray) -> np.ndarray:
        """One number a group as one a column."""
        columns = self.matrix.shape[1]
        return np.repeat(each, self.group or max(1, columns), axis=1)[:, :columns]

    def _check_levels(self) -> None:
        if self.levels is None:
            return
        count, q = len(self.levels), self.indices
        if not 1 <= count <= MOST_LEVELS:
            raise ArgumentError(f"grid: {count} levels; give 1 to {MOST_LEVELS:,}")
        if q.size and not (q.min() >= self.low and q.max() < self.low + count):
            raise ArgumentError(
                f"grid: indices {q.min()} to {q.max()} lie outside the levels "
                f"{self.low} to {self.low + count - 1}"
            )

    def _check_scales(self) -> None:
        rows, columns = matrix_shape(self.indices.shape)
        if self.scales is None:
            if (self.zeros, self.group) != (None, None):
                raise ArgumentError("grid: zeros and group go with scales")
            return
        groups = 1 if self.group is None else -(-columns // self.group)
        for name, given in (("scales", self.scales), ("zeros", self.zeros)):
            if given is not None and given.shape != (rows, groups):
                raise ArgumentError(
                    f"grid: {name} of shape {given.shape}; {rows} rows of {groups} groups need "
                    f"{(rows, groups)}"
                )


def matrix_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of a tensor: its first axis by all others; a vector or number is one row.

    >>> matrix_shape((16, 3, 3, 3)), matrix_shape((10,)), matrix_shape(())
    ((16, 27), (1, 10), (1, 1))
    """
    rows = int(shape[0]) if len(shape) > 1 else 1
    rest = shape[1:] if len(shape) > 1 else shape
    return rows, int(np.prod(rest, dtype=np.int64))


def as_matrix(values: np.ndarray) -> NDArray[np.float32]:
    """A tensor's values as float32, shape (rows, columns)."""
    matrix: NDArray[np.float32] = np.asarray(values, np.float32).reshape(matrix_shape(values.shape))
    return matrix


def grouped(values: np.ndarray, group: int | None) -> NDArray[np.float32]:
    """A tensor's values as float32, shape (rows, groups, columns of a group).

    Raises:
        ArgumentError: `group` does not divide the columns, or there are no values.
    """
    matrix = as_matrix(values)
    rows, columns = matrix.shape
    if not matrix.size:
        raise ArgumentError("there are no values to fit a scale to; leave the tensor lossless")
    if group is None:
        return matrix.reshape(rows, 1, columns)
    check_divides("a group", group, columns)
    return matrix.reshape(rows, columns // group, group)


def check_divides(what: str, size: int, count: int, of: str = "columns") -> None:
    """Raise `ArgumentError` unless `size` divides `count`; it names the nearest that does.

    >>> check_divides("a group", 8, 27)
    Traceback (most recent call last):
    taut.errors.ArgumentError: a group of 8 does not divide 27 columns; the nearest that does: 9
    """
    if size < 1 or count % size:
        fits = [d for d in range(1, min(count, 1 << 16) + 1) if count % d == 0]
        nearest = min([*fits, count], key=lambda d: abs(d - size))
        raise ArgumentError(
            f"{what} of {size} does not divide {count} {of}; the nearest that does: {nearest}"
        )
