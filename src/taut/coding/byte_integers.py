"""A rounded array kept as its grid's integers, a byte each; its values are made when asked for."""

from __future__ import annotations

import numpy as np

from taut import _core
from taut.coding.coder import Buffer
from taut.errors import FormatError


class ByteIntegers:
    """The integers of one coded array; the values made of them are the decoder's to the bit.

    Making float32 values of bytes takes a twentieth of the time of decoding them, and a quarter of
    their memory. The chunks are taken one after the other; then any number of threads may read.

    Raises:
        FormatError: the header is none of an array of `nbytes` bytes that is made of integers.

    >>> from taut.coding import decode_chunks, encode_indices
    >>> q = np.arange(-300, 300, dtype=np.int32).reshape(6, 100) % 5 - 2
    >>> coded = encode_indices(q, step=0.5, offsets=(0, 0, 0), dtype=np.dtype(np.float32))
    >>> held = ByteIntegers(coded.header, 2400)
    >>> [held.take(chunk) for chunk in coded.chunks], held.nbytes < 800
    ([True], True)
    >>> out = np.empty(3, np.float32)
    >>> held.read(100, out.view(np.uint8))
    >>> out.tolist() == (q[1, :3] / 2).tolist()
    True
    """

    def __init__(self, header: Buffer, nbytes: int, *, kernels: str = "") -> None:
        try:
            self._core = _core.ByteIntegers(np.frombuffer(header, np.uint8), nbytes, kernels)
        except _core.CoreFormatError as error:
            raise FormatError(str(error)) from None
        self.width = int(_core.inspect(np.frombuffer(header, np.uint8))["width"])

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self._core.held_bytes()

    def take(self, chunk: Buffer) -> bool:
        """Take the next chunk; False where too many integers need more than a byte: it is no use.

        Raises:
            FormatError: an encoder would not have written it.
        """
        try:
            return self._core.take(np.frombuffer(chunk, np.uint8))
        except _core.CoreFormatError as error:
            raise FormatError(str(error)) from None

    def read(self, begin: int, out: np.ndarray) -> None:
        """Put the values from the one of this number on into the uint8 array of their bytes.

        Raises:
            FormatError: a value of a matrix in a basis is infinite.
        """
        try:
            self._core.put(begin, begin + out.nbytes // self.width, out)
        except _core.CoreFormatError as error:
            raise FormatError(str(error)) from None

    def read_rows(self, rows: np.ndarray, length: int, out: np.ndarray) -> None:
        """Put rows of `length` values each, by int64 numbers, one behind the other, into `out`.

        Raises:
            FormatError: as `read`.
        """
        try:
            self._core.put_rows(rows, length, out)
        except _core.CoreFormatError as error:
            raise FormatError(str(error)) from None
