"""Tensors that are too large to be held: their values, or what a mask leaves, as wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from taut.encoding.tensor import check_finite
from taut.io import Source, TensorInfo
from taut.io.tensor_pieces import Read, reader_of
from taut.scheme import Scheme
from taut.transform.mask import Mask, magnitude, n_of_m
from taut.transform.mask_pieces import Threshold, find_threshold
from taut.transform.quantize import block_rows, picked_rows, power_of
from taut.transform.runtime import BLOCK, masked


@dataclass(frozen=True)
class LargeMatrix:
    """A tensor of two axes or more, of which some rows are read at a time; the first axis are rows.

    `read` gives its values as they are, flat; all else sees what the scheme's mask leaves of them,
    which is found at the first use.
    """

    info: TensorInfo
    read: Read
    scheme: Scheme

    @classmethod
    def of(cls, source: Source, info: TensorInfo, scheme: Scheme) -> LargeMatrix:
        """A tensor of a source."""
        return cls(info, reader_of(source, info.name), scheme)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.info.shape[0], math.prod(self.info.shape[1:])

    @property
    def count(self) -> int:
        """How many values it has."""
        return self.shape[0] * self.shape[1]

    def values(self, begin: int, end: int) -> np.ndarray:
        """Values from one number to another, flat, with the mask's zeros."""
        if (self.scheme.sparsity, self.scheme.n_of_m) == (None, None):
            return self.read(begin, end)
        found = [
            masked(*self.both(at, min(end, at + BLOCK))) for at in range(begin, end, BLOCK)
        ]  # scores of some at a time
        return np.concatenate(found)

    def both(self, begin: int, end: int) -> tuple[np.ndarray, Mask | None]:
        """Values as they are, and which of them stay."""
        if self.scheme.n_of_m is not None:
            return self._of_runs(begin, end, *self.scheme.n_of_m)
        values = self.read(begin, end)
        if self.threshold is None:
            return values, None
        return values, self.threshold.mask(magnitude(values), begin)

    def _of_runs(self, begin: int, end: int, n: int, m: int) -> tuple[np.ndarray, Mask]:
        """The same where the best N of each M stay: runs are read whole."""
        first = begin // m * m
        values = self.read(first, min(self.count, -(-end // m) * m))
        mask = n_of_m(magnitude(values).reshape(-1, m), n, m, name=self.name).reshape(-1)
        return values[begin - first : end - first], mask[begin - first : end - first]

    def rows(self, begin: int, end: int) -> np.ndarray:
        """Some rows in order."""
        columns = self.shape[1]
        return self.values(begin * columns, end * columns).reshape(-1, columns)

    def pick(self, rows: NDArray[np.int64]) -> np.ndarray:
        """Some rows, by number."""
        return np.concatenate([self.rows(row, row + 1) for row in map(int, rows)])

    def sample(self, most: int) -> np.ndarray:
        """About so many values as evenly spread whole rows; all of a small one."""
        return self.pick(picked_rows(self.shape, most)).reshape(-1, *self.info.shape[1:])

    def row_blocks(self) -> Iterator[tuple[int, int]]:
        """All rows, as numbers from and to, those together that are rounded together."""
        count, columns = self.shape
        step = block_rows(columns)
        return ((at, min(count, at + step)) for at in range(0, count, step))

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows, those together that are rounded together."""
        return (self.rows(begin, end) for begin, end in self.row_blocks())

    def flat_blocks(self) -> Iterator[tuple[int, int]]:
        """All values, as numbers from and to, as many at a time as are looked at together."""
        return ((at, min(self.count, at + BLOCK)) for at in range(0, self.count, BLOCK))

    @property
    def name(self) -> str:
        """What it is called in errors."""
        return f'tensor "{self.info.name}"'

    @cached_property
    def threshold(self) -> Threshold | None:
        """What the mask keeps, if it is one of a fraction."""
        if self.scheme.sparsity is None:
            return None

        def scores() -> Iterator[NDArray[np.float32]]:
            return (magnitude(self.read(begin, end)) for begin, end in self.flat_blocks())

        return find_threshold(scores, self.count, self.scheme.sparsity, self.name)

    def check(self) -> None:
        """Raise `ArgumentError` unless all values are finite; they are looked at once."""
        _ = self._checked

    @cached_property
    def _checked(self) -> bool:
        for begin, end in self.flat_blocks():
            check_finite(self.info, self.read(begin, end), self.scheme, begin)
        return True

    @cached_property
    def largest(self) -> float:
        """The largest magnitude; all values are looked at, once."""
        return self._facts[0]

    @cached_property
    def power(self) -> float:
        """The sum of squares."""
        return self._facts[1]

    @cached_property
    def _facts(self) -> tuple[float, float]:
        self.check()
        largest = power = 0.0
        for block in self.blocks():
            largest = max(largest, float(block.max()), -float(block.min()))
            power += power_of(block)
        return largest, power
