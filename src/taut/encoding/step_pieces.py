"""A tensor that is not held at a step: by the trellis or value by value, indices in a file."""

from __future__ import annotations

import numpy as np

from taut.coding import AdaptiveStream, Effort, IndexStream, MatrixStream, UniformStream
from taut.encoding.choose_coder import (
    adaptive_serves,
    floats_serve,
    kernel,
    offset_levels,
    uniform_values,
)
from taut.encoding.index_file import IndexFile, by_rows
from taut.encoding.large_tensor import LargeMatrix
from taut.encoding.ways_in_pieces import CodingWays, FloatStream
from taut.transform import Rounded
from taut.transform.quantize import Levels, search_rows, trellis_levels
from taut.transform.quantize_pieces import UniformGrid, quantize_pieces

_INDICES = 1 << 24  # that are held at a time


def rounded_to_steps(
    matrix: LargeMatrix, step: float, file: IndexFile, trellis: bool, threads: int
) -> Levels | UniformGrid:
    """Round a matrix as `round_tensor` does; its values are finite."""
    levels = trellis_levels(matrix, step) if trellis else None
    if levels is None:
        shape, largest = matrix.info.shape, matrix.largest
        return quantize_pieces(matrix.values, shape, largest, step, file.add)
    for block in matrix.blocks():
        file.add(search_rows(block, levels, threads=threads).reshape(-1))
    return levels


def step_ways(
    matrix: LargeMatrix,
    found: Levels | UniformGrid,
    file: IndexFile,
    dtype: np.dtype,
    effort: Effort,
) -> CodingWays:
    """The ways to code it, as `coded_smallest` tries them."""
    shape = matrix.info.shape
    if not file.nonzero:
        return CodingWays(lambda: _zeros(shape, dtype))
    if isinstance(found, Levels):
        return _trellis_ways(matrix, found, file, dtype, effort)
    columns, values = matrix.shape[1], uniform_values(file.facts, found.step, found.offsets)

    def uniform() -> IndexStream:
        return UniformStream(
            file.read,
            shape,
            found.step,
            offsets=found.offsets,
            dtype=dtype,
            effort=effort,
            block=_INDICES,
        )

    def adaptive() -> IndexStream:
        rows, period = file.rows(columns), kernel(shape)
        return AdaptiveStream(
            rows, matrix.shape, values, period=period, dtype=dtype, block=_INDICES
        )

    # The adaptive coder may leave out offsets (`uniform_values`): floats are what the best gives.
    def numbers(offsets: tuple[float, float, float]) -> IndexStream:
        def read(begin: int, end: int) -> np.ndarray:
            with np.errstate(over="ignore"):
                return offset_levels(file.read(begin, end), found.step, offsets).astype(dtype)

        return FloatStream(read, shape, dtype, effort)

    def fine(best: int | None) -> bool:
        return floats_serve(best or 0, matrix.count, dtype)

    without = (0.0, 0.0, 0.0) if values.levels is None else found.offsets
    return CodingWays(
        uniform,
        (
            (lambda taken, best: adaptive_serves(file.facts, effort, taken or 0), adaptive),
            (lambda taken, best: fine(best) and best == taken, lambda: numbers(found.offsets)),
            (lambda taken, best: fine(best) and best != taken, lambda: numbers(without)),
        ),
    )


def _trellis_ways(
    matrix: LargeMatrix, levels: Levels, file: IndexFile, dtype: np.dtype, effort: Effort
) -> CodingWays:
    columns = matrix.shape[1]

    def coded() -> IndexStream:
        return MatrixStream(
            file.rows(columns),
            matrix.shape,
            levels.distance,
            offsets=levels.offsets,
            dtype=dtype,
            effort=effort,
            block=_INDICES,
        )

    def numbers(begin: int, end: int) -> np.ndarray:
        q = file.rows(columns)(begin, end)
        found = Rounded(q, levels.distance, None, None, True, levels.offsets).decoded
        with np.errstate(over="ignore"):
            return found.astype(dtype)

    def floats() -> IndexStream:
        return FloatStream(by_rows(numbers, columns), matrix.info.shape, dtype, effort)

    return CodingWays(
        coded, ((lambda taken, best: floats_serve(best or 0, matrix.count, dtype), floats),)
    )


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> FloatStream:
    return FloatStream(lambda a, b: np.zeros(b - a, dtype), shape, dtype)
