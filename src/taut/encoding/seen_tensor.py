"""A tensor that is looked at: held where it is small, read again in pieces where it is large."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod

import numpy as np
import xxhash
from numpy.typing import NDArray

from taut.analysis.statistics import sample_pieces
from taut.io import Source, TensorInfo, storage
from taut.io.tensor_pieces import LARGE, Read, file_reader, pieces_of
from taut.transform import sample_rows
from taut.transform.quantize import picked_rows


@dataclass(frozen=True)
class SeenTensor:
    """The values of a tensor: `pieces` gives all of them, flat and in order, each time anew.

    `held` are all of them, of a tensor that is not large; `read` gives some of one that is.
    """

    info: TensorInfo
    pieces: Callable[[], Iterable[np.ndarray]]
    held: np.ndarray | None
    read: Read

    @classmethod
    def of(cls, source: Source, info: TensorInfo, *, held: bool = False) -> SeenTensor:
        """A tensor of a source; `held` at all events, if so asked."""
        read = file_reader(source, info.name)
        if read is not None and info.nbytes > LARGE and not held:
            return cls(info, lambda: pieces_of(source, info), None, read)
        values = source.load(info.name)
        flat = values.reshape(-1)
        return cls(info, lambda: (flat,), values, lambda begin, end: flat[begin:end])

    @property
    def digest(self) -> bytes:
        """The xxh3 of 128 bits over its bytes."""
        digest = xxhash.xxh3_128()
        for piece in self.pieces():
            digest.update(np.ascontiguousarray(piece).view(np.uint8).data)
        return bytes(digest.digest())

    @property
    def picks(self) -> NDArray[np.float64]:
        """Some of its finite values, spread evenly."""
        return sample_pieces(self.pieces(), prod(storage(self.info.dtype, self.info.shape)[1]))

    def whole(self) -> np.ndarray:
        """All values, in their shape; of what is held."""
        assert self.held is not None
        return self.held

    def rows(self, most: int) -> np.ndarray:
        """About so many values as evenly spread whole rows, as `sample_rows` gives them."""
        if self.held is not None:
            return sample_rows(self.held, most)
        shape = storage(self.info.dtype, self.info.shape)[1]
        columns = prod(shape[1:])
        picks = picked_rows((shape[0], columns), most).tolist()
        rows = [self.read(row * columns, (row + 1) * columns) for row in picks]
        return np.concatenate(rows).reshape(len(picks), *shape[1:])
