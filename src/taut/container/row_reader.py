"""Some rows of a large tensor, for which only the chunks that hold them are decoded."""

from __future__ import annotations

import numpy as np

from taut.coding import ChosenRows
from taut.container.coded_arrays import ChunkedArray
from taut.container.fetch import Fetcher
from taut.io.dtypes import storage
from taut.io.tensor_info import TensorInfo


class RowReader:
    """Gives rows (along the first dimension) of one coded tensor.

    `rows` and `row_nbytes` are the tensor's; `scratch` is the bytes that a chunk decodes to. The
    array's header is read at the first use, once.
    """

    def __init__(self, fetcher: Fetcher, array: ChunkedArray, info: TensorInfo) -> None:
        self._fetcher, self._array = fetcher, array
        self._chosen: ChosenRows | None = None
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
        """Decode these rows (int64, sorted, each once) into an array of their own.

        `scratch` is a uint8 array of as many bytes as `self.scratch` says, which is written over.

        Raises:
            VerifyError, FormatError: a chunk that holds one of the rows is damaged.
        """
        if self._chosen is None:
            self._chosen = self._fetcher.chosen_rows(self._array, self.row_nbytes)
        out = np.empty((len(rows), self.row_nbytes), np.uint8)
        chunks, places = np.divmod(rows, self.scratch // self.row_nbytes)
        for chunk in np.unique(chunks):
            here = chunks == chunk
            out[here] = self._fetcher.take_rows(
                self._array, int(chunk), self._chosen, places[here], scratch
            )
        return out.view(self._dtype).reshape(len(rows), *self._shape)


def row_reader(fetcher: Fetcher, array: ChunkedArray, info: TensorInfo) -> RowReader | None:
    """A reader of an array's rows; None where there are not several chunks of whole rows."""
    if array.found.chunks < 2 or not info.shape:
        return None
    found = RowReader(fetcher, array, info)
    return found if found.whole_chunks else None
