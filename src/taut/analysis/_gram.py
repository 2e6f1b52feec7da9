"""Sums of second moments, in memory while they fit and in files that vanish when they do not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError

if TYPE_CHECKING:
    import torch

# Values multiplied at once: float32 sums stay exact enough to be added to wider ones.
BLOCK: Final = 1 << 23
# Wider sums are float32: float64 would double the memory for an error below the sampling noise.
_PRECISE: Final = 1024
_FILE: Final = 1 << 26  # values that a file has room for; it takes as much disk as is written


class Room:
    """Gives zeroed arrays: in memory up to `limit` bytes, then mapped from anonymous files.

    The files have no name, so that nothing is left behind, whatever ends the program.
    """

    def __init__(self, limit: int) -> None:
        self.left = limit
        self._file = np.empty(0, np.float32)

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.floating]:
        """An array of zeros: float64, or float32 where it is wide or does not fit in memory."""
        wide = len(shape) > 1 and shape[-1] > _PRECISE
        dtype: type[np.floating] = np.float32 if wide else np.float64
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if nbytes <= self.left or not nbytes:
            self.left -= nbytes
            return np.zeros(shape, dtype)
        return self._spilled(int(np.prod(shape))).reshape(shape)

    def _spilled(self, count: int) -> NDArray[np.floating]:
        """So many values of a file; sums share files, since thousands would take too many."""
        if count > len(self._file):
            with tempfile.TemporaryFile(prefix="taut-") as file:  # the map keeps its own handle
                self._file = np.memmap(file, np.float32, "w+", shape=(max(count, _FILE),))
        found, self._file = self._file[:count], self._file[count:]
        return found


class Side(Protocol):
    """One side of a matrix's metric, summed over vectors."""

    values: NDArray[np.floating]

    def add(self, vectors: torch.Tensor, where: str) -> None:
        """Add the second moments of vectors (N, width); `where` is for errors."""


class Gram:
    """Sum of v v^T: (n, n), (groups, n, n) of a vector's equal parts, or the diagonal (n,)."""

    def __init__(self, width: int, room: Room, *, groups: int = 1, full: bool = True) -> None:
        self.width, self.groups, self.full = width, groups, full
        n = width // groups
        self.values = room.zeros(((n, n) if groups == 1 else (groups, n, n)) if full else (width,))

    def add(self, vectors: torch.Tensor, where: str) -> None:
        """Add vectors (N, width).

        Raises:
            ArgumentError: a value is NaN or infinite.
        """
        import torch

        total = torch.from_numpy(self.values)
        for block in blocks(vectors, self.width):
            product = self._product(_real(block))
            diagonal = product.diagonal(dim1=-2, dim2=-1) if self.full else product
            if not torch.isfinite(diagonal.sum()):
                raise ArgumentError(f"{where}: NaN, infinite or too large; leave out the batch")
            total.add_(product.cpu())

    def _product(self, block: torch.Tensor) -> torch.Tensor:
        if not self.full:
            return (block * block).sum(0)
        if self.groups == 1:
            return block.T @ block
        parts = block.reshape(len(block), self.groups, -1).transpose(0, 1)
        return parts.transpose(1, 2) @ parts


class Counts:
    """How often each row of a table was read: the diagonal of its metric."""

    def __init__(self, rows: int, room: Room) -> None:
        self.values = room.zeros((rows,))

    def add(self, vectors: torch.Tensor, where: str) -> None:
        """Count the row numbers in `vectors` (N,)."""
        import torch

        counts = torch.bincount(vectors, minlength=len(self.values))
        torch.from_numpy(self.values).add_(counts.cpu())


def blocks(vectors: torch.Tensor, width: int) -> Iterator[torch.Tensor]:
    """Runs of vectors (N, ...) of at most about BLOCK values each."""
    many = max(1, BLOCK // max(1, width))
    for begin in range(0, len(vectors), many):
        yield vectors[begin : begin + many]


def _real(block: torch.Tensor) -> torch.Tensor:
    import torch

    return block if block.dtype in (torch.float32, torch.float64) else block.float()
