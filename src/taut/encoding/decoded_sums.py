"""What a tensor that is not held decodes to, as its pieces come: its checksums and its error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xxhash

from taut.container.added import BaseTensor
from taut.container.bases import add
from taut.encoding.tensor import RelativeError
from taut.io.tensor_pieces import Read

_PART = 1 << 22  # values that are compared at a time: in float32 they may be twice as large


@dataclass(frozen=True)
class AddedTo:
    """The base's tensor, which `read` gives flat, to which the decoded differences are added."""

    base: BaseTensor
    read: Read


class DecodedSums:
    """Takes in all decoded values in order, and compares them with those of `original`, flat.

    With `on` they are differences: what counts is their sum with the base's.
    """

    def __init__(self, original: Read, on: AddedTo | None = None) -> None:
        self._original, self._on = original, on
        self._decoded, self._error = xxhash.xxh3_64(), RelativeError()
        self._sum = self._decoded if on is None else xxhash.xxh3_64()
        self._at = 0

    def take(self, decoded: np.ndarray) -> None:
        """Take in the next values, flat, in the tensor's dtype."""
        for begin in range(0, decoded.size, _PART):
            part = decoded[begin : begin + _PART]
            first, self._at = self._at, self._at + part.size
            self._decoded.update(_bytes_of(part))
            if self._on is not None:
                part = add(self._on.read(first, self._at), part)
                self._sum.update(_bytes_of(part))
            self._error.add(self._original(first, self._at), part)

    @property
    def decoded(self) -> str:
        """The checksum of what has been taken in."""
        return str(self._decoded.hexdigest())

    @property
    def sum(self) -> str:
        """The checksum of what that gives: the same, or that of the sum with the base's."""
        return str(self._sum.hexdigest())

    @property
    def is_the_base(self) -> bool:
        """Whether it gives the base's tensor."""
        return self._on is not None and self.sum == self._on.base.sum

    def error(self) -> float:
        """The relative error of all values; asked once."""
        return self._error.close()


def _bytes_of(values: np.ndarray) -> memoryview:
    return np.ascontiguousarray(values).view(np.uint8).data
