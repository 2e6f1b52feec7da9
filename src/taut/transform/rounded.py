"""A rounded matrix: a byte or two for each of its indices, and what they stand for when asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding import combined, exponent_scale
from taut.transform.steps import FRACTION


@dataclass(frozen=True)
class Rounded:
    """A quantised matrix as the coder takes it.

    `indices` have shape (rows, columns) and are int8, int16 or int32; exponents are uint8, or None
    where all rows, or columns, have the same step. Levels of magnitude 1, 2 and beyond lie
    `offsets` towards zero, in steps. Where there is a `basis`, a matrix of (columns, columns), they
    are coefficients: a row of values is the sum of its rows, each times its coefficient.
    """

    indices: NDArray[np.signedinteger]
    step: float
    row_exponents: NDArray[np.uint8] | None
    column_exponents: NDArray[np.uint8] | None
    trellis: bool
    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    fraction: int = FRACTION
    basis: Rounded | None = None

    @property
    def decoded(self) -> NDArray[np.float32]:
        """The numbers that it stands for, made anew each time: what a decoder gives, bit for bit.

        >>> Rounded(np.array([[1, 1, -1]], np.int8), 0.5, None, None, True).decoded.tolist()
        [[1.0, 1.0, -0.5]]
        """
        decoded = np.empty(self.indices.shape, np.float32)
        rows, columns = self.indices.shape
        _core.decode_levels(
            np.ascontiguousarray(self.indices).reshape(-1),
            np.float32(self.step) * self._scale(self.row_exponents, rows),
            self._scale(self.column_exponents, columns),
            list(self.offsets),
            self.trellis,
            decoded.reshape(-1),
        )
        return decoded if self.basis is None else combined(decoded, self.basis.decoded)

    def _scale(self, exponents: NDArray[np.uint8] | None, count: int) -> NDArray[np.float32]:
        if exponents is None:
            return np.ones(count, np.float32)
        return exponent_scale(exponents, self.fraction)


def narrow(
    indices: NDArray[np.signedinteger], large: Sequence[tuple[int, int]] = ()
) -> NDArray[np.signedinteger]:
    """The same indices in the least of int8, int16 and int32 that holds them.

    `large` are places, counted along the rows, and indices that stand there instead.

    >>> narrow(np.array([[0, 3]], np.int16)).dtype, narrow(np.array([[0, 3]]), [(0, -70000)])
    (dtype('int8'), array([[-70000,      3]], dtype=int32))
    """
    if large:
        indices = indices.astype(np.int32)
        for place, index in large:
            indices.flat[place] = index
    least, most = int(indices.min(initial=0)), int(indices.max(initial=0))
    kinds = (np.int8, np.int16, np.int32)
    kind = next(k for k in kinds if np.iinfo(k).min <= least and most <= np.iinfo(k).max)
    return indices.astype(kind, copy=False)
