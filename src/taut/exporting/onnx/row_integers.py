"""A weight as int8 integers and scales: its own where it is on such a grid, else rounded.

Surprise: on x86 without VNNI the fast kernel adds two products of 8 x 8 bits in 16, and clips the
sum silently. That cannot happen where |w| <= 64, or where the activations have 7 bits. So a matrix
that is rounded here gets 7 bits; one whose own integers are wider becomes uint8 around 128, whose
kernel is right and slower; and convolutions keep 8 bits, their inputs get 7 (static.py).
Measured: ResNet-20 loses 0.0 points so, 0.2 with 7-bit weights, and 1.7 where sums clip.

No integer is -128: int8 then means the same to runtimes whose grids are symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from taut.exporting.integers import to_integers

SAFE: Final = 64  # two products of it and 255 fit into 16 bits
MOST: Final = 127


@dataclass(frozen=True)
class Stored:
    """Integers int8 of a constant's shape, scales float32 that broadcast over it.

    `exact` tells whether they give the constant as it is; `wide` whether any passes `SAFE`.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    exact: bool

    @property
    def safe(self) -> tuple[NDArray[np.generic], int]:
        """Integers whose products no kernel clips, and their zero point: uint8 where wide."""
        if not self.wide:
            return self.values, 0
        return (self.values.astype(np.int16) + 128).astype(np.uint8), 128

    @property
    def wide(self) -> bool:
        """Whether sums of two products may overflow 16 bits."""
        return bool(np.abs(self.values.astype(np.int16)).max(initial=0) > SAFE)

    @property
    def flat_scales(self) -> NDArray[np.float32]:
        """The scales of the rows, one after another."""
        return self.scales.reshape(-1)


def stored(values: np.ndarray, over: tuple[int, ...], *, narrow: bool = True) -> Stored:
    """The integers of a constant, one scale for all along the axes `over`; `narrow`: 7 bits, not 8.

    >>> found = stored(np.array([[0.5, -1.5], [2.0, 4.0]]), (1,))
    >>> found.values.tolist(), found.scales.tolist(), found.exact
    ([[1, -3], [1, 2]], [[0.5], [2.0]], True)
    """
    own = tuple(axis for axis in range(values.ndim) if axis not in over)
    order = (*own, *over)
    turned = np.transpose(values, order)
    rows = int(np.prod([values.shape[axis] for axis in own], dtype=np.int64))
    matrix = np.ascontiguousarray(turned.reshape(rows, -1), np.float32)
    found, exact = _fitted(matrix, narrow=narrow)
    q, scales = found
    empty = ~q.any(axis=1)
    if empty.any() and not empty.all():  # any scale gives zeros; one like the others', for biases
        scales[empty] = np.median(scales[~empty])
    integers = np.transpose(q.reshape(turned.shape), np.argsort(order))
    shape = [1 if axis in over else size for axis, size in enumerate(values.shape)]
    return Stored(np.ascontiguousarray(integers), scales.reshape(shape), exact)


def _fitted(
    matrix: NDArray[np.float32], *, narrow: bool
) -> tuple[tuple[NDArray[np.int8], NDArray[np.float32]], bool]:
    """Integers int8 and scales of the rows of a matrix, and whether they give it as it is."""
    found = to_integers(matrix, 8)
    if not found.exact and narrow:
        found = to_integers(matrix, 7)
    exact = found.exact and int(found.values.min()) >= -MOST
    values = np.clip(found.values, -MOST, MOST).astype(np.int8)
    return (values, found.scales.reshape(-1).astype(np.float32)), exact
