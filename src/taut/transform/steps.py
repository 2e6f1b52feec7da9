"""Steps of rows and columns as a file can hold them, and what they make of a matrix."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from taut.coding import NO_EXPONENT, exponent_scale
from taut.errors import ArgumentError
from taut.transform.forms import Factor
from taut.transform.rates import HALF_OCTAVES

FRACTION = 2
"""Steps of rows and columns are powers of 2^(1/4)."""

_LARGEST = 2.0**20  # levels: beyond, float32 no longer tells neighbours apart
_FINEST, _COARSEST = 1e-36, 1e36
_BLOCK = 1 << 20  # values that are looked at at once
_WIDEST = 40  # half octaves that columns may lie off the typical one


def finest_level(largest: float) -> float:
    """Levels that lie so far apart are fine enough for values up to `largest`, and not too fine.

    Steps of rows and columns are rounded by up to an eighth of an octave each.
    """
    return math.sqrt(2.0) * largest / _LARGEST


class Steps:
    """The steps of a matrix, shape (rows, columns), at a dial; rows in the order of `rows`.

    The distance of two levels in (i, j) is `row_steps[i] * column_scales[j]`, all float32. An
    error of one step costs `row_weights[i] * column_weights[group of i][j]`: about 1, as exponents
    are rounded. `row_class[i] + column_class[j]` numbers the rate curve.

    Raises ArgumentError for steps out of float32's range, or too fine for the values.
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        rows: Factor,
        columns: tuple[Factor, ...],
        dial: float,
        trellis: bool,
    ) -> None:
        common = typical(columns)
        row_log, column_log = -0.5 * np.log2(rows.weights), -0.5 * np.log2(common)
        # Levels of the trellis lie half as far apart as those of either of its quantisers.
        ideal = dial * (0.5 if trellis else 1.0)
        self.step = ideal * 2.0 ** float(row_log.mean() + column_log.mean())
        if not _FINEST < self.step < _COARSEST:
            raise ArgumentError(f"a step of {self.step:.3g} is out of float32's range")
        self.step = float(np.float32(self.step))
        self.row_exponents, self.column_exponents = _exponents(row_log), _exponents(column_log)
        row_scales = exponent_scale(self.row_exponents, FRACTION)
        self.row_steps = np.float32(self.step) * row_scales
        self.column_scales = exponent_scale(self.column_exponents, FRACTION)
        self.row_weights = _price(row_scales, row_log)
        self.column_weights = [
            (_price(self.column_scales, column_log) * (c.weights / common)).astype(np.float32)
            for c in columns
        ]
        self._check(values)
        self.row_class, self.column_class = self._classes(values)

    def exponents(self) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None]:
        """Those of rows and of columns; None where all are the same."""
        rows, columns = self.row_exponents, self.column_exponents
        return rows if np.ptp(rows) else None, columns if np.ptp(columns) else None

    def _check(self, values: NDArray[np.float32]) -> None:
        finest = float(self.row_steps.min()) * float(self.column_scales.min())
        largest = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
        if not math.isfinite(largest) or largest > _LARGEST * finest:
            raise ArgumentError(
                f"a step of {finest:.3g} is too fine for values up to {largest:.3g}; "
                "ask for fewer bits, or leave the tensor lossless"
            )

    def _classes(self, values: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Half octaves of rows' and columns' scales in levels; they add up to a curve's number."""
        row, column = np.empty(len(values)), np.zeros(values.shape[1])
        many = max(1, _BLOCK // max(1, values.shape[1]))
        for begin in range(0, len(values), many):
            part = slice(begin, begin + many)
            levels = values[part] / self.row_steps[part, None] / self.column_scales
            np.square(levels, out=levels)
            row[part] = np.sqrt(np.mean(levels, axis=1, dtype=np.float64))
            levels /= np.where(row[part] > 0, row[part], 1.0)[:, None] ** 2
            column += np.sum(levels, axis=0, dtype=np.float64)
        column = np.sqrt(column / max(1, len(values)))
        column_half = np.clip(_half_octaves(column), -_WIDEST, _WIDEST)
        least = column_half.min()
        row_class = np.clip(_half_octaves(row) + least - HALF_OCTAVES[0], 0, 127)
        return row_class.astype(np.uint8), (column_half - least).astype(np.uint8)


def typical(columns: tuple[Factor, ...]) -> NDArray[np.float64]:
    """The columns' weights, shape (columns,); of several groups the geometric mean."""
    logs = np.mean([np.log2(factor.weights) for factor in columns], axis=0)
    return np.asarray(np.exp2(logs), dtype=np.float64)


def _exponents(logs: NDArray[np.float64]) -> NDArray[np.uint8]:
    exponents = np.round((logs - logs.mean()) * 2**FRACTION) + NO_EXPONENT
    clipped: NDArray[np.uint8] = np.clip(exponents, 0, 255).astype(np.uint8)
    return clipped


def _price(scales: NDArray[np.float32], logs: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rounded exponents move steps by up to a tenth: the price of an error in steps follows."""
    price: NDArray[np.float32] = np.square(scales / np.exp2(logs - logs.mean())).astype(np.float32)
    return price


def _half_octaves(scales: NDArray[np.float64]) -> NDArray[np.float64]:
    halves: NDArray[np.float64] = np.round(2 * np.log2(np.maximum(scales, 1e-9)))
    return halves
