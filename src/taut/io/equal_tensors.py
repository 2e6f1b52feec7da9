"""The rule for equal tensors: same dtype, same shape, same bytes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np
import xxhash

from taut.io.source import Source
from taut.io.tensor_info import TensorInfo
from taut.io.tensor_pieces import pieces_of

_BLOCK = 1 << 20


class EqualTensors:
    """Finds of each tensor of a source the first that equals it; holds digests, and no values."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._first: dict[tuple[Hashable, ...], str] = {}

    def first(self, info: TensorInfo, values: np.ndarray, beside: str = "") -> str | None:
        """Name the first tensor equal to this one, of those asked about; None if it is new.

        Only tensors with the same `beside` (as a scheme) are equal. An empty tensor equals none.
        """
        if not info.nbytes:
            return None
        data = values.reshape(-1).view(np.uint8)
        name = self._known(info, beside, xxhash.xxh3_128_digest(data.data))
        return name if name is not None and self._same(data, name) else None

    def first_of_pieces(self, info: TensorInfo, digest: bytes, beside: str = "") -> str | None:
        """The same of a tensor that is read in pieces, by the xxh3 of 128 bits over them."""
        name = self._known(info, beside, digest)
        if name is None:
            return None
        pairs = zip(
            pieces_of(self._source, info),
            pieces_of(self._source, replace(info, name=name)),
            strict=True,
        )
        same = all(np.array_equal(a.view(np.uint8), b.view(np.uint8)) for a, b in pairs)
        return name if same else None

    def _known(self, info: TensorInfo, beside: str, digest: bytes) -> str | None:
        name = self._first.setdefault((info.dtype, info.shape, beside, digest), info.name)
        return name if name != info.name else None

    def _same(self, data: np.ndarray, name: str) -> bool:
        """A digest can be made to collide, so the bytes decide; in blocks, to hold no copies."""
        other = self._source.view(name).reshape(-1).view(np.uint8)
        return all(
            np.array_equal(data[begin : begin + _BLOCK], other[begin : begin + _BLOCK])
            for begin in range(0, data.size, _BLOCK)
        )
