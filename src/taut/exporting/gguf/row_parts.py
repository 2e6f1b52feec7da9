"""A tensor of a Taut file in GGUF's order, some rows at a time where it is too large to be held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np
import xxhash

from taut.container import TautFile
from taut.exporting.gguf.blocks import blocks, holds_integers
from taut.exporting.gguf.load_back import Tensor
from taut.exporting.gguf.networks import arranged
from taut.io.dtypes import storage
from taut.io.tensor_pieces import LARGE, PIECE

_SINGLE = 4  # bytes of a float32, which values are on their way


@dataclass(frozen=True)
class RowParts:
    """The rows of one tensor; a transposed one is one part, since its rows lie apart."""

    file: TautFile
    tensor: Tensor

    @cached_property
    def bounds(self) -> tuple[tuple[int, int], ...]:
        """The parts, as numbers of rows from and to; those of a head stay together."""
        info = self.tensor.info
        rows = info.shape[0] if info.shape else 1
        if info.nbytes <= LARGE or self.tensor.order == "transposed":
            return ((0, rows),)
        together = rows // self.tensor.heads if self.tensor.order == "heads" else 1
        few = PIECE // (_SINGLE * prod(info.shape[1:]) * together)
        step = max(1, few) * together
        return tuple((at, min(rows, at + step)) for at in range(0, rows, step))

    def own(self, begin: int, end: int) -> np.ndarray:
        """Some rows as the file has them."""
        info = self.tensor.info
        if len(self.bounds) == 1:
            return self.file[info.name]
        columns = prod(storage(info.dtype, info.shape)[1][1:])
        flat = self.file.span(info.name, begin * columns, end * columns)
        return flat.reshape(end - begin, *info.shape[1:])

    def heads(self, begin: int, end: int) -> int:
        """The heads that some rows are of."""
        return self.tensor.heads * (end - begin) // max(1, (self.bounds[-1][1]))

    def values(self) -> Iterator[np.ndarray]:
        """All parts in order, arranged as GGUF has them."""
        for begin, end in self.bounds:
            yield arranged(self.own(begin, end), self.tensor.order, self.heads(begin, end))


@dataclass
class StoredParts:
    """The bytes of a tensor in its type, part by part; their checksum, once all have passed.

    `kept` says whether they are the integers that the file has, which all parts hold or none.
    """

    parts: RowParts
    sum: str = ""
    kept: bool = False

    def __iter__(self) -> Iterator[np.ndarray]:
        """The parts in order."""
        tensor, digest = self.parts.tensor, xxhash.xxh3_64()
        self.kept = self._holds_integers()
        for values in self.parts.values():
            data, _ = blocks(
                tensor.info.name, values, tensor.kind, gridded=self.kept, whole=self.parts.values
            )
            data = np.ascontiguousarray(data)
            digest.update(data.reshape(-1).view(np.uint8).data)
            yield data
        self.sum = digest.hexdigest()

    def _holds_integers(self) -> bool:
        return holds_integers(self.parts.values, self.parts.tensor.kind, self.parts.tensor.scheme)
