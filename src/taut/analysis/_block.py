"""Some rows and columns of a stored weight that are one matrix, and what such a matrix is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Block:
    """Part of a weight that is one matrix: numbers of its rows, and of the columns; None: all."""

    rows: NDArray[np.int64] | None = None
    columns: NDArray[np.int64] | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Equal for equal blocks."""
        return tuple(None if one is None else one.tobytes() for one in (self.rows, self.columns))

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Its rows and columns, of so many."""
        rows = height if self.rows is None else len(self.rows)
        return rows, width if self.columns is None else len(self.columns)


Piece: TypeAlias = "tuple[Block, torch.Tensor | None, torch.Tensor]"  # inputs, gradients
