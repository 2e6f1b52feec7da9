"""Some rows of a large tensor, for which only the chunks that hold them are decoded."""

from __future__ import annotations

import numpy as np

from taut.container.fetch import ChunkedArray, Fetcher
from taut.io.dtypes import storage
from taut.io.tensor_info import TensorInfo


class RowReader:
    """Gives rows (along the first dimension) of one coded tensor.

    `rows` and `row_nbytes` are the tensor's; `scratch` is the bytes that a chunk decodes to.
    """

    def __init__(
        self, fetcher: Fetcher, array: ChunkedArray, info: TensorInfo, threads: int
    ) -> None:
        self._fetcher, self._array, self._threads = fetcher, array, threads
        self._dtype, shape = storage(info.dtype, info.shape)
        self._shape = shape[1:]
        self.rows = shape[0]
        self.row_nbytes = info.nbytes // max(1, self.rows)
        self.scratch = array.found.chunk_nbytes

    @property
    def whole_chunks(self) -> bool:
        """Whether each row lies in one chunk."""
        return self.row_nbytes > 0 and self.scratch % self.row_nbytes == 0

    def empty(self, rows: int) -> np.ndarray:
        """An array for so many rows."""
        return np.empty((rows, *self._shape), self._dtype)

    def take(self, rows: np.ndarray, scratch: np.ndarray) -> np.ndarray:
        """Decode these rows (sorted, each once) into an array of their own.

        `scratch` is a uint8 array of as many bytes as `self.scratch` says, which is written over.

        Raises:
            VerifyError, FormatError: a chunk that holds one of the rows is damaged.
        """
        out = np.empty((len(rows), self.row_nbytes), np.uint8)
        each = self.scratch // self.row_nbytes
        held = rows // each
        for chunk in np.unique(held):
            found = self._fetcher.chunk_range(self._array, int(chunk), int(chunk) + 1)
            data = scratch[: found.end - found.begin]
            self._fetcher.decode_range(found, data, self._threads)
            here = held == chunk
            out[here] = data.reshape(-1, self.row_nbytes)[rows[here] - chunk * each]
        return out.view(self._dtype).reshape(len(rows), *self._shape)


def row_reader(
    fetcher: Fetcher, array: ChunkedArray, info: TensorInfo, threads: int
) -> RowReader | None:
    """A reader of an array's rows; None where there are not several chunks of whole rows."""
    if array.found.chunks < 2 or not info.shape:
        return None
    found = RowReader(fetcher, array, info, threads)
    return found if found.whole_chunks else None
