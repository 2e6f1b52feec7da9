"""A tensor that is not held on the grid of a runtime: row after row, indices in a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut.coding import (
    AdaptiveStream,
    Effort,
    IndexStream,
    IndexValues,
    MatrixStream,
    UniformStream,
)
from taut.encoding.choose_coder import adaptive_serves, kernel, many_levels, row_scales
from taut.encoding.index_file import IndexFile, by_rows
from taut.encoding.large_tensor import LargeMatrix
from taut.encoding.ways_in_pieces import CodingWays, FloatStream, MakeStream
from taut.transform import Grid
from taut.transform.lowbit import fp8_levels
from taut.transform.mask import Mask
from taut.transform.runtime import look_at_whole, make_grid

_INDICES = 1 << 24  # that are held at a time


@dataclass(frozen=True)
class LargeGrid:
    """A grid whose indices lie in a file: what they stand for, and the tensor's shape."""

    file: IndexFile
    shape: tuple[int, ...]
    values: IndexValues

    @property
    def columns(self) -> int:
        """Those of a row."""
        return self.file.count // self.shape[0]

    def rows(self, begin: int, end: int) -> Grid:
        """Some rows of it."""
        of, q = self.values, self.file.read(begin * self.columns, end * self.columns)
        return Grid(
            q.reshape(-1, self.columns),
            step=of.step,
            levels=of.levels,
            low=of.low,
            scales=None if of.scales is None else of.scales[begin:end],
            zeros=None if of.zeros is None else of.zeros[begin:end],
            group=of.group,
        )


def rounded_to_grid(matrix: LargeMatrix, file: IndexFile) -> LargeGrid:
    """Round a matrix as its scheme says; its values are finite.

    Raises:
        ArgumentError: as `make_grid`.
    """
    columns, scheme = matrix.shape[1], matrix.scheme

    def flat() -> Iterator[tuple[np.ndarray, Mask | None]]:
        return (matrix.both(begin, end) for begin, end in matrix.flat_blocks())

    whole = look_at_whole(flat, scheme)
    scales: list[NDArray[np.float32]] = []
    zeros: list[NDArray[np.int32]] = []
    grid = None
    for begin, end in matrix.row_blocks():
        values, mask = matrix.both(begin * columns, end * columns)
        rows = (end - begin, columns)
        kept = None if mask is None else mask.reshape(rows)
        grid = make_grid(values.reshape(rows), scheme, kept, whole)
        file.add(grid.indices.reshape(-1))
        scales += [] if grid.scales is None else [grid.scales]
        zeros += [] if grid.zeros is None else [grid.zeros]
    assert grid is not None
    levels, low = grid.levels, grid.low
    if scheme.kind == "fp8":  # as many as there are codes in all of it
        low = min(0, file.least)
        levels = fp8_levels(low, max(0, file.most))
    values_of = IndexValues(
        step=grid.step,
        levels=levels,
        low=low,
        scales=np.concatenate(scales) if scales else None,
        zeros=np.concatenate(zeros) if zeros else None,
        group=grid.group,
    )
    return LargeGrid(file, matrix.info.shape, values_of)


def grid_ways(grid: LargeGrid, dtype: np.dtype, effort: Effort) -> CodingWays:
    """The ways to code a grid, as `coded_smallest` tries them."""
    file, of = grid.file, grid.values
    if of.levels is None and not file.nonzero:
        return CodingWays(lambda: _constant(grid, dtype, of.group))
    first = _matrix(grid, dtype, effort) if of.step is None else _uniform(grid, dtype, effort)

    def adaptive() -> IndexStream:
        if of.scales is None and file.least == file.most:
            return _constant(grid, dtype)
        shape = (grid.shape[0], grid.columns)
        rows, period = file.rows(grid.columns), kernel(grid.shape)
        return AdaptiveStream(rows, shape, of, period=period, dtype=dtype, block=_INDICES)

    def floats() -> IndexStream:
        values = by_rows(lambda a, b: grid.rows(a, b).values(dtype), grid.columns)
        return FloatStream(values, grid.shape, dtype, effort)

    def serves(taken: int | None, best: int | None) -> bool:
        return taken is None or adaptive_serves(file.facts, effort, taken)

    if many_levels(of.levels):
        return CodingWays(first, ((lambda taken, best: True, floats), (serves, adaptive)))
    return CodingWays(first, ((serves, adaptive),))


def _uniform(grid: LargeGrid, dtype: np.dtype, effort: Effort) -> MakeStream:
    """The coder of indices that have one step."""
    step = grid.values.step or 0.0
    return lambda: UniformStream(
        grid.file.read, grid.shape, step, dtype=dtype, effort=effort, block=_INDICES
    )


def _matrix(grid: LargeGrid, dtype: np.dtype, effort: Effort) -> MakeStream | None:
    """The matrix coder, which knows scales that are powers of 2^(1/16): a row for each group."""
    of, columns = grid.values, grid.columns
    width = of.group or columns
    if of.scales is None or of.levels is not None or of.zeros is not None or columns % width:
        return None
    if (found := row_scales(of.scales)) is None:
        return None
    return lambda: MatrixStream(
        grid.file.rows(width),
        (grid.file.count // width, width),
        found.step,
        row_exponents=found.exponents,
        row_fraction=found.fraction,
        trellis=False,
        dtype=dtype,
        effort=effort,
        block=_INDICES,
    )


def _constant(grid: LargeGrid, dtype: np.dtype, group: int | None = None) -> FloatStream:
    """All of its values, which are one and the same: zero, where they have scales."""
    shape = grid.shape if group is None else (grid.file.count // group, group)
    of, q = grid.values, grid.file.read(0, 1).reshape(1, 1)
    one = Grid(q, step=1.0) if of.scales is not None else Grid(
        q, step=of.step, levels=of.levels, low=of.low
    )  # fmt: skip
    value = one.values(dtype).reshape(-1)
    return FloatStream(lambda a, b: np.repeat(value, b - a), shape, dtype)
