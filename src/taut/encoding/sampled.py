"""A model of which rows are looked at: what an estimate is made from, at a bounded cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Final

import numpy as np

from taut.io import Source, TensorInfo, storage
from taut.io.part_of import PartOf
from taut.io.tensor_pieces import file_reader

_MOST: Final = 1 << 25  # bytes that are read of a whole model
_EACH: Final = (1 << 14, 1 << 18)  # of each tensor, at least and at most


@dataclass(frozen=True)
class SampledSource(PartOf):
    """A source whose tensors are some of their rows, evenly spread; their infos are the whole's.

    About 32 MiB of a model are read, of each tensor 16 to 256 KiB. What a sample does not show (one
    NaN of a million values) is not known.

    >>> from taut.io import open_source
    >>> model = open_source({"w": np.arange(1 << 20, dtype=np.float32).reshape(1024, 1024)})
    >>> SampledSource.of(model).load("w").shape
    (64, 1024)
    """

    most: int = 0
    _known: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, source: Source, total: int = _MOST) -> SampledSource:
        """The sample of a model, of about so many bytes."""
        low, high = _EACH
        most = min(high, max(low, total // max(1, len(source.infos))))
        return cls(source, [info.name for info in source.infos], most)

    @classmethod
    def complete(cls, source: Source) -> SampledSource:
        """A sample that holds all of each tensor: for integers that are known whole alone."""
        most = max((info.nbytes for info in source.infos), default=0)
        return cls(source, [info.name for info in source.infos], most)

    @property
    def nbytes(self) -> int:
        """Those of the whole, and of its files."""
        return self.whole.nbytes

    def load(self, name: str) -> np.ndarray:
        """Rows of one tensor, or all of it where it is not large."""
        if name not in self._known:
            self._known[name] = self._rows(self._by_name[name])
        return self._known[name]

    @cached_property
    def _by_name(self) -> dict[str, TensorInfo]:
        return {info.name: info for info in self.infos}

    def view(self, name: str) -> np.ndarray:
        """As `load`."""
        return self.load(name)

    def reader(self, name: str) -> None:
        """A sample is held."""

    def _rows(self, info: TensorInfo) -> np.ndarray:
        if info.nbytes <= self.most or not info.shape:
            return self.whole.load(info.name)
        shape = storage(info.dtype, info.shape)[1]
        columns, width = prod(shape[1:]), info.nbytes // prod(shape)
        read = self._reader(info.name)
        if len(shape) == 1:
            return read(0, max(1, self.most // width))
        count = max(1, self.most // (columns * width))
        picks = [row * shape[0] // count for row in range(count)]
        rows = [read(row * columns, (row + 1) * columns) for row in picks]
        return np.concatenate(rows).reshape(count, *shape[1:])

    def _reader(self, name: str) -> Callable[[int, int], np.ndarray]:
        read = file_reader(self.whole, name)
        if read is not None:
            return read
        flat = self.whole.view(name).reshape(-1)
        return lambda begin, end: flat[begin:end]
