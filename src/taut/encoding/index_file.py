"""Indices of what is too large to be held, in a temporary file (TMPDIR), a byte or two each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from taut.encoding.choose_coder import IndexFacts
from taut.errors import TautError
from taut.transform.rounded import narrow


@dataclass
class IndexFile:
    """Indices, block after block, each of the least dtype that holds it.

    `least` and `most` are those of all, `nonzero` says how many are not zero.
    """

    file: BinaryIO
    least: int = 0
    most: int = 0
    nonzero: int = 0
    count: int = 0
    _blocks: list[tuple[int, int, np.dtype, int]] = field(default_factory=list)

    def add(self, indices: NDArray[np.signedinteger]) -> None:
        """Put some indices behind those that are there."""
        block = narrow(indices)
        try:
            at = self.file.tell()
            self.file.write(np.ascontiguousarray(block).data)
        except OSError as error:
            raise TautError(
                f"{tempfile.gettempdir()}: indices cannot be kept there ({error.strerror}); name "
                "another folder as TMPDIR"
            ) from error
        low, high = int(block.min()), int(block.max())
        self.least = min(self.least, low) if self.count else low
        self.most = max(self.most, high) if self.count else high
        self.nonzero += int(np.count_nonzero(block))
        self._blocks.append((self.count, self.count + block.size, block.dtype, at))
        self.count += block.size

    def read(self, begin: int, end: int) -> NDArray[np.int32]:
        """Some of them again, flat."""
        found = np.empty(end - begin, np.int32)
        for first, last, dtype, at in self._blocks:
            low, high = max(begin, first), min(end, last)
            if low >= high:
                continue
            self.file.seek(at + (low - first) * dtype.itemsize)
            data = self.file.read((high - low) * dtype.itemsize)
            found[low - begin : high - begin] = np.frombuffer(data, dtype)
        return found

    @property
    def facts(self) -> IndexFacts:
        """What is known of all of them."""
        return IndexFacts(self.count, self.nonzero, self.least, self.most)

    def rows(self, columns: int) -> RowsOfFile:
        """The same by rows of so many."""
        return RowsOfFile(self, columns)


def by_rows(
    rows: Callable[[int, int], np.ndarray], columns: int
) -> Callable[[int, int], np.ndarray]:
    """What gives values from one number to another, flat, of what gives whole rows of so many.

    >>> by_rows(lambda a, b: np.arange(12).reshape(-1, 3)[a:b], 3)(4, 7).tolist()
    [4, 5, 6]
    """

    def read(begin: int, end: int) -> np.ndarray:
        first = begin // columns
        found = rows(first, -(-end // columns)).reshape(-1)
        return found[begin - first * columns : end - first * columns]

    return read


@dataclass(frozen=True)
class RowsOfFile:
    """Gives rows of indices, shape (rows, columns)."""

    file: IndexFile
    columns: int

    def __call__(self, begin: int, end: int) -> NDArray[np.int32]:
        """Some rows, by number."""
        flat = self.file.read(begin * self.columns, end * self.columns)
        return flat.reshape(-1, self.columns)


@contextmanager
def index_file() -> Iterator[IndexFile]:
    """A file that vanishes at the end."""
    with tempfile.TemporaryFile() as file:
        yield IndexFile(file)
