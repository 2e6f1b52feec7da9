"""What the lossless bench asks of a coder, Taut's or a peer's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from bench.data.tensors import Array

C = TypeVar("C")


class Codec(ABC, Generic[C]):
    """Codes a list of arrays, each for itself; `C` is one coded array.

    `fills` says that it decodes into arrays the caller gives; `clobbers` that encode destroys
    its input; `threads` whether it can use more than one.
    """

    name: str
    fills: bool
    clobbers: bool = False
    threads: bool = False

    @abstractmethod
    def encode(self, arrays: list[Array], dtype: str, threads: int) -> list[C]:
        """Code each array; `dtype` is one of `minilm.DTYPES`."""

    @abstractmethod
    def nbytes(self, coded: C) -> int:
        """Return the size of one coded array, all that decoding needs counted."""

    @abstractmethod
    def decode(self, coded: list[C], out: list[Array], dtype: str, threads: int) -> list[object]:
        """Decode all into `out` (`fills`), or into what the codec allocates, and return it."""
