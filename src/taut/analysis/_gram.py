"""Sums of second moments, in memory while they fit and in files that vanish when they do not."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from taut.errors import ArgumentError
from taut.networks.quick_products import products_are_quick

if TYPE_CHECKING:
    import torch

# Values multiplied at once: float32 sums stay exact enough to be added to wider ones.
BLOCK: Final = 1 << 23
# Wider sums are float32: float64 would double the memory for an error below the sampling noise.
_PRECISE: Final = 1024
_PANEL: Final = 4096  # sides of wider sums are added in panels of so many rows and columns
_STRIP: Final = 128  # rows of a symmetric product at a time, of which half is computed
_FILE: Final = 1 << 26  # values that a file has room for; it takes as much disk as is written


class Room:
    """Gives zeroed arrays: in memory up to `limit` bytes, then mapped from anonymous files.

    The files lie in `folder` (None: where temporary files do), and have no name, so that nothing is
    left behind, whatever ends the program.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.left = limit
        self._folder = folder
        self._file = np.empty(0, np.float32)
        self._moved: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def zeros(self, shape: tuple[int, ...]) -> NDArray[np.floating]:
        """An array of zeros: float64, or float32 where it is wide or does not fit in memory."""
        wide = len(shape) > 1 and shape[-1] > _PRECISE
        dtype: type[np.floating] = np.float32 if wide else np.float64
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if nbytes <= self.left or not nbytes:
            self.left -= nbytes
            return np.zeros(shape, dtype)
        return self._spilled(int(np.prod(shape))).reshape(shape)

    def moved(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """The values while there is room, else their copy in a file, float32; of an array one."""
        if values.ndim < 2 or isinstance(values, np.memmap):
            return values
        if id(values) not in self._moved:
            found = values
            if values.nbytes <= self.left:
                self.left -= values.nbytes
            else:
                found = self._spilled(values.size).reshape(values.shape)
                found[:] = values
            self._moved[id(values)] = (values, found)
        return self._moved[id(values)][1]

    def settle(self) -> None:
        """Forget which arrays were moved, and let go of them."""
        self._moved.clear()

    def _spilled(self, count: int) -> NDArray[np.floating]:
        """So many values of a file; sums share files, since thousands would take too many."""
        if count > len(self._file):
            with tempfile.TemporaryFile(prefix="taut-", dir=self._folder) as file:
                # The map keeps its own handle.
                self._file = np.memmap(file, np.float32, "w+", shape=(max(count, _FILE),))
        found, self._file = self._file[:count], self._file[count:]
        return found


class Side(Protocol):
    """One side of a matrix's metric, summed over vectors."""

    @property
    def values(self) -> NDArray[np.floating]:
        """The sum so far."""

    def add(self, vectors: torch.Tensor, where: str) -> None:
        """Add the second moments of vectors (N, width); `where` is for errors."""


class Gram:
    """Sum of v v^T: (n, n), (groups, n, n) of a vector's equal parts, or the diagonal (n,)."""

    def __init__(self, width: int, room: Room, *, groups: int = 1, full: bool = True) -> None:
        self.width, self.groups, self.full = width, groups, full
        n = width // groups
        self._total = room.zeros(((n, n) if groups == 1 else (groups, n, n)) if full else (width,))
        self._lower = False  # what lies right of the diagonal panels is still to be mirrored

    @property
    def values(self) -> NDArray[np.floating]:
        """The sum so far."""
        if self._lower:
            _mirror(self._total)
            self._lower = False
        return self._total

    def add(self, vectors: torch.Tensor, where: str) -> None:
        """Add vectors (N, width).

        Raises:
            ArgumentError: a value is NaN or infinite.
        """
        import torch

        if not len(vectors):
            return
        total = torch.from_numpy(self._total)
        for block in blocks(vectors, self.width):
            if self.full and self.groups == 1 and total.shape[0] > _PANEL:
                self._lower = True
                _add_panels(total, _real(block))
            else:
                total.add_(self._product(_real(block)))
        diagonal = total.diagonal(dim1=-2, dim2=-1) if self.full else total
        if not torch.isfinite(diagonal.sum()):
            raise ArgumentError(f"{where}: NaN, infinite or too large; leave out the batch")

    def _product(self, block: torch.Tensor) -> torch.Tensor:
        if not self.full:
            return (block * block).sum(0).cpu()
        if self.groups == 1:
            return _square(block)
        parts = block.reshape(len(block), self.groups, -1).transpose(0, 1)
        return (parts.transpose(1, 2) @ parts).cpu()


def _square(block: torch.Tensor) -> torch.Tensor:
    """block^T block. numpy computes one half of it, as torch does not: it takes half the time."""
    import torch

    if block.device.type != "cpu":
        return (block.T @ block).cpu()
    if block.dtype == torch.float32 and products_are_quick():
        return _by_strips(block)
    held = block.detach().contiguous().numpy()
    with np.errstate(over="ignore", invalid="ignore"):  # who sums looks at what comes of it
        return torch.from_numpy(held.T @ held)


def _by_strips(block: torch.Tensor) -> torch.Tensor:
    """block^T block, little more than one half of it computed, by PyTorch."""
    width = block.shape[1]
    found = block.new_empty(width, width)
    for begin in range(0, width, _STRIP):
        rows, rest = slice(begin, begin + _STRIP), slice(begin + _STRIP, width)
        found[rows, begin:] = block[:, rows].T @ block[:, begin:]
        found[rest, rows] = found[rows, rest].T
        corner = found[rows, rows]
        corner.copy_(corner.triu() + corner.triu(1).T)
    return found


def _add_panels(total: torch.Tensor, block: torch.Tensor) -> None:
    """Add block^T block to the panels on and below the diagonal, one after the other."""
    for begin in range(0, len(total), _PANEL):
        rows = slice(begin, begin + _PANEL)
        total[rows, rows].add_(_square(block[:, rows]))
        for left in range(0, begin, _PANEL):
            across = slice(left, left + _PANEL)
            if block.device.type == "cpu" and block.dtype == total.dtype:
                total[rows, across].addmm_(block[:, rows].T, block[:, across])
            else:
                total[rows, across].add_((block[:, rows].T @ block[:, across]).cpu())


def _mirror(total: NDArray[np.floating]) -> None:
    """Write the panels below the diagonal to the right of it, too."""
    for begin in range(0, len(total), _PANEL):
        rows = slice(begin, begin + _PANEL)
        for left in range(0, begin, _PANEL):
            across = slice(left, left + _PANEL)
            total[across, rows] = total[rows, across].T


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
