"""Rows of one coded array without the rest of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from taut import _core
from taut.coding.coder import Buffer
from taut.errors import FormatError


class ChosenRows:
    """Gives rows of `row_nbytes` bytes of a coded array of `nbytes`, chunk by chunk.

    The header is read once. Of a chunk all symbols are decoded; values are made of a matrix' rows
    that are wanted alone, and in a basis their sums. Any number of threads may read.

    Raises:
        FormatError: the header is none of an array of `nbytes` bytes in chunks of whole rows.

    >>> from taut.coding import encode_lossless
    >>> values = np.arange(800, dtype=np.float32).reshape(8, 100)
    >>> coded = encode_lossless(values)
    >>> rows = ChosenRows(coded.header, values.nbytes, values[0].nbytes)
    >>> out = np.empty((2, 100), np.float32)
    >>> rows.take(0, coded.chunks[0], np.array([2, 7]), np.empty(3200, np.uint8), out)
    >>> np.array_equal(out, values[[2, 7]])
    True
    """

    def __init__(self, header: Buffer, nbytes: int, row_nbytes: int) -> None:
        self.row_nbytes = row_nbytes
        try:
            self._core = _core.ChosenRows(np.frombuffer(header, np.uint8), nbytes, row_nbytes)
        except _core.CoreFormatError as error:
            raise FormatError(str(error)) from None

    def take(
        self,
        chunk: int,
        data: Buffer,
        rows: NDArray[np.int64],
        scratch: NDArray[np.uint8],
        out: np.ndarray,
        *,
        base: NDArray[np.uint8] | None = None,
    ) -> None:
        """Decode the chunk of this number, and put its rows `rows` into the array `out`.

        They are counted from the chunk's first row. `scratch` has room for all of the chunk, and is
        written over; `base` is, of a delta, the base's bytes of the chunk.

        Raises:
            FormatError: an encoder would not have written the chunk.
        """
        try:
            self._core.take(chunk, data, rows, scratch, out.reshape(-1).view(np.uint8), base)
        except _core.CoreFormatError as error:
            raise FormatError(str(error)) from None
